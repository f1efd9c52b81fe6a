//! Clients that are sent away with 202 and ask again.

use assetmesh_tests::{Method, Request, Response};
use serde_json::json;

use super::super::account::{Account, problem};
use super::setup::{Setup, hash};

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

#[test]
fn kept_answers_are_bounded_in_number_and_time() {
    let setup = Setup::with("[worker]\nanswers_kept_max = 2\nanswers_kept_for = \"2s\"\n");
    let request = setup.invocation("").with_header("NVCF-POLL-SECONDS", "1");
    let ids: Vec<String> = (0..3)
        .map(|_| {
            let mut client = setup.send(&request);
            let mut call = setup.container.next().unwrap();
            let id = sent_away(&client.receive(Method::Post).unwrap());
            call.answer(200, "{}").unwrap();
            setup.wait_nothing_staged();
            id
        })
        .collect();
    let path = |id: &str| format!("/v2/nvcf/pexec/status/{id}");
    problem(&setup.call(&setup.status(&ids[0], 1)), 404, &path(&ids[0]));
    assert_eq!(setup.call(&setup.status(&ids[2], 1)).status, 200);
    let dropped = assetmesh_tests::wait_until(std::time::Duration::from_secs(20), || {
        (setup.node.process.log().contains("nobody asked for an answer in time")).then_some(())
    });
    assert!(dropped.is_some(), "{}", setup.node.process.log());
    problem(&setup.call(&setup.status(&ids[1], 1)), 404, &path(&ids[1]));
}
