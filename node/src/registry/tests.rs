//! Tests of `registry`: several registries with real disks, joined by a network in memory.

mod faults;
mod hostile;
mod liars;
mod network;
mod over_libp2p;

use std::future::Future;

use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::registry::{
    Envelope, ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Record, SyncAsk, Version,
};
use serde_json::{Value, json};

use super::test_kit::{self, blank, description, entry, id, node, owner, patch};
use super::*;
use crate::swarm::{Service, Verdict};
use network::{Fake, Hub};

const WITHIN: Duration = Duration::from_secs(20);

/// One node: its registry and its disk.
struct Node {
    registry: Registry,
    tasks: Tasks,
    dir: Option<tempfile::TempDir>,
    seed: u8,
}

impl Node {
    fn new(hub: &Hub, seed: u8) -> Self {
        Self::in_dir(hub, seed, tempfile::tempdir().unwrap())
    }

    fn in_dir(hub: &Hub, seed: u8, dir: tempfile::TempDir) -> Self {
        let store = tables::tests::open(dir.path());
        Self { dir: Some(dir), ..Self::on(hub, seed, store) }
    }

    fn on(hub: &Hub, seed: u8, store: Store) -> Self {
        let mut config = Config::new(test_kit::network(), description(&format!("n{seed}")));
        config.sync_every = Duration::from_millis(500);
        config.flush_every = Duration::from_millis(20);
        config.forward_within = Duration::from_millis(500);
        let mut tasks = Tasks::default();
        let peers = Arc::new(Fake::new(hub, node(seed)));
        let ground = Ground { store, key: owner(seed), peers, cursor_secret: [seed; 32] };
        let registry = Registry::start_on(&mut tasks, ground, config).unwrap();
        Self { registry, tasks, dir: None, seed }
    }

    /// Stops as a crash does: nothing more is written.
    async fn restart(self, hub: &Hub) -> Self {
        let Self { registry, tasks, dir, seed } = self;
        hub.leave(node(seed));
        drop(registry);
        tasks.finish().await;
        Self::in_dir(hub, seed, dir.unwrap())
    }

    async fn create(&self, body: Value) -> Result<Entry, Error> {
        self.registry.create(Draft::parse(&Document::from_value(&body).unwrap()).unwrap()).await
    }

    async fn named(&self, name: &str) -> Entry {
        self.create(json!({"asset_registry_id": name})).await.unwrap()
    }

    /// Waits until something is true of this registry.
    async fn until(&self, what: &str, mut is_so: impl FnMut(&Registry) -> bool) {
        let mut changes = self.registry.changes();
        let wait = async { while !is_so(&self.registry) && changes.next().await {} };
        assert!(tokio::time::timeout(WITHIN, wait).await.is_ok(), "node {} never sees {what}", self.seed);
    }

    /// Waits until everything that peers said is on the disk.
    async fn is_written(&self) {
        let wait = async {
            while self.registry.inner.shared.metrics.waiting_rows.get() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(WITHIN, wait).await.unwrap();
    }

    async fn shows(&self, name: &str) {
        self.until(name, |registry| registry.get(&id(name)).is_some()).await;
    }

    async fn agrees_with(&self, other: &Self) {
        let same = |registry: &Registry| registry.digest() == other.registry.digest();
        let both = async {
            while !same(&self.registry) {
                let (mut mine, mut theirs) = (self.registry.changes(), other.registry.changes());
                tokio::select! { _ = mine.next() => {}, _ = theirs.next() => {} }
            }
        };
        assert!(tokio::time::timeout(WITHIN, both).await.is_ok(), "{} and {}", self.seed, other.seed);
    }

    async fn page(&self, filter: Value, sort: &str, limit: usize, cursor: Option<String>) -> Page {
        self.registry.page(query(&filter, sort, limit, cursor)).await.unwrap()
    }
}

fn query(filter: &Value, sort: &str, limit: usize, cursor: Option<String>) -> Query {
    Query {
        filter: Filter::parse(filter).unwrap(),
        filter_text: filter.to_string(),
        sort: (!sort.is_empty()).then(|| Sort::parse(sort).unwrap()),
        sort_text: sort.to_owned(),
        limit,
        cursor,
        deadline: WITHIN,
    }
}

fn ids(page: &Page) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.id().as_str()).collect()
}

fn name(entry: &Entry) -> String {
    let value = entry.document().unwrap().to_value();
    value["asset_registry_name"].as_str().unwrap().to_owned()
}

