//! Nodes that find each other, see who lives, and carry one registry.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use assetmesh_tests::{Cluster, Method, NodeOptions, Request, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Debug builds on a busy machine are given more time than is promised for a release.
const SOON: Duration = Duration::from_secs(20);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

fn documented_entry() -> Value {
    json!({
        "asset_registry_name": "ResNet Models registry",
        "asset_registry_metadata":
            {"framework": "PyTorch", "version": "1.0", "author": "OpenAI", "license": "Apache-2.0"},
        "asset_registry_tags": ["image-classification", "deep-learning", "pytorch"],
        "asset_registry_public_url": "https://example.com/models/resnet-models-registry",
    })
}

fn documented_filter() -> Value {
    json!({"$and": [
        {"asset_registry_tags": {"$in": ["deep-learning"]}},
        {"asset_registry_metadata.framework": "PyTorch"},
    ]})
}

/// Waits until every node answers the filter with what `expected` asks for.
fn wait_entries(cluster: &Cluster, filter: &Value, expected: impl Fn(&Value) -> bool, count: usize) {
    for at in 0..cluster.len() {
        let mut last = Value::Null;
        let found = wait_until(SOON, || {
            let rows: Vec<Value> = cluster.entries(at, filter).unwrap().into_values().collect();
            let fits = rows.len() == count && rows.iter().all(&expected);
            last = Value::from(rows);
            fits.then_some(())
        });
        assert!(found.is_some(), "node {at} holds {last}");
    }
}

#[test]
fn an_entry_is_everywhere_and_can_be_changed_anywhere() {
    let cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let made =
        cluster.api(0).call(&Request::json(Method::Post, "/asset_registry", &documented_entry())).unwrap();
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json().unwrap();
    assert_eq!(made["data"]["message"], "Asset registry created");
    let id = made["data"]["id"].as_str().unwrap();
    wait_entries(&cluster, &documented_filter(), |row| row["asset_registry_id"] == id, 1);

    let read = cluster.entry(1, Method::Get, id, None).unwrap().json().unwrap();
    let mut expected = documented_entry();
    expected["asset_registry_id"] = json!(id);
    assert_eq!(read["data"], expected);
    assert_eq!(read["federation"]["owner"], json!(cluster.id(0).unwrap()));
    assert_eq!(read["federation"]["state"], "alive");

    let change =
        json!({"asset_registry_metadata": {"framework": "TensorFlow"}, "asset_registry_tags": ["x"]});
    let updated = cluster.entry(1, Method::Put, id, Some(&change)).unwrap();
    assert_eq!(updated.status, 200, "{}", updated.text());
    assert_eq!(updated.json().unwrap()["data"]["message"], "Asset registry updated");
    let own = cluster.entry(1, Method::Get, id, None).unwrap().json().unwrap();
    assert_eq!(own["data"]["asset_registry_tags"], json!(["x"]), "the node that was told knows at once");
    let filter = json!({"asset_registry_metadata.framework": "TensorFlow"});
    wait_entries(&cluster, &filter, |row| row["asset_registry_tags"] == json!(["x"]), 1);

    let deleted = cluster.entry(2, Method::Delete, id, None).unwrap();
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    assert_eq!(deleted.json().unwrap()["data"]["message"], "Asset registry deleted");
    assert_eq!(cluster.entry(2, Method::Get, id, None).unwrap().status, 404);
    wait_entries(&cluster, &filter, |_| true, 0);
    let again = cluster.entry(1, Method::Delete, id, None).unwrap();
    assert_eq!((again.status, &again.json().unwrap()["error"]), (404, &json!("No document found to delete")));
}

