//! The swarm: this node's place in the peer network. It keeps links to other nodes, spreads gossip and carries
//! requests. It knows no registry and no files: what it carries are bytes, and those above register a mailbox.

mod actor;
mod address;
mod behaviour;
mod busy;
mod closing;
mod crowd;
mod exchange;
mod gathered;
mod limits;
mod metrics;
mod network_key;
mod peers;
mod security;
mod state;
mod streams;
#[cfg(test)]
mod tests;
mod transport;

pub(crate) use busy::while_busy;
pub use limits::{
    ANSWER_BYTES_MAX, GOSSIP_BYTES_MAX, REQUEST_BYTES_MAX, SERVED_STREAMS_MAX, SERVED_STREAMS_PER_PEER_MAX,
    STREAMS_WAITING_MAX, answer_bytes_max, request_bytes_max,
};
pub use metrics::Metrics;
pub use network_key::{NetworkKeyError, network_id};
pub use streams::{Incoming, PeerStream};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::{NetworkId, NetworkName};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::actor::Tasks;
use crate::identity::Identity;

/// How the swarm reaches others and is reached.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the peer cache lies.
    pub data_dir: PathBuf,
    /// The federation's name. Nodes of another name are not linked.
    pub network: NetworkName,
    /// The file of the pre-shared key that closes the federation. Its owner alone may read it.
    pub network_key: Option<PathBuf>,
    /// Multiaddrs to listen on. Port 0 takes a free port.
    pub listen: Vec<String>,
    /// Multiaddrs of nodes to begin with, with or without `/p2p/<peer id>`. Retried for ever.
    pub bootstrap: Vec<String>,
    /// Whether to look for nodes in the local network. Off: it tells everybody there that this node exists.
    pub mdns: bool,
    /// What the swarm goes by. A test gives another.
    pub clock: Clock,
}

impl Config {
    /// Whether strangers cannot join: there is a network key, or only this machine reaches the node.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.network_key.is_some() || self.listen.iter().all(|listen| address::is_loopback(listen))
    }
}

/// Tells the time since some start.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Instant + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    fn now(&self) -> Instant {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl Default for Clock {
    /// The system's monotonic clock.
    fn default() -> Self {
        Self::new(Instant::now)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("assetmesh-data"),
            network: NetworkName::default(),
            network_key: None,
            listen: vec!["/ip4/127.0.0.1/tcp/4001".to_owned()],
            bootstrap: Vec::new(),
            mdns: false,
            clock: Clock::default(),
        }
    }
}

/// Why the swarm did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A text is not a multiaddr that this node can use.
    #[error("`{address}` is no address to {purpose}: {reason}")]
    BadAddress {
        /// The text as it was given.
        address: String,
        /// What it was given for: `listen on` or `begin with`.
        purpose: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen for peers on {address}: {reason}")]
    Listen {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The network key cannot be used.
    #[error(transparent)]
    NetworkKey(#[from] NetworkKeyError),
    /// A part of the peer network cannot be set up.
    #[error("cannot set up {part}: {reason}")]
    Setup {
        /// What was set up.
        part: &'static str,
        /// What was said.
        reason: String,
    },
}

/// Why the swarm did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than may be sent.
    #[error("{bytes} bytes are too many, at most {bytes_max} may be sent")]
    TooLarge {
        /// How many there were.
        bytes: usize,
        /// How many there may be.
        bytes_max: usize,
    },
    /// The peer is not linked and cannot be reached.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// The peer did not answer in time.
    #[error("the peer did not answer within {0:?}")]
    Timeout(Duration),
    /// The peer took the request and gave no answer, or does not offer the service.
    #[error("the peer refused the request")]
    Refused,
    /// The peer, or this node's gossip, has too much to do; or the answer was lost before its first byte.
    #[error("too many requests are waiting")]
    Busy,
    /// This node asks the peer too much already. Nothing was sent.
    #[error("too many requests to the peer are waiting, and this one was not sent")]
    NotSent,
    /// The peer's answer is longer than [`answer_bytes_max`] or makes no sense.
    #[error("the peer's answer is not acceptable: {0}")]
    BadAnswer(String),
    /// The swarm was rebuilt while the request was under way. Whether the peer acted on it is not known.
    #[error("the peer network was interrupted")]
    Interrupted,
    /// The node is stopping.
    #[error("the swarm has stopped")]
    Stopped,
}

impl Error {
    /// The kind of error, as metrics name it.
    const fn name(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Refused => "refused",
            Self::Busy => "busy",
            Self::NotSent => "not_sent",
            Self::BadAnswer(_) => "bad_answer",
            Self::Interrupted => "interrupted",
            Self::Stopped => "stopped",
        }
    }
}

