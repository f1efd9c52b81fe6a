//! What the tests of the registry share: keys, envelopes and a node whose disk never fails.

use std::sync::Arc;

use assetmesh_protocol::document::Document;
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::{NetworkId, NetworkName};
use assetmesh_protocol::registry::{
    EntryId, NodeRecord, OwnerKey, Patch, Payload, Record, RegistryEntry, Verified, Version,
};

use super::sync::{self, Session};
use super::{
    Asker, Change, Input, Origin, Output, State, StateConfig, Taken, Timing, Way, Write, WriteError,
};

/// Some day in 2026, in milliseconds.
pub(super) const NOW: u64 = 1_790_000_000_000;
pub(super) const SECOND: u64 = 1000;
pub(super) const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

pub(super) fn network() -> NetworkId {
    NetworkId::new(&NetworkName::default(), None)
}

pub(super) fn owner(seed: u8) -> OwnerKey {
    OwnerKey::new(&[seed; 32], network())
}

pub(super) fn node(seed: u8) -> NodeKey {
    owner(seed).node_key()
}

pub(super) fn id(text: &str) -> EntryId {
    EntryId::new(text).unwrap()
}

pub(super) fn entry(name: &str) -> RegistryEntry {
    RegistryEntry {
        created_ms: NOW,
        name: name.to_owned(),
        metadata: Document::from_json(br#"{"framework":"PyTorch"}"#).unwrap(),
        tags: vec!["deep-learning".to_owned()],
        public_url: "http://example.com/a".to_owned(),
    }
}

pub(super) fn patch(json: &str) -> Patch {
    Patch::from_json(json).unwrap()
}

/// A live entry of some owner.
pub(super) fn signed(seed: u8, entry_id: &str, seq: u64, name: &str) -> Arc<Verified> {
    sign(seed, entry_id, Version { epoch: 0, seq }, Payload::Entry(entry(name)))
}

pub(super) fn sign(seed: u8, entry_id: &str, version: Version, payload: Payload) -> Arc<Verified> {
    let issued_ms = version.seq.clamp(NOW - DAY, NOW + 30 * DAY);
    sign_at(seed, Record { issued_ms, version, payload, ..blank(seed, entry_id) })
}

pub(super) fn blank(seed: u8, entry_id: &str) -> Record {
    Record {
        owner: node(seed),
        entry: id(entry_id),
        version: Version { epoch: 0, seq: NOW },
        issued_ms: NOW,
        ttl_ms: Timing::default().ttl_ms,
        payload: Payload::Tombstone,
    }
}

pub(super) fn sign_at(seed: u8, record: Record) -> Arc<Verified> {
    Arc::new(owner(seed).sign(&record).unwrap())
}

pub(super) fn description(name: &str) -> NodeRecord {
    NodeRecord {
        name: name.to_owned(),
        labels: vec!["gpu".to_owned()],
        addresses: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
        public_url: "http://127.0.0.1:4000".to_owned(),
        version: "0.1.0".to_owned(),
        ..NodeRecord::default()
    }
}

/// A state and its disk. What it wants persisted is persisted at once.
pub(super) struct Peer {
    pub(super) state: State,
    pub(super) published: Vec<Arc<Verified>>,
    pub(super) disk: std::collections::BTreeMap<assetmesh_protocol::registry::RecordKey, Arc<Verified>>,
    pub(super) others: Vec<Output>,
}

impl Peer {
    pub(super) fn new(seed: u8) -> Self {
        Self::with(seed, StateConfig::default())
    }

    pub(super) fn with(seed: u8, config: StateConfig) -> Self {
        let state = State::new(owner(seed), config);
        Self { state, published: Vec::new(), disk: Default::default(), others: Vec::new() }
    }

    /// The same node after a restart, with what its disk held.
    pub(super) fn restarted(self, seed: u8, now_ms: u64) -> Self {
        let mut again = Self::new(seed);
        again.state.handle(now_ms, Input::Mark(self.state.mark()));
        for record in self.disk.into_values() {
            again.disk.insert(record.key(), record.clone());
            again.put_in(now_ms, Input::Loaded(record));
        }
        again
    }

    /// Handles an input and everything that follows from it. Returns the answer to a change.
    pub(super) fn put_in(&mut self, now_ms: u64, input: Input) -> Option<Result<Arc<Verified>, WriteError>> {
        let mut answer = None;
        let mut outputs: std::collections::VecDeque<_> = self.state.handle(now_ms, input).into();
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Persist(record, origin) => {
                    self.disk.insert(record.key(), record.clone());
                    outputs.extend(self.state.handle(now_ms, Input::Persisted(record, origin)));
                }
                Output::Keep(record) => drop(self.disk.insert(record.key(), record)),
                Output::Drop(key) => drop(self.disk.remove(&key)),
                Output::Publish(record) => self.published.push(record),
                Output::Answer { result, .. } => answer = Some(result),
                other => self.others.push(other),
            }
        }
        answer
    }

    pub(super) fn change(
        &mut self,
        now_ms: u64,
        entry_id: &str,
        change: Change,
    ) -> Result<Arc<Verified>, WriteError> {
        let write = Write { ticket: 1, entry: id(entry_id), change, asker: Asker::Client };
        self.put_in(now_ms, Input::Write(write)).unwrap()
    }

    pub(super) fn create(&mut self, now_ms: u64, entry_id: &str) -> Result<Arc<Verified>, WriteError> {
        self.change(now_ms, entry_id, Change::Create(entry(entry_id)))
    }

    pub(super) fn delete(&mut self, now_ms: u64, entry_id: &str) -> Result<Arc<Verified>, WriteError> {
        self.change(now_ms, entry_id, Change::Delete)
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.put_in(now_ms, Input::Tick);
    }

    pub(super) fn hear(&mut self, now_ms: u64, record: &Arc<Verified>, way: Way) -> Taken {
        let heard = Input::Heard { from: node(200), record: record.clone(), way };
        self.put_in(now_ms, heard);
        let taken = self.others.iter().rev().find_map(|output| match output {
            Output::Heard(taken) => Some(*taken),
            _ => None,
        });
        taken.unwrap()
    }

    pub(super) fn gossip(&mut self, now_ms: u64, record: &Arc<Verified>) -> Taken {
        self.hear(now_ms, record, Way::Gossip)
    }

    /// The live entry ids, in order.
    pub(super) fn live(&self) -> Vec<String> {
        let live = self.state.map().iter().filter(|record| !record.is_deleted());
        let mut live: Vec<_> = live.map(|record| record.entry().to_string()).collect();
        live.sort();
        live
    }

    /// Runs one session with a peer; returns how many steps it took.
    pub(super) fn sync_with(&mut self, now_ms: u64, peer: &mut Self) -> usize {
        let (mut session, mut steps) = (Session::default(), 0);
        while let Some(ask) = session.next(self.state.map()) {
            steps += 1;
            let (question, given) = sync::part(ask);
            let taken = given.iter().filter(|record| peer.hear(now_ms, record, Way::Sync) == Taken::New);
            let taken = taken.count();
            let answer = sync::answer(peer.state.map(), &question, taken);
            let envelopes = session.answered(self.state.map(), answer);
            let news = envelopes.iter().filter(|record| self.hear(now_ms, record, Way::Sync) == Taken::New);
            session.merged(news.count());
        }
        steps
    }
}

/// Signs a change that is never stored.
pub(super) fn pending(peer: &mut Peer, now_ms: u64, entry_id: &str) -> (Arc<Verified>, Origin) {
    let change = Change::Create(entry(entry_id));
    let write = Write { ticket: 9, entry: id(entry_id), change, asker: Asker::Client };
    let outputs = peer.state.handle(now_ms, Input::Write(write));
    let persist = outputs.into_iter().find_map(|output| match output {
        Output::Persist(record, origin) => Some((record, origin)),
        _ => None,
    });
    persist.unwrap()
}
