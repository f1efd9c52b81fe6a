//! This node's own entries: deciding changes, signing, refreshing, and what it says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assetmesh_protocol::registry::{
    EntryError, EntryId, EntryIdError, EnvelopeError, NodeRecord, Payload, PayloadError, Record, RecordKey,
    RegistryEntry, Verified,
};

use super::{Asker, Change, Origin, Output, State, Timing, Write, WriteError};
use crate::registry::rules::Lifetime;

/// How soon a node may contradict a record of itself that it did not expect, in milliseconds. Two processes with
/// one key would else outbid each other without end.
const REASSERT_MS: u64 = 60_000;

/// What is known of own entries beyond the map.
#[derive(Debug, Default)]
pub(super) struct Own {
    /// Signed, not yet on the disk; the last of a key is the newest.
    pending: Vec<Arc<Verified>>,
    /// When each live entry is due to be signed anew.
    due: BTreeSet<(u64, RecordKey)>,
    /// Live entries whose time ran out while nobody could sign them anew.
    lapsed: BTreeMap<RecordKey, Arc<Verified>>,
    /// What the node says of itself.
    description: Option<NodeRecord>,
    described_ms: Option<u64>,
    started_ms: Option<u64>,
}

impl Own {
    fn pending(&self, key: &RecordKey) -> Option<&Arc<Verified>> {
        self.pending.iter().rev().find(|record| record.key() == *key)
    }

    pub(super) fn forget_pending(&mut self, record: &Arc<Verified>) {
        self.pending.retain(|pending| pending != record);
    }

    pub(super) fn lapse(&mut self, record: Arc<Verified>) {
        self.lapsed.insert(record.key(), record);
    }

    pub(super) fn add(&mut self, record: &Verified, timing: &Timing) {
        self.lapsed.remove(&record.key());
        if !record.is_deleted() {
            self.due.insert((due_ms(record, timing), record.key()));
        }
    }

    pub(super) fn remove(&mut self, record: &Verified, timing: &Timing) {
        self.due.remove(&(due_ms(record, timing), record.key()));
    }
}

/// Up to a tenth earlier than the full time, by the key: entries made together are not refreshed together.
fn due_ms(record: &Verified, timing: &Timing) -> u64 {
    let tenth = timing.refresh_every_ms / 10;
    let early = tenth * u64::from(record.key().0[15]) / 256;
    record.issued_ms().saturating_add(timing.refresh_every_ms - early)
}

impl State {
    pub(super) fn write(&mut self, now_ms: u64, write: Write, out: &mut Vec<Output>) {
        let Write { ticket, entry, change, asker } = write;
        match self.decide(now_ms, &entry, change, asker) {
            Ok(Decision::Same(record)) => out.push(Output::Answer { ticket, result: Ok(record) }),
            Ok(Decision::New(record)) => out.push(Output::Persist(record, Origin::Write(ticket))),
            Err(error) => out.push(Output::Answer { ticket, result: Err(error) }),
        }
    }

    fn decide(
        &mut self,
        now_ms: u64,
        entry: &EntryId,
        change: Change,
        asker: Asker,
    ) -> Result<Decision, WriteError> {
        let current = match change {
            Change::Create(_) => self.vacancy(now_ms, entry)?,
            Change::Update(_) | Change::Delete => Some(self.changeable(now_ms, entry, asker)?),
        };
        let payload = match (change, &current) {
            (Change::Create(draft), _) => Payload::Entry(RegistryEntry { created_ms: now_ms, ..draft }),
            (Change::Update(patch), Some(current)) => match current.payload() {
                Payload::Entry(before) => {
                    let after = patch.apply(entry, &before)?;
                    if after == before && self.own.pending(&current.key()).is_none() {
                        return Ok(Decision::Same(current.clone()));
                    }
                    Payload::Entry(after)
                }
                _ => return Err(WriteError::Forbidden(entry.clone())),
            },
            _ => Payload::Tombstone,
        };
        let may_update = match asker {
            Asker::Client => self.accounts.may_update(&self.me, now_ms),
            Asker::Peer => self.accounts.may_update_for_others(&self.me, now_ms),
        };
        // A delete always goes through: it is how room is made, and an entry has but one.
        if !may_update && !matches!(payload, Payload::Tombstone) {
            return Err(WriteError::TooFast { per_minute: self.accounts.bounds().updates_per_minute });
        }
        let record = self.sign(now_ms, entry, payload, current.as_deref())?;
        let coming = self.own.pending.len() as u32;
        let room = self.accounts.admits(&self.map, &record, current.as_deref(), coming);
        if !record.is_deleted() {
            room.map_err(|bound| WriteError::TooMany { bound, max: self.accounts.max(bound) })?;
        }
        self.accounts.spend(&self.me, now_ms);
        self.own.pending.push(record.clone());
        Ok(Decision::New(record))
    }