/// One connected peer of this federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The multiaddr it is reached at, without `/p2p`.
    pub address: String,
    /// The last round trip; `None` before the first ping came back.
    pub rtt: Option<Duration>,
    /// When the link came up.
    pub since: Instant,
    /// When the newest of its connections was opened. What a peer was told before may be forgotten there: the peer may
    /// have begun a new life.
    pub renewed: Instant,
    /// When a ping last came back. Shown with the next look, so up to a second late.
    pub heard: Instant,
}

/// All links at one time.
pub type Links = Arc<BTreeMap<NodeKey, Link>>;

/// A gossip message that waits for a verdict. It goes to other peers only if accepted; a dropped `verdict`, or none
/// within a few seconds, counts as [`Verdict::Ignore`].
#[derive(Debug)]
pub struct Gossip {
    /// The peer that passed it on; not necessarily its author.
    pub from: NodeKey,
    /// The message.
    pub bytes: Vec<u8>,
    /// Where the verdict goes.
    pub verdict: oneshot::Sender<Verdict>,
}

/// What to do with a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Keep it here; nobody is to blame.
    Ignore,
    /// Keep it here, and hold it against the peer that sent it.
    Reject,
}

impl Verdict {
    /// The verdict, as metrics name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Ignore => "ignore",
            Self::Reject => "reject",
        }
    }
}

/// A peer's request. A dropped `answer` tells the peer that it was refused.
#[derive(Debug)]
pub struct Request {
    /// Who asks.
    pub from: NodeKey,
    /// What is asked.
    pub body: Vec<u8>,
    /// Where the answer goes, at most [`answer_bytes_max`].
    pub answer: oneshot::Sender<Vec<u8>>,
    /// Its share of what long requests may take; held as long as the request is.
    #[expect(dead_code, reason = "held until the request is dropped, never read")]
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// What a request is for. Each is a protocol of its own on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Anti-entropy of the registry.
    Registry,
    /// Suspicions, confirmations, refutations.
    Liveness,
    /// Writes that belong to another owner.
    Forward,
    /// Queries.
    Query,
    /// Changes of assets that belong to another node.
    Write,
    /// Summaries of rows, and that they have changed.
    Summary,
    /// Where the input assets of an account are.
    Nvcf,
}

impl Service {
    /// The service's part of its protocol name.
    const fn name(self) -> &'static str {
        match self {
            Self::Registry => "registry",
            Self::Liveness => "liveness",
            Self::Forward => "forward",
            Self::Query => "query",
            Self::Write => "write",
            Self::Summary => "summary",
            Self::Nvcf => "nvcf",
        }
    }
}

/// What happens to links. A mailbox that is full loses events; [`Swarm::links`] always tells the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkEvent {
    /// A peer of this federation is connected.
    Up {
        /// The peer.
        peer: NodeKey,
    },
    /// The last connection to it has closed.
    Down {
        /// The peer.
        peer: NodeKey,
    },
    /// It answered a ping.
    Heard {
        /// The peer.
        peer: NodeKey,
        /// How long the ping took.
        rtt: Duration,
    },
}

/// What a peer did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// It sent what only another could have signed, or a signature that does not fit.
    Forged,
    /// It sent what cannot be read.
    Malformed,
    /// It sent more than may be sent.
    Oversized,
    /// It sent more often than it may.
    Flooding,
    /// It sent content that is not what it was asked for.
    FalseContent,
}

impl Offence {
    /// The offence, as metrics name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::Oversized => "oversized",
            Self::Flooding => "flooding",
            Self::FalseContent => "false_content",
        }
    }
}

/// Asks the swarm. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Swarm {
    mailbox: mpsc::Sender<actor::Command>,
    attached: Arc<watch::Sender<Attached>>,
    listening: watch::Receiver<Vec<String>>,
    links: watch::Receiver<Links>,
    opener: watch::Receiver<streams::Opener>,
    network_id: NetworkId,
    metrics: Metrics,
}

/// The mailboxes of those above. They outlive a rebuild.
#[derive(Debug, Clone, Default)]
struct Attached {
    gossip: Option<mpsc::Sender<Gossip>>,
    links: Vec<mpsc::Sender<LinkEvent>>,
    services: BTreeMap<Service, mpsc::Sender<Request>>,
    streams: Option<mpsc::Sender<Incoming>>,
}

impl Swarm {
    /// Joins the federation. All listeners are bound when this returns.
    ///
    /// # Errors
    /// When an address, the network key or a port cannot be used; the error names it. Nothing is left running.
    pub fn start(tasks: &mut Tasks, identity: &Identity, config: Config) -> Result<Self, StartError> {
        actor::start(tasks, identity, config)
    }

