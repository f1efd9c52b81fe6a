//! Summaries of other nodes' rows: pulled while questions are asked, and used to spare members that hold nothing of
//! what is asked. It rules a member out only by a summary that is fresh; it asks no question itself.

mod actor;
mod given;
mod held;
mod metrics;
mod network;
mod pull;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::summary::Probe;
use tokio::sync::{Notify, Semaphore, mpsc};

use crate::actor::Tasks;
use crate::catalog::{Catalog, OwnSummary};
use crate::swarm::{Service, Swarm};
use held::Held;
use metrics::Metrics;
use network::{Network, Peers};

/// How summaries are used.
#[derive(Debug, Clone)]
pub struct Config {
    /// Members, this node included, up to which every one is asked. 16: so few are asked in one round, and answers stay
    /// exact without any wait.
    pub asked_always: usize,
    /// How long a summary is fresh. 30 s: a member that does not say that it has changed is believed no longer.
    pub fresh_for: Duration,
    /// When a summary that is in use is pulled again. 20 s: before it is too old.
    pub renewed_after: Duration,
    /// How long a member may be silent and its summary still fresh. 3 s: pings come each second and are seen up to a
    /// second late; a member that is cut off cannot say that it has changed.
    pub silent_max: Duration,
    /// Memory for the summaries of others, in bytes. 64 MiB: a thousand nodes of some thousand rows, or sixteen of a
    /// million.
    pub bytes_max: usize,
    /// Summaries pulled at once. 8: a federation of 64 is known after eight rounds.
    pub pulls_at_once: usize,
    /// Least time between two pulls of one summary. 250 ms: below that it is cheaper to ask.
    pub pull_pause: Duration,
    /// Longest time between them, for a summary that never spares a question. 30 s.
    pub pull_pause_max: Duration,
    /// What is added to the pause for each MiB of the summary. 8 s: 128 kB/s a member.
    pub pull_pause_mib: Duration,
    /// How long a member may take to answer. 3 s.
    pub answer_within: Duration,
    /// Members that are told of changes. 1024: more are given no summary.
    pub subscribers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            asked_always: 16,
            fresh_for: Duration::from_secs(30),
            renewed_after: Duration::from_secs(20),
            silent_max: Duration::from_secs(3),
            bytes_max: 64 << 20,
            pulls_at_once: 8,
            pull_pause: Duration::from_millis(250),
            pull_pause_max: Duration::from_secs(30),
            pull_pause_mib: Duration::from_secs(8),
            answer_within: Duration::from_secs(3),
            subscribers_max: 1024,
        }
    }
}

/// What the summary of a member says of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no fresh one: the member must be asked.
    Unknown,
    /// It may hold what is looked for.
    May,
    /// It does not. Holds for what was committed there by this time since 1970, and almost surely for later.
    Not(Duration),
}

/// Knows what others hold, roughly. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Summaries {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    own: OwnSummary,
    peers: Arc<dyn Peers>,
    held: Mutex<Held>,
    /// Wakes the loop when a summary is wanted.
    wanted: Notify,
    /// Turns at telling peers of a change.
    telling: Semaphore,
    metrics: Metrics,
    config: Config,
}

/// Peers that are told of a change at once. A federation of 64 is told in one round.
const TELLING_AT_ONCE: usize = 64;

/// Questions of peers that wait for the loop, which answers each at once.
const MAILBOX: usize = 256;

impl Summaries {
    /// Begins to offer this node's summary and to pull those of others.
    pub(crate) fn start(tasks: &mut Tasks, catalog: &Catalog, swarm: &Swarm, config: Config) -> Self {
        let (to_summaries, asks) = mpsc::channel(MAILBOX);
        let this = Self::on(catalog.summary(), Arc::new(Network::new(swarm.clone())), config);
        swarm.attach_service(Service::Summary, to_summaries);
        let shared = Arc::clone(&this.shared);
        tasks.run("summaries", |stop| async move {
            stop.run_until_cancelled(actor::run(shared, asks)).await;
        });
        this
    }

    /// For nodes of tests that are too few for summaries.
    #[cfg(test)]
    pub(crate) fn of_nobody(catalog: &Catalog) -> Self {
        Self::on(catalog.summary(), Arc::new(network::Nobody), Config::default())
    }

    fn on(own: OwnSummary, peers: Arc<dyn Peers>, config: Config) -> Self {
        let held = Mutex::new(Held::new(config.clone()));
        let (wanted, telling) = (Notify::new(), Semaphore::new(TELLING_AT_ONCE));
        let metrics = Metrics::default();
        Self { shared: Arc::new(Shared { own, peers, held, wanted, telling, metrics, config }) }
    }

    /// What is known of each of these members, in a federation of so many, and has what is not known pulled.
    pub(crate) fn judge(&self, members: usize, peers: &[NodeKey], probe: &Probe) -> Vec<Verdict> {
        if members <= self.shared.config.asked_always || *probe == Probe::Anything {
            return vec![Verdict::Unknown; peers.len()];
        }
        let (now, links) = (Instant::now(), self.shared.peers.links());
        let mut held = self.shared.held();
        let fresh: Vec<_> = peers.iter().map(|peer| held.fresh(now, *peer, links.get(peer))).collect();
        let is_wanted = held.is_wanted(now);
        drop(held);
        if is_wanted {
            self.shared.wanted.notify_one();
        }
        let verdict = |fresh: &Option<held::Fresh>| match fresh {
            None => Verdict::Unknown,
            Some(fresh) if fresh.summary.may_hold(probe) => Verdict::May,
            Some(fresh) => Verdict::Not(fresh.as_of),
        };
        let verdicts: Vec<_> = fresh.iter().map(verdict).collect();
        let spared = verdicts.iter().zip(peers).filter(|(verdict, _)| matches!(verdict, Verdict::Not(_)));
        let spared = self.shared.held().were_useful(spared.map(|(_, peer)| *peer));
        self.shared.metrics.spared.inc_by(spared);
        verdicts
    }

    /// Counts members that might have held something, were asked for it, and held nothing.
    pub(crate) fn were_wrong(&self, count: u64) {
        self.shared.metrics.wrong.inc_by(count);
    }

    /// When the summary of each member that has one was pulled, as time since 1970.
    #[must_use]
    pub fn as_of(&self) -> BTreeMap<NodeKey, Duration> {
        self.shared.held().as_of()
    }

    /// Adds the metrics.
    pub(crate) fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.shared.metrics.register(registry);
    }
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
