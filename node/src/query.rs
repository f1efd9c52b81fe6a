//! Answers for the whole federation: filters, names, and changes of assets that belong to another node. It asks each
//! member for itself, believes no row before it has checked it, and says who did not answer. It moves no content.

mod ask;
mod check;
mod choose;
mod look;
mod merge;
mod metrics;
mod pace;
mod patience;
mod peers;
mod report;
mod serve;
mod spare;
#[cfg(test)]
mod tests;
mod write;

pub use look::{Found, Other, Place};
pub(crate) use peers::Network;
pub use report::{Counts, Missing, Report};
pub use write::Changed;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
use tokio::sync::mpsc;

use crate::actor::Tasks;
use crate::catalog::{self, Asset, Catalog};
use crate::permits::Permits;
use crate::summaries::Summaries;
use crate::swarm::Service;
use choose::Yields;
use metrics::Metrics;
use patience::{Patience, Verdict};
use peers::{Known, Peers};
use report::Outcome;

/// Longest time that anybody may have for an answer: a client, or a peer.
pub const DEADLINE_MAX: Duration = Duration::from_secs(10);

/// Whose changes of this node's assets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteWrites {
    /// Only those of clients of this node itself.
    Deny,
    /// Also those that members of the federation hand on.
    Members,
}

/// How a node asks and is asked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whose changes are taken.
    pub remote_writes: RemoteWrites,
    /// Members asked at once. 32: as many requests as a peer of ours answers us at once, and far below what is open.
    pub asked_at_once: usize,
    /// Questions of peers that are answered at once. 64: more are answered `Busy`, since they would only wait.
    pub answered_at_once: usize,
    /// How long a name is looked for, and how long a change of a uri waits for all to say whether it is theirs. 2 s, as
    /// for a query.
    pub lookup_within: Duration,
    /// How long others are waited for once an asset has been found. 300 ms: who else has it is good to know, and no
    /// reason to wait for a node that stalls.
    pub others_within: Duration,
    /// How long the owner of an asset may take to change it. 5 s: a commit on a busy disk, and longer than a permit is
    /// good for, so that no owner begins a change that has been given up.
    pub write_within: Duration,
    /// How long a member is down until it is no longer missed. A day.
    pub departed_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            remote_writes: RemoteWrites::Deny,
            asked_at_once: 32,
            answered_at_once: 64,
            lookup_within: Duration::from_secs(2),
            others_within: Duration::from_millis(300),
            write_within: Duration::from_secs(5),
            departed_after: Duration::from_secs(24 * 3600),
        }
    }
}

/// Why the federation did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// This node's catalog did not do its part.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// No node that answered has such an asset.
    #[error("no node that answered has an asset with this uri or record id")]
    NotFound(Box<Report>),
    /// Several nodes have it, and none of them is this one.
    #[error("several nodes have an asset with this uri; assets_db_id says which one is meant")]
    Ambiguous(Vec<Other>),
    /// The owner, or a node that may be the owner, did not answer. Nothing was changed.
    #[error("the owner cannot be reached, nothing was changed: {reason}")]
    OwnerUnreachable {
        /// What is known of why.
        reason: String,
        /// Who did not answer.
        report: Box<Report>,
    },
    /// The owner was told to change it and has not answered. Whether it did is not known.
    #[error("the owner has not confirmed the change: {0}")]
    Unconfirmed(String),
    /// The owner takes no changes from other nodes.
    #[error("the owner of the asset takes no changes from other nodes")]
    Forbidden,
    /// The owner does not accept the change.
    #[error("{message}")]
    OwnerRefused {
        /// The machine-readable word.
        code: String,
        /// The sentence.
        message: String,
    },
    /// The change does not fit a message to the owner.
    #[error("the change is too long to be handed to the owner of the asset")]
    ChangeTooLong,
}

/// One page of the federation's answer.
#[derive(Debug)]
pub struct Page {
    /// The rows, in order.
    pub rows: Vec<Asset>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
    /// Who answered and who did not.
    pub report: Report,
}

/// Asks the federation. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queries {
    shared: Arc<Shared>,
}