#[test]
fn a_killed_node_is_down_its_entries_stay_and_it_comes_back() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let id = cluster.id(2).unwrap();
    cluster.register(2, "kept", &json!({"k": 1})).unwrap();
    cluster.wait_same_registry(SOON).unwrap();
    cluster.kill(2);
    for at in 0..2 {
        cluster.wait_state(at, &id, "down", DOWN_WITHIN).unwrap();
    }
    let read = cluster.entry(0, Method::Get, "kept", None).unwrap().json().unwrap();
    assert_eq!(read["federation"]["state"], "down");
    let change = json!({"asset_registry_tags": ["y"]});
    let refused = cluster.entry(0, Method::Put, "kept", Some(&change)).unwrap();
    assert_eq!((refused.status, &refused.json().unwrap()["code"]), (503, &json!("owner_unreachable")));
    let read = cluster.entry(0, Method::Get, "kept", None).unwrap().json().unwrap();
    assert_eq!(read["data"]["asset_registry_tags"], json!([]), "nothing changed");
    cluster.restart(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    assert_eq!(cluster.id(2).unwrap(), id);
    assert_eq!(cluster.entry(2, Method::Put, "kept", Some(&change)).unwrap().status, 200);

    cluster.kill(2);
    cluster.wipe(2).unwrap();
    cluster.restart(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    assert_ne!(cluster.id(2).unwrap(), id, "without its key it is another node");
    let registry = cluster.wait_same_registry(SOON).unwrap();
    assert!(registry.contains_key("kept"), "{:?}", registry.keys());
}

#[test]
fn a_peer_that_is_forgotten_is_not_waited_for_until_it_is_heard() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let gone = cluster.id(2).unwrap();
    let forget = |cluster: &Cluster, at: usize, id: &str| {
        let response =
            cluster.api(at).call(&Request::new(Method::Delete, format!("/v1/peers/{id}"))).unwrap();
        let answer = response.json().unwrap();
        (response.status, answer["code"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(forget(&cluster, 0, &gone), (409, "conflict".to_owned()), "it is alive");
    assert_eq!(forget(&cluster, 0, &cluster.id(0).unwrap()), (409, "conflict".to_owned()), "itself");
    assert_eq!(forget(&cluster, 0, "no-such-id"), (404, "not_found".to_owned()));
    cluster.kill(2);
    for at in 0..2 {
        cluster.wait_state(at, &gone, "down", DOWN_WITHIN).unwrap();
    }
    let coverage = |cluster: &Cluster, at: usize| {
        let asked = Request::json(Method::Post, "/assets?allow_partial=true", &json!({}));
        let answer = cluster.api(at).call(&asked).unwrap().json().unwrap();
        let federation = &answer["federation"];
        (federation["complete"] == true, federation["nodes"]["departed"].as_u64().unwrap())
    };
    assert_eq!(coverage(&cluster, 0), (false, 0));
    assert_eq!(forget(&cluster, 0, &gone), (200, String::new()));
    assert_eq!(coverage(&cluster, 0), (true, 1));
    assert_eq!(coverage(&cluster, 1), (false, 0), "each node decides for itself");
    let absent = cluster.api(0).object(&"0".repeat(64)).unwrap();
    let missing = &absent.json().unwrap()["federation"];
    assert!(absent.status == 404 && (missing.is_null() || missing["complete"] == true), "{}", absent.text());

    cluster.kill(0);
    cluster.restart(0).unwrap();
    let remembers = wait_until(SOON, || (coverage(&cluster, 0) == (true, 1)).then_some(()));
    assert!(remembers.is_some(), "it has not been forgotten over a restart: {:?}", coverage(&cluster, 0));
    cluster.restart(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let back = wait_until(SOON, || (coverage(&cluster, 0) == (true, 0)).then_some(()));
    assert!(back.is_some(), "{:?}", coverage(&cluster, 0));
    cluster.kill(2);
    cluster.wait_state(0, &gone, "down", DOWN_WITHIN).unwrap();
    assert_eq!(coverage(&cluster, 0), (false, 0), "it is missed like all others");
}

#[test]
fn a_parameter_that_a_route_does_not_know_is_refused_by_name() {
    let cluster = Cluster::start(1).unwrap();
    cluster.register(0, "e", &json!({})).unwrap();
    let patch = json!({"asset_registry_tags": ["x"]});
    for request in [
        Request::json(Method::Put, "/asset_registry/e?colour=red", &patch),
        Request::new(Method::Delete, "/asset_registry/e?colour=red"),
        Request::json(Method::Post, "/asset_registry?colour=red", &patch),
        Request::get("/asset_registry/e?colour=red"),
        Request::json(Method::Put, "/asset/a?colour=red", &json!({"asset_tags": []})),
        Request::new(Method::Delete, "/asset/a?colour=red"),
        Request::get("/v1/peers?colour=red"),
        Request::get("/v1/transfers?colour=red"),
        Request::json(Method::Put, "/v1/peers/blocked?colour=red", &json!({"assets_db_ids": []})),
        Request::new(Method::Delete, "/v1/peers/x?colour=red"),
    ] {
        let response = cluster.api(0).call(&request).unwrap();
        let answer = response.json().unwrap();
        assert_eq!(
            (response.status, &answer["code"]),
            (400, &json!("bad_parameter")),
            "{request:?}: {answer}"
        );
        assert!(answer["error"].as_str().unwrap().contains("colour"), "{answer}");
    }
    let path = json!({"asset_registry_metadata": {}, "asset_registry_name.x": 1});
    let refused = cluster.entry(0, Method::Put, "e", Some(&path)).unwrap();
    let sentence = refused.json().unwrap()["error"].as_str().unwrap().to_owned();
    assert!(refused.status == 400 && sentence.matches("cannot set").count() <= 1, "{sentence}");
}

#[test]
fn a_node_that_stops_in_good_order_has_left() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let id = cluster.id(1).unwrap();
    let begun = Instant::now();
    cluster.stop(1).unwrap();
    cluster.wait_state(0, &id, "left", SOON).unwrap();
    assert!(begun.elapsed() < SOON);
}

#[test]
fn after_a_partition_all_hold_the_same_and_nothing_is_lost_or_resurrected() {
    let cluster = Cluster::start(4).unwrap();
    cluster.wait_alive(SOON).unwrap();
    cluster.register(0, "deleted-meanwhile", &json!({})).unwrap();
    cluster.register(3, "changed-meanwhile", &json!({"v": 1})).unwrap();
    cluster.wait_same_registry(SOON).unwrap();
    cluster.partition(&[0, 1], &[2, 3]).unwrap();
    let (left, right) = (cluster.id(0).unwrap(), cluster.id(3).unwrap());
    cluster.wait_state(0, &right, "down", DOWN_WITHIN).unwrap();
    cluster.wait_state(3, &left, "down", DOWN_WITHIN).unwrap();
    for write in 0..20 {
        for at in 0..4 {
            cluster.register(at, &format!("e-{at}-{write}"), &json!({"write": write})).unwrap();
        }
    }
    assert_eq!(cluster.entry(0, Method::Delete, "deleted-meanwhile", None).unwrap().status, 200);
    let change = json!({"asset_registry_metadata.v": 2});
    assert_eq!(cluster.entry(3, Method::Put, "changed-meanwhile", Some(&change)).unwrap().status, 200);
    assert_eq!(cluster.entry(0, Method::Put, "changed-meanwhile", Some(&change)).unwrap().status, 503);
    assert_eq!(cluster.entry(2, Method::Get, "deleted-meanwhile", None).unwrap().status, 200);
    cluster.heal().unwrap();
    let registry = cluster.wait_same_registry(Duration::from_secs(40)).unwrap();
    assert_eq!(registry.len(), 4 + 1 + 80, "{:?}", registry.keys());
    assert!(!registry.contains_key("deleted-meanwhile"));
    assert_eq!(registry["changed-meanwhile"]["asset_registry_metadata"]["v"], 2);
    cluster.wait_alive(SOON).unwrap();
}

#[test]
fn a_node_that_was_away_does_not_bring_back_what_was_deleted() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    cluster.register(0, "gone", &json!({})).unwrap();
    cluster.wait_same_registry(SOON).unwrap();
    cluster.kill(2);
    assert_eq!(cluster.entry(1, Method::Delete, "gone", None).unwrap().status, 200);
    cluster.restart(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let registry = cluster.wait_same_registry(SOON).unwrap();
    assert!(!registry.contains_key("gone"), "{:?}", registry.keys());
}

#[test]
fn federations_of_another_name_or_key_stay_apart() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("network.key");
    fs::write(&key, "a1".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let mine = Cluster::start(2).unwrap();
    let entry = mine.api(0).node().unwrap()["p2p_addrs"][0].as_str().unwrap().to_owned();
    let named = Cluster::start_with(2, &["--network", "other", "--bootstrap", &entry]).unwrap();
    let keyed =
        Cluster::start_with(2, &["--network-key", key.to_str().unwrap(), "--bootstrap", &entry]).unwrap();
    for cluster in [&mine, &named, &keyed] {
        cluster.wait_alive(SOON).unwrap();
        cluster.register(0, "same-id", &json!({})).unwrap();
    }
    for cluster in [&mine, &named, &keyed] {
        let registry = cluster.wait_same_registry(SOON).unwrap();
        assert_eq!(registry.len(), 3, "{:?}", registry.keys());
        for at in 0..2 {
            assert_eq!(cluster.states(at).unwrap().len(), 1);
        }
    }
}

#[test]
fn what_cannot_be_listened_on_or_read_is_refused_at_start_by_name() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("network.key");
    fs::write(&key, "a1".repeat(32)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let held = format!("/ip4/127.0.0.1/tcp/{}", holder.local_addr().unwrap().port());
    for (flag, value, named) in [
        ("--p2p", held.as_str(), held.as_str()),
        ("--p2p", "127.0.0.1:4001", "127.0.0.1:4001"),
        ("--bootstrap", "/ip4/127.0.0.1", "/ip4/127.0.0.1"),
        ("--network", "No Such", "No Such"),
        ("--network-key", key.to_str().unwrap(), "chmod 600"),
        ("--network-key", "/no/such/key", "/no/such/key"),
    ] {
        let options = NodeOptions::new(&folder.path().join("data")).argument(flag).argument(value);
        let error = options.start().unwrap_err();
        assert!(error.status.is_some_and(|status| status.code() == Some(2)), "{flag} {value}: {error}");
        assert!(error.log.contains(named), "{flag} {value}: {error}");
    }
}
