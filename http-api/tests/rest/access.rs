//! Who may call what: every operation of the API's own description, with every kind of credential.

use std::collections::BTreeSet;
use std::fs;

use assetmesh_http_api::{Auth, Config, Reads};
use assetmesh_node::tokens::{Issued, Office, Order, SCOPES};
use serde_json::{Value, json};

use crate::client::{Reply, Server};

const INVOKE: Need = Need::Scope("invoke_function");

/// What each operation needs, told a second time: who adds one says here, too, who may call it.
const NEEDS: &[(&str, &str, Need)] = &[
    ("get", "/health", Need::Nothing),
    ("get", "/livez", Need::Nothing),
    ("get", "/readyz", Need::Nothing),
    ("get", "/openapi.json", Need::Nothing),
    ("get", "/metrics", Need::Read),
    ("get", "/v1/node", Need::Read),
    ("get", "/v1/peers", Need::Read),
    ("put", "/v1/peers/blocked", Need::Scope("admin")),
    ("delete", "/v1/peers/{assets_db_id}", Need::Scope("admin")),
    ("get", "/v1/transfers", Need::Read),
    ("post", "/v1/verify", Need::Scope("admin")),
    ("post", "/upload_asset", Need::Scope("assets:write")),
    ("post", "/asset", Need::Scope("assets:write")),
    ("get", "/asset/{uri}", Need::Read),
    ("put", "/asset/{uri}", Need::Scope("assets:write")),
    ("delete", "/asset/{uri}", Need::Scope("assets:write")),
    ("post", "/assets", Need::Read),
    ("get", "/asset-object/{asset_id}", Need::Read),
    ("post", "/asset_registry", Need::Scope("registry:write")),
    ("get", "/asset_registry/{id}", Need::Read),
    ("put", "/asset_registry/{id}", Need::Scope("registry:write")),
    ("delete", "/asset_registry/{id}", Need::Scope("registry:write")),
    ("post", "/asset_registries", Need::Read),
    ("get", "/check_health/{id}", Need::Read),
    ("post", "/v2/nvcf/assets", INVOKE),
    ("get", "/v2/nvcf/assets", INVOKE),
    ("get", "/v2/nvcf/assets/{asset_id}", INVOKE),
    ("delete", "/v2/nvcf/assets/{asset_id}", INVOKE),
    ("put", "/v2/nvcf/uploads/{ticket}", Need::Signature),
    ("post", "/v2/nvcf/inputs", INVOKE),
    ("get", "/v2/nvcf/inputs/{asset_id}", INVOKE),
    ("post", "/v2/nvcf/pexec/functions/{function_id}", INVOKE),
    ("post", "/v2/nvcf/pexec/functions/{function_id}/versions/{version_id}", INVOKE),
    ("get", "/v2/nvcf/pexec/status/{request_id}", INVOKE),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Read,
    Scope(&'static str),
    /// A signed URL, which no token takes the place of.
    Signature,
}

impl Need {
    /// What it comes to on a node with these settings.
    fn scope(self, auth: Auth) -> Option<&'static str> {
        match (self, auth) {
            (Self::Scope("invoke_function"), _) => Some("invoke_function"),
            (Self::Scope(scope), Auth::Token { .. }) => Some(scope),
            (Self::Read, Auth::Token { reads: Reads::Token }) => Some("assets:read"),
            _ => None,
        }
    }
}

/// A way to show who asks, and the scopes that it gives.
struct Credential {
    name: String,
    headers: String,
    grants: Vec<&'static str>,
}

