//! What the tests of the swarm share: a node with its folder, and ways to wait with a deadline.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::actor::Tasks;
use crate::identity::Identity;
use crate::swarm::{Config, Gossip, LinkEvent, Request, Service, StartError, Swarm};

/// Far more than anything here takes on a busy machine.
pub(in crate::swarm) const WITHIN: Duration = Duration::from_secs(60);

/// A running swarm with its folder.
pub(in crate::swarm) struct Member {
    pub(in crate::swarm) swarm: Swarm,
    pub(in crate::swarm) key: NodeKey,
    tasks: Tasks,
    dir: TempDir,
}

/// Peers to be linked with.
pub(in crate::swarm) trait Keys {
    fn keys(&self) -> BTreeSet<NodeKey>;
}

impl Keys for [Member] {
    fn keys(&self) -> BTreeSet<NodeKey> {
        self.iter().map(|member| member.key).collect()
    }
}

impl Keys for Vec<Member> {
    fn keys(&self) -> BTreeSet<NodeKey> {
        self.as_slice().keys()
    }
}

impl<const N: usize> Keys for [NodeKey; N] {
    fn keys(&self) -> BTreeSet<NodeKey> {
        self.iter().copied().collect()
    }
}

impl Member {
    pub(in crate::swarm) async fn start(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    #[expect(clippy::unused_async, reason = "a swarm is started inside the runtime")]
    pub(in crate::swarm) async fn start_in(dir: TempDir, config: Config) -> Self {
        let (tasks, key, swarm) = start(&dir, config).unwrap();
        Self { swarm, key, tasks, dir }
    }

    /// Waits until the links are exactly these; the node itself does not count.
    pub(in crate::swarm) async fn linked_to<K: Keys + ?Sized>(&self, peers: &K) {
        let mut peers = peers.keys();
        peers.remove(&self.key);
        let mut links = self.swarm.links();
        let linked = links.wait_for(|links| links.keys().copied().collect::<BTreeSet<_>>() == peers);
        if tokio::time::timeout(WITHIN, linked).await.is_err() {
            panic!("{} is linked to {:?}, not {peers:?}", self.key, self.swarm.links().borrow().keys());
        }
    }

    /// The same, while something else has to go on.
    pub(in crate::swarm) async fn linked_to_while<K: Keys + ?Sized>(&self, peers: &K, other: impl Future) {
        tokio::select! {
            () = self.linked_to(peers) => {}
            _ = other => panic!("it ended"),
        }
    }

    pub(in crate::swarm) fn gossip(&self) -> mpsc::Receiver<Gossip> {
        let (to, gossip) = mpsc::channel(64);
        self.swarm.attach_gossip(to);
        gossip
    }

    pub(in crate::swarm) fn serve(&self, service: Service, limit: usize) -> mpsc::Receiver<Request> {
        let (to, requests) = mpsc::channel(limit);
        self.swarm.attach_service(service, to);
        requests
    }

    /// A file of its folder.
    pub(in crate::swarm) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// Ends it as a node does, and keeps its folder.
    pub(in crate::swarm) async fn stop(self) -> TempDir {
        within(self.tasks.finish()).await;
        self.dir
    }
}

pub(in crate::swarm) fn start(dir: &TempDir, config: Config) -> Result<(Tasks, NodeKey, Swarm), StartError> {
    let mut tasks = Tasks::default();
    let identity = Identity::load_or_create(dir.path()).unwrap();
    let config = Config { data_dir: dir.path().to_owned(), ..config };
    let swarm = Swarm::start(&mut tasks, &identity, config)?;
    Ok((tasks, identity.node_key(), swarm))
}

/// Alone on a free port.
pub(in crate::swarm) fn settings() -> Config {
    Config { listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()], ..Config::default() }
}

/// With the addresses of others to begin with.
pub(in crate::swarm) fn bootstrapped(members: &[&Member]) -> Config {
    let bootstrap = members.iter().flat_map(|member| member.swarm.listen_addrs()).collect();
    Config { bootstrap, ..settings() }
}

pub(in crate::swarm) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(WITHIN, future).await.expect("it takes too long")
}

/// Looks again and again until it holds.
pub(in crate::swarm) async fn eventually(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + WITHIN;
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while !holds() {
        assert!(Instant::now() < until, "it does not come true");
        looks.tick().await;
    }
}

/// The next link that comes or goes.
pub(in crate::swarm) async fn next_change(events: &mut mpsc::Receiver<LinkEvent>) -> Option<LinkEvent> {
    let change = async {
        loop {
            match events.recv().await {
                Some(LinkEvent::Heard { .. }) => {}
                change => return change,
            }
        }
    };
    within(change).await
}

/// Publishes until the mesh has formed and the message arrives; a repeated one is not spread twice.
pub(in crate::swarm) async fn publish_until_heard(
    from: &Member,
    bytes: &[u8],
    at: &mut mpsc::Receiver<Gossip>,
) -> Gossip {
    let until = Instant::now() + WITHIN;
    loop {
        from.swarm.publish(bytes.to_vec()).await.unwrap();
        match tokio::time::timeout(Duration::from_millis(200), at.recv()).await {
            Ok(gossip) => return gossip.unwrap(),
            Err(_) => assert!(Instant::now() < until, "gossip does not arrive"),
        }
    }
}