    /// What a new entry of this node replaces, if nobody has a live one under the id.
    fn vacancy(&self, now_ms: u64, entry: &EntryId) -> Result<Option<Arc<Verified>>, WriteError> {
        entry.check_owner(&self.me).map_err(EntryError::from)?;
        if entry.is_node(&self.me) {
            return Err(WriteError::Forbidden(entry.clone()));
        }
        let owners: Vec<_> = self.live(now_ms, entry).iter().map(|record| record.owner()).collect();
        if !owners.is_empty() {
            return Err(WriteError::Conflict { entry: entry.clone(), owners });
        }
        Ok(self.newest_own(&RecordKey::of(&self.me, entry)).cloned())
    }

    /// The live entry under an id that a change is about: this node's own, or the only one there is.
    fn changeable(&self, now_ms: u64, entry: &EntryId, asker: Asker) -> Result<Arc<Verified>, WriteError> {
        let mut live = self.live(now_ms, entry);
        // A peer chose this owner; and a client that comes to an owner of an id that was made twice means that one,
        // else nobody could ever undo it.
        if asker == Asker::Peer || live.iter().any(|record| record.owner() == self.me) {
            live.retain(|record| record.owner() == self.me);
        }
        let Some(record) = live.pop() else {
            return Err(WriteError::NotFound(entry.clone()));
        };
        if !live.is_empty() {
            live.push(record);
            let owners = live.iter().map(|record| record.owner()).collect();
            return Err(WriteError::Conflict { entry: entry.clone(), owners });
        }
        if record.is_node() {
            return Err(WriteError::Forbidden(entry.clone()));
        }
        if record.owner() == self.me { Ok(record) } else { Err(WriteError::Elsewhere(record.owner())) }
    }

    /// The live envelopes under an id, own ones as they will be when all that is pending is on the disk.
    fn live(&self, now_ms: u64, entry: &EntryId) -> Vec<Arc<Verified>> {
        let own = self.newest_own(&RecordKey::of(&self.me, entry)).into_iter();
        let others = self.map.of_entry(entry).filter(|record| record.owner() != self.me);
        let live = own.chain(others).filter(|record| !record.is_deleted());
        let lives = |record: &&Arc<Verified>| record.expires_ms() > now_ms || record.owner() == self.me;
        live.filter(lives).cloned().collect()
    }

    pub(super) fn newest_own(&self, key: &RecordKey) -> Option<&Arc<Verified>> {
        self.own.pending(key).or_else(|| self.map.get(key)).or_else(|| self.own.lapsed.get(key))
    }

    fn sign(
        &mut self,
        now_ms: u64,
        entry: &EntryId,
        payload: Payload,
        replaces: Option<&Verified>,
    ) -> Result<Arc<Verified>, WriteError> {
        let timing = &self.config.timing;
        let life = Lifetime {
            issued_ms: now_ms,
            wanted_ms: timing.ttl_ms,
            drift_ms: timing.drift_ms,
            deletes: payload.is_tombstone(),
            replaces,
        };
        let record = Record {
            owner: self.me,
            entry: entry.clone(),
            version: self.versions.next(now_ms, timing.drift_ms),
            issued_ms: now_ms,
            ttl_ms: (self.config.rules.ttl_ms)(&life),
            payload,
        };
        Ok(Arc::new(self.key.sign(&record).map_err(unsigned)?))
    }

