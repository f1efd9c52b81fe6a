//! Tests of `summaries`: nodes on a network that loses, cuts and lies as the test says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use assetmesh_protocol::asset::Draft;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::ids::AssetsDbId;
use assetmesh_protocol::summary::{Growing, Shape, SummaryAnswer, SummaryAsk, Version};
use futures_util::future::BoxFuture;
use serde_json::json;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::blobs::{self, Blobs};
use crate::catalog::{self, Owner};
use crate::swarm::{Error, Link, Links, Offence, Request};

/// What nothing here should take, however busy the machine is.
const WITHIN: Duration = Duration::from_secs(60);
/// A second is promised. Debug builds on a busy machine are given more.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

/// How a peer that is no node of the test answers.
#[derive(Debug, Clone)]
enum Stand {
    Says(Vec<u8>),
    /// Serves this summary; from this part on it has another.
    Serves(Arc<Growing>, u32),
}

#[derive(Debug, Default)]
struct World {
    nodes: Mutex<BTreeMap<NodeKey, mpsc::Sender<Request>>>,
    stands: Mutex<BTreeMap<NodeKey, Stand>>,
    links: Mutex<BTreeMap<NodeKey, Link>>,
    /// Messages about changes that are lost from now on.
    losses: AtomicU64,
    asked: watch::Sender<u64>,
    blamed: Mutex<Vec<NodeKey>>,
}

#[derive(Debug)]
struct Wire {
    own: NodeKey,
    world: Arc<World>,
}

impl Peers for Wire {
    /// Pings come back always, unless a test says when the last one did.
    fn links(&self) -> Links {
        let known = self.world.links.lock().unwrap().clone();
        let now = Instant::now();
        let met = |(key, link): (NodeKey, Link)| (key, Link { heard: link.heard.max(now), ..link });
        Arc::new(known.into_iter().map(met).collect())
    }

    fn request(
        &self,
        peer: NodeKey,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Error>> {
        let (world, from) = (Arc::clone(&self.world), self.own);
        world.asked.send_modify(|asked| *asked += 1);
        Box::pin(async move {
            let is_change = matches!(SummaryAsk::decode(&body), Ok(SummaryAsk::Changed));
            let lose = |left: u64| left.checked_sub(1);
            if is_change && world.losses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                return Err(Error::Timeout(within));
            }
            let stand = world.stands.lock().unwrap().get(&peer).cloned();
            if let Some(stand) = stand {
                return Ok(stand.answer(&body));
            }
            let inbox = world.nodes.lock().unwrap().get(&peer).cloned();
            let inbox = inbox.ok_or_else(|| Error::Unreachable("away".to_owned()))?;
            let (answer, answered) = oneshot::channel();
            inbox.send(Request { from, body, answer, room: None }).await.map_err(|_| Error::Refused)?;
            answered.await.map_err(|_| Error::Refused)
        })
    }

    fn penalise(&self, peer: NodeKey, _: Offence) -> BoxFuture<'static, ()> {
        self.world.blamed.lock().unwrap().push(peer);
        Box::pin(async {})
    }
}

impl Stand {
    fn answer(self, body: &[u8]) -> Vec<u8> {
        let version = Version { life: 1, build: 1, changes: 1 };
        let answer = match (self, SummaryAsk::decode(body).unwrap()) {
            (Self::Says(bytes), _) => return bytes,
            (Self::Serves(growing, _), SummaryAsk::Pull { .. }) => {
                SummaryAnswer::First { version, shape: growing.shape(), bits: growing.part(0) }
            }
            (Self::Serves(growing, until), SummaryAsk::Part(want)) if want.part < until => {
                SummaryAnswer::Part(growing.part(want.part as usize))
            }
            (Self::Serves(..), _) => SummaryAnswer::Gone,
        };
        answer.encode().unwrap()
    }
}

fn key(seed: u8) -> NodeKey {
    NodeKey([seed; 32])
}

