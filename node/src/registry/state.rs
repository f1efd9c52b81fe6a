//! What the registry decides: which envelope stands, what is spread, what is refused. Pure: no clock, no socket,
//! no disk, no randomness. Every envelope that comes in has been verified.

mod own;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{
    EntryError, EntryId, NodeRecord, OwnerKey, Patch, RecordKey, RegistryEntry, Verified, Version,
};

use super::bounds::{Accounts, Bound, Bounds};
use super::map::Map;
use super::rules::Rules;
use super::versions::Versions;
use crate::swarm::{Offence, Verdict};

/// How envelopes live. All times in milliseconds.
#[derive(Debug, Clone)]
pub struct Timing {
    /// How long an envelope holds. 7 d: a node may be away for a week and its entries are still known.
    pub ttl_ms: u64,
    /// When an owner signs its live entries anew. 24 h: six may fail before one dies.
    pub refresh_every_ms: u64,
    /// How far ahead a clock may be. 10 min: far beyond any node that keeps time at all.
    pub drift_ms: u64,
    /// How long after its start an owner waits before it signs old entries anew. 60 s: if its disk is an old
    /// copy, what peers know of it comes first.
    pub grace_ms: u64,
    /// How young an envelope is that is gossiped on though it came by anti-entropy. 2 min: a node that joins, and a
    /// partition that heals, are seen by all at once and not one exchange after the other.
    pub relay_ms: u64,
    /// Entries signed anew at one tick. 16: a thousand are done in about a minute, and no burst is gossiped.
    pub refreshes_per_tick: usize,
}

impl Default for Timing {
    fn default() -> Self {
        const HOUR: u64 = 60 * 60 * 1000;
        Self {
            ttl_ms: 7 * 24 * HOUR,
            refresh_every_ms: 24 * HOUR,
            drift_ms: HOUR / 6,
            grace_ms: HOUR / 60,
            relay_ms: HOUR / 30,
            refreshes_per_tick: 16,
        }
    }
}

/// What a state is made with.
#[derive(Debug, Clone, Default)]
pub struct StateConfig {
    /// How long envelopes live.
    pub timing: Timing,
    /// How much is held.
    pub bounds: Bounds,
    /// How envelopes replace each other.
    pub rules: Rules,
}

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// An envelope from this node's own disk, at the start.
    Loaded(Arc<Verified>),
    /// The largest version this node had given out, from its own disk, at the start.
    Mark(Version),
    /// What this node says of itself, in full.
    Describe(NodeRecord),
    /// Somebody wants to change an entry.
    Write(Write),
    /// An own envelope is on the disk.
    Persisted(Arc<Verified>, Origin),
    /// An own envelope could not be stored; it never existed.
    NotPersisted(Arc<Verified>),
    /// An envelope came from a peer.
    Heard {
        /// The peer that sent it, not necessarily its owner.
        from: NodeKey,
        /// The envelope.
        record: Arc<Verified>,
        /// How it came.
        way: Way,
    },
    /// About a second has passed.
    Tick,
}

/// How an envelope came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By gossip, unasked: the owner's rate is bounded.
    Gossip,
    /// By anti-entropy or as an answer: only the latest of each key comes, so that no rate is needed.
    Sync,
}

/// A change that somebody wants.
#[derive(Debug, Clone)]
pub struct Write {
    /// Names it in the answer.
    pub ticket: u64,
    /// Which entry.
    pub entry: EntryId,
    /// What.
    pub change: Change,
    /// Who.
    pub asker: Asker,
}

/// What is to be done to an entry.
#[derive(Debug, Clone)]
pub enum Change {
    /// Make it. The time of its creation is filled in.
    Create(RegistryEntry),
    /// Set members.
    Update(Patch),
    /// Delete it.
    Delete,
}

/// Who wants a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A client of this node.
    Client,
    /// A peer that hands on what a client of it wants.
    Peer,
}

/// Why an own envelope was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A change with this ticket.
    Write(u64),
    /// The node itself: its record, or an entry signed anew.
    Node,
}

/// Something to do.
#[derive(Debug)]
pub enum Output {
    /// Put an own envelope on the disk now, then tell.
    Persist(Arc<Verified>, Origin),
    /// Put a peer's envelope on the disk some time soon.
    Keep(Arc<Verified>),
    /// Take what lies under a key from the disk some time soon.
    Drop(RecordKey),
    /// Gossip an envelope.
    Publish(Arc<Verified>),
    /// Answer a change.
    Answer {
        /// Which one.
        ticket: u64,
        /// The envelope that stands now, or why nothing was changed.
        result: Result<Arc<Verified>, WriteError>,
    },
    /// What came of an envelope that was heard.
    Heard(Taken),
    /// A peer did what no honest one does.
    Penalise(NodeKey, Offence),
    /// A node's own record came, changed or died.
    Member(NodeKey, Option<Arc<Verified>>),
    /// An owner signed two bodies with one version. The first stands.
    Equivocation {
        /// The one with the larger hash.
        stands: Arc<Verified>,
        /// The other.
        falls: Arc<Verified>,
    },
}