/// Some nodes, all linked with each other.
fn mesh<const N: usize>() -> (Hub, [Node; N]) {
    let hub = Hub::default();
    let nodes = std::array::from_fn(|at| Node::new(&hub, at as u8 + 1));
    hub.link_all();
    (hub, nodes)
}

#[tokio::test]
async fn every_node_registers_itself_and_is_a_member_everywhere() {
    let (hub, nodes) = mesh::<3>();
    for one in &nodes {
        one.until("three members", |registry| registry.members().len() == 3).await;
        let member = one.registry.members().into_iter().find(|member| member.key == node(2)).unwrap();
        assert_eq!(member.record.name, "n2");
        assert_eq!(member.record.addresses, [network::address(node(2))]);
        let shown = one.registry.get(&EntryId::of_node(&node(2))).unwrap();
        assert!(shown.is_node() && shown.owner() == node(2));
        assert_eq!(shown.public_url(), "http://127.0.0.1:4000");
    }
    let wait = async {
        while !hub.was_told(node(1), node(2)) || !hub.was_told(node(2), node(1)) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, wait).await.expect("swarms are told where members listen");
    assert!(!hub.was_told(node(1), node(1)));
}

#[tokio::test]
async fn an_entry_of_one_node_is_found_on_another_by_the_documented_filter() {
    let (_hub, nodes) = mesh::<2>();
    let body = json!({
        "asset_registry_name": "ResNet Models registry",
        "asset_registry_metadata": {"framework": "PyTorch", "version": "1.0"},
        "asset_registry_tags": ["image-classification", "deep-learning"],
    });
    let made = nodes[0].create(body).await.unwrap();
    nodes[1].shows(made.id().as_str()).await;
    let filter = json!({"$and": [
        {"asset_registry_tags": {"$in": ["deep-learning"]}},
        {"asset_registry_metadata.framework": "PyTorch"},
    ]});
    let page = nodes[1].page(filter, "", 10, None).await;
    assert_eq!(ids(&page), [made.id().as_str()]);
    assert_eq!((page.next_cursor, page.is_complete), (None, true));
}

