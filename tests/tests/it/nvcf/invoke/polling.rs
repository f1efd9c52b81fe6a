//! Clients that are sent away with 202 and ask again.

use std::time::Duration;

use assetmesh_tests::{Method, Request, Response, wait_until};
use serde_json::json;

use super::super::account::{Account, problem};
use super::setup::{Setup, hash};

const PATIENCE: Duration = Duration::from_secs(20);

fn sent_away(answer: &Response) -> String {
    assert_eq!((answer.status, answer.body.len()), (202, 0), "{}", answer.text());
    assert_eq!(answer.header("nvcf-status"), Some("pending-evaluation"));
    answer.header("nvcf-reqid").unwrap().to_owned()
}

#[test]
fn a_late_answer_is_fetched_once_and_by_its_account_only() {
    let mut setup = Setup::start();
    let cat = setup.asset(b"a cat");
    let request = setup.invocation(&cat).with_header("NVCF-POLL-SECONDS", "1").with_body(b"{}".to_vec());
    let mut client = setup.send(&request);
    let mut call = setup.container.next().unwrap();
    let id = sent_away(&client.receive(Method::Post).unwrap());
    assert_eq!(setup.staged(), [id.as_str()]);
    assert_eq!(sent_away(&setup.call(&setup.status(&id, 1))), id);

    let path = format!("/v2/nvcf/pexec/status/{id}");
    let mut beta = Account::of(&setup.node, "acme2");
    problem(&beta.call(&Request::get(&path)), 404, &path);
    assert_eq!(setup.call(&Request::get(&path)).status, 401);

    let mut client = setup.send(&setup.status(&id, 60));
    let hashes = call.hashes().unwrap();
    assert_eq!(hashes, json!({&cat: hash(b"a cat")}), "the files stay while the container works");
    call.answer(200, &hashes.to_string()).unwrap();
    let answer = client.receive(Method::Get).unwrap();
    assert_eq!((answer.status, answer.json().unwrap()), (200, hashes));
    assert_eq!(answer.header("nvcf-status"), Some("fulfilled"));
    assert_eq!(answer.header("nvcf-reqid"), Some(id.as_str()));
    assert_eq!(setup.staged(), Vec::<String>::new());
    problem(&setup.call(&setup.status(&id, 1)), 404, &path);
}

#[test]
fn an_answer_that_nobody_waits_for_is_kept_without_its_folder() {
    let setup = Setup::start();
    let mut client = setup.send(&setup.invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let mut call = setup.container.next().unwrap();
    let id = sent_away(&client.receive(Method::Post).unwrap());
    call.answer(200, "{\"kept\":true}").unwrap();
    setup.wait_nothing_staged();
    assert_eq!(setup.call(&setup.status(&id, 1)).text(), "{\"kept\":true}");
}

#[test]
fn an_answer_larger_than_what_is_kept_arrives_whole() {
    let setup = Setup::start();
    let mut client = setup.send(&setup.invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let mut call = setup.container.next().unwrap();
    let id = sent_away(&client.receive(Method::Post).unwrap());
    let body: String = (0..1_500_000_u32).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| call.answer(200, &body).unwrap());
        let answer = setup.call(&setup.status(&id, 60));
        assert!(answer.status == 200 && answer.body == body.as_bytes());
    });
    assert_eq!(setup.staged(), Vec::<String>::new());
}

#[test]
fn a_container_that_fails_later_is_told_to_the_one_who_asks() {
    let setup = Setup::start();
    let request = setup.invocation("").with_header("NVCF-POLL-SECONDS", "1");
    for broken in ["", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"] {
        let mut client = setup.send(&request);
        let mut call = setup.container.next().unwrap();
        let id = sent_away(&client.receive(Method::Post).unwrap());
        call.send(broken).unwrap();
        drop(call);
        setup.wait_nothing_staged();
        let answer = setup.call(&setup.status(&id, 60));
        problem(&answer, 502, &format!("/v2/nvcf/pexec/status/{id}"));
        assert_eq!(answer.header("nvcf-status"), Some("errored"));
    }
}

#[test]
fn one_who_stops_asking_does_not_take_the_answer_along() {
    let setup = Setup::start();
    let mut client = setup.send(&setup.invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let mut call = setup.container.next().unwrap();
    let id = sent_away(&client.receive(Method::Post).unwrap());
    let gone = setup.send(&setup.status(&id, 3600));
    drop(gone);
    assert_eq!(sent_away(&setup.call(&setup.status(&id, 1))), id);
    call.answer(200, "{}").unwrap();
    assert_eq!(setup.call(&setup.status(&id, 60)).status, 200);
}

/// An invocation whose answer is there, and whose client has not come back.
fn kept(setup: &Setup) -> String {
    let mut client = setup.send(&setup.invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let mut call = setup.container.next().unwrap();
    let id = sent_away(&client.receive(Method::Post).unwrap());
    call.answer(200, "{}").unwrap();
    setup.wait_nothing_staged();
    id
}

fn wait_for_log(setup: &Setup, words: &str) {
    let logged = wait_until(PATIENCE, || setup.node.process.log().contains(words).then_some(()));
    assert!(logged.is_some(), "{}", setup.node.process.log());
}

#[test]
fn of_too_many_kept_answers_the_oldest_goes() {
    let setup = Setup::with("[worker]\nanswers_kept_max = 2\n");
    let ids = [kept(&setup), kept(&setup), kept(&setup)];
    wait_for_log(&setup, "an answer had to go for a newer one");
    let answer = setup.call(&setup.status(&ids[0], 1));
    problem(&answer, 404, &format!("/v2/nvcf/pexec/status/{}", ids[0]));
    for id in &ids[1..] {
        assert_eq!(setup.call(&setup.status(id, 1)).status, 200);
    }
}

#[test]
fn an_answer_is_not_kept_for_ever() {
    let setup = Setup::with("[worker]\nanswers_kept_for = \"1s\"\n");
    let id = kept(&setup);
    wait_for_log(&setup, "nobody asked for an answer in time");
    problem(&setup.call(&setup.status(&id, 1)), 404, &format!("/v2/nvcf/pexec/status/{id}"));
}
