//! A peer network in memory: who is linked hears gossip and answers requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

use crate::registry::peers::{Inlets, Peers};
use crate::swarm::{Error, Gossip, LinkEvent, Offence, Request, Service, Verdict};

/// All nodes and links.
#[derive(Debug, Clone, Default)]
pub(super) struct Hub {
    state: Arc<Mutex<State>>,
    offences: Arc<watch::Sender<Vec<(NodeKey, Offence)>>>,
}

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<NodeKey, Inlets>,
    links: BTreeSet<(NodeKey, NodeKey)>,
    is_mute: bool,
    /// Who was told where whom listens.
    told: BTreeSet<(NodeKey, NodeKey)>,
}

/// Where a node says that it listens.
pub(super) fn address(node: NodeKey) -> String {
    format!("/memory/{}", node.0[0])
}

impl Hub {
    /// Links all nodes with each other.
    pub(super) fn link_all(&self) {
        let mut state = self.state.lock().unwrap();
        let keys: Vec<_> = state.nodes.keys().copied().collect();
        for a in &keys {
            for b in keys.iter().filter(|b| *b != a) {
                if state.links.insert((*a, *b)) {
                    state.nodes[a].links.try_send(LinkEvent::Up { peer: *b }).unwrap();
                }
            }
        }
    }

    /// Cuts all links between two groups.
    pub(super) fn cut(&self, left: &[NodeKey], right: &[NodeKey]) {
        let mut state = self.state.lock().unwrap();
        state.links.retain(|(a, b)| {
            let across = left.contains(a) && right.contains(b) || right.contains(a) && left.contains(b);
            !across
        });
    }

    /// Whether a node's swarm was told where another node listens.
    pub(super) fn was_told(&self, node: NodeKey, of: NodeKey) -> bool {
        self.state.lock().unwrap().told.contains(&(node, of))
    }

    /// Loses all gossip from now on.
    pub(super) fn lose_gossip(&self) {
        self.state.lock().unwrap().is_mute = true;
    }

    /// Takes a node off the network.
    pub(super) fn leave(&self, node: NodeKey) {
        let mut state = self.state.lock().unwrap();
        state.nodes.remove(&node);
        state.links.retain(|(a, b)| *a != node && *b != node);
    }

    /// Has one node hear some gossip from another, and tells its verdict.
    pub(super) async fn gossip_to(&self, to: NodeKey, from: NodeKey, bytes: Vec<u8>) -> Verdict {
        let (verdict, judged) = oneshot::channel();
        let inlet = self.state.lock().unwrap().nodes[&to].gossip.clone();
        inlet.send(Gossip { from, bytes, verdict }).await.unwrap();
        judged.await.unwrap()
    }

    /// Waits until a node has been penalised so often.
    pub(super) async fn penalised(&self, node: NodeKey, times: usize) {
        let mut offences = self.offences.subscribe();
        let enough = |all: &Vec<(NodeKey, Offence)>| all.iter().filter(|one| one.0 == node).count() >= times;
        let wait = offences.wait_for(enough);
        tokio::time::timeout(super::WITHIN, wait).await.unwrap().unwrap();
    }
}

/// One node's end of the network.
#[derive(Debug)]
pub(super) struct Fake {
    hub: Hub,
    me: NodeKey,
    listening: watch::Sender<Vec<String>>,
}

impl Fake {
    pub(super) fn new(hub: &Hub, me: NodeKey) -> Self {
        Self { hub: hub.clone(), me, listening: watch::Sender::new(vec![address(me)]) }
    }

    async fn ask(&self, peer: NodeKey, service: Service, body: Vec<u8>) -> Result<Vec<u8>, Error> {
        let inlet = {
            let state = self.hub.state.lock().unwrap();
            let linked = state.links.contains(&(self.me, peer));
            let inlets = state.nodes.get(&peer).filter(|_| linked);
            let inlets = inlets.ok_or_else(|| Error::Unreachable("no link".to_owned()))?;
            match service {
                Service::Forward => inlets.forwards.clone(),
                _ => inlets.syncs.clone(),
            }
        };
        let (answer, answered) = oneshot::channel();
        inlet.try_send(Request { from: self.me, body, answer, room: None }).map_err(|_| Error::Busy)?;
        answered.await.map_err(|_| Error::Refused)
    }
}

impl Peers for Fake {
    fn publish(&self, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        let state = self.hub.state.lock().unwrap();
        for (_, peer) in state.links.iter().filter(|(from, _)| *from == self.me && !state.is_mute) {
            let gossip = Gossip { from: self.me, bytes: bytes.clone(), verdict: oneshot::channel().0 };
            state.nodes[peer].gossip.try_send(gossip).ok();
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, Error>> {
        Box::pin(async move {
            let asked = self.ask(peer, service, body);
            tokio::time::timeout(within, asked).await.map_err(|_| Error::Timeout(within))?
        })
    }

    fn know(&self, peer: NodeKey, addresses: Vec<String>) -> BoxFuture<'_, ()> {
        assert_eq!(addresses, [address(peer)]);
        self.hub.state.lock().unwrap().told.insert((self.me, peer));
        Box::pin(std::future::ready(()))
    }

    fn penalise(&self, peer: NodeKey, offence: Offence) -> BoxFuture<'_, ()> {
        self.hub.offences.send_modify(|offences| offences.push((peer, offence)));
        Box::pin(std::future::ready(()))
    }

    fn linked(&self) -> Vec<NodeKey> {
        let state = self.hub.state.lock().unwrap();
        state.links.iter().filter(|(from, _)| *from == self.me).map(|(_, to)| *to).collect()
    }

    fn listening(&self) -> watch::Receiver<Vec<String>> {
        self.listening.subscribe()
    }

    fn attach(&self, inlets: Inlets) {
        self.hub.state.lock().unwrap().nodes.insert(self.me, inlets);
    }
}