    pub(super) fn persisted(
        &mut self,
        now_ms: u64,
        record: Arc<Verified>,
        origin: Origin,
        out: &mut Vec<Output>,
    ) {
        self.own.forget_pending(&record);
        let stands = self.map.get(&record.key());
        let overtaken = stands.is_some_and(|stands| !(self.config.rules.supersedes)(&record, stands));
        if !overtaken {
            self.put(now_ms, record.clone(), out);
            out.push(Output::Publish(record.clone()));
        }
        if let Origin::Write(ticket) = origin {
            let result =
                if overtaken { Err(WriteError::Overtaken(record.entry().clone())) } else { Ok(record) };
            out.push(Output::Answer { ticket, result });
        }
    }

    pub(super) fn describe(&mut self, now_ms: u64, node: NodeRecord, out: &mut Vec<Output>) {
        self.own.description = Some(node);
        self.own.described_ms = None;
        self.assert_description(now_ms, out);
    }

    /// Signs what the node says of itself, unless that is what stands.
    fn assert_description(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        let Some(mut node) = self.own.description.clone() else { return };
        let recently = self.own.described_ms.is_some_and(|then| now_ms.abs_diff(then) < REASSERT_MS);
        if recently {
            return;
        }
        let entry = EntryId::of_node(&self.me);
        let current = self.newest_own(&RecordKey::of(&self.me, &entry)).cloned();
        let before = current.as_ref().map(|current| current.payload());
        node.created_ms = match &before {
            Some(Payload::Node(before)) => before.created_ms,
            _ => now_ms,
        };
        let stands = current.as_ref().is_some_and(|current| current.expires_ms() > now_ms);
        let payload = Payload::Node(node);
        if stands && before.as_ref() == Some(&payload) {
            return;
        }
        self.own.described_ms = Some(now_ms);
        let signed = self.sign(now_ms, &entry, payload, current.as_deref());
        self.store_own(signed, out);
    }

    fn store_own(&mut self, signed: Result<Arc<Verified>, WriteError>, out: &mut Vec<Output>) {
        match signed {
            Ok(record) => {
                self.own.pending.push(record.clone());
                out.push(Output::Persist(record, Origin::Node));
            }
            Err(error) => tracing::error!(%error, "an own entry cannot be signed"),
        }
    }

    /// Signs anew what is due, and asserts what the node says of itself.
    pub(super) fn renew(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        self.assert_description(now_ms, out);
        let started_ms = *self.own.started_ms.get_or_insert(now_ms);
        if now_ms.abs_diff(started_ms) < self.config.timing.grace_ms {
            return;
        }
        for record in self.due(now_ms) {
            let signed = self.sign(now_ms, record.entry(), record.payload(), Some(&record));
            self.store_own(signed, out);
        }
    }

    /// Live own entries that are past their refresh, were signed in a future that did not come, or have lapsed.
    fn due(&self, now_ms: u64) -> Vec<Arc<Verified>> {
        let timing = &self.config.timing;
        let future_ms = now_ms.saturating_add(timing.drift_ms).saturating_add(timing.refresh_every_ms);
        let late = self.own.due.iter().take_while(|(due, _)| *due <= now_ms);
        let early = self.own.due.iter().rev().take_while(|(due, _)| *due > future_ms);
        let held = late.chain(early).filter_map(|(_, key)| self.map.get(key));
        let all = held.chain(self.own.lapsed.values());
        let free = all.filter(|record| self.own.pending(&record.key()).is_none());
        free.take(timing.refreshes_per_tick).cloned().collect()
    }
}

enum Decision {
    /// Nothing changes.
    Same(Arc<Verified>),
    /// This is to be stored.
    New(Arc<Verified>),
}

/// What a client is told of a record that no node would accept.
fn unsigned(error: EnvelopeError) -> WriteError {
    WriteError::Invalid(match error {
        EnvelopeError::Payload(PayloadError::TooLong(bytes)) | EnvelopeError::TooLong(bytes) => {
            EntryError::TooLong { bytes }
        }
        EnvelopeError::EntryId(error) => error.into(),
        // All else is checked when a description is parsed.
        _ => EntryIdError::Reserved.into(),
    })
}
