//! Changes of assets that another node owns: done by it alone, and never behind the back of who asked.

use assetmesh_protocol::asset::Patch;
use assetmesh_protocol::query::{WriteAnswer, WriteRefusal};
use serde_json::Value;

use super::*;

impl TestNode {
    fn has(&self, uri: &str) -> bool {
        self.queries.shared.catalog.find(uri).unwrap().is_some()
    }
}

/// What a node answers when it is told of a change.
async fn tell(node: &TestNode, record: RecordId, change: AssetChange, permit: [u8; 16]) -> WriteAnswer {
    let ask = WriteAsk::new([0; 16], record, change, permit).encode().unwrap();
    WriteAnswer::decode(&served(Arc::clone(&node.queries.shared), Service::Write, ask).await).unwrap()
}

fn patch(body: &Value) -> Patch {
    Patch::parse(&Document::from_value(body).unwrap()).unwrap()
}

#[tokio::test]
async fn a_change_goes_to_the_owner() {
    let (node, owner) = (TestNode::new(0), TestNode::new(1));
    let record = owner.create("x", 1).await;
    owner.create("taken", 1).await;
    node.meet(1, owner.honest());
    owner.meet(0, node.honest());
    let tags = patch(&json!({"asset_tags": ["changed"]}));
    let changed = node.queries.update("x:1-t", &Place::Anywhere, tags).await.unwrap();
    assert_eq!((changed.record, changed.uri.as_str()), (record, "x:1-t"));
    let stored = owner.queries.shared.catalog.find("x:1-t").unwrap().unwrap();
    assert_eq!(stored.document.to_value()["asset_tags"], json!(["changed"]));
    let taken = node.queries.update("x:1-t", &Place::Anywhere, patch(&json!({"asset_name": "taken"}))).await;
    assert!(matches!(taken, Err(Error::Catalog(catalog::Error::Conflict { .. }))), "{taken:?}");
    node.queries.delete("x:1-t", &Place::Anywhere).await.unwrap();
    assert!(!owner.has("x:1-t"));
    let again = node.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
}

