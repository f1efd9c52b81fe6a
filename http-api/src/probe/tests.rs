//! Tests of `probe`, against little servers on loopback.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

use rstest::rstest;

use super::*;

/// Answers every connection with the next of these texts, the last for ever; `{port}` is its own port.
fn serve(answers: Vec<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for at in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let _ = stream.read(&mut [0; 4096]);
            let answer = &answers[at.min(answers.len() - 1)];
            stream.write_all(answer.replace("{port}", &port.to_string()).as_bytes()).ok();
        }
    });
    port
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

async fn probe(reach: Reach, url: &str) -> Result<String, Unwell> {
    Prober::new(reach).probe(url).await.map(|document| document.to_json())
}

#[tokio::test]
async fn a_healthy_service_is_quoted_word_for_word() {
    let body = r#"{"n":[1,2,{"a":null,"z":1}],"status":"up"}"#;
    let port = serve(vec![answer("200 OK", "", body)]);
    for url in [format!("http://127.0.0.1:{port}"), format!("http://u:p@localhost:{port}/base/?x=1#f")] {
        assert_eq!(probe(Reach::Any, &url).await.unwrap(), body, "{url}");
    }
}

#[test]
fn the_path_of_the_entry_stays() {
    for (given, expect) in [
        ("http://h", "http://h/health"),
        ("http://h/", "http://h/health"),
        ("https://h:8443/a/b", "https://h:8443/a/b/health"),
        ("http://h/a/?q=1#f", "http://h/a/health"),
    ] {
        assert_eq!(health_url(given).unwrap().as_str(), expect);
    }
}

#[rstest]
#[case("http://169.254.169.254")]
#[case("http://169.254.169.254:80/latest")]
#[case("http://[::ffff:169.254.169.254]")]
#[case("http://[::ffff:a9fe:a9fe]")]
#[case("http://2852039166")]
#[case("http://0xa9fea9fe")]
#[case("http://0251.0376.0251.0376")]
#[case("http://169.16689662")]
#[case("http://169.254.169.254.")]
#[case("http://[fe80::1]")]
#[case("http://0")]
#[case("http://u:p@169.254.169.254")]
#[case("http://１６９.254.169.254")]
#[tokio::test]
async fn every_spelling_of_a_metadata_address_is_refused(#[case] url: &str) {
    let error = probe(Reach::Any, url).await.unwrap_err();
    assert_eq!(error.code(), "address_refused", "{error}");
}

#[rstest]
#[case("http://127.0.0.1:1")]
#[case("http://2130706433:1")]
#[case("http://0177.0.0.1:1")]
#[case("http://127.1:1")]
#[case("http://localhost:1")]
#[case("http://[::1]:1")]
#[tokio::test]
async fn a_public_reach_refuses_loopback_and_names_that_lead_there(#[case] url: &str) {
    let error = probe(Reach::Public, url).await.unwrap_err();
    assert_eq!(error.code(), "address_refused", "{error}");
    let error = probe(Reach::Any, url).await.unwrap_err();
    assert_eq!(error.code(), "unreachable", "{error}");
}

#[rstest]
#[case("")]
#[case("nonsense")]
#[case("ftp://h/x")]
#[case("file:///etc/passwd")]
#[case("http://")]
#[case("gopher://127.0.0.1:70/_x")]
#[tokio::test]
async fn what_is_no_http_url_is_said_to_be_none(#[case] url: &str) {
    let error = probe(Reach::Any, url).await.unwrap_err();
    assert_eq!(error.code(), "bad_public_url", "{error}");
}

#[tokio::test]
async fn redirects_are_followed_and_each_is_checked() {
    let good = answer("200 OK", "", "{}");
    let here = answer("302 Found", "Location: /elsewhere\r\n", "");
    let port = serve(vec![here.clone(), good]);
    assert_eq!(probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap(), "{}");
    let metadata = answer("301 Moved Permanently", "Location: http://169.254.169.254/latest\r\n", "");
    let port = serve(vec![metadata]);
    let error = probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!(error.code(), "address_refused", "{error}");
    let file = answer("307 Temporary Redirect", "Location: file:///etc/passwd\r\n", "");
    let port = serve(vec![file]);
    let error = probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap_err();
    assert_eq!(error.code(), "bad_public_url", "{error}");
    let port = serve(vec![here]);
    let error = probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap_err();
    assert!(matches!(error, Unwell::Redirects), "{error}");
}

#[tokio::test]
async fn an_unhealthy_service_is_told_apart_from_an_absent_one() {
    let long = format!("\"{}\"", "x".repeat(BODY_BYTES_MAX));
    for (given, expect) in [
        (answer("500 Internal Server Error", "", "{}"), "unhealthy"),
        (answer("200 OK", "", "fine"), "unhealthy"),
        (answer("200 OK", "", r#"{"success":false,"error":"disk"}"#), "unhealthy"),
        (answer("204 No Content", "", ""), "unhealthy"),
        (answer("200 OK", "", &long), "unhealthy"),
        ("nonsense".to_owned(), "unreachable"),
        (String::new(), "unreachable"),
    ] {
        let port = serve(vec![given.clone()]);
        let error = probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap_err();
        assert_eq!(error.code(), expect, "{error} after {given:.40}");
    }
    let error = probe(Reach::Any, "http://no-such-host.invalid").await.unwrap_err();
    assert_eq!(error.code(), "unreachable", "{error}");
}

#[tokio::test]
async fn a_silent_service_is_given_up_within_three_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun = Instant::now();
    let error = probe(Reach::Any, &url).await.unwrap_err();
    assert_eq!(error.code(), "timeout", "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_redirect_cannot_win_more_time() {
    let port = serve(vec![answer("302 Found", "Location: http://127.0.0.1:{port}/again\r\n", "")]);
    let begun = Instant::now();
    probe(Reach::Any, &format!("http://127.0.0.1:{port}")).await.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3));
}
