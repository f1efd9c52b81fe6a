//! Tests of `query`: a node among peers that answer as the test says.

mod asking;
mod writes;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use assetmesh_protocol::asset::Draft;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::ids::RecordId;
use assetmesh_protocol::query::{
    AssetChange, End, FindAsk, QueryAnswer, QueryAsk, QueryRefusal, ROWS_BYTES_MAX, Row, WriteAsk,
};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::*;
use crate::blobs::{self, Blobs};
use crate::catalog::Owner;
use crate::swarm::{Error as SwarmError, Offence, Request};
use peers::Standing;

/// How a peer of the test behaves.
#[derive(Debug, Clone)]
enum Manner {
    /// As another node of the test.
    Honest(Arc<Shared>),
    /// With these bytes, whatever it is asked.
    Says(Vec<u8>),
    /// Not at all, until the time is up.
    Silent,
    /// As another node of the test, after so long.
    Slow(Arc<Shared>, Duration),
    /// With an error at once.
    Fails(SwarmError),
    /// As another node of the test that takes so many questions at once, and answers the others like this.
    Narrow(Arc<Shared>, Arc<Semaphore>, Result<Vec<u8>, SwarmError>),
    /// As another node of the test that is stopped before it gives a permit.
    Stopped(Arc<Shared>),
    /// As another node of the test whose answers to changes are lost.
    Mute(Arc<Shared>),
}

/// Whether this asks for a permit, or tells of a change.
fn asks_for_permit(service: Service, body: &[u8]) -> Option<bool> {
    let ask = (service == Service::Write).then(|| WriteAsk::decode(body).unwrap());
    ask.map(|ask| ask.change == AssetChange::Permit)
}

#[derive(Debug, Default)]
struct Town {
    peers: Mutex<BTreeMap<NodeKey, (Standing, Manner)>>,
    blamed: Mutex<Vec<NodeKey>>,
    asked: Mutex<u64>,
    /// How many rows each question was for.
    rows_wanted: Mutex<Vec<u32>>,
}

impl Peers for Town {
    fn others(&self) -> Vec<Known> {
        let peers = self.peers.lock().unwrap();
        let known = |(key, (standing, _)): (&NodeKey, &(Standing, Manner))| Known {
            key: *key,
            id: key.assets_db_id(),
            name: format!("n{}", key.0[0]),
            standing: *standing,
        };
        peers.iter().map(known).collect()
    }

    fn request(
        &self,
        peer: NodeKey,
        service: Service,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'_, Result<Vec<u8>, SwarmError>> {
        *self.asked.lock().unwrap() += 1;
        if let Ok(QueryAsk::Find(ask)) = QueryAsk::decode(&body) {
            self.rows_wanted.lock().unwrap().push(ask.limit);
        }
        let manner = self.peers.lock().unwrap()[&peer].1.clone();
        Box::pin(async move {
            match manner {
                Manner::Says(bytes) => Ok(bytes),
                Manner::Fails(error) => Err(error),
                Manner::Silent => {
                    tokio::time::sleep(within).await;
                    Err(SwarmError::Timeout(within))
                }
                Manner::Honest(shared) => Ok(served(shared, service, body).await),
                Manner::Slow(shared, after) => {
                    tokio::time::sleep(after).await;
                    Ok(served(shared, service, body).await)
                }
                Manner::Narrow(shared, places, busy) => match places.try_acquire() {
                    Ok(_place) => Ok(served(shared, service, body).await),
                    Err(_) => busy,
                },
                Manner::Stopped(_) if asks_for_permit(service, &body) == Some(true) => {
                    Err(SwarmError::Timeout(within))
                }
                Manner::Mute(shared) if asks_for_permit(service, &body) == Some(false) => {
                    served(shared, service, body).await;
                    Err(SwarmError::Busy)
                }
                Manner::Stopped(shared) | Manner::Mute(shared) => Ok(served(shared, service, body).await),
            }
        })
    }

    fn penalise(&self, peer: NodeKey, _: Offence) -> BoxFuture<'_, ()> {
        self.blamed.lock().unwrap().push(peer);
        Box::pin(async {})
    }
}