struct TestNode {
    key: NodeKey,
    world: Arc<World>,
    catalog: Catalog,
    summaries: Summaries,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

impl TestNode {
    /// A new life of the node with this key, with nothing stored.
    fn start(world: &Arc<World>, seed: u8) -> Self {
        let (folder, mut tasks, key) = (tempfile::tempdir().unwrap(), Tasks::default(), key(seed));
        let id = AssetsDbId(uuid::Uuid::nil());
        let owner = Owner { assets_db_id: id, public_url: "http://n".to_owned(), cursor_secret: [0; 32] };
        let blobs = Blobs::start(&mut tasks, folder.path(), blobs::Config::default()).unwrap();
        let catalog_config = catalog::Config::default();
        let catalog = Catalog::start(&mut tasks, folder.path(), owner, blobs, &catalog_config).unwrap();
        let wire = Arc::new(Wire { own: key, world: Arc::clone(world) });
        let config = Config { pull_pause: Duration::from_millis(5), ..Config::default() };
        let summaries = Summaries::on(catalog.summary(), wire, config);
        let (inbox, asks) = mpsc::channel(8);
        world.nodes.lock().unwrap().insert(key, inbox);
        world.link(key);
        let shared = Arc::clone(&summaries.shared);
        tasks.run("summaries", |stop| async move {
            stop.run_until_cancelled(actor::run(shared, asks)).await;
        });
        Self { key, world: Arc::clone(world), catalog, summaries, tasks, _folder: folder }
    }

    async fn create(&self, name: &str) {
        let body = json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"}});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        self.catalog.create_external(draft).await.unwrap();
    }

    fn judge(&self, peer: NodeKey, name: &str) -> Verdict {
        self.summaries.judge(17, &[peer], &Probe::of_name(&format!("{name}:1-t")))[0]
    }

    /// Asks until the summary of a peer is fresh, and gives what it says.
    async fn learned(&self, peer: NodeKey, name: &str) -> Verdict {
        self.until(peer, name, |verdict| verdict != Verdict::Unknown).await
    }

    async fn until(&self, peer: NodeKey, name: &str, is_it: impl Fn(Verdict) -> bool) -> Verdict {
        let (begun, mut asked) = (Instant::now(), self.world.asked.subscribe());
        loop {
            let verdict = self.judge(peer, name);
            if is_it(verdict) {
                return verdict;
            }
            assert!(begun.elapsed() < WITHIN, "still {verdict:?}");
            // What changes a verdict comes over the network, or after a short pause.
            tokio::time::timeout(Duration::from_millis(1), asked.changed()).await.ok();
        }
    }
}

impl World {
    /// Links a peer anew.
    fn link(&self, peer: NodeKey) {
        let now = Instant::now();
        let link = Link { address: String::new(), rtt: None, since: now, renewed: now, heard: now };
        self.links.lock().unwrap().insert(peer, link);
    }

