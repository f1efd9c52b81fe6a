//! What summaries need of the peer network, so that tests can put something else in its place.

use std::fmt;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use futures_util::future::BoxFuture;

use crate::swarm::{Error, Links, Offence, Service, Swarm};

/// The peer network as summaries see it.
pub(super) trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Who is linked.
    fn links(&self) -> Links;

    /// Asks a peer and waits for its answer.
    fn request(
        &self,
        peer: NodeKey,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Error>>;

    /// Holds an offence against a peer.
    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'static, ()>;
}

/// The real one.
#[derive(Debug)]
pub(super) struct Network {
    swarm: Swarm,
}

impl Network {
    pub(super) const fn new(swarm: Swarm) -> Self {
        Self { swarm }
    }
}

impl Peers for Network {
    fn links(&self) -> Links {
        self.swarm.links().borrow().clone()
    }

    fn request(
        &self,
        peer: NodeKey,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Error>> {
        let swarm = self.swarm.clone();
        Box::pin(async move { swarm.request(peer, Service::Summary, body, within).await })
    }

    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'static, ()> {
        let swarm = self.swarm.clone();
        Box::pin(async move { swarm.penalise(peer, offence).await })
    }
}

/// A node without links.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Nobody;

#[cfg(test)]
impl Peers for Nobody {
    fn links(&self) -> Links {
        Links::default()
    }

    fn request(&self, _: NodeKey, _: Vec<u8>, _: Duration) -> BoxFuture<'static, Result<Vec<u8>, Error>> {
        Box::pin(async { Err(Error::Unreachable("it is not linked".to_owned())) })
    }

    fn penalise(&self, _: NodeKey, _: Offence) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