/// What the serving loop of a node answers.
async fn served(shared: Arc<Shared>, service: Service, body: Vec<u8>) -> Vec<u8> {
    let (to_queries, queries) = mpsc::channel(1);
    let (to_writes, writes) = mpsc::channel(1);
    let (answer, answered) = tokio::sync::oneshot::channel();
    let stop = CancellationToken::new();
    let request = Request { from: key(0), body, answer, room: None };
    let inlet = if service == Service::Write { to_writes.clone() } else { to_queries.clone() };
    inlet.send(request).await.unwrap();
    let running = serve::run(shared, queries, writes, stop);
    tokio::select! {
        () = running => unreachable!("it runs until it is stopped"),
        bytes = answered => bytes.unwrap_or_default(),
    }
}

fn key(seed: u8) -> NodeKey {
    NodeKey([seed; 32])
}

struct TestNode {
    queries: Queries,
    town: Arc<Town>,
    _tasks: Tasks,
    _folder: tempfile::TempDir,
}

impl TestNode {
    fn new(seed: u8) -> Self {
        Self::with(seed, Config { remote_writes: RemoteWrites::Members, ..Config::default() })
    }

    fn with(seed: u8, config: Config) -> Self {
        let (folder, mut tasks) = (tempfile::tempdir().unwrap(), Tasks::default());
        let id = key(seed).assets_db_id();
        let owner = Owner { assets_db_id: id, public_url: "http://n".to_owned(), cursor_secret: [seed; 32] };
        let blobs = Blobs::start(&mut tasks, folder.path(), blobs::Config::default()).unwrap();
        let catalog =
            Catalog::start(&mut tasks, folder.path(), owner, blobs, &catalog::Config::default()).unwrap();
        let town = Arc::new(Town::default());
        let own = Own { id, name: format!("n{seed}") };
        let rows = (catalog.clone(), Summaries::of_nobody(&catalog));
        let queries = Queries::on(own, rows, Arc::clone(&town) as Arc<dyn Peers>, config);
        Self { queries, town, _tasks: tasks, _folder: folder }
    }

    fn meet(&self, seed: u8, manner: Manner) {
        self.town.peers.lock().unwrap().insert(key(seed), (Standing::Up, manner));
    }

    fn stand(&self, seed: u8, standing: Standing) {
        self.town.peers.lock().unwrap().get_mut(&key(seed)).unwrap().0 = standing;
    }

    fn honest(&self) -> Manner {
        Manner::Honest(Arc::clone(&self.queries.shared))
    }

    async fn create(&self, name: &str, n: u64) -> RecordId {
        let body = json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": {"n": n}});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        self.queries.shared.catalog.create_external(draft).await.unwrap().record
    }

    async fn page(&self, sort: &str, limit: usize, cursor: Option<String>) -> Page {
        self.queries.find(question(sort, limit, cursor, Duration::from_secs(5))).await.unwrap()
    }

    async fn all(&self, sort: &str, limit: usize) -> Vec<String> {
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.page(sort, limit, cursor).await;
            assert!(page.report.complete, "{:?}", page.report);
            names.extend(page.rows.iter().map(|row| row.uri().to_owned()));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return names;
            }
        }
    }
}

fn question(sort: &str, limit: usize, cursor: Option<String>, deadline: Duration) -> catalog::Query {
    catalog::Query {
        filter: Filter::parse(&json!({"asset_metadata.n": {"$gte": 0}})).unwrap(),
        filter_text: r#"{"asset_metadata.n":{"$gte":0}}"#.to_owned(),
        sort: (!sort.is_empty()).then(|| Sort::parse(sort).unwrap()),
        sort_text: sort.to_owned(),
        limit,
        cursor,
        deadline,
    }
}

/// Three nodes with rows that interleave by record id; the first knows the others.
async fn three() -> [TestNode; 3] {
    let nodes = [TestNode::new(0), TestNode::new(1), TestNode::new(2)];
    for n in 0..60_u64 {
        let at = usize::try_from(n * 7 % 3).unwrap();
        nodes[at].create(&format!("a{n}"), n * 11 % 10).await;
        if n % 10 == 0 {
            // Another millisecond, so that ids of different nodes differ in their times too.
            let before = crate::clock::now();
            while crate::clock::now().as_millis() == before.as_millis() {}
        }
    }
    nodes[0].meet(1, nodes[1].honest());
    nodes[0].meet(2, nodes[2].honest());
    nodes
}