impl Credential {
    fn bearer(name: &str, token: &str, grants: &[&'static str]) -> Self {
        let headers = format!("Authorization: Bearer {token}\r\n");
        Self { name: name.to_owned(), headers, grants: grants.to_vec() }
    }

    fn raw(name: &str, headers: String) -> Self {
        Self { name: name.to_owned(), headers, grants: Vec::new() }
    }
}

fn with(auth: Auth) -> Config {
    Config { auth, ..Config::default() }
}

fn issue(server: &Server, scopes: &[&str], is_opaque: bool) -> Issued {
    let office = Office::open(server.data_dir(), None).unwrap();
    let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
    office.issue(&Order { account: "acme".to_owned(), scopes, life: None, is_opaque }).unwrap()
}

/// What a scope includes.
fn granted(scope: &'static str) -> Vec<&'static str> {
    match scope {
        "admin" => SCOPES.to_vec(),
        "assets:write" | "registry:write" => vec![scope, "assets:read"],
        _ => vec![scope],
    }
}

fn credentials(server: &Server, stranger: &Server) -> Vec<Credential> {
    let mut all = vec![Credential::raw("none", String::new())];
    for scope in SCOPES {
        for is_opaque in [false, true] {
            let name = format!("{scope}, opaque: {is_opaque}");
            all.push(Credential::bearer(&name, &issue(server, &[scope], is_opaque).token, &granted(scope)));
        }
    }
    let unknown = issue(server, &["assets:*", "Admin", "everything"], false).token;
    all.push(Credential::bearer("scopes that grant nothing", &unknown, &[]));
    let office = Office::open(server.data_dir(), None).unwrap();
    for is_opaque in [false, true] {
        let good = issue(server, &["admin"], is_opaque);
        let revoked = issue(server, &["admin"], is_opaque);
        office.revoke(&revoked.record.id).unwrap();
        all.push(Credential::bearer("revoked", &revoked.token, &[]));
        all.push(Credential::bearer("tampered", &tampered(&good.token), &[]));
        all.push(Credential::bearer("of another node", &issue(stranger, &["admin"], is_opaque).token, &[]));
        let (token, double) = (&good.token, "Authorization: Bearer");
        all.push(Credential::raw("twice", format!("{double} {token}\r\n{double} {token}\r\n")));
        all.push(Credential::raw("another scheme", format!("Authorization: Token {token}\r\n")));
        all.push(Credential::raw("another header", format!("X-Authorization: Bearer {token}\r\n")));
        all.push(Credential::raw("as a cookie", format!("Cookie: Authorization=Bearer {token}\r\n")));
    }
    all.push(Credential::bearer("expired", &expired(server), &[]));
    all.push(Credential::raw("by name", "Authorization: Basic YWRtaW46YWRtaW4=\r\n".to_owned()));
    all
}

fn tampered(token: &str) -> String {
    let (start, last) = token.split_at(token.len() - 2);
    format!("{start}{}{}", if last.starts_with('A') { 'B' } else { 'A' }, &last[1..])
}

/// An opaque key whose end is moved to the past.
fn expired(server: &Server) -> String {
    let issued = issue(server, &["admin"], true);
    let path = server.data_dir().join(format!("tokens/{}.json", issued.record.id));
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record["expires"] = json!(1_000_000);
    fs::write(&path, record.to_string()).unwrap();
    issued.token
}

/// Every operation that the description names, with what it needs.
async fn operations(server: &Server) -> Vec<(String, String, Need)> {
    let document = server.get("/openapi.json").await.json();
    let paths = document["paths"].as_object().unwrap();
    let named = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| (method, path)));
    let mut operations = Vec::new();
    for (method, path) in named {
        let need = NEEDS.iter().find(|(known, at, _)| *known == method.as_str() && *at == path.as_str());
        let (_, _, need) = need.unwrap_or_else(|| panic!("{method} {path}: say in NEEDS who may call it"));
        operations.push((method.to_uppercase(), path.clone(), *need));
    }
    assert!(operations.len() >= 21, "{operations:?}");
    operations
}

/// Calls an operation so that nothing but a missing right is in its way, where that can be.
async fn call(server: &Server, method: &str, path: &str, headers: &str) -> Reply {
    let path =
        path.replace("{asset_id}", &"0".repeat(64)).replace("{uri}", "absent:1-t").replace("{id}", "absent");
    let some_id = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    let path = ["{ticket}", "{function_id}", "{version_id}", "{request_id}", "{assets_db_id}"]
        .into_iter()
        .fold(path, |path, name| path.replace(name, some_id));
    let json = "Content-Type: application/json\r\n";
    let body = match (method, path.as_str()) {
        ("POST", "/asset") => r#"{"asset_name":"n"}"#,
        ("POST", "/asset_registry") => r#"{"asset_registry_name":"n"}"#,
        ("PUT", "/v1/peers/blocked") => r#"{"assets_db_ids":[]}"#,
        ("POST" | "PUT", _) => "{}",
        _ => "",
    };
    server.call(method, &path, &format!("{headers}{json}"), body.as_bytes()).await
}

#[tokio::test]
async fn every_operation_is_for_those_alone_who_have_the_right() {
    let stranger = Server::start().await;
    let mut cells = 0;
    for auth in [Auth::Token { reads: Reads::Token }, Auth::Token { reads: Reads::Open }, Auth::None] {
        let server = Server::with(with(auth)).await;
        let operations = operations(&server).await;
        for credential in credentials(&server, &stranger) {
            for (method, path, need) in &operations {
                let reply = call(&server, method, path, &credential.headers).await;
                let what = format!("{auth:?} {method} {path} with {}: {}", credential.name, reply.head);
                check(&reply, *need, auth, &credential, &what);
                cells += 1;
            }
        }
    }
    assert!(cells > 1_700, "{cells}");
}

fn check(reply: &Reply, need: Need, auth: Auth, credential: &Credential, what: &str) {
    let scope = need.scope(auth);
    let is_granted = scope.is_none_or(|scope| credential.grants.contains(&scope));
    if need == Need::Signature {
        assert_eq!(reply.status, 403, "{what}");
    } else if is_granted {
        assert!(![401, 403, 405, 415].contains(&reply.status), "{what}");
    } else {
        check_refusal(reply, scope.unwrap(), credential, what);
    }
}