#[tokio::test]
async fn a_change_that_cannot_reach_every_possible_owner_is_refused() {
    let node = TestNode::with(0, Config { lookup_within: Duration::from_millis(100), ..Config::default() });
    node.meet(1, Manner::Silent);
    let refused = node.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(refused, Err(Error::OwnerUnreachable { .. })), "{refused:?}");
    node.stand(1, Standing::Down(Duration::ZERO));
    let refused = node.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(refused, Err(Error::OwnerUnreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_uri_is_changed_only_when_all_that_are_up_have_said_whether_it_is_theirs_too() {
    let config = |lookup_within| Config {
        lookup_within: Duration::from_millis(lookup_within),
        others_within: Duration::from_millis(1),
        ..Config::default()
    };
    let (node, patient) = (TestNode::with(0, config(400)), TestNode::with(0, config(30_000)));
    let (owner, other) = (TestNode::new(1), TestNode::new(2));
    let record = owner.create("x", 1).await;
    owner.meet(0, node.honest());
    node.meet(1, owner.honest());
    let why_refused = async || {
        let refused = node.queries.delete("x:1-t", &Place::Anywhere).await;
        let Err(Error::OwnerUnreachable { report, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((report.missing.len(), report.missing[0].name.as_str()), (1, "n2"));
        report.missing[0].reason.clone()
    };
    node.meet(2, Manner::Silent);
    assert_eq!(why_refused().await, "timed_out");
    let busy = QueryAnswer::Refused(QueryRefusal::Busy).encode().unwrap();
    for busy in [Manner::Says(busy), Manner::Fails(SwarmError::Busy), Manner::Fails(SwarmError::NotSent)] {
        node.meet(2, busy);
        why_refused().await;
    }
    node.meet(2, Manner::Says(QueryAnswer::Refused(QueryRefusal::Failed).encode().unwrap()));
    assert_eq!(why_refused().await, "failed");
    node.meet(2, Manner::Fails(SwarmError::Refused));
    let mut reasons = Vec::new();
    while !reasons.contains(&Outcome::LeftAlone.name().to_owned()) {
        reasons.push(why_refused().await);
        assert!(reasons.len() < 100, "it is left alone at some time");
    }
    assert_eq!(reasons[0], "refused");
    other.create("x", 2).await;
    // Its answer comes later than what is waited for others to read.
    patient.meet(1, owner.honest());
    patient.meet(2, Manner::Slow(Arc::clone(&other.queries.shared), Duration::from_millis(50)));
    let refused = patient.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(refused, Err(Error::Ambiguous(_))), "{refused:?}");
    assert!(owner.has("x:1-t") && other.has("x:1-t"));
    node.meet(2, Manner::Silent);
    let tags = patch(&json!({"asset_tags": ["changed"]}));
    node.queries.update(&record.to_string(), &Place::Anywhere, tags).await.unwrap();
    node.stand(2, Standing::Down(Duration::ZERO));
    node.queries.delete("x:1-t", &Place::Anywhere).await.unwrap();
    assert!(!owner.has("x:1-t"));
}

#[tokio::test]
async fn of_several_owners_the_client_must_name_one() {
    let nodes = [TestNode::new(0), TestNode::new(1), TestNode::new(2)];
    for at in [1, 2] {
        nodes[at].create("x", 1).await;
        nodes[0].meet(u8::try_from(at).unwrap(), nodes[at].honest());
        nodes[at].meet(0, nodes[0].honest());
    }
    let Err(Error::Ambiguous(holders)) = nodes[0].queries.delete("x:1-t", &Place::Anywhere).await else {
        panic!("two have it")
    };
    assert_eq!(holders.len(), 2);
    let place = Place::At(key(2).assets_db_id().to_string());
    nodes[0].queries.delete("x:1-t", &place).await.unwrap();
    assert!(nodes[1].queries.shared.catalog.find("x:1-t").unwrap().is_some());
    assert!(nodes[2].queries.shared.catalog.find("x:1-t").unwrap().is_none());
}

#[tokio::test]
async fn strangers_and_the_unwanted_change_nothing() {
    let owner = TestNode::new(1);
    let record = owner.create("x", 1).await;
    let told = async |at: &TestNode, change| tell(at, record, change, [0; 16]).await;
    let forbidden = WriteAnswer::Refused(WriteRefusal::Forbidden);
    for change in [AssetChange::Delete, AssetChange::Permit] {
        assert_eq!(told(&owner, change).await, forbidden, "a stranger");
    }
    owner.meet(0, Manner::Silent);
    let deny = TestNode::with(2, Config::default());
    deny.meet(0, Manner::Silent);
    deny.create("x", 1).await;
    assert_eq!(told(&deny, AssetChange::Permit).await, forbidden, "denied");
    assert!(matches!(told(&owner, AssetChange::Permit).await, WriteAnswer::Permit(_)), "a member");
    assert!(owner.has("x:1-t"));
    let node = TestNode::new(0);
    node.meet(2, deny.honest());
    let refused = node.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(refused, Err(Error::Forbidden)), "{refused:?}");
}

#[tokio::test]
async fn a_change_without_a_fresh_permit_is_not_made() {
    let owner = TestNode::new(1);
    let record = owner.create("x", 1).await;
    owner.meet(0, Manner::Silent);
    let late = WriteAnswer::Refused(WriteRefusal::Late);
    for permit in [[0; 16], [7; 16]] {
        assert_eq!(tell(&owner, record, AssetChange::Delete, permit).await, late);
        let update = AssetChange::Update(r#"{"asset_tags":["x"]}"#.to_owned());
        assert_eq!(tell(&owner, record, update, permit).await, late);
    }
    let stored = owner.queries.shared.catalog.find("x:1-t").unwrap().unwrap();
    assert_eq!(stored.document.to_value()["asset_tags"], json!([]));
    let WriteAnswer::Permit(permit) = tell(&owner, record, AssetChange::Permit, [0; 16]).await else {
        panic!("no permit")
    };
    let done = tell(&owner, record, AssetChange::Delete, permit).await;
    assert!(matches!(done, WriteAnswer::Done { .. }), "{done:?}");
    assert!(!owner.has("x:1-t"));
    let shorter = Config::default().write_within;
    assert!(crate::permits::GOOD_FOR < shorter, "nothing is begun for who has given up");
}

#[tokio::test]
async fn only_an_owner_that_was_told_nothing_is_said_to_have_done_nothing() {
    let (node, owner) = (TestNode::new(0), TestNode::new(1));
    owner.create("x", 1).await;
    owner.meet(0, Manner::Silent);
    node.meet(1, Manner::Stopped(Arc::clone(&owner.queries.shared)));
    let refused = node.queries.delete("x:1-t", &Place::Anywhere).await;
    let Err(Error::OwnerUnreachable { report, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!((report.missing[0].name.as_str(), report.missing[0].reason.as_str()), ("n1", "timed_out"));
    assert!(owner.has("x:1-t"));
    node.meet(1, Manner::Mute(Arc::clone(&owner.queries.shared)));
    let lost = node.queries.delete("x:1-t", &Place::Anywhere).await;
    assert!(matches!(lost, Err(Error::Unconfirmed(_))), "{lost:?}");
    assert!(!owner.has("x:1-t"), "it was done, and the answer was lost");
}
