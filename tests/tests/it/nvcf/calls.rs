//! The JSON calls: what they take, what they answer, and that no account sees another's assets.

use std::collections::BTreeSet;
use std::thread;

use assetmesh_tests::{Method, Request, encode_segment};
use serde_json::{Value, json};

use super::account::{ASSETS, Account, Created, ids_of, problem, put, token};
use crate::it::support::TestNode;

#[test]
fn bad_descriptions_of_assets_are_refused_by_name() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let good = json!({"contentType": "image/png", "description": "d"});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, name) in [
        (with("contentType", json!("png")), "contentType"),
        (with("contentType", json!("image/png; charset=x")), "contentType"),
        (with("contentType", json!("image/p\r\nX-Evil: 1")), "contentType"),
        (with("contentType", json!("")), "contentType"),
        (with("contentType", json!(7)), "invalid type"),
        (with("description", json!("a\nb")), "description"),
        (with("description", json!("d".repeat(1025))), "description"),
        (with("description", Value::Null), "invalid type"),
        (json!({"contentType": "image/png"}), "description"),
        (json!({"description": "d"}), "contentType"),
        (json!([]), "JSON"),
        (json!("x"), "invalid type"),
    ] {
        let detail = problem(&acme.try_create(&body), 400, ASSETS);
        assert!(detail.contains(name) || name == "JSON", "{body}: {detail}");
    }
    let raw = |content_type: &str, body: &str| {
        Request::new(Method::Post, ASSETS).with_header("Content-Type", content_type).with_body(body.into())
    };
    problem(&acme.call(&raw("application/json", "{\"contentType\"")), 400, ASSETS);
    problem(&acme.call(&raw("text/plain", &good.to_string())), 415, ASSETS);
    problem(&acme.call(&raw("application/json", &" ".repeat(1_100_000))), 413, ASSETS);
    let more = with("expiresIn", json!(5));
    assert_eq!(acme.try_create(&more).status, 200, "other members are passed over");
    for text in ["", "a \"quoted\", <tagged> one; = ü", &"d".repeat(1024)] {
        let answer = acme.try_create(&with("description", json!(text)));
        assert_eq!((answer.status, answer.json().unwrap()["description"].as_str()), (200, Some(text)));
    }
    assert!(acme.ids().is_empty());
}

#[test]
fn every_call_needs_a_token_with_the_right_scope() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let id = acme.store(b"content").id;
    let one = format!("{ASSETS}/{id}");
    let calls = [
        Request::json(Method::Post, ASSETS, &json!({"contentType": "a/b", "description": "c"})),
        Request::get(ASSETS),
        Request::get(one.as_str()),
        Request::new(Method::Delete, one.as_str()),
    ];
    let writer = token(&node.data_dir(), "acme", "assets:write");
    for call in &calls {
        let answer = node.api().call(call).unwrap();
        problem(&answer, 401, call.target());
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        for (bearer, status) in
            [("Bearer x.y.z", 401), ("Basic YTpi", 401), (&*format!("Bearer {writer}"), 403)]
        {
            let answer = node.api().call(&call.clone().with_header("Authorization", bearer)).unwrap();
            problem(&answer, status, call.target());
        }
    }
    assert_eq!(acme.ids(), [id]);
    let wrong_method = acme.call(&Request::new(Method::Put, ASSETS));
    problem(&wrong_method, 405, ASSETS);
    assert_eq!(wrong_method.header("allow"), Some("POST, GET, HEAD, OPTIONS"));
    problem(&acme.call(&Request::get("/v2/nvcf/nothing")), 404, "/v2/nvcf/nothing");
}