fn check_refusal(reply: &Reply, scope: &str, credential: &Credential, what: &str) {
    let challenge = reply.header("www-authenticate").unwrap_or_else(|| panic!("no challenge: {what}"));
    assert!(challenge.starts_with("Bearer realm="), "{what}");
    let is_known = !credential.grants.is_empty() || credential.name.contains("grant nothing");
    let body = String::from_utf8_lossy(&reply.body);
    if is_known {
        assert_eq!(reply.status, 403, "{what}");
        assert!(challenge.contains(&format!("error=\"insufficient_scope\", scope=\"{scope}\"")), "{what}");
        assert!(body.contains(&format!("`{scope}`")), "{what}: {body}");
    } else {
        assert_eq!(reply.status, 401, "{what}");
        let has_tried = credential.headers.starts_with("Authorization");
        assert_eq!(challenge.contains("error=\"invalid_token\""), has_tried, "{what}");
    }
    assert_eq!(reply.header("access-control-allow-origin"), None, "{what}");
}

#[tokio::test]
async fn a_write_that_is_refused_changes_nothing_and_one_with_the_right_does() {
    let server = Server::with(with(Auth::Token { reads: Reads::Open })).await;
    let described = r#"{"asset_name":"n","asset_version":{"version":"1","tag":"t"}}"#;
    let token = issue(&server, &["assets:write"], false).token;
    let right = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    server.json("POST", "/asset", described).await.refused(401);
    assert_eq!(server.count().await, 0);
    let created = server.call("POST", "/asset", &right, described.as_bytes()).await;
    assert_eq!(created.status, 201, "{created:?}");
    server.json("PUT", "/asset/n:1-t", r#"{"asset_tags":["x"]}"#).await.refused(401);
    server.call("DELETE", "/asset/n:1-t", "", b"").await.refused(401);
    assert_eq!(server.get("/asset/n:1-t").await.json()["data"]["asset_tags"], json!([]));
    assert_eq!(server.call("DELETE", "/asset/n:1-t", &right, b"").await.status, 200);
    assert_eq!(server.count().await, 0);
}

#[tokio::test]
async fn no_way_of_writing_a_request_leads_around_the_guard() {
    let server = Server::with(with(Auth::Token { reads: Reads::Open })).await;
    let token = issue(&server, &["assets:write", "registry:write"], false).token;
    let right = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let described = r#"{"asset_name":"n","asset_version":{"version":"1","tag":"t"}}"#;
    assert_eq!(server.call("POST", "/asset", &right, described.as_bytes()).await.status, 201);
    let entry = r#"{"asset_registry_id":"e","asset_registry_name":"e"}"#;
    assert_eq!(server.call("POST", "/asset_registry", &right, entry.as_bytes()).await.status, 201);
    let before = state(&server).await;

    let overrides = [
        "",
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-HTTP-Method: PUT\r\n",
        "X-Method-Override: POST\r\n",
        "X-Original-URL: /asset/n:1-t\r\n",
        "X-Rewrite-URL: /asset/n:1-t\r\n",
        "X-Forwarded-For: 127.0.0.1\r\n",
        "Forwarded: for=127.0.0.1\r\n",
        "Authorization: Bearer\r\n",
        "Authorization:\r\n",
        "Connection: Authorization\r\n",
    ];
    let methods =
        ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH", "TRACE", "delete", "Put", "BREW"];
    let mut tried = 0;
    for path in ways_around(&server) {
        for method in methods {
            for headers in overrides {
                let headers = format!("{headers}Content-Type: application/json\r\n");
                let reply = server.call(method, &path, &headers, described.as_bytes()).await;
                let is_read = matches!(method, "GET" | "HEAD" | "OPTIONS");
                let is_kept_out = matches!(reply.status, 400 | 401 | 404 | 405);
                let is_query = method == "POST"
                    && (path.starts_with("/assets") || path.starts_with("/asset_registries"));
                assert!(is_read || is_kept_out || is_query, "{method} {path} {headers}: {}", reply.head);
                tried += 1;
            }
        }
    }
    assert!(tried > 3_000, "{tried}");
    assert_eq!(state(&server).await, before, "something was changed without a right");
}

/// All that could have been changed.
async fn state(server: &Server) -> (Value, Value, u64) {
    let assets = server.json("POST", "/assets", "{}").await.json()["data"].clone();
    let entries = server.json("POST", "/asset_registries", "{}").await.json()["data"].clone();
    (assets, entries, server.count().await)
}

fn ways_around(server: &Server) -> BTreeSet<String> {
    let mut ways = BTreeSet::new();
    for path in [
        "/asset/n:1-t",
        "/asset",
        "/asset_registry",
        "/asset_registry/e",
        "/v1/peers/blocked",
        "/upload_asset",
    ] {
        let rest = &path[1..];
        let first_as_code = format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]);
        ways.extend([
            path.to_owned(),
            format!("{path}/"),
            format!("/{path}"),
            format!("///{rest}"),
            path.to_uppercase(),
            format!("/A{}", &path[2..]),
            path.replace('/', "%2F"),
            format!("/{}", rest.replace('/', "%2f")),
            first_as_code,
            path.replace('/', "//"),
            format!("/./{rest}"),
            format!("/health/../{rest}"),
            format!("/health/..%2f{rest}"),
            format!("{path};x=1"),
            format!("{path}?x=1"),
            format!("{path}%00"),
            format!("{path}%20"),
            format!("{path}."),
            format!("{path}#x").replace('#', "%23"),
            format!("\\{rest}"),
            format!("http://{}{path}", server.address),
            format!("/docs/..{path}"),
            format!("/docs{path}"),
            format!("{path}?_method=DELETE"),
        ]);
    }
    ways
}

