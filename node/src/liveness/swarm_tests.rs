//! Liveness over real swarms on loopback: what the loop does, and that the promised times hold outside of simulations.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::{NetworkId, NetworkName};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{Config, Liveness, PeerState, Setup};
use crate::actor::Tasks;
use crate::identity::Identity;
use crate::swarm::{self, Error, Service, Swarm};

/// What nothing here should take, however busy the machine is.
const WITHIN: Duration = Duration::from_secs(60);

struct Member {
    key: NodeKey,
    swarm: Swarm,
    liveness: Liveness,
    tasks: Tasks,
    dir: TempDir,
}

impl Member {
    fn start(dir: TempDir, members: &watch::Receiver<Arc<BTreeSet<NodeKey>>>, others: &[Self]) -> Self {
        let mut tasks = Tasks::default();
        let identity = Identity::load_or_create(dir.path()).unwrap();
        let config = swarm::Config {
            data_dir: dir.path().to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: others.iter().flat_map(|other| other.swarm.listen_addrs()).collect(),
            ..swarm::Config::default()
        };
        let swarm = Swarm::start(&mut tasks, &identity, config).unwrap();
        let network = NetworkId::new(&NetworkName::default(), None);
        let setup = Setup { network, members: members.clone(), config: Config::default() };
        let liveness = Liveness::start(&mut tasks, &identity, &swarm, setup);
        Self { key: identity.node_key(), swarm, liveness, tasks, dir }
    }

    async fn sees(&self, peer: NodeKey, state: PeerState) {
        let mut peers = self.liveness.watch();
        let seen = peers.wait_for(|peers| peers.get(&peer).is_some_and(|fact| fact.state == state));
        if tokio::time::timeout(WITHIN, seen).await.is_err() {
            panic!("{peer} is {:?} to {}, not {state}", self.liveness.state_of(&peer), self.key);
        }
    }
}

/// Nodes that all know each other as members, and see each other alive.
async fn federation(count: usize) -> (Vec<Member>, watch::Sender<Arc<BTreeSet<NodeKey>>>) {
    let (tell, members) = watch::channel(Arc::default());
    let mut nodes: Vec<Member> = Vec::new();
    for _ in 0..count {
        let node = Member::start(tempfile::tempdir().unwrap(), &members, &nodes);
        nodes.push(node);
    }
    tell.send_replace(Arc::new(nodes.iter().map(|node| node.key).collect()));
    for node in &nodes {
        for other in nodes.iter().filter(|other| other.key != node.key) {
            node.sees(other.key, PeerState::Alive).await;
        }
    }
    (nodes, tell)
}

#[tokio::test]
async fn a_crash_is_seen_by_all_and_so_is_the_return() {
    let (mut nodes, tell) = federation(4).await;
    let Member { key, tasks, dir, .. } = nodes.pop().unwrap();
    drop(tasks);
    let crashed = Instant::now();
    for node in &nodes {
        node.sees(key, PeerState::Down).await;
    }
    println!("the crash was seen after {:?}", crashed.elapsed());
    assert!(crashed.elapsed() >= Config::default().down_after - Duration::from_secs(1));
    let returned = Instant::now();
    let again = Member::start(dir, &tell.subscribe(), &nodes);
    for node in &nodes {
        node.sees(key, PeerState::Alive).await;
        again.sees(node.key, PeerState::Alive).await;
        let fact = node.liveness.peers().into_iter().find(|fact| fact.key == key).unwrap();
        assert!(fact.last_heard.is_some() && fact.since > Duration::from_secs(1_700_000_000));
    }
    println!("the return was seen after {:?}", returned.elapsed());
}

#[tokio::test]
async fn a_node_that_stops_in_order_has_left() {
    let (mut nodes, _tell) = federation(3).await;
    let leaving = nodes.pop().unwrap();
    leaving.liveness.leave().await.unwrap();
    for node in &nodes {
        node.sees(leaving.key, PeerState::Left).await;
    }
    leaving.tasks.finish().await;
    // Its last links close now, and nobody takes that for a crash.
    let mut peers = nodes[0].liveness.watch();
    peers.mark_unchanged();
    for _ in 0..3 {
        tokio::time::timeout(WITHIN, peers.changed()).await.unwrap().unwrap();
        assert_eq!(nodes[0].liveness.state_of(&leaving.key), Some(PeerState::Left));
    }
    assert!(leaving.liveness.leave().await.is_err());
}

#[tokio::test]
async fn what_no_node_sends_is_refused_and_a_later_versions_message_is_not() {
    let (nodes, _tell) = federation(2).await;
    let ask = |body: Vec<u8>| nodes[0].swarm.request(nodes[1].key, Service::Liveness, body, WITHIN);
    assert_eq!(ask(b"junk".to_vec()).await, Err(Error::Refused));
    assert_eq!(ask(vec![1, 200, 0, 0, 0, 7]).await, Ok(Vec::new()));
    let mut registry = prometheus_client::registry::Registry::default();
    nodes[1].liveness.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in ["{outcome=\"refused\"} 1", "{outcome=\"ignored\"} 1", "peers{state=\"alive\"} 1"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
