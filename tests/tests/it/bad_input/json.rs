//! Bad JSON bodies and hostile filters.

use assetmesh_tests::{Method, Request, description_of};
use serde_json::{Value, json};

use super::{COST_MAX, Case, assert_refused};
use crate::it::support::{TestNode, assert_failure, data_of};

fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let request = Request::new(Method::Post, target)
        .with_header("Content-Type", "application/json")
        .with_header("Content-Length", &body.len().to_string());
    [&request.head(), body].concat()
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let bodies: [(&str, &[u8]); 16] = [
        ("nothing", b""),
        ("cut", b"{\"a\":"),
        ("quotes", b"{'a':1}"),
        ("trailing", b"{} {}"),
        ("comment", b"{} // x"),
        ("not a number", b"{\"asset_metadata\":{\"a\":NaN}}"),
        ("infinite", b"{\"asset_metadata\":{\"a\":1e400}}"),
        ("too large an integer", b"{\"asset_metadata\":{\"a\":99999999999999999999}}"),
        ("lone surrogate", b"{\"asset_name\":\"\\ud800\"}"),
        ("no utf-8", b"{\"asset_name\":\"\xff\"}"),
        ("control character", b"{\"asset_name\":\"a\nb\"}"),
        ("byte order mark", b"\xef\xbb\xbf{}"),
        ("list", b"[]"),
        ("null", b"null"),
        ("text", b"\"x\""),
        ("number", b"0"),
    ];
    let cases: Vec<Case> = bodies
        .iter()
        .flat_map(|(name, body)| {
            ["/asset", "/assets"].map(|target| Case::new(format!("{target} {name}"), post(target, body)))
        })
        .collect();
    assert_refused(&cases);
}

#[test]
fn wrong_types_and_unknown_members_are_refused() {
    let bodies = [
        json!({"asset_name": {"a": 1}}),
        json!({"asset_name": ["a"]}),
        json!({"asset_version": "1.0"}),
        json!({"asset_version": {"version": {"a": 1}, "tag": "t"}}),
        json!({"asset_uri": "a:1-t"}),
        json!({"asset_id": "x"}),
        json!({"assets_db_id": "x"}),
        json!({"surprise": 1}),
    ];
    let cases: Vec<Case> = bodies
        .iter()
        .map(|body| Case::new(body.to_string(), post("/asset", body.to_string().as_bytes())))
        .collect();
    assert_refused(&cases);
}

#[test]
fn large_and_deep_bodies_are_refused() {
    let nested = |depth: usize| {
        let mut body = "{\"asset_metadata\":".to_owned();
        body.push_str(&"[".repeat(depth));
        body.push_str(&"]".repeat(depth));
        body.push('}');
        body
    };
    let objects = format!("{}1{}", "{\"a\":".repeat(250), "}".repeat(250));
    let filter = format!("{}{{}}{}", "{\"$and\":[".repeat(250), "]}".repeat(250));
    let unclosed = "[".repeat(500_000);
    let large = format!("{{\"asset_metadata\":\"{}\"}}", "x".repeat(1 << 20));
    let many: String = format!("{{\"asset_name\":{{\"$in\":[{}0]}}}}", "0,".repeat(1_000_000));
    let cases = [
        ("101 levels", "/asset", nested(100)),
        ("10 000 levels", "/asset", nested(10_000)),
        ("objects", "/asset", objects),
        ("filter", "/assets", filter),
        ("unclosed", "/assets", unclosed),
        ("more than 1 MiB", "/asset", large),
        ("a million in $in", "/assets", many),
    ];
    let cases: Vec<Case> =
        cases.iter().map(|(name, target, body)| Case::new(*name, post(target, body.as_bytes()))).collect();
    assert_refused(&cases);
}

#[test]
fn a_body_as_deep_as_promised_is_stored_and_found() {
    let node = TestNode::start();
    let mut api = node.api();
    // The body, asset_metadata, and 98 more.
    let metadata = (0..97).fold(json!({"end": 1}), |inner, _| json!({"a": inner}));
    assert_eq!(api.create(&description_of("deep", &metadata)).unwrap().status, 201);
    let path = format!("asset_metadata.{}end", "a.".repeat(97));
    assert_eq!(api.query_all(&json!({path: 1})).unwrap().len(), 1);
    let filter = (0..49).fold(json!({"asset_name": "deep"}), |inner, _| json!({"$and": [inner]}));
    assert_eq!(api.query_all(&filter).unwrap().len(), 1);
}