    /// Where peers can connect: multiaddrs as really bound, without `/p2p`. A wildcard address is listed as the
    /// addresses of the interfaces, a moment after the start.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<String> {
        self.listening.borrow().clone()
    }

    /// Like [`Swarm::listen_addrs`], and tells when it changes.
    #[must_use]
    pub fn listening(&self) -> watch::Receiver<Vec<String>> {
        self.listening.clone()
    }

    /// The peers that are connected now, and a way to see changes. Round trips are renewed about once a second.
    #[must_use]
    pub fn links(&self) -> watch::Receiver<Links> {
        self.links.clone()
    }

    /// What signatures in this federation are bound to: its name, and its key if it is closed.
    #[must_use]
    pub const fn network_id(&self) -> NetworkId {
        self.network_id
    }

    /// What the swarm counts.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes gossip from now on. A message that finds the mailbox full is ignored.
    pub fn attach_gossip(&self, to: mpsc::Sender<Gossip>) {
        self.attached.send_modify(|attached| attached.gossip = Some(to));
    }

    /// Takes link events from now on, beside those who take them already.
    pub fn attach_links(&self, to: mpsc::Sender<LinkEvent>) {
        self.attached.send_modify(|attached| attached.links.push(to));
    }

    /// Takes the requests of one service from now on. One that finds the mailbox full is answered "busy".
    pub fn attach_service(&self, service: Service, to: mpsc::Sender<Request>) {
        self.attached.send_modify(|attached| {
            attached.services.insert(service, to);
        });
    }

    /// Takes the streams that peers open from now on. One that finds the mailbox full is answered "busy".
    pub fn attach_streams(&self, to: mpsc::Sender<Incoming>) {
        self.attached.send_modify(|attached| attached.streams = Some(to));
    }

    /// Opens a stream to a peer. Without a link to it one is made first.
    ///
    /// # Errors
    /// When the peer cannot be reached or does not take it in time, or takes no streams.
    pub async fn open_stream(&self, peer: NodeKey, within: Duration) -> Result<PeerStream, Error> {
        let opened = async {
            if self.links.borrow().contains_key(&peer) {
                // Only tells that the link is used; a full mailbox will hear of it another time.
                self.mailbox.try_send(actor::Command::Using(peer)).ok();
            } else {
                let (reply, linked) = oneshot::channel();
                self.tell(actor::Command::Link { peer, reply }).await?;
                linked.await.map_err(|_| self.lost())??;
            }
            let opener = self.opener.borrow().clone();
            opener.open(peer).await
        };
        tokio::time::timeout(within, opened).await.map_err(|_| Error::Timeout(within))?
    }

    /// Hands a message to the gossip of the federation. It is not an error that nobody is there to hear it.
    ///
    /// # Errors
    /// When it is longer than [`GOSSIP_BYTES_MAX`], too much waits to be sent, or the swarm has stopped.
    pub async fn publish(&self, bytes: Vec<u8>) -> Result<(), Error> {
        bounded(&bytes, GOSSIP_BYTES_MAX)?;
        let (reply, done) = oneshot::channel();
        self.tell(actor::Command::Publish { bytes, reply }).await?;
        done.await.map_err(|_| self.lost())?
    }

    /// Asks a peer and waits for its answer, at most `within`.
    ///
    /// # Errors
    /// When the body is longer than [`request_bytes_max`], or the peer is away, silent, busy or unwilling.
    pub async fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Vec<u8>, Error> {
        bounded(&body, request_bytes_max(service))?;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.tell(actor::Command::Request { peer, service, body, reply }).await?;
            answer.await.map_err(|_| self.lost())?
        };
        tokio::time::timeout(within, asked).await.map_err(|_| Error::Timeout(within))?
    }

    /// Learns where a member says that it listens. Texts that are no usable address are passed over.
    pub async fn know(&self, peer: NodeKey, addresses: Vec<String>) {
        self.tell(actor::Command::Know { peer, addresses }).await.ok();
    }

    /// Keeps links to these peers, and dials them again when they are lost. Replaces the former set.
    pub async fn want(&self, peers: BTreeSet<NodeKey>) {
        self.tell(actor::Command::Want(peers)).await.ok();
    }

    /// Cuts these peers off and refuses them. Replaces the former set.
    pub async fn block(&self, peers: BTreeSet<NodeKey>) {
        self.tell(actor::Command::Block(peers)).await.ok();
    }

    /// Holds an offence against a peer. Repeated ones end in a ban for some minutes.
    pub async fn penalise(&self, peer: NodeKey, offence: Offence) {
        self.tell(actor::Command::Penalise { peer, offence }).await.ok();
    }

    async fn tell(&self, command: actor::Command) -> Result<(), Error> {
        self.mailbox.send(command).await.map_err(|_| Error::Stopped)
    }

    /// Why a question that was taken has no answer.
    fn lost(&self) -> Error {
        if self.mailbox.is_closed() { Error::Stopped } else { Error::Interrupted }
    }
}

fn bounded(bytes: &[u8], bytes_max: usize) -> Result<(), Error> {
    let bytes = bytes.len();
    if bytes > bytes_max { Err(Error::TooLarge { bytes, bytes_max }) } else { Ok(()) }
}
