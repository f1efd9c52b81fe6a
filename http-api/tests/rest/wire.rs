//! The wire itself: lies about lengths, slow clients, broken framing, a stop under load, HTTP/2.

use std::time::{Duration, Instant};

use assetmesh_http_api::Config;
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{FILE, FORM, METADATA, Server, form, metadata, reply};

fn impatient() -> Config {
    Config {
        header_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(600),
        stall_timeout: Duration::from_millis(700),
        progress_window: Duration::from_millis(300),
        stop_deadline: Duration::from_millis(1500),
        ..Config::default()
    }
}

/// Everything until the end of the connection, however it ends.
async fn until_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let read = async { while let Ok(1..) = stream.read_buf(&mut all).await {} };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the connection ends");
    all
}

#[rstest]
#[case::two_lengths("Content-Length: 2\r\nContent-Length: 3\r\n")]
#[case::negative("Content-Length: -1\r\n")]
#[case::too_long("Content-Length: 18446744073709551616\r\n")]
#[case::no_number("Content-Length: two\r\n")]
#[case::bad_coding("Transfer-Encoding: gzip, chunked, x\r\n")]
#[case::folded("X: a\r\n b\r\n")]
#[case::space_before_colon("Content-Length : 2\r\n")]
#[case::nul("X: a\0b\r\n")]
#[tokio::test]
async fn broken_framing_is_400(#[case] headers: &str) {
    let server = Server::start().await;
    let request =
        format!("POST /asset HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n{headers}\r\n{{}}");
    server.raw(request.as_bytes()).await.refused(400);
    assert_eq!(server.count().await, 0);
}

#[rstest]
#[case("OPTIONS * HTTP/1.1", 404)]
#[case("CONNECT h:1 HTTP/1.1", 404)]
#[case("GET http://h/livez HTTP/1.1", 200)]
#[case("GET livez HTTP/1.1", 404)]
#[case("GET /livez HTTP/9.9", 400)]
#[case("GET /a b HTTP/1.1", 400)]
#[case("\u{16}\u{3}\u{1}", 400)]
#[tokio::test]
async fn odd_request_lines_get_an_answer(#[case] line: &str, #[case] status: u16) {
    let server = Server::start().await;
    let reply = server.raw(format!("{line}\r\nHost: t\r\n\r\n").as_bytes()).await;
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.json()["success"].is_boolean());
}

#[tokio::test]
async fn a_body_shorter_than_declared_is_given_up() {
    let server = Server::with(impatient()).await;
    let request =
        b"POST /asset HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{}";
    assert_eq!(server.raw(request).await.refused(408), "the body came too slowly; nothing of it is kept");
    let mut stream = server.connect().await;
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    reply(&mut stream, false).await.refused(400);
    assert_eq!(server.count().await, 0);
}

#[tokio::test]
async fn a_body_longer_than_declared_is_another_request() {
    let server = Server::start().await;
    let request = b"POST /asset HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}GARBAGE\r\n\r\n";
    let mut stream = server.connect().await;
    stream.write_all(request).await.unwrap();
    let answers = String::from_utf8(until_end(&mut stream).await).unwrap();
    assert!(answers.starts_with("HTTP/1.1 201 ") && answers.contains("HTTP/1.1 400 "), "{answers}");
}