#[tokio::test]
async fn an_upload_without_the_right_is_refused_before_its_body_is_sent() {
    let server = Server::with(with(Auth::Token { reads: Reads::Open })).await;
    let head = format!(
        "POST /upload_asset HTTP/1.1\r\nHost: {}\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\
         Content-Type: multipart/form-data; boundary=XyZ\r\n\r\n",
        server.address
    );
    let reply = server.raw(head.as_bytes()).await;
    reply.refused(401);
    assert_eq!(reply.header("connection"), Some("close"), "{}", reply.head);
    assert_eq!(reply.json()["message"], reply.json()["error"]);
}

#[tokio::test]
async fn the_description_says_what_each_operation_needs() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.json();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    for (method, path, need) in operations(&server).await {
        let operation = &document["paths"][&path][method.to_lowercase()];
        let expected = match need {
            Need::Nothing | Need::Signature => Value::Null,
            Need::Scope("invoke_function") => json!([{"bearer": []}]),
            _ => json!([{}, {"bearer": []}]),
        };
        assert_eq!(operation["security"], expected, "{method} {path}");
        assert_eq!(operation["responses"]["401"].is_object(), expected != Value::Null, "{method} {path}");
    }
}

#[tokio::test]
async fn health_tells_whether_writes_are_open() {
    for (auth, is_open) in [(Auth::None, true), (Auth::Token { reads: Reads::Token }, false)] {
        let server = Server::with(with(auth)).await;
        assert_eq!(server.get("/health").await.json()["node"]["open_writes"], json!(is_open));
    }
}

#[tokio::test]
async fn pages_of_other_sites_cannot_write_where_anybody_may() {
    let server = Server::start().await;
    let own = server.address;
    let body = br#"{"asset_name":"n"}"#;
    let post = async |host: &str, headers: &str| {
        let head = format!(
            "POST /asset HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        server.raw(&[head.as_bytes(), body].concat()).await
    };
    let own_host = own.to_string();
    for (host, headers) in [
        (own_host.as_str(), "Origin: https://evil.example\r\n".to_owned()),
        (&own_host, "Origin: null\r\n".to_owned()),
        (&own_host, "Sec-Fetch-Site: cross-site\r\n".to_owned()),
        ("evil.example", "Origin: http://evil.example\r\n".to_owned()),
    ] {
        let reply = post(host, &headers).await;
        reply.refused(403);
        assert_eq!(reply.json()["code"], "foreign_site", "{host} {headers}");
    }
    assert_eq!(server.count().await, 0);
    for (host, headers) in [
        (own_host.as_str(), String::new()),
        ("any-name-of-this-machine", String::new()),
        (&own_host, format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n")),
    ] {
        assert_eq!(post(host, &headers).await.status, 201, "{host} {headers}");
    }
    assert_eq!(server.count().await, 3);
}

#[tokio::test]
async fn an_operator_without_tokens_calls_the_node_by_its_own_name() {
    let server = Server::start().await;
    let body = r#"{"assets_db_ids":[]}"#;
    let put = async |host: &str| {
        // What follows the name stands in lines of its own.
        let head = format!(
            "PUT /v1/peers/blocked HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.raw(head.as_bytes()).await
    };
    for host in ["127.0.0.1:1", "localhost:9", "[::1]"] {
        assert_eq!(put(host).await.status, 200, "{host}");
    }
    let proxied = ["X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "Via: 1.1 proxy"];
    for header in proxied {
        put(&format!("127.0.0.1:1\r\n{header}")).await.refused(403);
    }
    for host in ["evil.example", "127.0.0.1.evil.example:4000"] {
        put(host).await.refused(403);
    }
}
