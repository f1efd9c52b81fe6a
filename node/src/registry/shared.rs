//! What the registry's tasks and its handle have in common: how to ask the loop, what readers see, the peers.

use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{EntryId, Envelope, EnvelopeError, Verified, Verifier};
use tokio::sync::{mpsc, oneshot, watch};

use super::actor::{self, Ask};
use super::metrics::Metrics;
use super::peers::Peers;
use super::state::{Asker, Change};
use super::view::View;
use super::{Config, Error};
use crate::permits::Permits;

/// Envelopes that are verified on the task that has them; more go to a thread that may block. 8 take half a
/// millisecond.
const VERIFY_HERE_MAX: usize = 8;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) me: NodeKey,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) peers: Arc<dyn Peers>,
    pub(super) verifier: Verifier,
    pub(super) metrics: Metrics,
    pub(super) config: Config,
    pub(super) permits: Permits,
}

/// An envelope of a message is bad, and with it the message.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) error: EnvelopeError,
}

impl Shared {
    /// The registry as it is now.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Has an entry changed.
    pub(super) async fn write(
        &self,
        entry: EntryId,
        change: Change,
        asker: Asker,
    ) -> Result<Arc<Verified>, Error> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Write { entry, change, asker, reply };
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// Hands envelopes to the loop; how many were news. Nothing if the registry has stopped.
    pub(super) async fn merge(&self, from: NodeKey, records: Vec<Arc<Verified>>) -> Option<usize> {
        if records.is_empty() {
            return Some(0);
        }
        let (reply, news) = oneshot::channel();
        self.asks.send(Ask::Merge { from, records, reply }).await.ok()?;
        news.await.ok()
    }

    /// Verifies all envelopes of a message, or finds the first bad one.
    pub(super) async fn verify(&self, envelopes: Vec<Envelope>) -> Result<Vec<Arc<Verified>>, Bad> {
        if envelopes.len() <= VERIFY_HERE_MAX {
            return verify(&self.verifier, envelopes);
        }
        let verifier = self.verifier.clone();
        let work = tokio::task::spawn_blocking(move || verify(&verifier, envelopes));
        work.await.unwrap_or(Ok(Vec::new()))
    }

    /// Counts a bad envelope and holds it against the peer that sent it.
    pub(super) async fn blame(&self, peer: NodeKey, error: &EnvelopeError) {
        self.metrics.bad(error);
        tracing::debug!(assets_db_id = %peer.assets_db_id(), %error, "a bad envelope in a message");
        self.peers.penalise(peer, actor::offence(error)).await;
    }
}

fn verify(verifier: &Verifier, envelopes: Vec<Envelope>) -> Result<Vec<Arc<Verified>>, Bad> {
    let one = |envelope| verifier.verify(envelope).map(Arc::new).map_err(|error| Bad { error });
    envelopes.into_iter().map(one).collect()
}
