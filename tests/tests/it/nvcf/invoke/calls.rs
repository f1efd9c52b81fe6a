//! What a container is told and given, what its client gets, and what never reaches it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use assetmesh_tests::{Method, Request};
use serde_json::json;

use super::super::account::{Account, problem};
use super::setup::{FUNCTION, Setup, hash};

const PATH: &str = "/v2/nvcf/pexec/functions/44444444-4444-4444-8444-444444444444";
const NOBODY: &str = "38652fac-b7ee-11ed-afa1-0242ac120002";

#[test]
fn a_container_gets_the_assets_and_the_client_its_answer() {
    let mut setup = Setup::start();
    let (cat, dog) = (vec![7; 3_000_000], b"a small dog".to_vec());
    let (first, second) = (setup.asset(&cat), setup.asset(&dog));
    let references = format!(" {second},,{first} , {second}");
    let request = setup
        .invocation(&references)
        .with_header("NVCF-INPUT-ASSET-REFERENCES", &first)
        .with_header("X-Mine", "yes")
        .with_body(b"{\"opaque\":1}".to_vec());
    let mut client = setup.send(&request);
    let mut call = setup.container.next().unwrap();

    assert!(call.head.starts_with("POST /infer?mode=1 HTTP/1.1\r\n"), "{}", call.head);
    assert_eq!(call.body, b"{\"opaque\":1}");
    let folder = call.folder();
    let request_id = call.header("NVCF-REQID").unwrap().to_owned();
    assert_eq!(folder, setup.staging().join(&request_id));
    let told = |name| call.header(name).unwrap().to_owned();
    assert_eq!(told("NVCF-FUNCTION-ASSET-IDS"), format!("{second},{first}"));
    assert_eq!([told("NVCF-SUB"), told("NVCF-NCAID")], ["acme", "acme"]);
    assert_eq!(told("NVCF-FUNCTION-ID"), FUNCTION);
    assert_eq!(told("NVCF-FUNCTION-NAME"), "cat classifier");
    assert_eq!(told("NVCF-FUNCTION-VERSION-ID"), "v-1.2");
    assert_eq!(call.header("x-mine"), Some("yes"));
    assert_eq!(call.hashes().unwrap(), json!({&first: hash(&cat), &second: hash(&dog)}));
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.clone()), mode(folder.join(&first))), (0o777, 0o644));
    fs::write(folder.join("scratch"), "of the container").unwrap();

    call.answer(207, "{\"ok\":true}").unwrap();
    let answer = client.receive(Method::Post).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (207, "{\"ok\":true}"));
    assert_eq!(answer.header("nvcf-reqid"), Some(request_id.as_str()));
    assert_eq!(answer.header("nvcf-status"), Some("fulfilled"));
    assert_eq!(
        (answer.header("x-mine"), answer.header("content-type")),
        (Some("1"), Some("application/json"))
    );
    // The folder went before the last byte came.
    assert_eq!(setup.staged(), Vec::<String>::new());
}

#[test]
fn without_assets_there_is_a_folder_and_no_list() {
    let setup = Setup::start();
    let mut client = setup.send(&setup.signed(Request::new(Method::Post, format!("{PATH}/versions/v-1.2"))));
    let mut call = setup.container.next().unwrap();
    assert!(call.folder().is_dir());
    assert_eq!((call.header("NVCF-FUNCTION-ASSET-IDS"), call.body.len()), (None, 0));
    call.answer(422, "{}").unwrap();
    let answer = client.receive(Method::Post).unwrap();
    assert_eq!((answer.status, answer.header("nvcf-status")), (422, Some("errored")));
    assert_eq!(setup.staged(), Vec::<String>::new());
}

