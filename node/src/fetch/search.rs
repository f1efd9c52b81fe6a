//! Looks for providers: asks every member that may be alive whether it holds a blob. What a member says is proven before
//! it counts, so a liar is no provider, and a size is known before a byte is promised.

use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use futures_util::{StreamExt, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::ask::{self, Fault};
use super::shared::Shared;
use crate::liveness::PeerState;

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
    /// Those that may be alive: they were asked.
    pub asked: u64,
    /// Those that answered.
    pub answered: u64,
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
    coverage.asked = asked.len() as u64;
    tell.send_modify(|search| search.coverage = coverage);
    let answers = stream::iter(asked).map(|(_, key)| {
        let shared = &shared;
        async move { (key, one(shared, key, &id).await) }
    });
    let mut answers = answers.buffer_unordered(ASKED_AT_ONCE);
    while let Some((key, answer)) = answers.next().await {
        if matches!(answer, Err(Fault::False(_))) {
            shared.blame(key, &id, "it claims to hold it").await;
        }
        tell.send_modify(|search| search.take(key, answer));
    }
    tell.send_modify(|search| search.is_over = true);
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
