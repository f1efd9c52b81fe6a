//! What the registry needs of the peer network, so that tests can put something else in its place.

use std::fmt;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::swarm::{Error, Gossip, LinkEvent, Offence, Request, Service, Swarm};

/// The peer network as the registry sees it.
pub(super) trait Peers: fmt::Debug + Send + Sync + 'static {
    /// Gossips a message.
    fn publish(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>>;

    /// Asks a peer and waits for its answer.
    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Error>>;

    /// Tells where a member says that it listens.
    fn know(&self, peer: NodeKey, addresses: Vec<String>) -> BoxFuture<'_, ()>;

    /// Holds an offence against a peer.
    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'_, ()>;

    /// Who is linked now.
    fn linked(&self) -> Vec<NodeKey>;

    /// Where this node listens.
    fn listening(&self) -> watch::Receiver<Vec<String>>;

    /// Takes what comes from peers from now on.
    fn attach(&self, inlets: Inlets);
}

/// Where to put what comes from peers.
#[derive(Debug)]
pub(super) struct Inlets {
    pub(super) gossip: mpsc::Sender<Gossip>,
    pub(super) links: mpsc::Sender<LinkEvent>,
    pub(super) syncs: mpsc::Sender<Request>,
    pub(super) forwards: mpsc::Sender<Request>,
}

impl Peers for Swarm {
    fn publish(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.publish(bytes))
    }

    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(self.request(peer, service, body, within))
    }

    fn know(&self, peer: NodeKey, addresses: Vec<String>) -> BoxFuture<'_, ()> {
        Box::pin(self.know(peer, addresses))
    }

    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'_, ()> {
        Box::pin(self.penalise(peer, offence))
    }

    fn linked(&self) -> Vec<NodeKey> {
        self.links().borrow().keys().copied().collect()
    }

    fn listening(&self) -> watch::Receiver<Vec<String>> {
        self.listening()
    }

    fn attach(&self, inlets: Inlets) {
        self.attach_gossip(inlets.gossip);
        self.attach_links(inlets.links);
        self.attach_service(Service::Registry, inlets.syncs);
        self.attach_service(Service::Forward, inlets.forwards);
    }
}