/// What came of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Taken {
    /// It is news, and stands now.
    New,
    /// It stood already.
    Known,
    /// A newer one stands.
    Old,
    /// It is not taken.
    Refused(Refusal),
}

impl Taken {
    /// What gossip does with it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::New => Verdict::Accept,
            Self::Known | Self::Old => Verdict::Ignore,
            Self::Refused(Refusal::FarFuture) => Verdict::Reject,
            Self::Refused(_) => Verdict::Ignore,
        }
    }
}

/// Why a verified envelope is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It says that it was issued in the future.
    FarFuture,
    /// It is past its time.
    Expired,
    /// Its owner changes too much.
    TooFast,
    /// There is no room.
    Bound(Bound),
    /// Another entry has the same key; only a broken hash makes that happen.
    Collision,
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// No entry has this id.
    #[error("no registry entry has the id `{0}`")]
    NotFound(EntryId),
    /// The id is taken, or is owned by several nodes.
    #[error("the registry entry `{entry}` belongs to {}", names(.owners))]
    Conflict {
        /// The id.
        entry: EntryId,
        /// Who has it.
        owners: Vec<NodeKey>,
    },
    /// Only its owner can change it.
    #[error("the registry entry belongs to the node {}", .0.assets_db_id())]
    Elsewhere(NodeKey),
    /// It is a node's own record.
    #[error(
        "`{0}` is a node's own record: it follows from that node's settings and is not changed by requests"
    )]
    Forbidden(EntryId),
    /// The description is not acceptable.
    #[error(transparent)]
    Invalid(#[from] EntryError),
    /// Too many changes in a short time.
    #[error("too many registry changes: at most {per_minute} a minute")]
    TooFast {
        /// How many there may be.
        per_minute: u32,
    },
    /// There is no room.
    #[error("{}", full(*.bound, *.max))]
    TooMany {
        /// What stands in the way.
        bound: Bound,
        /// How much it allows.
        max: u64,
    },
    /// A newer envelope of the same entry came from a peer meanwhile.
    #[error("the registry entry `{0}` was changed at the same time")]
    Overtaken(EntryId),
}

fn full(bound: Bound, max: u64) -> String {
    match bound {
        Bound::EntriesOfOwner => {
            format!("this node has {max} registry entries, as many as it may have: delete some first")
        }
        Bound::RecordsOfOwner => format!(
            "this node has {max} registry entries, counting those deleted in the last days, as many as it may have: wait \
             until some of them expire"
        ),
        Bound::Records => format!(
            "the registry has {max} entries, as many as a node keeps: delete some, and wait until they expire"
        ),
        Bound::Bytes => format!(
            "the registry has {max} bytes, as many as a node keeps: delete some entries, and wait until they expire"
        ),
    }
}

fn names(owners: &[NodeKey]) -> String {
    let names: Vec<_> = owners.iter().map(|owner| owner.assets_db_id().to_string()).collect();
    names.join(" and ")
}

/// The registry of one node.
#[derive(Debug)]
pub struct State {
    config: StateConfig,
    key: OwnerKey,
    me: NodeKey,
    map: Map,
    members: Arc<BTreeMap<NodeKey, Arc<Verified>>>,
    accounts: Accounts,
    /// When each envelope dies.
    deaths: BTreeSet<(u64, RecordKey)>,
    own: own::Own,
    versions: Versions,
}

impl State {
    /// An empty registry of the node with this key.
    #[must_use]
    pub fn new(key: OwnerKey, config: StateConfig) -> Self {
        Self {
            me: key.node_key(),
            key,
            map: Map::default(),
            members: Arc::default(),
            accounts: Accounts::new(config.bounds.clone()),
            deaths: BTreeSet::new(),
            own: own::Own::default(),
            versions: Versions::default(),
            config,
        }
    }

