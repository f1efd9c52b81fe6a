//! However an invocation ends, nothing of it stays, and who still listens is told.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use assetmesh_tests::{Connection, Method, Request, wait_until};

use super::super::account::{Account, problem};
use super::setup::{FUNCTION, Setup, settings};
use crate::it::support::{TestNode, metric};

const PATH: &str = "/v2/nvcf/pexec/functions/44444444-4444-4444-8444-444444444444";

#[test]
fn a_container_that_is_not_there_is_a_bad_gateway() {
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = settings(&format!("http://127.0.0.1:{port}/"), "");
    let file = settings.path().join("settings.toml");
    let node = TestNode::start_with(|options| options.argument("--config").argument(file));
    let mut acme = Account::of(&node, "acme");
    let cat = acme.store(b"a cat").id;
    let request = Request::new(Method::Post, PATH).with_header("NVCF-INPUT-ASSET-REFERENCES", &cat);
    let answer = acme.call(&request);
    let detail = problem(&answer, 502, PATH);
    assert!(detail.contains("cannot be reached") && !detail.contains(&port.to_string()), "{detail}");
    assert_eq!(answer.header("nvcf-status"), Some("errored"));
    assert!(answer.header("nvcf-reqid").is_some());
    assert_eq!(super::setup::names(&node.data_dir().join("staging")), Vec::<String>::new());
}

#[test]
fn a_container_that_never_answers_is_given_up() {
    let setup = Setup::with("[worker]\nanswer_timeout = \"1s\"\n");
    let mut client = setup.send(&setup.invocation(""));
    let mut call = setup.container.next().unwrap();
    problem(&client.receive(Method::Post).unwrap(), 504, PATH);
    assert_eq!(setup.staged(), Vec::<String>::new());
    call.wait_closed().unwrap();
}

#[test]
fn an_answer_that_breaks_off_never_ends_cleanly() {
    let setup = Setup::start();
    for early in ["", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"] {
        let mut client = setup.send(&setup.invocation(""));
        let mut call = setup.container.next().unwrap();
        call.send(early).unwrap();
        drop(call);
        problem(&client.receive(Method::Post).unwrap(), 502, PATH);
        assert_eq!(setup.staged(), Vec::<String>::new(), "{early:?}");
    }
    for late in [
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut client = setup.send(&setup.invocation(""));
        let mut call = setup.container.next().unwrap();
        call.send(late).unwrap();
        drop(call);
        assert!(client.receive(Method::Post).is_err(), "{late:?}");
        setup.wait_nothing_staged();
    }
}

#[test]
fn a_client_that_leaves_ends_its_invocation() {
    let mut setup = Setup::start();
    let cat = setup.asset(b"a cat");
    let client = setup.send(&setup.invocation(&cat).with_header("NVCF-POLL-SECONDS", "3600"));
    let mut call = setup.container.next().unwrap();
    assert_eq!(setup.staged().len(), 1);
    drop(client);
    call.wait_closed().unwrap();
    setup.wait_nothing_staged();
}

