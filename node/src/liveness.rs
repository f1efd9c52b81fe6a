//! Liveness: who of the members is alive, as this node sees it. It listens to answered pings, asks others before it
//! gives a peer up, and spreads and refutes signed claims. It never changes the registry and moves no asset.

mod actor;
mod claims;
mod doubts;
mod health;
mod metrics;
mod notary;
mod phi;
mod random;
mod ring;
mod state;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::Signature;
use assetmesh_protocol::network::NetworkId;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::actor::{Gone, Mailbox, Tasks};
use crate::identity::Identity;
use crate::swarm::Swarm;
use metrics::Metrics;

pub use state::{Input, Output, Start, State};

/// When liveness doubts, asks and gives up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between two looks at all peers. Half a second: small beside the seconds that judgement takes.
    pub tick: Duration,
    /// Members, this node included, up to which everybody watches everybody. 64 nodes make 63 links a node.
    pub mesh_max: usize,
    /// Members that are watched at most; those beyond are not judged. 4 096: finding all monitors takes a tenth of a second
    /// then, and whoever makes up nodes by the ten thousand gets no more of anybody's time.
    pub members_max: usize,
    /// How surprising a silence must be before it is doubted: one in 10⁸ regular answers comes later.
    pub phi: f32,
    /// Silence that is forgiven on top while the link is up: two pings may be lost in a row. Nothing is forgiven when
    /// the link has closed.
    pub pause: Duration,
    /// The same where monitors watch. 4 s: a suspicion is told to the whole federation there, and a stall of 8 s is over
    /// before two monitors agree; a crash is still known to all within 25 s.
    pub monitors_pause: Duration,
    /// How long a round of asking waits for a proof. In a mesh one round leads to `suspect` and another to `down`.
    pub round: Duration,
    /// How long a peer of a mesh has been silent at least when it is called `down`. 7 s: with a doubt after 5 s and two
    /// rounds that stays below 10 s, and a node that stalls for less is left alone even if its links were reset.
    pub down_after: Duration,
    /// How long monitors wait between `suspect` and `down`. 8 s: a node that stalls for less can still refute.
    pub refute_within: Duration,
    /// How long a node waits for a refutation when it hears `down` without `suspect` before, or a claim by others than
    /// it takes for the target's monitors.
    pub hold: Duration,
    /// Time between two comparisons of all claims with one linked peer.
    pub digest_every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(500),
            mesh_max: 64,
            members_max: 4096,
            phi: 8.0,
            pause: Duration::from_secs(2),
            monitors_pause: Duration::from_secs(4),
            round: Duration::from_millis(1500),
            down_after: Duration::from_secs(7),
            refute_within: Duration::from_secs(8),
            hold: Duration::from_secs(5),
            digest_every: Duration::from_secs(10),
        }
    }
}

/// What this node thinks of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerState {
    /// It answers.
    Alive,
    /// It is silent, and nobody who was asked hears it.
    Suspect,
    /// It is given up until it is heard again; also a member that was never heard.
    Down,
    /// It stopped in order.
    Left,
}

impl PeerState {
    /// All states, in the order of their decline.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Suspect, Self::Down, Self::Left];

    /// The word for it in answers, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What made a peer's state change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It answered this node.
    Heard,
    /// Its signed answer came through another node.
    Proved,
    /// It said so itself, with this incarnation.
    Announced(u64),
    /// It has been silent for this long, and nobody who was asked passed on an answer.
    Silent(Duration),
    /// This many of its monitors say so.
    Confirmed(usize),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heard => f.write_str("it answers"),
            Self::Proved => f.write_str("its answer came through another node"),
            Self::Announced(incarnation) => write!(f, "it says so, incarnation {incarnation}"),
            Self::Silent(silence) => write!(f, "silent for {:.1} s, also to others", silence.as_secs_f32()),
            Self::Confirmed(monitors) => write!(f, "{monitors} of its monitors say so"),
        }
    }
}

/// One change of a peer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub peer: NodeKey,
    /// What it was.
    pub from: PeerState,
    /// What it is.
    pub to: PeerState,
    /// What happened.
    pub why: Why,
}

/// What is known of a member's life. Times are those of the clock that drives the state; in answers of
/// [`Liveness`] they count from 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerFact {
    /// Who.
    pub key: NodeKey,
    /// What this node thinks of it.
    pub state: PeerState,
    /// When it came into this state.
    pub since: Duration,
    /// Its last round trip, if it is linked.
    pub rtt: Option<Duration>,
    /// When it last answered, directly or through another node. Never for one that is only known from the registry,
    /// or that others watch.
    pub last_heard: Option<Duration>,
}

/// All members but this node, as this node sees them at one time.
pub type Peers = Arc<BTreeMap<NodeKey, PeerFact>>;

/// What liveness needs to know of its node.
#[derive(Debug)]
pub struct Setup {
    /// What signatures are bound to.
    pub network: NetworkId,
    /// The members of the federation, from the registry. This node may be among them.
    pub members: watch::Receiver<Arc<BTreeSet<NodeKey>>>,
    /// When it doubts, asks and gives up.
    pub config: Config,
}

/// Asks liveness. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Liveness {
    mailbox: Mailbox<actor::Question>,
    peers: watch::Receiver<Peers>,
    metrics: Metrics,
}

impl Liveness {
    /// Starts to watch the members.
    pub fn start(tasks: &mut Tasks, identity: &Identity, swarm: &Swarm, setup: Setup) -> Self {
        actor::start(tasks, identity, swarm, setup)
    }

    /// What is known of every member but this node, in the order of their keys. At most a second old, and never
    /// older than the last change of a state.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerFact> {
        self.peers.borrow().values().copied().collect()
    }

    /// What is thought of one member. `None` for a stranger, and for this node itself.
    #[must_use]
    pub fn state_of(&self, key: &NodeKey) -> Option<PeerState> {
        self.peers.borrow().get(key).map(|fact| fact.state)
    }

    /// All members but this node, and a way to see changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Peers> {
        self.peers.clone()
    }

    /// Says to the peers that this node stops in order, and waits until they have it, at most a second. To be called
    /// while the swarm still runs. Nothing is judged afterwards.
    ///
    /// # Errors
    /// When liveness has stopped already.
    pub async fn leave(&self) -> Result<(), Gone> {
        self.mailbox.ask(|reply| actor::Question::Leave { reply }).await
    }

    /// Adds the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

/// Signs for this node and checks the signatures of others. The simulator has one of its own.
pub trait Notary: fmt::Debug + Send {
    /// Signs with this node's key.
    fn sign(&self, statement: &[u8]) -> Signature;

    /// True if `signer` signed exactly this.
    fn verify(&self, signer: &NodeKey, statement: &[u8], signature: &Signature) -> bool;
}

#[cfg(test)]
mod swarm_tests;
#[cfg(test)]
mod test_world;
#[cfg(test)]
mod tests;