    /// Decides. `now_ms` is this node's wall clock.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Loaded(record) => self.load(now_ms, record, &mut out),
            Input::Mark(version) => self.versions.observe(version),
            Input::Describe(node) => self.describe(now_ms, node, &mut out),
            Input::Write(write) => self.write(now_ms, write, &mut out),
            Input::Persisted(record, origin) => self.persisted(now_ms, record, origin, &mut out),
            Input::NotPersisted(record) => self.own.forget_pending(&record),
            Input::Heard { from, record, way } => {
                let taken = self.hear(now_ms, record, way, &mut out);
                if taken == Taken::Refused(Refusal::FarFuture) {
                    out.push(Output::Penalise(from, Offence::Malformed));
                }
                out.push(Output::Heard(taken));
            }
            Input::Tick => {
                self.expire(now_ms, &mut out);
                self.renew(now_ms, &mut out);
            }
        }
        out
    }

    /// Everything that stands.
    #[must_use]
    pub const fn map(&self) -> &Map {
        &self.map
    }

    /// The record of each node that has one.
    #[must_use]
    pub const fn members(&self) -> &Arc<BTreeMap<NodeKey, Arc<Verified>>> {
        &self.members
    }

    /// This node.
    #[must_use]
    pub const fn node_key(&self) -> NodeKey {
        self.me
    }

    /// The largest version that this node has given out or met as its own.
    #[must_use]
    pub const fn mark(&self) -> Version {
        self.versions.last()
    }

    fn load(&mut self, now_ms: u64, record: Arc<Verified>, out: &mut Vec<Output>) {
        let is_own = record.owner() == self.me;
        if is_own {
            self.versions.observe(record.version());
        }
        if is_own && !record.is_deleted() && record.expires_ms() <= now_ms {
            self.own.lapse(record);
            return;
        }
        let key = record.key();
        if let Err(refusal) = self.check(now_ms, &record, Way::Sync) {
            tracing::debug!(?key, ?refusal, "a stored envelope is not taken");
            out.push(Output::Drop(key));
            return;
        }
        self.put(now_ms, record, out);
    }

    fn hear(&mut self, now_ms: u64, record: Arc<Verified>, way: Way, out: &mut Vec<Output>) -> Taken {
        let is_own = record.owner() == self.me;
        if is_own {
            self.versions.observe(record.version());
        }
        let key = record.key();
        let current = if is_own { self.newest_own(&key) } else { self.map.get(&key) };
        if let Some(current) = current.cloned() {
            if current.hash() == record.hash() {
                return Taken::Known;
            }
            if (current.owner(), current.entry()) != (record.owner(), record.entry()) {
                return Taken::Refused(Refusal::Collision);
            }
            let wins = (self.config.rules.supersedes)(&record, &current);
            if current.version() == record.version() {
                let (stands, falls) =
                    if wins { (record.clone(), current) } else { (current, record.clone()) };
                out.push(Output::Equivocation { stands, falls });
            }
            if !wins {
                return Taken::Old;
            }
        }
        if let Err(refusal) = self.check(now_ms, &record, way) {
            return Taken::Refused(refusal);
        }
        let is_young = record.issued_ms().saturating_add(self.config.timing.relay_ms) > now_ms;
        let relays = way == Way::Sync && is_young && self.accounts.may_update(&record.owner(), now_ms);
        out.push(Output::Keep(record.clone()));
        if relays {
            out.push(Output::Publish(record.clone()));
        }
        let owner = record.owner();
        self.put(now_ms, record, out);
        if relays || way == Way::Gossip {
            self.accounts.spend(&owner, now_ms);
        }
        Taken::New
    }

    /// What time and bounds say. This node's own envelopes are its own, whatever its clock says now.
    fn check(&self, now_ms: u64, record: &Verified, way: Way) -> Result<(), Refusal> {
        if record.expires_ms() <= now_ms {
            return Err(Refusal::Expired);
        }
        if record.owner() == self.me {
            return Ok(());
        }
        if record.issued_ms() > now_ms.saturating_add(self.config.timing.drift_ms) {
            return Err(Refusal::FarFuture);
        }
        if way == Way::Gossip && !self.accounts.may_update(&record.owner(), now_ms) {
            return Err(Refusal::TooFast);
        }
        let old = self.map.get(&record.key()).map(Arc::as_ref);
        self.accounts.admits(&self.map, record, old, 0).map_err(Refusal::Bound)
    }

    /// Puts an envelope in the place of whatever stands there.
    fn put(&mut self, now_ms: u64, record: Arc<Verified>, out: &mut Vec<Output>) {
        if let Some(old) = self.map.insert(record.clone()) {
            self.accounts.subtract(&old, false);
            self.deaths.remove(&(old.expires_ms(), old.key()));
            self.own.remove(&old, &self.config.timing);
        }
        self.accounts.add(&record, now_ms);
        self.deaths.insert((record.expires_ms(), record.key()));
        if record.owner() == self.me {
            self.own.add(&record, &self.config.timing);
        }
        if record.is_node() {
            let member = (!record.is_deleted()).then(|| record.clone());
            self.set_member(record.owner(), member, out);
        }
    }

    fn set_member(&mut self, key: NodeKey, member: Option<Arc<Verified>>, out: &mut Vec<Output>) {
        let members = Arc::make_mut(&mut self.members);
        match &member {
            Some(record) => members.insert(key, record.clone()),
            None => members.remove(&key),
        };
        out.push(Output::Member(key, member));
    }

    /// Takes out what is past its time. Own entries are not lost with that: they are signed anew.
    fn expire(&mut self, now_ms: u64, out: &mut Vec<Output>) {
        while let Some(&(death_ms, key)) = self.deaths.first()
            && death_ms <= now_ms
        {
            self.deaths.pop_first();
            let Some(record) = self.map.remove(&key) else { continue };
            self.accounts.subtract(&record, true);
            self.own.remove(&record, &self.config.timing);
            if record.is_node() {
                self.set_member(record.owner(), None, out);
            }
            if record.owner() == self.me && !record.is_deleted() {
                self.own.lapse(record);
            } else {
                out.push(Output::Drop(key));
            }
        }
    }
}

#[cfg(test)]
mod tests;
