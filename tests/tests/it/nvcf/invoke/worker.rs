//! A worker in a process of its own: it knows nothing but what its node tells it with the caller's token.

use std::time::Duration;

use assetmesh_tests::{
    Connection, Container, Method, NodeOptions, NodeProcess, Request, Response, wait_until,
};
use serde_json::json;
use tempfile::TempDir;

use super::super::account::{Account, problem, token};
use super::setup::{hash, names, settings};
use crate::it::support::TestNode;

const PATH: &str = "/v2/nvcf/pexec/functions/44444444-4444-4444-8444-444444444444";
const NOBODY: &str = "38652fac-b7ee-11ed-afa1-0242ac120002";

struct Beside {
    node: TestNode,
    worker: NodeProcess,
    options: NodeOptions,
    container: Container,
    acme: Account,
    root: TempDir,
    _settings: TempDir,
}

impl Beside {
    fn start() -> Self {
        let node = TestNode::start();
        let container = Container::start().unwrap();
        let settings = settings(&container.url(), "");
        let root = TempDir::new().unwrap();
        let options = NodeOptions::worker(&node.process.url(), &root.path().join("inputs"))
            .argument("--config")
            .argument(settings.path().join("settings.toml"));
        let worker = options.start().unwrap_or_else(|error| panic!("{error}"));
        let acme = Account::of(&node, "acme");
        Self { node, worker, options, container, acme, root, _settings: settings }
    }

    fn staged(&self) -> Vec<String> {
        names(&self.root.path().join("inputs"))
    }

    fn send(&self, request: Request) -> Connection {
        let mut connection = Connection::open(self.worker.address()).unwrap();
        connection.send(&request.with_bearer(&self.acme.token)).unwrap();
        connection
    }

    fn invocation(references: &str) -> Request {
        Request::new(Method::Post, PATH).with_header("NVCF-INPUT-ASSET-REFERENCES", references)
    }
}

