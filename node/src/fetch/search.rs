//! Looks for providers: asks every member that may be alive whether it holds a blob. What a member says is proven before
//! it counts, so a liar is no provider, and a size is known before a byte is promised.

use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use assetmesh_protocol::summary::Probe;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::ask::{self, Fault};
use super::shared::Shared;
use crate::liveness::PeerState;
use crate::summaries::Verdict;

/// Members that are asked at once.
const ASKED_AT_ONCE: usize = 32;

/// How long a member whose answer did not come is left alone before it is asked again, while there is time.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// What is known of a blob that is not here, so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// From the first who proved that it holds the blob.
    pub(super) found: Option<Arc<Head>>,
    /// All who did, in the order of their answers.
    pub(super) providers: Vec<NodeKey>,
    pub(super) coverage: Coverage,
    pub(super) is_over: bool,
}

/// A blob that others hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) facts: FileFacts,
    pub(super) from: NodeKey,
}

/// Who was asked, and who could not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Other members.
    pub known: u64,
    /// Those that may be alive and were asked.
    pub asked: u64,
    /// Those that answered.
    pub answered: u64,
    /// Those that were not asked, because their summaries say that they do not hold it and another does.
    pub pruned: u64,
    /// Those that left in order.
    pub departed: u64,
    /// Those that did not answer, and why.
    pub missing: Vec<(NodeKey, Missing)>,
}

/// Why a member did not answer whether it holds a blob.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It is not there.
    #[error("it is down")]
    Down,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// It had too much to do.
    #[error("it was busy")]
    Busy,
    /// It answered with something that is not the content.
    #[error("it sent false content")]
    False,
    /// It could not be reached, or does not answer such questions.
    #[error("{0}")]
    Failed(String),
}

impl Coverage {
    /// Whether somebody claimed to hold the blob and could not prove it.
    #[must_use]
    pub fn has_liar(&self) -> bool {
        self.missing.iter().any(|(_, why)| *why == Missing::False)
    }
}

/// Asks all, and tells of each answer at once.
pub(super) async fn run(shared: Arc<Shared>, id: AssetId, tell: watch::Sender<Search>) {
    shared.metrics.searches.inc();
    let peers = shared.peers.borrow().clone();
    let (mut asked, mut coverage) = (Vec::new(), Coverage::default());
    for (key, fact) in peers.iter() {
        coverage.known += 1;
        match fact.state {
            PeerState::Alive | PeerState::Suspect => asked.push((fact.rtt, *key)),
            PeerState::Left => coverage.departed += 1,
            PeerState::Down => coverage.missing.push((*key, Missing::Down)),
        }
    }
    // Near ones first: an unknown distance is a far one.
    asked.sort_by_key(|(rtt, key)| (rtt.is_none(), *rtt, *key));
    tell.send_modify(|search| search.coverage = coverage);
    let asked: Vec<NodeKey> = asked.into_iter().map(|(_, key)| key).collect();
    let (likely, others) = parted(&shared, asked, &id);
    ask_all(&shared, likely, &id, &tell).await;
    // A summary knows what records name. Content may lie elsewhere too, so that nobody is ruled out for good.
    if tell.borrow().found.is_none() {
        ask_all(&shared, others, &id, &tell).await;
    } else {
        tell.send_modify(|search| search.coverage.pruned = others.len() as u64);
    }
    tell.send_modify(|search| search.is_over = true);
}

/// Those that may hold a blob, and those that do not by their summaries. Both stay in order.
fn parted(shared: &Shared, asked: Vec<NodeKey>, id: &AssetId) -> (Vec<NodeKey>, Vec<NodeKey>) {
    let verdicts = shared.summaries.judge(asked.len() + 1, &asked, &Probe::of_blob(id));
    let judged = asked.into_iter().zip(verdicts);
    let (others, likely): (Vec<_>, Vec<_>) =
        judged.partition(|(_, verdict)| matches!(verdict, Verdict::Not(_)));
    let keys = |judged: Vec<(NodeKey, Verdict)>| judged.into_iter().map(|(key, _)| key).collect();
    (keys(likely), keys(others))
}

async fn ask_all(shared: &Shared, keys: Vec<NodeKey>, id: &AssetId, tell: &watch::Sender<Search>) {
    tell.send_modify(|search| search.coverage.asked += keys.len() as u64);
    let answers = stream::iter(keys).map(|key| async move { (key, one(shared, key, id).await) });
    let mut answers = answers.buffer_unordered(ASKED_AT_ONCE);
    while let Some((key, answer)) = answers.next().await {
        if matches!(answer, Err(Fault::False(_))) {
            shared.blame(key, id, "it claims to hold it").await;
        }
        if let Err(fault) = &answer {
            tracing::debug!(asset_id = %id, assets_db_id = %key.assets_db_id(), "no head: {fault}");
        }
        tell.send_modify(|search| search.take(key, answer));
    }
}

async fn one(shared: &Shared, key: NodeKey, id: &AssetId) -> Result<Head, Fault> {
    let within = shared.config.head_within;
    let ends = Instant::now() + within;
    let mut fault = Fault::Stalled(within);
    let head = loop {
        let asked = async {
            let _place = shared.places.head(key).await;
            match shared.swarm.open_stream(key, within).await {
                Ok(stream) => ask::head(stream, id, within).await.map_err(|fault| (fault, true)),
                Err(error) => Err((Fault::from(error), false)),
            }
        };
        match timeout_at(ends, asked).await {
            Ok(Ok(head)) => break head,
            // A stream that the peer dropped for want of room, or one that went with a connection: of two to the same
            // peer one is closed, and the other is as good.
            Ok(Err((again @ (Fault::Busy | Fault::Lost(_)), true))) => fault = again,
            Ok(Err((Fault::Busy, _))) => fault = Fault::Busy,
            Ok(Err((last, _))) => return Err(last),
            Err(_) => return Err(fault),
        }
        sleep(AGAIN_AFTER).await;
    };
    Ok(Head { size: head.size, facts: head.facts(), from: key })
}

impl Search {
    fn take(&mut self, key: NodeKey, answer: Result<Head, Fault>) {
        let why = match answer {
            Ok(head) => {
                self.coverage.answered += 1;
                self.providers.push(key);
                self.found.get_or_insert_with(|| Arc::new(head));
                return;
            }
            Err(Fault::Absent) => {
                self.coverage.answered += 1;
                return;
            }
            Err(Fault::Stalled(_)) => Missing::TimedOut,
            Err(Fault::Busy) => Missing::Busy,
            Err(Fault::False(_)) => Missing::False,
            Err(fault @ (Fault::Refused | Fault::Lost(_))) => Missing::Failed(fault.to_string()),
        };
        self.coverage.missing.push((key, why));
    }
}