#[test]
fn a_client_that_leaves_a_silent_stream_ends_it() {
    let setup = Setup::start();
    let mut client = setup.send(&setup.invocation(""));
    let mut call = setup.container.next().unwrap();
    call.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n").unwrap();
    let mut seen = String::new();
    while !seen.contains("half") {
        seen.push_str(&client.read_some().unwrap());
    }
    drop(client);
    call.wait_closed().unwrap();
    setup.wait_nothing_staged();
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_request_ends_it() {
    let setup = Setup::start();
    let head = setup.invocation("").with_header("Content-Length", "1000000").head();
    let mut client = Connection::open(setup.node.process.address()).unwrap();
    client.send_raw(&head).unwrap();
    client.send_raw(&[0; 200_000]).unwrap();
    let staged = wait_until(Duration::from_secs(20), || (setup.staged().len() == 1).then_some(()));
    assert!(staged.is_some());
    drop(client);
    setup.wait_nothing_staged();
    assert!(!setup.container.was_called(), "half a request came as a whole one");
    let ended =
        |outcome: &str| metric(&mut setup.node.api(), &format!("invocations_total{{outcome=\"{outcome}\"}}"));
    let counted = wait_until(Duration::from_secs(20), || (ended("given_up") == 1).then_some(()));
    assert!(counted.is_some() && ended("errored") == 0);
}

#[test]
fn a_stopping_node_lets_a_container_finish() {
    let mut setup = Setup::start();
    let mut client = setup.send(&setup.invocation(""));
    let mut call = setup.container.next().unwrap();
    setup.node.process.terminate().unwrap();
    let stopping = wait_until(Duration::from_secs(20), || {
        setup.node.process.log().contains("SIGTERM: stopping").then_some(())
    });
    assert!(stopping.is_some());
    call.answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
    assert!(setup.node.process.wait(Duration::from_secs(20)).unwrap().success());
    assert_eq!(setup.staged(), Vec::<String>::new());
}

#[test]
fn a_stopping_node_does_not_leave_its_clients_in_the_dark() {
    let mut setup = Setup::with("[http]\nstop_deadline = \"6s\"\n");
    let mut client = setup.send(&setup.invocation(""));
    let _call = setup.container.next().unwrap();
    let mut sent_away = setup.send(&setup.invocation("").with_header("NVCF-POLL-SECONDS", "1"));
    let _other = setup.container.next().unwrap();
    let id = sent_away.receive(Method::Post).unwrap().header("nvcf-reqid").unwrap().to_owned();
    let mut asking = setup.send(&setup.status(&id, 60));
    // Both, and the one that asks for it.
    let under_way = || metric(&mut setup.node.api(), "http_in_flight") == 3;
    assert!(wait_until(Duration::from_secs(20), || under_way().then_some(())).is_some());
    let begun = Instant::now();
    setup.node.process.terminate().unwrap();
    problem(&client.receive(Method::Post).unwrap(), 503, PATH);
    problem(&asking.receive(Method::Get).unwrap(), 503, &format!("/v2/nvcf/pexec/status/{id}"));
    assert!(setup.node.process.wait(Duration::from_secs(20)).unwrap().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(setup.staged(), Vec::<String>::new());
}

#[test]
fn more_than_may_be_is_refused_with_a_time_to_come_back() {
    let mut setup =
        Setup::with("[worker]\ninvocations_max = 2\nstaged_bytes_max = \"1000\"\nassets_max = 2\n");
    let (cat, dog) = (setup.asset(&[1; 600]), setup.asset(&[2; 500]));
    let mut first = setup.send(&setup.invocation(&cat));
    let mut call = setup.container.next().unwrap();
    let refused = setup.call(&setup.invocation(&dog));
    problem(&refused, 503, PATH);
    assert!(refused.header("retry-after").is_some());
    problem(&setup.call(&setup.invocation(&format!("{cat},{dog}"))), 413, PATH);
    let mut second = setup.send(&setup.invocation(""));
    let mut other = setup.container.next().unwrap();
    let refused = setup.call(&setup.invocation(""));
    problem(&refused, 429, PATH);
    assert!(refused.header("retry-after").is_some());
    problem(&setup.call(&setup.invocation(&format!("{cat},{dog},{FUNCTION}"))), 400, PATH);
    for (client, call) in [(&mut first, &mut call), (&mut second, &mut other)] {
        call.answer(200, "{}").unwrap();
        assert_eq!(client.receive(Method::Post).unwrap().status, 200);
    }
    // All places are free again.
    let mut client = setup.send(&setup.invocation(&dog));
    setup.container.next().unwrap().answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
}

#[test]
fn an_account_leaves_places_for_others() {
    let setup = Setup::with("[worker]\ninvocations_max = 2\naccount_invocations_max = 1\n");
    let mut first = setup.send(&setup.invocation(""));
    let mut call = setup.container.next().unwrap();
    let refused = setup.call(&setup.invocation(""));
    let detail = problem(&refused, 429, PATH);
    assert!(detail.contains("your account") && refused.header("retry-after").is_some(), "{detail}");
    let beta = Account::of(&setup.node, "beta");
    let mut second = setup.send(&setup.invocation("").with_bearer(&beta.token));
    let mut other = setup.container.next().unwrap();
    for (client, call) in [(&mut first, &mut call), (&mut second, &mut other)] {
        call.answer(200, "{}").unwrap();
        assert_eq!(client.receive(Method::Post).unwrap().status, 200);
    }
}

#[test]
fn what_becomes_of_invocations_is_counted() {
    let mut setup = Setup::start();
    let cat = setup.asset(&[1; 600]);
    let mut client = setup.send(&setup.invocation(&cat));
    let mut call = setup.container.next().unwrap();
    let mut api = setup.node.api();
    assert_eq!(metric(&mut api, "invocations_under_way"), 1);
    assert_eq!(metric(&mut api, "staged_bytes"), 600);
    call.answer(200, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 200);
    let mut client = setup.send(&setup.invocation(&cat));
    setup.container.next().unwrap().answer(500, "{}").unwrap();
    assert_eq!(client.receive(Method::Post).unwrap().status, 500);
    let client = setup.send(&setup.invocation(&cat));
    let _call = setup.container.next().unwrap();
    drop(client);
    let mut ended = |outcome: &str| metric(&mut api, &format!("invocations_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((ended("fulfilled"), ended("errored")), (1, 1));
    assert!(wait_until(Duration::from_secs(20), || (ended("given_up") == 1).then_some(())).is_some());
    setup.wait_nothing_staged();
    assert_eq!(metric(&mut api, "invocation_seconds_count"), 3);
    let idle = || (metric(&mut api, "invocations_under_way") == 0).then_some(());
    assert!(wait_until(Duration::from_secs(20), idle).is_some());
    assert_eq!(metric(&mut api, "staged_bytes"), 0);
}
