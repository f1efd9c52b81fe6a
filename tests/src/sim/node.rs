//! One simulated node: its key, its disk, its clock, and the real cores while it runs. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use assetmesh_node::liveness;
use assetmesh_node::registry::sync::{Answer, Ask, Session};
use assetmesh_node::registry::{self, Change};
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Message, Signature};
use assetmesh_protocol::network::{NetworkId, NetworkName};
use assetmesh_protocol::registry::{EntryId, Envelope, NodeRecord, OwnerKey, RecordKey, Verified, Version};

/// The wall clock at the beginning of every world: some day in 2026, in milliseconds.
const EPOCH_MS: i64 = 1_790_000_000_000;

/// What travels between nodes.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    Liveness(Message),
    Gossip(Arc<Verified>),
    /// Bytes that nobody has verified: only liars send them.
    Raw(Envelope),
    Ask {
        session: u64,
        ask: Ask,
    },
    Answer {
        session: u64,
        answer: Answer,
    },
    Forward {
        ticket: u64,
        entry: EntryId,
        change: Change,
    },
    Forwarded {
        ticket: u64,
        record: Option<Arc<Verified>>,
    },
}

/// What arrives at a node.
#[derive(Debug)]
pub(super) enum Mail {
    Up(usize),
    Down(usize),
    Packet(usize, Packet),
}

/// What a node remembers of a running change.
#[derive(Debug)]
pub(super) enum Ticket {
    Client,
    Peer(usize, u64),
}

/// An anti-entropy session that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) id: u64,
    pub(super) session: Session,
    pub(super) until_ms: u64,
}

/// What survives a crash.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) records: BTreeMap<RecordKey, Arc<Verified>>,
    pub(super) mark: Version,
}

/// What a crash ends.
#[derive(Debug)]
pub(super) struct Cores {
    pub(super) liveness: liveness::State,
    pub(super) registry: registry::State,
    pub(super) sessions: BTreeMap<usize, Running>,
    pub(super) tickets: BTreeMap<u64, Ticket>,
    pub(super) members_changed: bool,
    pub(super) unsaved: Vec<Arc<Verified>>,
    /// The newest tombstone that this node has held of each key.
    pub(super) tombstones: BTreeMap<RecordKey, Version>,
    pub(super) ticks: u64,
}

/// What is wrong with a node from the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Character {
    pub(super) skew_ms: i64,
    /// Its clock is so wrong that others refuse what it says, or it what they say.
    pub(super) mad: bool,
    pub(super) stalled: bool,
    pub(super) liar: bool,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) owner: OwnerKey,
    pub(super) key: NodeKey,
    pub(super) cores: Option<Cores>,
    pub(super) disk: Disk,
    pub(super) character: Character,
    /// Counts its starts; what was meant for a former life does not reach a later one.
    pub(super) life: u32,
    pub(super) started_ms: u64,
    pub(super) gone_for_good: bool,
    /// When its last stop began and ends.
    pub(super) stopped: (u64, u64),
    pub(super) inbox: Vec<Mail>,
    pub(super) wanted: BTreeSet<usize>,
    pub(super) bootstrap: Vec<usize>,
    /// With whom it was ever linked: the peer cache, which survives a crash.
    pub(super) cache: BTreeSet<usize>,
    pub(super) number: u64,
}

/// The federation of all worlds.
pub(super) fn network() -> NetworkId {
    NetworkId::new(&NetworkName::default(), None)
}

impl Node {
    pub(super) fn new(secret: [u8; 32], character: Character, number: u64) -> Self {
        let owner = OwnerKey::new(&secret, network());
        Self {
            key: owner.node_key(),
            owner,
            cores: None,
            disk: Disk::default(),
            character,
            life: 0,
            started_ms: 0,
            gone_for_good: false,
            stopped: (0, 0),
            inbox: Vec::new(),
            wanted: BTreeSet::new(),
            bootstrap: Vec::new(),
            cache: BTreeSet::new(),
            number,
        }
    }

    pub(super) const fn runs(&self) -> bool {
        self.cores.is_some()
    }

    pub(super) const fn is_stopped(&self, now_ms: u64) -> bool {
        now_ms < self.stopped.1
    }

    /// True if it takes part now.
    pub(super) const fn answers(&self, now_ms: u64) -> bool {
        self.runs() && !self.is_stopped(now_ms)
    }

    /// What its clock shows.
    pub(super) fn wall_ms(&self, now_ms: u64) -> u64 {
        let true_ms = EPOCH_MS + i64::try_from(now_ms).unwrap_or(i64::MAX / 2);
        u64::try_from(true_ms + self.character.skew_ms).unwrap_or_default()
    }

    /// True if what it holds and says counts in the end.
    pub(super) const fn is_sane(&self) -> bool {
        !self.character.mad && !self.character.liar
    }

    /// Fresh cores with what lies on the disk, and what the node says of itself.
    pub(super) fn start(
        &mut self,
        now_ms: u64,
        liveness_config: &liveness::Config,
        registry_config: &registry::StateConfig,
    ) -> NodeRecord {
        let wall_ms = self.wall_ms(now_ms);
        let start = liveness::Start {
            me: self.key,
            network: network(),
            incarnation: wall_ms,
            seed: self.number ^ (u64::from(self.life) << 32),
        };
        let mut registry = registry::State::new(self.owner.clone(), registry_config.clone());
        let loaded = self.disk.records.values().cloned().map(registry::Input::Loaded);
        for input in std::iter::once(registry::Input::Mark(self.disk.mark)).chain(loaded) {
            registry.handle(wall_ms, input);
        }
        self.life += 1;
        self.started_ms = now_ms;
        self.stopped = (0, 0);
        self.cores = Some(Cores {
            liveness: liveness::State::new(start, Box::new(Seals(self.key)), liveness_config.clone()),
            registry,
            sessions: BTreeMap::new(),
            tickets: BTreeMap::new(),
            members_changed: true,
            unsaved: Vec::new(),
            tombstones: BTreeMap::new(),
            ticks: 0,
        });
        NodeRecord {
            created_ms: EPOCH_MS.unsigned_abs(),
            name: format!("node {}", self.number),
            addresses: vec![format!("/dns4/node-{}/tcp/4001", self.number)],
            public_url: format!("http://node-{}:4000", self.number),
            version: "0.1.0".to_owned(),
            incarnation: wall_ms,
            ..NodeRecord::default()
        }
    }

    /// The process ends. What was not saved is lost.
    pub(super) fn end(&mut self) {
        self.cores = None;
        self.inbox.clear();
        self.wanted.clear();
    }
}

/// Signatures that are cheap to make, and that nobody in a world forges: what liars send is wrong on purpose.
#[derive(Debug)]
pub(super) struct Seals(pub(super) NodeKey);

impl liveness::Notary for Seals {
    fn sign(&self, statement: &[u8]) -> Signature {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(blake3::keyed_hash(self.0.as_bytes(), statement).as_bytes());
        Signature(signature)
    }

    fn verify(&self, signer: &NodeKey, statement: &[u8], signature: &Signature) -> bool {
        Self(*signer).sign(statement) == *signature
    }
}