#[test]
fn a_worker_beside_a_container_stages_what_its_node_holds() {
    let mut beside = Beside::start();
    let (cat, nothing) = (vec![3; 2_500_000], Vec::new());
    let ids = [beside.acme.store(&cat).id, beside.acme.store(&nothing).id];
    let mut client = beside.send(Beside::invocation(&ids.join(",")));
    let mut call = beside.container.next().unwrap();
    assert_eq!(call.folder().parent(), Some(beside.root.path().join("inputs").as_path()));
    assert_eq!(call.hashes().unwrap(), json!({&ids[0]: hash(&cat), &ids[1]: hash(&nothing)}));
    assert_eq!(call.header("NVCF-SUB"), Some("acme"));
    assert!(!call.head.contains(&beside.acme.token), "the token went on to the container");
    call.answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
    assert_eq!(beside.staged(), Vec::<String>::new());

    let mut client = beside.send(Beside::invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let mut call = beside.container.next().unwrap();
    let away = client.receive(Method::Post).unwrap();
    assert_eq!(away.status, 202);
    let id = away.header("nvcf-reqid").unwrap();
    call.answer(200, "{\"late\":1}").unwrap();
    let mut client = beside.send(Request::get(format!("/v2/nvcf/pexec/status/{id}")));
    assert_eq!(client.receive(Method::Get).unwrap().text(), "{\"late\":1}");
    assert!(!beside.worker.log().contains(&beside.acme.token));
    assert!(beside.worker.stop().unwrap().success());
}

#[test]
fn a_worker_says_what_its_node_says_of_tokens_and_assets() {
    let beside = Beside::start();
    let call = |request: Request| beside.worker.api().call(&request).unwrap();
    let detail = |request: Request, status| problem(&call(request), status, PATH);
    assert!(detail(Beside::invocation(NOBODY).with_bearer(&beside.acme.token), 404).contains(NOBODY));
    detail(Beside::invocation(""), 401);
    detail(Beside::invocation("").with_bearer("nvapi-nonsense"), 401);
    let refused = call(Beside::invocation("").with_bearer("nvapi-nonsense"));
    assert!(refused.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")));
    let writer = token(&beside.node.data_dir(), "acme", "assets:write");
    assert!(detail(Beside::invocation("").with_bearer(&writer), 403).contains("invoke_function"));
    let path = format!("/v2/nvcf/pexec/functions/{NOBODY}");
    problem(&call(Request::new(Method::Post, &path).with_bearer(&beside.acme.token)), 404, &path);
    assert_eq!(call(Request::get("/v1/node")).status, 404);
    assert_eq!(call(Request::get("/health")).status, 200);
    assert!(!beside.container.was_called());
    assert_eq!(beside.staged(), Vec::<String>::new());
}

#[test]
fn a_worker_without_its_node_says_so_and_runs_nothing() {
    let mut beside = Beside::start();
    let cat = beside.acme.store(b"a cat").id;
    beside.node.process.kill();
    let mut client = beside.send(Beside::invocation(&cat));
    problem(&client.receive(Method::Post).unwrap(), 502, PATH);
    assert_eq!(beside.worker.api().call(&Request::get("/health")).unwrap().status, 503);
    assert_eq!(beside.worker.api().call(&Request::get("/livez")).unwrap().status, 200);
    assert!(!beside.container.was_called());
    assert_eq!(beside.staged(), Vec::<String>::new());
}

#[test]
fn a_killed_worker_leaves_nothing_when_it_is_back() {
    let mut beside = Beside::start();
    let cat = beside.acme.store(b"a cat").id;
    let mut client = beside.send(Beside::invocation(&cat));
    let mut call = beside.container.next().unwrap();
    beside.worker.kill();
    assert!(client.receive(Method::Post).is_err(), "the client sees its connection end");
    call.wait_closed().unwrap();
    assert_eq!(beside.staged().len(), 1);
    beside.worker = beside.options.start().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(beside.staged(), Vec::<String>::new());
    assert_eq!(beside.acme.ids(), [cat.as_str()]);
    let mut client = beside.send(Beside::invocation(&cat));
    beside.container.next().unwrap().answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
}

#[test]
fn an_asset_of_another_node_is_staged_where_it_is_needed() {
    let (mut holder, mut other) = (TestNode::start(), TestNode::start());
    let id = |node: &TestNode| node.api().node().unwrap()["assets_db_id"].as_str().unwrap().to_owned();
    let (holder_id, other_id) = (id(&holder), id(&other));
    holder.restart_with(|options| options.argument("--trusted-issuer").argument(other_id));
    let bootstrap = holder.api().node().unwrap()["p2p_addrs"][0].as_str().unwrap().to_owned();
    let container = Container::start().unwrap();
    let settings = settings(&container.url(), "");
    let file = settings.path().join("settings.toml");
    other.restart_with(|options| {
        let options = options.argument("--config").argument(file).argument("--bootstrap").argument(bootstrap);
        options.argument("--trusted-issuer").argument(holder_id)
    });
    let mut acme = Account::of(&holder, "acme");
    let content = vec![9; 2_000_000];
    let cat = acme.store(&content).id;
    let mut there = Account::of(&other, "acme");
    let request = Beside::invocation(&cat).with_bearer(&there.token);
    // Until they have met, the asset is unknown.
    let mut client = Connection::open(other.process.address()).unwrap();
    let question = Request::json(Method::Post, "/v2/nvcf/inputs", &json!({"assetIds": [cat]}));
    let is_here = |answer: Response| answer.json().unwrap()["assets"][0]["isHere"].clone();
    let met = wait_until(Duration::from_secs(30), || {
        let answer = there.call(&question);
        (answer.status == 200).then(|| is_here(answer))
    });
    assert_eq!(met, Some(json!(false)), "{}", other.process.log());
    assert_eq!(is_here(acme.call(&question)), json!(true));
    client.send(&request).unwrap();
    let mut call = container.next().unwrap();
    assert_eq!(call.hashes().unwrap(), json!({&cat: hash(&content)}));
    call.answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
}
