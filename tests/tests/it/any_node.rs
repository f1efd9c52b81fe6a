//! Any node answers for all: what is stored on one is read, listed, changed and deleted through any other, and no
//! answer hides that a node was not heard.

use std::time::{Duration, Instant};

use assetmesh_tests::{
    Cluster, Method, NodeProcess, Request, Response, description_of, encode_segment, wait_until,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::it::filters_over_rest::union_cases;

/// Debug builds on a busy machine are given more time than is promised for a release.
const SOON: Duration = Duration::from_secs(20);
const DOWN_WITHIN: Duration = Duration::from_secs(30);

fn three() -> Cluster {
    let cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    cluster
}

fn query(cluster: &Cluster, at: usize, parameters: &str, filter: &Value) -> Response {
    let target = format!("/assets?{parameters}");
    cluster.api(at).call(&Request::json(Method::Post, target, filter)).unwrap()
}

fn uris(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.json().unwrap();
    let rows = answer["data"].as_array().unwrap();
    rows.iter().map(|row| row["asset_uri"].as_str().unwrap().to_owned()).collect()
}

fn create(cluster: &Cluster, at: usize, name: &str, metadata: &Value) {
    let created = cluster.api(at).create(&description_of(name, metadata)).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
}

#[test]
fn what_is_stored_on_one_node_is_the_same_from_another_at_once() {
    let cluster = three();
    let uploaded = cluster.api(0).upload(&description_of("cat", &json!({"by": "me"})), b"meow").unwrap();
    assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    let near = cluster.api(0).find("cat:1-t").unwrap().json().unwrap();
    let far = cluster.api(2).find("cat:1-t").unwrap();
    assert_eq!((far.status, far.json().unwrap()), (200, near.clone()));
    let listed = query(&cluster, 2, "", &json!({"asset_metadata.by": "me"}));
    let answer = listed.json().unwrap();
    assert_eq!(answer["data"], json!([near["data"]]));
    let federation = &answer["federation"];
    assert_eq!(federation["complete"], true, "{federation}");
    assert_eq!((&federation["nodes"]["known"], &federation["nodes"]["answered"]), (&json!(3), &json!(3)));

    let id = cluster.id(0).unwrap();
    let picked = cluster.api(2).call(&Request::get(format!("/asset/cat:1-t?assets_db_id={id}"))).unwrap();
    assert_eq!(picked.json().unwrap()["data"], near["data"]);
    let here = cluster.api(2).call(&Request::get("/asset/cat:1-t?scope=local")).unwrap();
    assert_eq!(here.status, 404);
    assert_eq!(uris(&query(&cluster, 2, "scope=local", &json!({}))), [""; 0]);
    let unknown = cluster.api(2).find("dog:1-t").unwrap();
    assert_eq!(unknown.status, 404);
    assert!(unknown.json().unwrap().get("federation").is_none(), "{}", unknown.text());
}

#[test]
fn what_is_as_long_as_one_node_takes_goes_through_any_node() {
    let cluster = three();
    let long = "x".repeat(1_000_000);
    create(&cluster, 0, "long", &json!({"text": long}));
    let mut far = cluster.api(2);
    let found = far.find("long:1-t").unwrap().json().unwrap();
    assert_eq!(found["data"]["asset_metadata"]["text"], json!(long));

    let many: Vec<String> = (0..999).map(|n| format!("{n:064}")).chain(["long".to_owned()]).collect();
    let listed = query(&cluster, 2, "timeout_ms=10000", &json!({"asset_name": {"$in": many}}));
    let complete = listed.json().unwrap()["federation"]["complete"].clone();
    assert_eq!((uris(&listed), complete), (vec!["long:1-t".to_owned()], json!(true)));

    let longer = json!({"asset_metadata": {"text": "y".repeat(1_040_000)}});
    let updated = far.call(&Request::json(Method::Put, "/asset/long:1-t", &longer)).unwrap();
    assert_eq!(updated.status, 200, "{}", updated.text());
    let found = far.find("long:1-t").unwrap().json().unwrap();
    assert_eq!(found["data"]["asset_metadata"], longer["asset_metadata"]);
}

#[test]
fn the_answer_of_any_node_is_that_of_one_node_with_all_assets() {
    let cluster = three();
    let (documents, cases) = union_cases();
    for (number, document) in documents.iter().enumerate() {
        let asset = json!({"asset_name": number.to_string(), "asset_metadata": document});
        let answer = cluster.api(number * 7 % 3).create(&asset).unwrap();
        assert_eq!(answer.status, 201, "{document}: {}", answer.text());
        // Insertion order is that of record ids, which hold milliseconds: the next one gets another.
        let written = Instant::now();
        assert!(wait_until(SOON, || (written.elapsed() > Duration::from_millis(2)).then_some(())).is_some());
    }
    assert!(documents.len() > 50 && cases.len() > 100, "{} {}", documents.len(), cases.len());
    let mut failures = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let limit = [11, 64, 1000][number / 3 % 3];
        let found = paged(&cluster, number % 3, &case.filter, case.sort.as_deref(), limit);
        if found != case.expect {
            failures.push(format!("{} {}: {found:?} and not {:?}", case.filter, number, case.expect));
        }
    }
    assert!(failures.is_empty(), "{} of {} fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

/// The numbers of all documents that match, page by page.
fn paged(cluster: &Cluster, at: usize, filter: &str, sort: Option<&str>, limit: usize) -> Vec<usize> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    // Each page comes from another node.
    let mut nodes = (0..cluster.len()).cycle().skip(at);
    loop {
        let mut api = cluster.api(nodes.next().unwrap());
        let mut target = format!("/assets?timeout_ms=10000&limit={limit}");
        for (name, value) in [("sort", sort), ("cursor", cursor.as_deref())] {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", encode_segment(value)));
            }
        }
        let request = Request::new(Method::Post, target)
            .with_header("Content-Type", "application/json")
            .with_body(filter.as_bytes().to_vec());
        let response = api.call(&request).unwrap();
        assert_eq!(response.status, 200, "{filter}: {}", response.text());
        let page = response.json().unwrap();
        assert_eq!(page["federation"]["complete"], true, "{filter}: {}", page["federation"]);
        let rows = page["data"].as_array().unwrap();
        found.extend(rows.iter().map(|row| row["asset_name"].as_str().unwrap().parse::<usize>().unwrap()));
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return found;
        }
    }
}