/// This node, as reports name it.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) id: AssetsDbId,
    pub(crate) name: String,
}

#[derive(Debug)]
struct Shared {
    own: Own,
    catalog: Catalog,
    peers: Arc<dyn Peers>,
    summaries: Summaries,
    patience: Mutex<Patience>,
    yields: Mutex<Yields>,
    metrics: Metrics,
    config: Config,
    permits: Permits,
}

/// Questions of peers that wait for the loop, which only hands them on.
const MAILBOX: usize = 64;

impl Queries {
    /// Begins to answer peers.
    pub(crate) fn start(
        tasks: &mut Tasks,
        own: Own,
        (catalog, summaries): (Catalog, Summaries),
        network: Network,
        config: Config,
    ) -> Self {
        let (to_queries, queries) = mpsc::channel(MAILBOX);
        let (to_writes, writes) = mpsc::channel(MAILBOX);
        let swarm = network.swarm().clone();
        let this = Self::on(own, (catalog, summaries), Arc::new(network), config);
        swarm.attach_service(Service::Query, to_queries);
        swarm.attach_service(Service::Write, to_writes);
        let shared = Arc::clone(&this.shared);
        tasks.run("query", |stop| serve::run(shared, queries, writes, stop));
        this
    }

    fn on(
        own: Own,
        (catalog, summaries): (Catalog, Summaries),
        peers: Arc<dyn Peers>,
        config: Config,
    ) -> Self {
        let (patience, yields) = (Mutex::default(), Mutex::default());
        let (metrics, permits) = (Metrics::default(), Permits::new());
        let shared = Shared { own, catalog, peers, summaries, patience, yields, metrics, config, permits };
        Self { shared: Arc::new(shared) }
    }

    /// Adds the metrics.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.shared.metrics.register(registry);
    }
}

impl Shared {
    /// Asks one peer, unless it has failed so often that it is left alone for a while. `fair` says that the time it
    /// has is enough to hold silence against it.
    async fn ask(
        &self,
        peer: &Known,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<(Vec<u8>, Attempt<'_>), Outcome> {
        let attempt = self.attempt(peer).ok_or(Outcome::LeftAlone)?;
        match self.peers.request(peer.key, service, body, within).await {
            Ok(answer) => Ok((answer, attempt)),
            Err(error) => {
                let outcome = Outcome::of(&error);
                let is_fair = !matches!(outcome, Outcome::TimedOut) || within >= FAIR;
                attempt.end(if is_fair && !matches!(outcome, Outcome::Busy | Outcome::NotSent) {
                    Verdict::Bad
                } else {
                    Verdict::None
                });
                Err(outcome)
            }
        }
    }

    fn attempt(&self, peer: &Known) -> Option<Attempt<'_>> {
        let may = self.patience().may_ask(peer.key, Instant::now());
        may.then(|| Attempt { shared: self, peer: peer.key, verdict: Verdict::None })
    }

    fn patience(&self) -> std::sync::MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn yields(&self) -> std::sync::MutexGuard<'_, Yields> {
        self.yields.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a peer that answered with what no honest node sends, and holds it against it.
    async fn blame(&self, peer: &Known, why: check::Lie) -> Outcome {
        tracing::warn!(assets_db_id = %peer.id, name = %peer.name, %why, "a peer's answer is not acceptable and was dropped");
        self.metrics.malformed.inc();
        self.peers.penalise(peer.key, crate::swarm::Offence::Malformed).await;
        Outcome::Malformed
    }
}

/// Silence within less time than this is not held against a peer.
const FAIR: Duration = Duration::from_millis(250);

/// A peer is being asked. How that ended is noted when this is dropped.
#[derive(Debug)]
struct Attempt<'s> {
    shared: &'s Shared,
    peer: NodeKey,
    verdict: Verdict,
}

impl Attempt<'_> {
    fn end(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.shared.patience().ended(self.peer, self.verdict, Instant::now());
    }
}

/// Names a question in the logs of both sides.
fn question_id() -> [u8; 16] {
    uuid::Uuid::new_v4().into_bytes()
}
