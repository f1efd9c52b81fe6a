//! What all parts of fetch need: settings, handles, counters.

use std::fmt;
use std::sync::{Arc, OnceLock};

use assetmesh_protocol::ids::{AssetId, NodeKey};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::Config;
use super::ask::Fault;
use super::held::Held;
use super::metrics::Metrics;
use super::places::{Place, Places};
use super::views::Views;
use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::liveness::Peers;
use crate::summaries::Summaries;
use crate::swarm::{Offence, PeerStream, Swarm};

/// Says whether a peer may have content that no public record names.
pub(crate) type Allowed = Arc<dyn Fn(&NodeKey, &AssetId) -> bool + Send + Sync>;

/// Asks the owner of such content. While there is none, nobody may have it.
#[derive(Default)]
pub(super) struct Private(OnceLock<Allowed>);

impl Private {
    /// Sets who is asked. The first stays.
    pub(super) fn set(&self, allowed: Allowed) {
        self.0.set(allowed).ok();
    }

    pub(super) fn allows(&self, peer: &NodeKey, id: &AssetId) -> bool {
        self.0.get().is_some_and(|allowed| allowed(peer, id))
    }
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Private").finish_non_exhaustive()
    }
}

/// Shared by the tasks of fetch.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) swarm: Swarm,
    pub(super) blobs: Blobs,
    pub(super) catalog: Catalog,
    pub(super) peers: watch::Receiver<Peers>,
    pub(super) summaries: Summaries,
    /// Room on the links to providers.
    pub(super) places: Places,
    pub(super) metrics: Metrics,
    pub(super) views: Views,
    /// KiB of content that transfers which have ended may keep for those who come a moment later.
    pub(super) lingering: Semaphore,
    /// Room for those who read private content.
    pub(super) direct: Arc<Semaphore>,
    pub(super) private: Private,
}

impl Shared {
    /// A stream to a provider that is to bring a range, and its place on the link, to be held as long. A link on which
    /// no place comes free in the time that one group may take is busy.
    pub(super) async fn open_range(&self, provider: NodeKey) -> Result<(PeerStream, Place), Fault> {
        let place = timeout(self.config.stall_after, self.places.range(provider)).await;
        let place = place.map_err(|_| Fault::Busy)?;
        Ok((self.swarm.open_stream(provider, self.config.open_within).await?, place))
    }

    /// Reports a peer that sent false content.
    pub(super) async fn blame(&self, peer: NodeKey, id: &AssetId, what: &str) {
        self.metrics.lies.inc();
        tracing::warn!(assets_db_id = %peer.assets_db_id(), asset_id = %id, "false content from a peer: {what}");
        self.swarm.penalise(peer, Offence::FalseContent).await;
    }

    /// Keeps nothing more of content of another node that turned out to be damaged here.
    pub(super) async fn met_damage(&self, held: &Held) {
        if let Held::Cached(cached) = held
            && let Err(error) = self.blobs.drop_cached(cached.blob().id()).await
        {
            tracing::warn!(%error, "damaged content of another node stays");
        }
    }
}