#[test]
fn a_page_of_the_registry_goes_on_at_another_node() {
    let cluster = three();
    let mut api = cluster.api(0);
    for n in 0..5 {
        let entry = json!({"asset_registry_name": format!("r{n}"), "asset_registry_tags": ["paged"]});
        let created = api.call(&Request::json(Method::Post, "/asset_registry", &entry)).unwrap();
        assert_eq!(created.status, 201, "{}", created.text());
    }
    let filter = json!({"asset_registry_tags": "paged"});
    let page = |at: usize, cursor: &str| {
        let target = format!("/asset_registries?sort=asset_registry_name&limit=2&cursor={cursor}");
        let answer = cluster.api(at).call(&Request::json(Method::Post, target, &filter)).unwrap();
        (answer.status == 200).then(|| answer.json().unwrap())
    };
    let all_there = |at| page(at, "").is_some_and(|answer| answer["data"][1]["asset_registry_name"] == "r1");
    assert!(wait_until(SOON, || (all_there(1) && all_there(2)).then_some(())).is_some());
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for at in [0, 1, 2] {
        let answer = page(at, &cursor).expect("any node takes the cursor");
        let rows = answer["data"].as_array().unwrap();
        names.extend(rows.iter().map(|row| row["asset_registry_name"].as_str().unwrap().to_owned()));
        cursor = answer["next_cursor"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!((names.join(" "), cursor), ("r0 r1 r2 r3 r4".to_owned(), String::new()));
}

fn signal(node: &NodeProcess, signal: Signal) {
    kill_process(Pid::from_raw(node.id().try_into().unwrap()).unwrap(), signal).unwrap();
}

/// Asks until the member is known to be down; no answer on the way may look whole, and none may be late.
fn watch_it_go(cluster: &Cluster, at: usize, gone: &str) {
    let timeout = Duration::from_millis(500);
    let begun = Instant::now();
    let mut asked = 0;
    loop {
        let asking = Instant::now();
        let response = query(cluster, at, "timeout_ms=500", &json!({}));
        let took = asking.elapsed();
        // The promise is deadline + 100 ms; a debug build on a busy machine gets more.
        assert!(took < timeout + Duration::from_millis(600), "{took:?}");
        asked += 1;
        let answer = response.json().unwrap();
        let federation = &answer["federation"];
        assert_eq!(federation["complete"], false, "{}", response.text());
        assert_eq!(federation["missing"][0]["assets_db_id"], gone, "{}", response.text());
        match response.status {
            200 if federation["missing"][0]["reason"] == "down" => break,
            200 => assert_ne!(federation["missing"][0]["reason"], "timed_out"),
            504 => assert_eq!(answer["code"], "deadline"),
            status => panic!("{status}: {}", response.text()),
        }
        assert!(begun.elapsed() < DOWN_WITHIN, "{federation}");
    }
    assert!(asked > 1);
}

#[test]
fn a_killed_node_is_named_in_every_answer() {
    let mut cluster = three();
    let gone = cluster.id(2).unwrap();
    create(&cluster, 2, "far", &json!({}));
    create(&cluster, 0, "near", &json!({}));
    cluster.kill(2);
    watch_it_go(&cluster, 0, &gone);
    assert_eq!(uris(&query(&cluster, 1, "allow_partial=true", &json!({}))), ["near:1-t"]);
    let unknown = cluster.api(0).find("far:1-t").unwrap();
    let answer = unknown.json().unwrap();
    assert_eq!((unknown.status, &answer["federation"]["missing"][0]["assets_db_id"]), (404, &json!(gone)));
    for response in [
        cluster.api(0).update("far:1-t", &json!({"asset_tags": ["x"]})).unwrap(),
        cluster.api(0).delete("far:1-t").unwrap(),
    ] {
        assert_eq!((response.status, &response.json().unwrap()["code"]), (503, &json!("owner_unreachable")));
    }
    cluster.restart(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let whole = wait_until(SOON, || {
        let answer = query(&cluster, 0, "allow_partial=true", &json!({})).json().unwrap();
        (answer["federation"]["complete"] == true).then_some(answer)
    });
    assert_eq!(whole.unwrap()["data"].as_array().unwrap().len(), 2);
    let far = cluster.api(0).find("far:1-t").unwrap().json().unwrap();
    assert_eq!(far["data"]["asset_tags"], json!([]), "nothing was changed");
}

#[test]
fn a_node_that_stalls_makes_no_answer_late_or_look_whole() {
    let cluster = three();
    let gone = cluster.id(2).unwrap();
    create(&cluster, 2, "far", &json!({}));
    create(&cluster, 0, "near", &json!({}));
    signal(cluster.node(2), Signal::STOP);
    let refused = query(&cluster, 0, "timeout_ms=500", &json!({}));
    let answer = refused.json().unwrap();
    assert_eq!((refused.status, &answer["code"]), (504, &json!("deadline")), "{}", refused.text());
    assert_eq!(answer["federation"]["missing"][0]["reason"], "timed_out");
    let partial = query(&cluster, 0, "timeout_ms=500&allow_partial=true", &json!({}));
    assert_eq!(uris(&partial), ["near:1-t"]);
    let refused = cluster.api(0).delete("far:1-t").unwrap();
    assert_eq!((refused.status, &refused.json().unwrap()["code"]), (503, &json!("owner_unreachable")));
    let begun = Instant::now();
    assert_eq!(cluster.api(0).find("near:1-t").unwrap().status, 200);
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    watch_it_go(&cluster, 1, &gone);
    signal(cluster.node(2), Signal::CONT);
    let whole = wait_until(SOON, || {
        let response = query(&cluster, 1, "", &json!({}));
        (response.status == 200 && response.json().unwrap()["federation"]["complete"] == true)
            .then(|| uris(&response))
    });
    assert_eq!(whole.unwrap().len(), 2);
    assert_eq!(cluster.api(0).find("far:1-t").unwrap().status, 200, "nothing was deleted");
}

#[test]
fn an_asset_is_changed_and_deleted_through_any_node() {
    let cluster = three();
    create(&cluster, 0, "cat", &json!({"a": 1}));
    create(&cluster, 0, "taken", &json!({}));
    let updated = cluster.api(2).update("cat:1-t", &json!({"asset_metadata.a": 2})).unwrap();
    assert_eq!(updated.status, 200, "{}", updated.text());
    let answer = updated.json().unwrap();
    assert_eq!(answer["data"]["message"], "Asset updated");
    for at in 0..3 {
        let read = cluster.api(at).find("cat:1-t").unwrap().json().unwrap();
        assert_eq!(read["data"]["asset_metadata"], json!({"a": 2}), "node {at}");
    }
    let record = answer["data"]["id"].as_str().unwrap();
    assert_eq!(cluster.api(1).find(record).unwrap().status, 200, "by its record id");
    for (patch, status, code) in [
        (json!({"asset_name": "taken"}), 409, "conflict"),
        (json!({"asset_id": "x"}), 400, "read_only"),
        (json!({"asset_metadata": "x".repeat(1024 * 1024)}), 413, "too_large"),
    ] {
        let refused = cluster.api(2).update("cat:1-t", &patch).unwrap();
        assert_eq!((refused.status, &refused.json().unwrap()["code"]), (status, &json!(code)));
    }
    let deleted = cluster.api(1).delete("cat:1-t").unwrap();
    assert_eq!((deleted.status, &deleted.json().unwrap()["data"]["message"]), (200, &json!("Asset deleted")));
    for at in 0..3 {
        assert_eq!(cluster.api(at).find("cat:1-t").unwrap().status, 404, "node {at}");
        assert_eq!(cluster.api(at).delete("cat:1-t").unwrap().status, 404, "node {at}");
    }
}

#[test]
fn an_asset_on_several_nodes_is_told_apart() {
    let cluster = three();
    for at in [1, 2] {
        let uploaded = cluster.api(at).upload(&description_of("twin", &json!({"at": at})), b"same").unwrap();
        assert_eq!(uploaded.status, 201, "{}", uploaded.text());
    }
    let read = cluster.api(0).find("twin:1-t").unwrap().json().unwrap();
    assert_eq!(read["data"]["asset_metadata"]["at"], 1, "the oldest");
    assert_eq!(read["also_at"][0]["assets_db_id"], cluster.id(2).unwrap());
    assert_eq!(read["also_at"][0]["same_content"], true);
    let own = cluster.api(2).find("twin:1-t").unwrap().json().unwrap();
    assert_eq!(own["data"]["asset_metadata"]["at"], 2, "this node's first");
    let refused = cluster.api(0).delete("twin:1-t").unwrap();
    let answer = refused.json().unwrap();
    assert_eq!((refused.status, answer["also_at"].as_array().unwrap().len()), (409, 2), "{}", refused.text());
    let target = format!("/asset/twin:1-t?assets_db_id={}", cluster.id(2).unwrap());
    assert_eq!(cluster.api(0).call(&Request::new(Method::Delete, target)).unwrap().status, 200);
    let read = cluster.api(0).find("twin:1-t").unwrap().json().unwrap();
    assert_eq!((&read["data"]["asset_metadata"]["at"], read.get("also_at")), (&json!(1), None));
}

#[test]
fn a_node_that_takes_no_changes_from_others_says_so() {
    let cluster = Cluster::start_with(2, &["--remote-writes", "deny"]).unwrap();
    cluster.wait_alive(SOON).unwrap();
    create(&cluster, 0, "cat", &json!({}));
    let refused = cluster.api(1).delete("cat:1-t").unwrap();
    assert_eq!((refused.status, &refused.json().unwrap()["code"]), (403, &json!("forbidden")));
    assert_eq!(cluster.api(0).delete("cat:1-t").unwrap().status, 200);
}