fn document(owner: u8, name: &str) -> Vec<u8> {
    let body = json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"},
        "asset_metadata": {"n": 1}});
    let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
    draft.into_external(key(owner).assets_db_id()).unwrap().into_bytes().into_vec()
}

fn row(record: u128, owner: u8, name: &str) -> Row {
    Row::new(RecordId(Uuid::from_u128(record)), document(owner, name))
}

fn says(rows: Vec<Row>, end: End) -> Manner {
    Manner::Says(QueryAnswer::Rows { rows, end }.encode().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_are_the_union_in_order_and_each_row_once() {
    let nodes = three().await;
    for sort in ["", "asset_metadata.n", "-asset_metadata.n,asset_name"] {
        let whole = nodes[0].all(sort, 1000).await;
        assert_eq!(whole.len(), 60, "{sort}");
        assert_eq!(whole.iter().collect::<std::collections::BTreeSet<_>>().len(), 60);
        for limit in [1, 2, 7, 20, 59, 60] {
            assert_eq!(nodes[0].all(sort, limit).await, whole, "{sort} {limit}");
        }
    }
    let page = nodes[0].page("", 1000, None).await;
    assert!(page.rows.windows(2).all(|pair| pair[0].record < pair[1].record));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_gives_less_than_asked_is_asked_again() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    let long = "x".repeat(ROWS_BYTES_MAX / 5);
    for n in 0..12_u64 {
        let body = json!({"asset_name": format!("b{n}"), "asset_metadata": {"n": n, "text": long}});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        other.queries.shared.catalog.create_external(draft).await.unwrap();
    }
    node.meet(1, other.honest());
    let page = node.page("", 1000, None).await;
    assert_eq!((page.rows.len(), page.report.complete, &page.next_cursor), (12, true, &None));
    assert!(*node.town.asked.lock().unwrap() >= 3, "five rows fit an answer");
}

#[tokio::test]
async fn an_answer_to_a_peer_is_no_longer_than_a_message() {
    let node = TestNode::new(0);
    let ask = |deadline_ms, limit| FindAsk {
        id: [0; 16],
        filter: "{}".to_owned(),
        sort: String::new(),
        limit,
        after: None,
        deadline_ms,
    };
    let long = "x".repeat(ROWS_BYTES_MAX * 3 / 10);
    for n in 0..5 {
        let body = json!({"asset_name": format!("b{n}"), "asset_metadata": long});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        node.queries.shared.catalog.create_external(draft).await.unwrap();
    }
    let shared = &node.queries.shared;
    let answer = serve::find(shared, ask(1_000, 1_000), Instant::now()).await.unwrap();
    let QueryAnswer::Rows { rows, end } = &answer else { panic!("{answer:?}") };
    assert_eq!((rows.len(), *end), (3, End::More));
    assert!(rows.iter().map(Row::bytes).sum::<usize>() <= ROWS_BYTES_MAX);
    assert!(answer.encode().is_ok());
    let answer = serve::find(shared, ask(1_000, 1), Instant::now()).await.unwrap();
    assert!(matches!(&answer, QueryAnswer::Rows { rows, end: End::More } if rows.len() == 1), "{answer:?}");
    for limit in [0, 1_001, u32::MAX] {
        assert!(serve::find(shared, ask(1_000, limit), Instant::now()).await.is_err(), "{limit}");
    }
    let bad = FindAsk { filter: "{\"$foo\":1}".to_owned(), ..ask(1_000, 1) };
    assert!(serve::find(shared, bad, Instant::now()).await.is_err());
}

#[tokio::test]
async fn rows_of_any_length_come_each_in_an_answer_of_its_own() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    // Members that are short as text and long in the stored form.
    let members: serde_json::Map<String, serde_json::Value> =
        (0..40_000).map(|n| (n.to_string(), json!(n))).collect();
    let body =
        json!({"asset_metadata": {"n": 1, "text": "x".repeat(ROWS_BYTES_MAX / 2), "members": members}});
    let document = Document::from_value(&body).unwrap();
    for _ in 0..3 {
        let draft = Draft::external(&document).unwrap();
        other.queries.shared.catalog.create_external(draft).await.unwrap();
    }
    node.meet(1, other.honest());
    let page = node.page("", 10, None).await;
    assert_eq!((page.rows.len(), page.report.complete), (3, true), "{:?}", page.report);
    assert!(page.rows.iter().all(|row| row.document.as_bytes().len() > ROWS_BYTES_MAX / 2));
}

#[tokio::test]
async fn a_liar_is_dropped_named_and_penalised_and_the_others_stand() {
    let cases = [
        ("another's row", says(vec![row(1, 0, "l")], End::Whole)),
        ("a third's row", says(vec![row(1, 9, "l")], End::Whole)),
        ("rows twice", says(vec![row(1, 1, "l"), row(1, 1, "l")], End::Whole)),
        ("backwards", says(vec![row(2, 1, "l"), row(1, 1, "m")], End::Whole)),
        ("more for ever", says(Vec::new(), End::More)),
        ("more of the same", says(vec![row(1, 1, "l")], End::More)),
        ("a flood", says((1..30).map(|n| row(n, 1, "l")).collect(), End::Whole)),
        ("garbage", Manner::Says(vec![7; 100])),
        ("nothing", Manner::Says(Vec::new())),
        ("another answer", Manner::Says(QueryAnswer::Looked(None).encode().unwrap())),
    ];
    for (name, manner) in cases {
        let (node, honest) = (TestNode::new(0), TestNode::new(2));
        node.create("own", 1).await;
        honest.create("honest", 1).await;
        node.meet(1, manner);
        node.meet(2, honest.honest());
        let page = node.page("", 20, None).await;
        let uris: Vec<&str> = page.rows.iter().map(Asset::uri).collect();
        assert!(uris.contains(&"own:1-t") && uris.contains(&"honest:1-t"), "{name}: {uris:?}");
        assert!(!page.report.complete, "{name}");
        let missing = &page.report.missing[0];
        assert_eq!((missing.name.as_str(), missing.reason.as_str()), ("n1", "malformed"), "{name}");
        assert_eq!(*node.town.blamed.lock().unwrap(), [key(1)], "{name}");
    }
}

#[tokio::test]
async fn no_answer_that_lacks_a_member_is_complete_and_all_end_in_time() {
    let cases = [
        (Manner::Silent, "timed_out", true),
        (Manner::Fails(SwarmError::Busy), "busy", false),
        (Manner::Fails(SwarmError::Unreachable("x".to_owned())), "unreachable", false),
        (Manner::Fails(SwarmError::Refused), "refused", false),
    ];
    for (manner, reason, late) in cases {
        let node = TestNode::new(0);
        node.create("own", 1).await;
        node.meet(1, manner);
        let begun = Instant::now();
        let deadline = Duration::from_millis(300);
        let page = node.queries.find(question("", 10, None, deadline)).await.unwrap();
        assert!(begun.elapsed() < deadline + Duration::from_millis(700), "{:?}", begun.elapsed());
        assert_eq!((page.rows.len(), page.report.complete, page.report.is_late()), (1, false, late));
        assert_eq!(page.report.missing[0].reason, reason);
    }
}

#[tokio::test]
async fn members_that_are_down_are_named_and_not_asked() {
    let node = TestNode::new(0);
    node.meet(1, Manner::Silent);
    let day = Duration::from_secs(24 * 3600);
    for (standing, complete) in [
        (Standing::Down(Duration::ZERO), false),
        (Standing::Down(day - Duration::from_secs(1)), false),
        (Standing::Down(day), true),
        (Standing::Forgotten, true),
        (Standing::Left, true),
    ] {
        node.stand(1, standing);
        let page = node.page("", 10, None).await;
        assert_eq!(page.report.complete, complete, "{standing:?}");
        assert_eq!(page.report.missing.is_empty(), complete, "{standing:?}");
    }
    assert_eq!(*node.town.asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn of_very_many_members_64_are_asked_and_the_others_named() {
    let (node, other) = (TestNode::new(0), TestNode::new(1));
    node.meet(1, other.honest());
    for seed in 2..=100 {
        node.meet(seed, says(Vec::new(), End::Whole));
    }
    let page = node.page("", 10, None).await;
    let nodes = page.report.nodes;
    assert_eq!((nodes.known, nodes.alive, nodes.asked, nodes.answered), (101, 101, 65, 65));
    assert_eq!((page.report.complete, page.report.missing.len()), (false, 36));
    assert!(page.report.missing[0].reason.starts_with("not asked"), "{:?}", page.report.missing[0]);
    assert_eq!(*node.town.asked.lock().unwrap(), 64);
}

#[tokio::test]
async fn a_peer_that_keeps_failing_is_left_alone_and_still_named() {
    let node = TestNode::new(0);
    node.meet(1, Manner::Fails(SwarmError::Unreachable("x".to_owned())));
    for _ in 0..50 {
        let page = node.page("", 10, None).await;
        assert!(!page.report.complete && page.report.missing.len() == 1);
        assert_eq!(page.report.nodes.failed, 1);
    }
    assert!(*node.town.asked.lock().unwrap() < 10, "{}", node.town.asked.lock().unwrap());
}

#[tokio::test]
async fn an_asset_is_found_wherever_it_is_the_oldest_first() {
    let nodes = [TestNode::new(0), TestNode::new(1), TestNode::new(2)];
    let first = nodes[2].create("x", 1).await;
    let before = crate::clock::now();
    while crate::clock::now().as_millis() == before.as_millis() {}
    nodes[1].create("x", 2).await;
    nodes[0].meet(1, nodes[1].honest());
    nodes[0].meet(2, nodes[2].honest());
    let look = |place: Place| {
        let queries = nodes[0].queries.clone();
        async move { queries.look("x:1-t", &place).await }
    };
    let found = look(Place::Anywhere).await.unwrap();
    assert_eq!((found.asset.record, found.report.complete), (first, true));
    let ids: Vec<String> = found.also_at.iter().map(|other| other.assets_db_id.clone()).collect();
    assert_eq!(ids, [key(1).assets_db_id().to_string()]);
    let picked = look(Place::At(key(1).assets_db_id().to_string())).await.unwrap();
    assert_ne!(picked.asset.record, first);
    assert!(matches!(look(Place::Here).await, Err(Error::NotFound(_))));
    assert_eq!(
        nodes[0].queries.look(&first.to_string(), &Place::Anywhere).await.unwrap().asset.record,
        first
    );
    let own = nodes[0].create("x", 3).await;
    let found = look(Place::Anywhere).await.unwrap();
    assert_eq!((found.asset.record, found.also_at.len()), (own, 2), "this node's goes first");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_missing_and_who_did_not_answer_is_named() {
    let node = TestNode::with(0, Config { lookup_within: Duration::from_millis(100), ..Config::default() });
    assert!(
        matches!(node.queries.look("x:1-t", &Place::Anywhere).await, Err(Error::NotFound(report)) if report.complete)
    );
    node.meet(1, Manner::Silent);
    let Err(Error::NotFound(report)) = node.queries.look("x:1-t", &Place::Anywhere).await else { panic!() };
    assert_eq!((report.complete, report.missing.len()), (false, 1));
    let lie = QueryAnswer::Looked(Some(row(1, 1, "y"))).encode().unwrap();
    node.meet(1, Manner::Says(lie));
    let Err(Error::NotFound(report)) = node.queries.look("x:1-t", &Place::Anywhere).await else { panic!() };
    assert_eq!(report.missing[0].reason, "malformed");
}

#[tokio::test]
async fn what_is_here_waits_only_a_little_for_others() {
    let node = TestNode::with(0, Config { others_within: Duration::from_millis(50), ..Config::default() });
    let own = node.create("x", 1).await;
    node.meet(1, Manner::Silent);
    let begun = Instant::now();
    let found = node.queries.look("x:1-t", &Place::Anywhere).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((found.asset.record, found.report.complete), (own, false));
}

#[tokio::test]
async fn malformed_messages_have_no_answer_and_are_penalised() {
    for service in [Service::Query, Service::Write] {
        let node = TestNode::new(1);
        assert_eq!(served(Arc::clone(&node.queries.shared), service, vec![9; 40]).await, Vec::<u8>::new());
        assert_eq!(*node.town.blamed.lock().unwrap(), [key(0)]);
    }
    let ask = QueryAsk::Look { id: [0; 16], key: "x".to_owned() }.encode().unwrap();
    let node = TestNode::new(1);
    let answer = served(Arc::clone(&node.queries.shared), Service::Query, ask).await;
    assert_eq!(QueryAnswer::decode(&answer).unwrap(), QueryAnswer::Looked(None));
}