    fn stand(&self, seed: u8, stand: Stand) -> NodeKey {
        self.stands.lock().unwrap().insert(key(seed), stand);
        self.link(key(seed));
        key(seed)
    }
}

fn world() -> Arc<World> {
    Arc::default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_ruled_out_only_by_what_it_does_not_hold() {
    let world = world();
    let (a, b) = (TestNode::start(&world, 1), TestNode::start(&world, 2));
    a.create("x").await;
    assert!(matches!(b.learned(a.key, "y").await, Verdict::Not(_)));
    assert_eq!(b.judge(a.key, "x"), Verdict::May);
    assert!(b.summaries.as_of().contains_key(&a.key));
    assert_eq!((b.summaries.shared.metrics.spared.get(), world.blamed.lock().unwrap().len()), (1, 0));
    for node in [a, b] {
        node.tasks.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_not_ruled_out_for_more_than_a_moment() {
    let world = world();
    let (a, b) = (TestNode::start(&world, 1), TestNode::start(&world, 2));
    let mut longest = Duration::ZERO;
    for round in 0..40 {
        let name = format!("r{round}");
        // In every third round the notice races with a pull.
        if round % 3 != 0 {
            b.until(a.key, &name, |verdict| matches!(verdict, Verdict::Not(_))).await;
        }
        a.create(&name).await;
        let acknowledged = Instant::now();
        b.until(a.key, &name, |verdict| !matches!(verdict, Verdict::Not(_))).await;
        longest = longest.max(acknowledged.elapsed());
    }
    assert!(longest < FOUND_WITHIN, "{longest:?}");
    for node in [a, b] {
        node.tasks.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notice_is_sent_again() {
    let world = world();
    let (a, b) = (TestNode::start(&world, 1), TestNode::start(&world, 2));
    b.learned(a.key, "x").await;
    world.losses.store(3, Ordering::SeqCst);
    a.create("x").await;
    let acknowledged = Instant::now();
    b.until(a.key, "x", |verdict| !matches!(verdict, Verdict::Not(_))).await;
    assert_eq!(world.losses.load(Ordering::SeqCst), 0);
    assert!(acknowledged.elapsed() < FOUND_WITHIN, "{:?}", acknowledged.elapsed());
    for node in [a, b] {
        node.tasks.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_of_a_former_life_rules_nothing_out() {
    let world = world();
    let (a, b) = (TestNode::start(&world, 1), TestNode::start(&world, 2));
    assert!(matches!(b.learned(a.key, "x").await, Verdict::Not(_)));
    a.tasks.finish().await;
    let again = TestNode::start(&world, 1);
    again.create("x").await;
    assert!(!matches!(b.judge(again.key, "x"), Verdict::Not(_)), "nobody told the second node");
    assert_eq!(b.learned(again.key, "x").await, Verdict::May);
    for node in [again, b] {
        node.tasks.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_members_are_all_asked_and_nothing_is_pulled() {
    let world = world();
    let (a, b) = (TestNode::start(&world, 1), TestNode::start(&world, 2));
    let probe = Probe::of_name("x");
    for members in [1, 2, 16] {
        assert_eq!(b.summaries.judge(members, &[a.key], &probe), [Verdict::Unknown]);
    }
    assert_eq!(b.summaries.judge(64, &[a.key], &Probe::Anything), [Verdict::Unknown]);
    assert_eq!(b.summaries.shared.held().due(), None);
    assert_eq!(*world.asked.borrow(), 0);
    for node in [a, b] {
        node.tasks.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_of_many_parts_arrives_whole_or_not_at_all() {
    let world = world();
    let node = TestNode::start(&world, 1);
    let growing = Arc::new(Growing::new(1 << 20));
    let whole = world.stand(7, Stand::Serves(Arc::clone(&growing), u32::MAX));
    assert!(matches!(node.learned(whole, "x").await, Verdict::Not(_)));
    assert_eq!(node.summaries.shared.held().bytes(), growing.summary().bytes());

    let torn = world.stand(8, Stand::Serves(growing, 2));
    let mut asked = world.asked.subscribe();
    let before = *asked.borrow();
    node.judge(torn, "x");
    tokio::time::timeout(WITHIN, asked.wait_for(|asked| *asked >= before + 3)).await.unwrap().unwrap();
    assert_eq!(node.judge(torn, "x"), Verdict::Unknown);
    assert!(world.blamed.lock().unwrap().is_empty(), "one that is made anew is no lie");
    node.tasks.finish().await;
}

fn first(shape: Shape, bits: Vec<u8>) -> Vec<u8> {
    let version = Version { life: 1, build: 1, changes: 1 };
    SummaryAnswer::First { version, shape, bits }.encode().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_blamed_and_costs_nothing() {
    let (small, large) = (Growing::new(0), Growing::new(1 << 20));
    let (bits, shape) = (small.part(0), small.shape());
    let cases = [
        ("nothing", Vec::new(), true),
        ("garbage", vec![7; 100], true),
        ("the same as none", SummaryAnswer::Same.encode().unwrap(), true),
        ("a part unasked", SummaryAnswer::Part(bits.clone()).encode().unwrap(), true),
        ("a size beyond all", first(Shape { size: 60, ..shape.clone() }, bits.clone()), true),
        ("too few bits", first(shape.clone(), vec![0; 8]), true),
        ("too many bits", first(shape.clone(), vec![0; 4096]), true),
        ("the first part for ever", first(large.shape(), large.part(0)), true),
        ("too many paths", first(Shape { open: vec![1; 2000], ..shape.clone() }, bits.clone()), true),
        ("a later form", first(Shape { form: 9, ..shape }, bits), false),
        ("none", SummaryAnswer::None.encode().unwrap(), false),
    ];
    let world = world();
    let node = TestNode::start(&world, 1);
    for (seed, (name, says, is_lie)) in (10..).zip(cases) {
        let liar = world.stand(seed, Stand::Says(says));
        let pulled = || node.summaries.shared.held().due().is_some_and(|due| due > Instant::now());
        node.judge(liar, "x");
        let begun = Instant::now();
        while !{
            node.judge(liar, "x");
            pulled()
        } {
            assert!(begun.elapsed() < WITHIN, "{name}");
            tokio::task::yield_now().await;
        }
        assert_eq!(node.judge(liar, "x"), Verdict::Unknown, "{name}");
        assert_eq!(world.blamed.lock().unwrap().contains(&liar), is_lie, "{name}");
        assert_eq!(node.summaries.shared.held().bytes(), 0, "{name}");
        // The next one is looked at alone.
        *node.summaries.shared.held() = Held::new(Config::default());
    }
    let (answer, answered) = oneshot::channel();
    let inbox = world.nodes.lock().unwrap()[&node.key].clone();
    inbox.send(Request { from: key(9), body: vec![7; 9], answer, room: None }).await.unwrap();
    assert!(tokio::time::timeout(WITHIN, answered).await.unwrap().is_err(), "it gets no answer");
    assert!(node.world.blamed.lock().unwrap().contains(&key(9)));
    node.tasks.finish().await;
}
