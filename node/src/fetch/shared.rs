//! What all parts of fetch need: settings, handles, counters.

use assetmesh_protocol::ids::{AssetId, NodeKey};
use tokio::sync::{Semaphore, watch};

use super::Config;
use super::metrics::Metrics;
use super::views::Views;
use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::liveness::Peers;
use crate::swarm::{Offence, Swarm};

/// Shared by the tasks of fetch.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) swarm: Swarm,
    pub(super) blobs: Blobs,
    pub(super) catalog: Catalog,
    pub(super) peers: watch::Receiver<Peers>,
    pub(super) metrics: Metrics,
    pub(super) views: Views,
    /// KiB of content that transfers which have ended may keep for those who come a moment later.
    pub(super) lingering: Semaphore,
}

impl Shared {
    /// Reports a peer that sent false content.
    pub(super) async fn blame(&self, peer: NodeKey, id: &AssetId, what: &str) {
        self.metrics.lies.inc();
        tracing::warn!(assets_db_id = %peer.assets_db_id(), asset_id = %id, "false content from a peer: {what}");
        self.swarm.penalise(peer, Offence::FalseContent).await;
    }
}