#[tokio::test]
async fn a_change_through_any_node_reaches_the_owner_and_is_seen_where_it_was_asked() {
    let (hub, nodes) = mesh::<3>();
    nodes[0].named("own-1").await;
    nodes[2].shows("own-1").await;
    hub.lose_gossip();
    let changed = nodes[2].registry.update(&id("own-1"), patch(r#"{"asset_registry_name":"b"}"#)).await;
    assert_eq!(changed.unwrap().owner(), node(1));
    assert_eq!(name(&nodes[2].registry.get(&id("own-1")).unwrap()), "b", "at once, not some time later");
    assert_eq!(name(&nodes[0].registry.get(&id("own-1")).unwrap()), "b");
    nodes[2].registry.delete(&id("own-1")).await.unwrap();
    assert!(nodes[2].registry.get(&id("own-1")).is_none());
    nodes[1].until("the delete", |registry| registry.get(&id("own-1")).is_none()).await;
    let again = nodes[1].registry.delete(&id("own-1")).await.unwrap_err();
    assert!(matches!(again, Error::NotFound(_)), "{again}");
}

#[tokio::test]
async fn an_owner_says_no_through_another_node_as_it_does_itself() {
    let (_hub, nodes) = mesh::<2>();
    nodes[0].named("own-1").await;
    nodes[1].shows("own-1").await;
    let long = format!(r#"{{"asset_registry_name":"{}"}}"#, "x".repeat(9_000));
    let error = nodes[1].registry.update(&id("own-1"), patch(&long)).await.unwrap_err();
    assert!(matches!(&error, Error::OwnerRefused { code, .. } if code == "too_long"), "{error}");
    let longer = format!(r#"{{"asset_registry_name":"{}"}}"#, "x".repeat(70_000));
    let error = nodes[1].registry.update(&id("own-1"), patch(&longer)).await.unwrap_err();
    assert!(matches!(error, Error::ChangeTooLong), "{error}");
    let own_record = EntryId::of_node(&node(1));
    let error = nodes[1].registry.delete(&own_record).await.unwrap_err();
    assert!(matches!(error, Error::Forbidden(_)), "{error}");
    let ask = async |change, permit| {
        let asked = ForwardAsk::new(&own_record, change, permit).encode().unwrap();
        let peers = &nodes[1].registry.inner.shared.peers;
        let answer = peers.request(node(1), Service::Forward, asked, WITHIN).await;
        ForwardAnswer::decode(&answer.unwrap()).unwrap()
    };
    let late = ForwardAnswer::Refused(ForwardRefusal::Late);
    assert_eq!(ask(ForwardedChange::Delete, [1; 16]).await, late, "a permit of nobody's");
    let ForwardAnswer::Permit(permit) = ask(ForwardedChange::Permit, [0; 16]).await else {
        panic!("no permit")
    };
    let refused = ForwardAnswer::Refused(ForwardRefusal::Forbidden);
    assert_eq!(ask(ForwardedChange::Delete, permit).await, refused, "however it is asked");
}

#[tokio::test]
async fn an_owner_that_cannot_be_reached_changes_nothing() {
    let (hub, nodes) = mesh::<2>();
    nodes[0].named("own-1").await;
    nodes[1].agrees_with(&nodes[0]).await;
    nodes[1].until("its own record", |registry| registry.members().len() == 2).await;
    hub.cut(&[node(1)], &[node(2)]);
    let before = nodes[1].registry.digest();
    let error = nodes[1].registry.delete(&id("own-1")).await.unwrap_err();
    assert!(matches!(error, Error::OwnerUnreachable { owner, .. } if owner == node(1)), "{error}");
    assert_eq!(nodes[1].registry.digest(), before);
}

#[tokio::test]
async fn a_healed_partition_loses_nothing_and_brings_nothing_back() {
    let (hub, nodes) = mesh::<5>();
    for name in ["kept", "gone", "changed"] {
        nodes[0].named(name).await;
    }
    for other in &nodes[1..] {
        other.agrees_with(&nodes[0]).await;
    }
    let (left, right) = ([node(1), node(2)], [node(3), node(4), node(5)]);
    hub.cut(&left, &right);
    nodes[0].registry.delete(&id("gone")).await.unwrap();
    nodes[0].registry.update(&id("changed"), patch(r#"{"asset_registry_name":"new"}"#)).await.unwrap();
    nodes[1].named("left").await;
    nodes[4].named("right").await;
    nodes[2].shows("right").await;
    assert!(nodes[2].registry.get(&id("left")).is_none() && nodes[2].registry.get(&id("gone")).is_some());
    hub.link_all();
    for one in &nodes {
        for name in ["left", "right", "kept"] {
            one.shows(name).await;
        }
        one.agrees_with(&nodes[0]).await;
        assert!(one.registry.get(&id("gone")).is_none());
        assert_eq!(name(&one.registry.get(&id("changed")).unwrap()), "new");
    }
}

#[tokio::test]
async fn one_id_made_on_both_sides_shows_the_same_everywhere_and_names_both_owners() {
    let (hub, nodes) = mesh::<2>();
    hub.cut(&[node(1)], &[node(2)]);
    nodes[0].named("own-1").await;
    nodes[1].named("own-1").await;
    hub.link_all();
    for one in &nodes {
        let both = |registry: &Registry| {
            registry.get(&id("own-1")).is_some_and(|entry| !entry.hidden_owners().is_empty())
        };
        one.until("both owners", both).await;
    }
    let shown = nodes.each_ref().map(|one| one.registry.get(&id("own-1")).unwrap().owner());
    assert_eq!(shown[0], shown[1]);
    let page = nodes[1].page(json!({"asset_registry_id": "own-1"}), "", 10, None).await;
    assert_eq!(page.entries.len(), 1);
    // Each owner can undo its own.
    for one in &nodes {
        one.registry.delete(&id("own-1")).await.unwrap();
    }
    for one in &nodes {
        one.until("no owner", |registry: &Registry| registry.get(&id("own-1")).is_none()).await;
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let hub = Hub::default();
    let one = Node::new(&hub, 1);
    one.named("kept").await;
    let gone = one.named("gone").await;
    one.registry.delete(&id("gone")).await.unwrap();
    let digest = one.registry.digest();
    let one = one.restart(&hub).await;
    one.until("what it had", |registry| registry.digest() == digest).await;
    assert!(one.registry.get(&id("kept")).is_some() && one.registry.get(&id("gone")).is_none());
    let again = one.named("gone").await;
    assert!(again.record.version() > gone.record.version());
}

#[tokio::test]
async fn versions_go_on_above_what_the_disk_remembers() {
    let (dir, hub) = (tempfile::tempdir().unwrap(), Hub::default());
    let mark = Version { epoch: 5, seq: 1 };
    let rows = tables::Rows { mark, ..tables::Rows::default() };
    let write = |transaction: &_| tables::write(transaction, &rows);
    tables::tests::open(dir.path()).update(Sync::Now, write).unwrap();
    let one = Node::in_dir(&hub, 1, dir);
    assert_eq!(one.named("a").await.record.version().epoch, 5);
}

#[tokio::test]
async fn what_peers_said_is_on_the_disk_soon() {
    let (hub, [one, two]) = mesh::<2>();
    one.named("own-1").await;
    two.shows("own-1").await;
    two.is_written().await;
    hub.leave(node(1));
    let two = two.restart(&hub).await;
    two.shows("own-1").await;
}

#[tokio::test]
async fn a_damaged_row_comes_back_from_a_peer() {
    let (hub, [one, two]) = mesh::<2>();
    one.named("own-1").await;
    two.shows("own-1").await;
    hub.leave(node(1));
    let Node { registry, tasks, dir, seed } = one;
    drop(registry);
    tasks.finish().await;
    let dir = dir.unwrap();
    let store = tables::tests::open(dir.path());
    tables::tests::damage(&store, RecordKey::of(&node(1), &id("own-1")));
    drop(store);
    let one = Node::in_dir(&hub, seed, dir);
    assert!(one.registry.get(&id("own-1")).is_none(), "not served");
    assert_eq!(one.registry.inner.shared.metrics.damaged_rows.get(), 1);
    hub.link_all();
    one.shows("own-1").await;
    let changed = one.registry.update(&id("own-1"), patch(r#"{"asset_registry_name":"b"}"#)).await.unwrap();
    assert_eq!(changed.owner(), node(1));
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_in_any_order() {
    let (_hub, [one]) = mesh::<1>();
    for n in 0..7 {
        let body = json!({"asset_registry_id": format!("e{n}"), "asset_registry_name": format!("{}", n % 3)});
        one.create(body).await.unwrap();
    }
    let filter = json!({"asset_registry_id": {"$regex": "^e.$"}});
    for (sort, expected) in [
        ("", ["e0", "e1", "e2", "e3", "e4", "e5", "e6"]),
        ("-asset_registry_name", ["e2", "e5", "e1", "e4", "e0", "e3", "e6"]),
    ] {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = one.page(filter.clone(), sort, 3, cursor).await;
            all.extend(ids(&page).into_iter().map(str::to_owned));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(all, expected, "{sort}");
    }
    let first = one.page(filter.clone(), "", 3, None).await;
    let other = one.registry.page(query(&json!({}), "", 3, first.next_cursor)).await.unwrap_err();
    assert!(matches!(other, Error::BadCursor));
}

#[tokio::test]
async fn what_this_node_says_of_itself_can_be_amended() {
    let (_hub, [one, two]) = mesh::<2>();
    one.registry.set_incarnation(7).await.unwrap();
    one.registry.set_summary_version(9).await.unwrap();
    let amended = |registry: &Registry| {
        let member = registry.members().into_iter().find(|member| member.key == node(1));
        member.is_some_and(|member| (member.record.incarnation, member.record.summary_version) == (7, 9))
    };
    two.until("both amendments", amended).await;
}

#[tokio::test]
async fn many_writers_share_commits_and_none_is_lost() {
    let (_hub, [one]) = mesh::<1>();
    let one = Arc::new(one);
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..200 {
        let one = Arc::clone(&one);
        writers.spawn(async move { one.named(&format!("e{n}")).await.id().clone() });
    }
    let made = writers.join_all().await;
    assert!(made.iter().all(|id| one.registry.get(id).is_some()));
    let mut rivals = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let one = Arc::clone(&one);
        rivals.spawn(async move { one.create(json!({"asset_registry_id": "one"})).await.is_ok() });
    }
    let won = rivals.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1, "an id is given once");
}

#[tokio::test]
async fn a_node_that_says_too_much_of_itself_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::default();
    let ground = Ground {
        store: tables::tests::open(dir.path()),
        key: owner(1),
        peers: Arc::new(Fake::new(&hub, node(1))),
        cursor_secret: [1; 32],
    };
    let config = Config::new(test_kit::network(), description(&"x".repeat(5_000)));
    let refused = Registry::start_on(&mut Tasks::default(), ground, config);
    assert!(matches!(refused, Err(StartError::AboutTooLong { .. })));
}

fn assert_send<T: Future + Send>(future: T) -> T {
    future
}

#[tokio::test]
async fn what_the_handle_does_can_be_awaited_on_any_thread() {
    let (_hub, [one]) = mesh::<1>();
    assert_send(one.registry.create(Draft { id: None, entry: entry("x") })).await.unwrap();
    assert!(assert_send(one.registry.delete(&id("none"))).await.is_err());
}