#[test]
fn no_account_sees_what_another_has() {
    let node = TestNode::start();
    let names = ["acme", "acme2", "acm", "other"];
    let mut accounts: Vec<Account> = names.iter().map(|name| Account::of(&node, name)).collect();
    let own: Vec<Created> =
        accounts.iter_mut().zip(names).map(|(account, name)| account.store(name.as_bytes())).collect();
    for (at, account) in accounts.iter_mut().enumerate() {
        assert_eq!(account.ids(), [own[at].id.as_str()]);
        for (_, other) in own.iter().enumerate().filter(|(other, _)| *other != at) {
            let instance = format!("{ASSETS}/{}", other.id);
            let unknown = format!("{ASSETS}/00000000-0000-4000-8000-000000000000");
            let detail = problem(&account.get(&other.id), 404, &instance);
            let of_none = problem(&account.call(&Request::get(unknown.as_str())), 404, &unknown);
            assert_eq!(
                detail.replace(&other.id, ""),
                of_none.replace("00000000-0000-4000-8000-000000000000", "")
            );
            problem(&account.delete(&other.id), 404, &instance);
            let listed = account.call(&Request::get(format!("{ASSETS}?limit=9&cursor={}", "0".repeat(32))));
            assert_eq!(ids_of(&listed), [own[at].id.as_str()], "a cursor leads nowhere else");
        }
    }
    node.assert_holds(0, 4, names.iter().map(|name| name.len() as u64).sum());
    for (account, created) in accounts.iter_mut().zip(&own) {
        assert_eq!(account.delete(&created.id).status, 204);
        problem(&account.delete(&created.id), 404, &format!("{ASSETS}/{}", created.id));
    }
    node.assert_holds(0, 0, 0);
}

#[test]
fn what_is_no_id_names_nothing() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let id = acme.store(b"content").id;
    for name in ["x", "..", "%2e%2e", &id[1..], &id.replace('-', ""), &format!("{id}/"), &format!("{{{id}}}")]
    {
        let target = format!(
            "{ASSETS}/{}",
            if name.contains('%') { name.to_owned() } else { name.replace('{', "%7B").replace('}', "%7D") }
        );
        assert_eq!(acme.call(&Request::get(target.as_str())).status, 404, "{target}");
        assert_eq!(acme.call(&Request::new(Method::Delete, target.as_str())).status, 404, "{target}");
    }
    assert_eq!(acme.ids(), [id]);
}

#[test]
fn all_of_2500_assets_are_listed_whole_and_in_pages() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let stored: BTreeSet<String> = thread::scope(|scope| {
        let clients: Vec<_> = (0..10_u32)
            .map(|client| {
                let mut own = acme.with(node.process.address());
                let store = move |number: u32| own.store(&(250 * client + number).to_le_bytes()).id;
                scope.spawn(move || (0..250).map(store).collect::<Vec<_>>())
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let expected = acme.ids();
    assert_eq!((expected.len(), stored.len()), (2500, 2500));
    assert_eq!(expected.iter().cloned().collect::<BTreeSet<_>>(), stored);
    for limit in [1000, 999, 1] {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let target = format!("{ASSETS}?limit={limit}&cursor={}", encode_segment(&cursor));
            let answer = acme.call(&Request::get(target));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = ids_of(&answer);
            assert!(page.len() <= limit && !page.is_empty());
            ids.extend(page);
            match answer.json().unwrap()["nextCursor"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => break,
            }
            if limit == 1 && ids.len() == 20 {
                break;
            }
        }
        assert_eq!(ids, expected[..ids.len()], "by {limit}");
        assert!(limit == 1 || ids.len() == 2500);
    }
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=%00", "offset=1", "limit=1&limit=1"]
    {
        problem(&acme.call(&Request::get(format!("{ASSETS}?{query}"))), 400, ASSETS);
    }
}

#[test]
fn the_url_names_the_host_that_the_client_used_or_the_one_that_is_set() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    assert!(acme.create().url.starts_with("http://localhost/v2/nvcf/uploads/"), "as the Host header says");
    let body = r#"{"contentType":"a/b","description":"c"}"#;
    for host in ["evil@node", "a b", "node/x", ""] {
        let raw = format!(
            "POST {ASSETS} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            acme.token,
            body.len()
        );
        let mut connection = assetmesh_tests::Connection::open(node.process.address()).unwrap();
        connection.send_raw(raw.as_bytes()).unwrap();
        let answer = connection.receive(Method::Post).unwrap();
        if answer.status == 200 {
            assert!(Created::from(&answer).url.starts_with(&node.process.url()), "{host}: {}", answer.text());
        } else {
            assert_eq!(answer.status, 400, "{host}");
        }
    }
    let node = TestNode::start_with(|options| {
        options.argument("--public-url").argument("https://assets.example.org/mesh/")
    });
    let mut acme = Account::of(&node, "acme");
    let answer = acme.try_create(&json!({"contentType": "image/png", "description": "red-cat-photo"}));
    let url = answer.json().unwrap()["uploadUrl"].as_str().unwrap().to_owned();
    let target = url.strip_prefix("https://assets.example.org/mesh").unwrap();
    assert_eq!(acme.api.call(&put(target, b"content")).unwrap().status, 200);
}
