//! Summaries in a federation of real nodes: most members are spared a question that concerns one of them, and nobody is
//! spared one that does.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use assetmesh_node::query::{Error, Page, Place};
use assetmesh_node::{Config, Node, catalog, fetch, swarm};
use assetmesh_protocol::asset::{Draft, FileFacts};
use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::Filter;
use assetmesh_protocol::ids::AssetId;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

const NODES: usize = 20;
/// What nothing here should take, however busy the machine is.
pub(super) const WITHIN: Duration = Duration::from_secs(120);
/// A second is promised. Debug builds on a busy machine are given more.
const FOUND_WITHIN: Duration = Duration::from_secs(5);

pub(super) struct Member {
    node: Node,
    folder: TempDir,
}

pub(super) fn start(folder: TempDir, others: &[Member]) -> Member {
    let known = others.iter().flat_map(|other| other.node.swarm().listen_addrs());
    let config = Config {
        data_dir: folder.path().to_owned(),
        swarm: swarm::Config {
            data_dir: folder.path().to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: known.collect(),
            ..swarm::Config::default()
        },
        catalog: catalog::Config { cache_bytes: 4 << 20, ..catalog::Config::default() },
        ..Config::default()
    };
    Member { node: Node::start(config).unwrap(), folder }
}

impl Member {
    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    pub(super) async fn create(&self, name: &str, metadata: &Value) {
        let body = json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": metadata});
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        self.node.catalog().create_external(draft).await.unwrap();
    }

    async fn find(&self, filter: &Value, limit: usize, cursor: Option<String>) -> Page {
        let question = catalog::Query {
            filter: Filter::parse(filter).unwrap(),
            filter_text: filter.to_string(),
            sort: None,
            sort_text: String::new(),
            limit,
            cursor,
            deadline: Duration::from_secs(10),
        };
        self.node.queries().find(question).await.unwrap()
    }

    /// Asks until an answer is as it should be.
    pub(super) async fn until(
        &self,
        filter: &Value,
        within: Duration,
        is_it: impl Fn(&Page) -> bool,
    ) -> (Page, u32) {
        let (begun, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            let page = self.find(filter, 1000, None).await;
            if is_it(&page) {
                return (page, tries);
            }
            assert!(begun.elapsed() < within, "{filter} after {tries} tries: {:?}", page.report);
        }
    }
}

fn names(page: &Page) -> BTreeSet<String> {
    page.rows.iter().map(|row| row.uri().to_owned()).collect()
}

/// Nodes that know of each other; each holds one asset of its own.
async fn federation() -> Vec<Member> {
    let mut members = Vec::new();
    for _ in 0..NODES {
        members.push(start(tempfile::tempdir().unwrap(), &members));
    }
    for (home, member) in members.iter().enumerate() {
        let all_are_up = |page: &Page| page.report.complete && page.report.nodes.alive == NODES as u64;
        member.until(&json!({"asset_name": {"$ne": "x"}}), WITHIN, all_are_up).await;
        member.create(&format!("of-{home}"), &json!({"home": home, "all": true})).await;
    }
    members
}