#[tokio::test]
async fn large_headers_are_refused() {
    let server = Server::start().await;
    let long = format!("X-Long: {}\r\n", "a".repeat(40_000));
    assert!(server.call("GET", "/livez", &long, b"").await.refused(431).contains("32768"));
    let mut stream = server.connect().await;
    let flood = [b"GET /livez HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 10_000_000]].concat();
    let _ = stream.write_all(&flood).await;
    let answer = until_end(&mut stream).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}

#[tokio::test]
async fn a_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let upload = form(&[(FILE, b"data"), (METADATA, &metadata("kept"))]);
    for _ in 0..3 {
        let head = format!(
            "POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Content-Length: {}\r\n\r\n",
            upload.len()
        );
        stream.write_all(&[head.as_bytes(), &upload].concat()).await.unwrap();
        assert!(reply(&mut stream, false).await.status < 300);
        stream.write_all(b"GET /nope HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        reply(&mut stream, false).await.refused(404);
    }
}

#[tokio::test]
async fn slow_headers_and_silence_are_cut_while_others_are_served() {
    let server = Server::with(impatient()).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = server.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").await.unwrap();
        }
        silent.push(stream);
    }
    let started = Instant::now();
    assert_eq!(server.get("/livez").await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(5));
    for stream in &mut silent {
        assert!(until_end(stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_it_rests_too_long() {
    let server = Server::with(impatient()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    assert_eq!(reply(&mut stream, false).await.status, 200);
    let started = Instant::now();
    assert!(until_end(&mut stream).await.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_dripping_upload_is_408_and_leaves_nothing() {
    let server = Server::with(impatient()).await;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Content-Length: 100000\r\n\r\n--XyZ\r\n{FILE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    let drip = async {
        while writing.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = [0; 12];
    tokio::select! {
        read = reading.read_exact(&mut answer) => { read.unwrap(); }
        () = drip => panic!("cut without an answer"),
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(server.count().await, 0);
}

#[tokio::test]
async fn a_download_that_nobody_reads_is_cut() {
    let server = Server::with(impatient()).await;
    let content = vec![7; 30_000_000];
    let stored = server.upload(&[(FILE, &content), (METADATA, &metadata("large"))]).await.json();
    let path = format!("/asset-object/{}", stored["asset_id"].as_str().unwrap());
    let mut stream = server.connect().await;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let received = until_end(&mut stream).await;
    assert!(received.len() < content.len(), "{}", received.len());
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_flight_and_takes_no_more() {
    let mut server = Server::start().await;
    let body = form(&[(METADATA, &metadata("late")), (FILE, &vec![7; 100_000])]);
    let head =
        format!("POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Content-Length: {}\r\n\r\n", body.len());
    let mut busy = server.connect().await;
    busy.write_all(head.as_bytes()).await.unwrap();
    busy.write_all(&body[..50_000]).await.unwrap();
    let mut idle = server.connect().await;
    idle.write_all(b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    assert_eq!(reply(&mut idle, false).await.status, 200);

    server.stop.cancel();
    assert!(until_end(&mut idle).await.is_empty());
    busy.write_all(&body[50_000..]).await.unwrap();
    let stored = reply(&mut busy, false).await;
    assert_eq!((stored.status, stored.header("connection")), (201, Some("close")));
    server.served.join_next().await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let mut server = Server::with(Config { progress_window: Duration::from_secs(60), ..impatient() }).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"POST /asset HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
    assert_eq!(server.get("/livez").await.status, 200);
    let started = Instant::now();
    server.stop.cancel();
    server.served.join_next().await.unwrap().unwrap().unwrap();
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&started.elapsed()));
}

#[tokio::test]
async fn more_connections_than_the_cap_wait_their_turn() {
    let server = Server::with(Config { connections_max: 1, ..impatient() }).await;
    let first = server.connect().await;
    let mut second = server.connect().await;
    second.write_all(b"GET /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), second.readable()).await;
    assert!(early.is_err());
    drop(first);
    assert_eq!(reply(&mut second, false).await.status, 200);
}

#[tokio::test]
async fn http2_is_spoken_from_the_first_byte() {
    let server = Server::with(impatient()).await;
    let mut stream = server.connect().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    // Split inside the preface, as a network may do.
    stream.write_all(&preface[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.write_all(&preface[10..]).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a SETTINGS frame");
    let rest = until_end(&mut stream).await;
    assert!(rest.windows(9).any(|frame| frame[3] == 7), "a GOAWAY before the idle end");
}

#[tokio::test]
async fn large_uploads_over_one_http2_connection_are_taken_again_and_again() {
    let server = Server::start().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for number in 0..5 {
        let content = vec![number; 6_000_000];
        let body = form(&[(FILE, &content), (METADATA, &metadata(&format!("h2-{number}")))]);
        let request = client.post(format!("http://{}/upload_asset", server.address));
        let request = request.header("content-type", "multipart/form-data; boundary=XyZ").body(body);
        let answer = request.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (201, reqwest::Version::HTTP_2));
        let asset: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let url = asset["public_url"].as_str().unwrap();
        let read = client.get(url).send().await.unwrap().bytes().await.unwrap();
        assert!(read == content);
    }
}