#[test]
fn a_clients_own_copies_of_the_workers_headers_never_arrive() {
    let setup = Setup::start();
    let mut request = setup.invocation("");
    for name in [
        "NVCF-ASSET-DIR",
        "nvcf-asset-dir",
        "Nvcf_Asset_Dir",
        "NVCF-REQID",
        "nvcf-function-asset-ids",
        "NVCF-SUB",
        "NVCF-NCAID",
        "nvcf-function-name",
        "NVCF-Anything",
        "Cookie",
        "Keep-Alive",
        "TE",
        "X-Once",
    ] {
        request = request.with_header(name, "/evil");
    }
    let request = request.with_header("Connection", "X-Once").with_header("X-Mine", "1");
    let mut client = setup.send(&request);
    let mut call = setup.container.next().unwrap();
    assert!(!call.head.contains("/evil"), "{}", call.head);
    assert!(!call.head.to_ascii_lowercase().contains("authorization"), "{}", call.head);
    assert_eq!(call.header("x-mine"), Some("1"));
    call.answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
}

#[test]
fn nothing_runs_when_something_is_wrong_with_the_request() {
    let mut setup = Setup::start();
    let mut beta = Account::of(&setup.node, "acme2");
    let foreign = beta.store(b"of acme2").id;
    let waiting = setup.acme.create().id;
    let gone = setup.asset(b"soon gone");
    assert_eq!(setup.acme.delete(&gone).status, 204);
    let good = setup.asset(b"good");
    for missing in [NOBODY, &foreign, &waiting, &gone] {
        let answer = setup.call(&setup.invocation(&format!("{good},{missing}")));
        let detail = problem(&answer, 404, PATH);
        assert!(detail.contains(missing), "{detail}");
    }
    for bad in ["cat.png", "../../etc/passwd", "38652facb7ee11edafa10242ac120002", &format!("{good} {good}")]
    {
        let detail = problem(&setup.call(&setup.invocation(bad)), 400, PATH);
        assert!(detail.contains("NVCF-INPUT-ASSET-REFERENCES"), "{detail}");
    }
    for seconds in ["0", "3601", "soon", "-1"] {
        let answer = setup.call(&setup.invocation(&good).with_header("NVCF-POLL-SECONDS", seconds));
        assert!(problem(&answer, 400, PATH).contains("NVCF-POLL-SECONDS"));
    }
    for path in [
        NOBODY.to_owned(),
        "x".to_owned(),
        format!("{FUNCTION}/versions/v-1"),
        format!("{FUNCTION}/versions/"),
    ] {
        let path = format!("/v2/nvcf/pexec/functions/{path}");
        problem(&setup.call(&setup.signed(Request::new(Method::Post, &path))), 404, &path);
    }
    assert_eq!(setup.call(&Request::new(Method::Post, PATH)).status, 401);
    let many: Vec<String> = (0..101).map(|number| format!("38652fac-b7ee-11ed-afa1-{number:012}")).collect();
    problem(&setup.call(&setup.invocation(&many.join(","))), 400, PATH);
    assert!(!setup.container.was_called());
    assert_eq!(setup.staged(), Vec::<String>::new());
    // Nobody holds a place for what was refused.
    let mut client = setup.send(&setup.invocation(&good));
    setup.container.next().unwrap().answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
}

#[test]
fn a_large_body_streams_through_and_an_answer_comes_piece_by_piece() {
    let setup = Setup::start();
    let body: Vec<u8> = (0..5_000_000_u32).map(|at| at as u8).collect();
    let mut client = setup.send(&setup.invocation("").with_body(body.clone()));
    let mut call = setup.container.next().unwrap();
    assert!(call.body == body);
    call.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .unwrap();
    let mut seen = String::new();
    for piece in ["data: 1\n\n", "data: 2\n\n"] {
        call.send(&format!("{:x}\r\n{piece}\r\n", piece.len())).unwrap();
        // It is there before the next one is sent.
        while !seen.contains(piece) {
            seen.push_str(&client.read_some().unwrap());
        }
    }
    assert!(setup.staged().len() == 1, "the folder stays as long as the answer");
    call.send("0\r\n\r\n").unwrap();
    while !seen.ends_with("0\r\n\r\n") {
        seen.push_str(&client.read_some().unwrap());
    }
    assert!(seen.contains("nvcf-status: fulfilled"), "{seen}");
    assert_eq!(setup.staged(), Vec::<String>::new());
}