pub(super) async fn stop(members: Vec<Member>) {
    join_all(members.iter().map(|member| member.node.stop())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn most_members_are_spared_and_every_new_asset_is_found_at_once() {
    let mut members = federation().await;
    let rare = json!({"asset_metadata.home": 7});
    let most_are_spared = |page: &Page| page.report.nodes.pruned >= NODES as u64 - 2;
    let (page, _) = members[0].until(&rare, WITHIN, most_are_spared).await;
    assert_eq!(names(&page), BTreeSet::from(["of-7:1-t".to_owned()]));
    let nodes = page.report.nodes;
    assert!(page.report.complete && page.report.pruned_as_of.is_some(), "{:?}", page.report);
    assert_eq!((nodes.known, nodes.asked + nodes.pruned), (NODES as u64, NODES as u64));
    assert_eq!(nodes.answered, nodes.asked);
    let peers = members[0].node.peers();
    assert!(peers.iter().filter(|peer| peer.summary_as_of.is_some()).count() >= NODES - 2);

    // What every node holds, and what no summary can rule out, is asked of all.
    for filter in [json!({"asset_metadata.all": true}), json!({"asset_metadata.home": {"$ne": -1}})] {
        let page = members[0].find(&filter, 1000, None).await;
        assert_eq!((page.rows.len(), page.report.nodes.pruned), (NODES, 0), "{filter}");
    }

    names_are_looked_for_where_they_may_be(&members[0]).await;
    content_is_looked_for_where_it_may_be_and_then_everywhere(&members).await;
    pages_stay_right_while_summaries_change(&members).await;
    uploads_are_found_at_once(&members).await;
    a_new_life_is_not_judged_by_the_former(&mut members).await;
    stop(members).await;
}

async fn names_are_looked_for_where_they_may_be(member: &Member) {
    let found = member.node.queries().look("of-9:1-t", &Place::Anywhere).await.unwrap();
    assert!(found.report.complete && found.report.nodes.pruned >= NODES as u64 - 3, "{:?}", found.report);
    let record = found.asset.record.to_string();
    let again = member.node.queries().look(&record, &Place::Anywhere).await.unwrap();
    assert_eq!(again.asset.record, found.asset.record);
    assert!(again.report.nodes.pruned >= NODES as u64 - 3, "{:?}", again.report);
    let missed = member.node.queries().look("nowhere:1-t", &Place::Anywhere).await.unwrap_err();
    let Error::NotFound(report) = missed else { panic!("{missed}") };
    assert!(report.complete && report.nodes.pruned >= NODES as u64 - 3, "{report:?}");
}

/// What no record names may still lie somewhere, such as in a cache: nobody is ruled out for good.
async fn content_is_looked_for_where_it_may_be_and_then_everywhere(members: &[Member]) {
    let mut upload = members[9].node.blobs().begin();
    upload.write(b"content".to_vec().into()).await.unwrap();
    let (stored, body) = (
        upload.finish().await.unwrap(),
        json!({"asset_name": "content",
        "asset_version": {"version": "1", "tag": "t"}}),
    );
    let (id, draft) = (stored.id, Draft::upload(&Document::from_value(&body).unwrap()).unwrap());
    let file = FileFacts { file_name: "c".to_owned(), file_type: "text/plain".to_owned() };
    members[9].node.catalog().create_uploaded(draft, file, stored).await.unwrap();
    let found = members[0].node.fetch().find(id).await.unwrap();
    assert_eq!((found.size(), found.from()), (7, members[9].node.node_key()));
    let missed = members[0].node.fetch().find(AssetId::of(b"nowhere")).await.unwrap_err();
    let fetch::Error::NotFound(coverage) = missed else { panic!("{missed}") };
    assert_eq!((coverage.asked, coverage.answered, coverage.pruned), (19, 19, 0), "{coverage:?}");
}

/// A node that is ruled out on one page may have rows on the next.
async fn pages_stay_right_while_summaries_change(members: &[Member]) {
    let filter = json!({"asset_metadata.group": "g"});
    for n in 0..6 {
        members[1 + n % 2].create(&format!("g{n}"), &json!({"group": "g"})).await;
    }
    members[0].until(&filter, FOUND_WITHIN, |page| page.rows.len() == 6).await;
    let (mut cursor, mut seen, mut later) = (None, Vec::new(), 0);
    loop {
        let page = members[0].find(&filter, 2, cursor).await;
        assert!(page.report.complete, "{:?}", page.report);
        seen.extend(page.rows.iter().map(|row| row.uri().to_owned()));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
        if later < 2 {
            members[3 + later].create(&format!("late{later}"), &json!({"group": "g"})).await;
            later += 1;
        }
    }
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len(), "{seen:?}");
    assert!((0..6).all(|n| distinct.contains(&format!("g{n}:1-t"))), "{seen:?}");
}

async fn uploads_are_found_at_once(members: &[Member]) {
    let (mut longest, mut at_first, rounds) = (Duration::ZERO, 0, 40);
    for round in 0..rounds {
        let (from, to) = (round * 7 % NODES, (round * 11 + 5) % NODES);
        let filter = json!({"asset_metadata.fresh": round});
        // So that the asking node has something to go by.
        if round % 4 != 0 {
            let some_are_spared = |page: &Page| page.report.nodes.pruned > 0;
            members[to].until(&filter, WITHIN, some_are_spared).await;
        }
        members[from].create(&format!("fresh-{round}"), &json!({"fresh": round})).await;
        let acknowledged = Instant::now();
        let (_, tries) = members[to].until(&filter, FOUND_WITHIN, |page| page.rows.len() == 1).await;
        longest = longest.max(acknowledged.elapsed());
        at_first += u32::from(tries == 1);
    }
    assert!(at_first > 0, "none of {rounds} was found by the first question");
    assert!(longest < FOUND_WITHIN, "{longest:?}");
}

async fn a_new_life_is_not_judged_by_the_former(members: &mut Vec<Member>) {
    let filter = json!({"asset_metadata.life": 2});
    members[0].until(&filter, WITHIN, |page| page.report.nodes.pruned >= NODES as u64 - 2).await;
    let Member { node, folder } = members.pop().unwrap();
    node.stop().await;
    drop(node);
    let again = start(folder, members);
    again.create("again", &json!({"life": 2})).await;
    members.push(again);
    let whole = |page: &Page| page.report.complete && page.report.nodes.alive == NODES as u64;
    let (page, _) = members[0].until(&filter, WITHIN, whole).await;
    assert_eq!(names(&page), BTreeSet::from(["again:1-t".to_owned()]), "{:?}", page.report);
}
