//! What federated questions need of the peer network, so that tests can put something else in its place.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::{AssetsDbId, NodeKey};
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::forgotten::Set;
use crate::liveness::{Liveness, PeerState};
use crate::registry::Registry;
use crate::swarm::{Error, Offence, Service, Swarm};

/// Whether a member can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It answers, or may answer.
    Up,
    /// It has been given up, for so long.
    Down(Duration),
    /// It has been given up for good by this node's operator.
    Forgotten,
    /// It stopped in order.
    Left,
}

/// Another member of the federation.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) key: NodeKey,
    pub(super) id: AssetsDbId,
    pub(super) name: String,
    pub(super) standing: Standing,
}

/// The peer network as federated questions see it.
pub(super) trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Every member but this node.
    fn others(&self) -> Vec<Known>;

    /// Asks a peer and waits for its answer.
    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Error>>;

    /// Holds an offence against a peer.
    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'_, ()>;
}

/// The real one.
#[derive(Debug)]
pub(crate) struct Network {
    swarm: Swarm,
    registry: Registry,
    liveness: Liveness,
    forgotten: watch::Receiver<Set>,
}

impl Network {
    pub(crate) fn new(
        swarm: &Swarm,
        registry: &Registry,
        liveness: &Liveness,
        forgotten: watch::Receiver<Set>,
    ) -> Self {
        Self { swarm: swarm.clone(), registry: registry.clone(), liveness: liveness.clone(), forgotten }
    }

    /// Where questions of peers come from.
    pub(super) const fn swarm(&self) -> &Swarm {
        &self.swarm
    }
}

impl Peers for Network {
    fn others(&self) -> Vec<Known> {
        let own = self.registry.node_key();
        let (facts, now) = (self.liveness.watch().borrow().clone(), crate::clock::now());
        let forgotten = Arc::clone(&self.forgotten.borrow());
        let members = self.registry.members().into_iter().filter(|member| member.key != own);
        let known = |member: crate::registry::Member| {
            // One that liveness has not met yet is asked: it has just joined.
            let standing = facts.get(&member.key).map_or(Standing::Up, |fact| match fact.state {
                PeerState::Alive | PeerState::Suspect => Standing::Up,
                PeerState::Down if forgotten.contains(&member.key) => Standing::Forgotten,
                PeerState::Down => Standing::Down(now.saturating_sub(fact.since)),
                PeerState::Left => Standing::Left,
            });
            Known { key: member.key, id: member.assets_db_id, name: member.record.name, standing }
        };
        members.map(known).collect()
    }

    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(self.swarm.request(peer, service, body, within))
    }

    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'_, ()> {
        Box::pin(self.swarm.penalise(peer, offence))
    }
}
