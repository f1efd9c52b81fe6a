//! The registry over real swarms on loopback, put together as a node puts it together.

use std::time::Instant;

use crate::blobs::{self, Blobs};
use crate::catalog::{self, Owner};
use crate::swarm;

use super::*;

/// A node with everything below the registry.
struct Whole {
    registry: Registry,
    swarm: Swarm,
    key: NodeKey,
    _tasks: Tasks,
    _dir: tempfile::TempDir,
}

impl Whole {
    fn start(bootstrap: Vec<String>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut tasks = Tasks::default();
        let identity = Identity::load_or_create(dir.path()).unwrap();
        let blobs = Blobs::start(&mut tasks, dir.path(), blobs::Config::default()).unwrap();
        let of = Owner {
            assets_db_id: identity.assets_db_id(),
            public_url: "http://node".to_owned(),
            cursor_secret: [7; 32],
        };
        let catalog = Catalog::start(&mut tasks, dir.path(), of, blobs, &catalog::Config::default()).unwrap();
        let config = swarm::Config {
            data_dir: dir.path().to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap,
            ..swarm::Config::default()
        };
        let swarm = Swarm::start(&mut tasks, &identity, config).unwrap();
        let config = Config::new(test_kit::network(), description("real"));
        let registry = Registry::start(&mut tasks, &catalog, &identity, &swarm, config).unwrap();
        Self { registry, swarm, key: identity.node_key(), _tasks: tasks, _dir: dir }
    }

    async fn until(&self, what: &str, mut is_so: impl FnMut(&Registry) -> bool) {
        let mut changes = self.registry.changes();
        let wait = async { while !is_so(&self.registry) && changes.next().await {} };
        assert!(tokio::time::timeout(WITHIN, wait).await.is_ok(), "{} never sees {what}", self.key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_one_federation_hold_one_registry() {
    let first = Whole::start(Vec::new());
    let mut all = vec![first];
    for _ in 0..3 {
        all.push(Whole::start(all[0].swarm.listen_addrs()));
    }
    let began = Instant::now();
    for one in &all {
        one.until("all members", |registry| registry.members().len() == all.len()).await;
    }
    let joined = began.elapsed();

    let body = Document::from_json(br#"{"asset_registry_id":"own-1","asset_registry_name":"a"}"#).unwrap();
    all[0].registry.create(Draft::parse(&body).unwrap()).await.unwrap();
    let began = Instant::now();
    for one in &all {
        one.until("the entry", |registry| registry.get(&id("own-1")).is_some()).await;
    }
    let spread = began.elapsed();

    all[3].registry.update(&id("own-1"), patch(r#"{"asset_registry_name":"b"}"#)).await.unwrap();
    assert_eq!(name(&all[0].registry.get(&id("own-1")).unwrap()), "b");
    all[2].registry.delete(&id("own-1")).await.unwrap();
    for one in &all {
        one.until("the delete", |registry| registry.get(&id("own-1")).is_none()).await;
    }
    // Far above what they take here, so that a loaded machine does not fail; far below one round of anti-entropy.
    assert!(joined < Duration::from_secs(10) && spread < Duration::from_secs(5), "{joined:?} {spread:?}");
    println!("joined in {joined:?}, spread in {spread:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_catches_up_when_it_is_back() {
    let first = Whole::start(Vec::new());
    let second = Whole::start(first.swarm.listen_addrs());
    for one in [&first, &second] {
        one.until("two members", |registry| registry.members().len() == 2).await;
    }
    first.swarm.block([second.key].into()).await;
    let mut links = second.swarm.links();
    tokio::time::timeout(WITHIN, links.wait_for(|links| links.is_empty())).await.unwrap().unwrap();
    for n in 0..20 {
        let draft = Draft { id: Some(id(&format!("while-away-{n}"))), entry: entry("x") };
        first.registry.create(draft).await.unwrap();
    }
    first.swarm.block([].into()).await;
    let digest = first.registry.digest();
    second.until("what it missed", |registry| registry.digest() == digest).await;
}