#[test]
fn refused_operators_are_named() {
    let node = TestNode::start();
    let mut api = node.api();
    for (filter, name) in [
        (json!({"$where": "true"}), "$where"),
        (json!({"$text": {"$search": "x"}}), "$text"),
        (json!({"$jsonSchema": {}}), "$jsonSchema"),
        (json!({"$sampleRate": 0.5}), "$sampleRate"),
        (json!({"$function": {}}), "$function"),
        (json!({"$lookup": {}}), "$lookup"),
        (json!({"a": {"$near": [1, 2]}}), "$near"),
        (json!({"a": {"$geoWithin": {}}}), "$geoWithin"),
        (json!({"a": {"$foo": 1}}), "$foo"),
        (json!({"$AND": []}), "$AND"),
        (json!({"a": {"$not": {"$bar": 1}}}), "$bar"),
        (json!({"$or": [{"a": {"$elemMatch": {"b": {"$baz": 1}}}}]}), "$baz"),
        (json!({"$expr": {"$function": {}}}), "$function"),
        (json!({"$expr": {"$eq": [{"$rand": {}}, 1]}}), "$rand"),
    ] {
        let response = api.query(&filter).unwrap();
        assert_eq!(response.status, 400, "{filter}");
        assert_failure(name, &response);
        assert!(response.text().contains(name), "{filter}: {}", response.text());
    }
}

/// A filter may not hold a core, whatever it asks for.
#[test]
fn costly_filters_are_cut_short() {
    let node = TestNode::start();
    let mut api = node.api();
    let metadata = json!({"text": format!("{}!", "a".repeat(30_000)), "list": vec![1; 1000]});
    for number in 0..20 {
        let answer = api.create(&description_of(&format!("costly-{number}"), &metadata)).unwrap();
        assert_eq!(answer.status, 201);
    }
    let text = |pattern: String| json!({"asset_metadata.text": {"$regex": pattern}});
    let in_list: Vec<u32> = (0..150_000).collect();
    let filters: [(&str, Value); 9] = [
        ("nested repeats", text("(a+)+$".into())),
        ("nested repeats, anchored", text("^(a+)+$".into())),
        ("alternatives", text("^(a|aa)+$".into())),
        ("backtracking", text("(.*)(.*)(.*)(.*)(.*)[^a!]".into())),
        ("counted", text("a{5}{5}{5}{5}{5}{5}".into())),
        ("back reference", text("(a*)*\\1b".into())),
        ("long pattern", text("a|".repeat(20_000))),
        ("long $in", json!({"asset_metadata.list": {"$in": in_list}})),
        ("long $all", json!({"asset_metadata.list": {"$all": in_list}})),
    ];
    for (name, filter) in filters {
        let before = node.process.processor_time().unwrap();
        let response = api.query(&filter).unwrap();
        let cost = node.process.processor_time().unwrap() - before;
        let status = response.status;
        assert!(status == 200 || (400..500).contains(&status), "{name}: {status}");
        assert!(cost <= COST_MAX, "{name} took {cost:?}");
    }
    let response = api.query(&text("^(a+)+$".into())).unwrap();
    assert_eq!(response.status, 400, "a pattern without an end is refused: {}", response.text());
}

#[test]
fn bad_filters_are_refused_with_their_place() {
    let node = TestNode::start();
    let mut api = node.api();
    for (filter, named) in [
        (json!({"asset_name": {"$in": "x"}}), "$in"),
        (json!({"$and": []}), "$and"),
        (json!({"asset_metadata.x": {"$size": -1}}), "$size"),
        (json!({"asset_metadata.x": {"$mod": [0, 1]}}), "$mod"),
        (json!({"asset_name": {"$regex": "("}}), "$regex"),
        (json!({"asset_name": {"$regex": "a", "$options": "q"}}), "$options"),
        (json!({"asset_name": {"$type": "nothing"}}), "$type"),
        (json!({"asset_name": {"$not": 5}}), "$not"),
    ] {
        let response = api.query(&filter).unwrap();
        assert_eq!(response.status, 400, "{filter}");
        assert_failure(named, &response);
        assert!(response.text().contains(named), "{filter}: {}", response.text());
    }
    for target in ["/assets?limit=0", "/assets?limit=x", "/assets?cursor=zzz", "/assets?sort=%7B"] {
        let response = api.call(&Request::json(Method::Post, target, &json!({}))).unwrap();
        assert_eq!(response.status, 400, "{target}: {}", response.text());
        assert_failure(target, &response);
    }
    let all = api.call(&Request::json(Method::Post, "/assets?limit=5000", &json!({}))).unwrap();
    assert!(all.status == 200 || all.status == 400, "{}", all.status);
    assert_eq!(data_of(200, &api.query(&json!({})).unwrap()), json!([]));
}
