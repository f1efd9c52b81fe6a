//! Uploads that are broken, too large, repeated or late; and that their content is nobody else's.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use assetmesh_tests::{Cluster, Connection, Content, Method, Request, description_of, wait_until};
use serde_json::json;

use super::account::{ASSETS, Account, DESCRIPTION, put, xml};
use crate::it::support::TestNode;

/// The head of an upload, as raw bytes.
fn head(target: &str, more: &str) -> Vec<u8> {
    format!(
        "PUT {target} HTTP/1.1\r\nHost: node\r\nContent-Type: image/png\r\n{DESCRIPTION}: red-cat-photo\r\n{more}\r\n\r\n"
    )
    .into_bytes()
}

/// A node that takes at most 1 MB.
fn small_node() -> TestNode {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, "[nvcf]\nasset_bytes_max = \"1MB\"\n").unwrap();
    TestNode::start_with(|options| options.argument("--config").argument(file.as_os_str()))
}

/// The first answer to bytes, be it interim, and the connection.
fn first_answer(node: &TestNode, bytes: &[u8]) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(node.process.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
        answer.push(byte[0]);
    }
    (String::from_utf8(answer).unwrap(), stream)
}

#[test]
fn more_than_5_gb_is_refused_before_a_byte_of_the_body_is_asked_for() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let created = acme.create();
    for (length, expect) in
        [("5000000001", "Expect: 100-continue\r\n"), ("5000000001", ""), ("9223372036854775807", "")]
    {
        let bytes = head(&created.target, &format!("{expect}Content-Length: {length}"));
        let (answer, mut stream) = first_answer(&node, &bytes);
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let mut body = String::new();
        stream.read_to_string(&mut body).unwrap();
        assert!(body.contains("<Code>EntityTooLarge</Code>"), "{body}");
    }
    // What fits is asked for, and only then comes.
    let bytes = head(&created.target, "Expect: 100-continue\r\nConnection: close\r\nContent-Length: 7");
    let (interim, mut stream) = first_answer(&node, &bytes);
    assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
    stream.write_all(b"content").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let etag = format!("etag: \"{}\"", blake3::hash(b"content"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&etag), "{answer}");
    assert_eq!(acme.ids(), [created.id]);
}

#[test]
fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let node = small_node();
    let mut acme = Account::of(&node, "acme");
    let created = acme.create();
    let piece = [format!("{:x}\r\n", 100_000).into_bytes(), vec![7; 100_000], b"\r\n".to_vec()].concat();
    let send = |pieces: usize| {
        let mut connection = Connection::open(node.process.address()).unwrap();
        connection.send_raw(&head(&created.target, "Transfer-Encoding: chunked")).unwrap();
        // The node may close as soon as it has refused.
        let _ = (0..pieces).try_for_each(|_| connection.send_raw(&piece));
        let _ = connection.send_raw(b"0\r\n\r\n");
        connection.receive(Method::Put).unwrap()
    };
    assert_eq!(xml(&send(11), 413), "EntityTooLarge");
    node.assert_holds(0, 0, 0);
    assert!(acme.ids().is_empty());
    assert_eq!(send(10).status, 200);
    assert_eq!(acme.ids(), [created.id.as_str()]);
    node.assert_holds(0, 1, 1_000_000);
}

#[test]
fn a_broken_upload_leaves_nothing() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let content = Content { seed: 1, size: 3_000_000 }.bytes();
    let created = acme.create();
    for (more, sent) in [
        ("Content-Length: 3000000", 2_999_999),
        ("Content-Length: 3000000", 1_500_000),
        ("Content-Length: 3000000", 0),
        ("Content-Length: 10", 9),
    ] {
        let mut connection = Connection::open(node.process.address()).unwrap();
        connection.send_raw(&head(&created.target, more)).unwrap();
        connection.send_raw(&content[..sent]).unwrap();
        connection.finish_sending().unwrap();
        let answer = connection.receive(Method::Put).unwrap();
        assert_eq!(xml(&answer, 400), "IncompleteBody", "{more}, {sent}");
    }
    // One that just goes away.
    let mut connection = Connection::open(node.process.address()).unwrap();
    connection.send_raw(&head(&created.target, "Content-Length: 3000000")).unwrap();
    connection.send_raw(&content[..2_000_000]).unwrap();
    drop(connection);
    // One whose chunks are nonsense.
    let mut connection = Connection::open(node.process.address()).unwrap();
    connection.send_raw(&head(&created.target, "Transfer-Encoding: chunked")).unwrap();
    connection.send_raw(b"5\r\nabcde\r\nxyz\r\n").unwrap();
    assert_eq!(connection.receive(Method::Put).unwrap().status, 400);
    node.assert_holds(0, 0, 0);
    assert!(acme.ids().is_empty());
    assert_eq!(acme.get(&created.id).status, 404);
    // The URL is still good.
    assert_eq!(acme.api.call(&put(&created.target, &content)).unwrap().status, 200);
    node.assert_holds(0, 1, 3_000_000);
}

#[test]
fn both_headers_must_be_as_announced() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let made = acme.try_create(&json!({"contentType": "text/plain", "description": "Kätzchen <1>"}));
    let created = super::account::Created::from(&made);
    let upload = |headers: &[(&str, &str)]| {
        let request = Request::new(Method::Put, created.target.as_str()).with_body(b"content".to_vec());
        headers.iter().fold(request, |request, (name, value)| request.with_header(name, value))
    };
    let kind = ("Content-Type", "text/plain");
    for headers in [
        &[kind][..],
        &[(DESCRIPTION, "Kätzchen <1>")],
        &[kind, (DESCRIPTION, "")],
        &[kind, (DESCRIPTION, "Kätzchen <2>")],
        &[kind, (DESCRIPTION, "Kätzchen <1> ...")],
        &[kind, (DESCRIPTION, "Kätzchen <1>"), (DESCRIPTION, "Kätzchen <1>")],
        &[("Content-Type", "text/html"), (DESCRIPTION, "Kätzchen <1>")],
        &[("Content-Type", "text/plain; charset=utf-8"), (DESCRIPTION, "Kätzchen <1>")],
        &[kind, ("Content-Type", "text/html"), (DESCRIPTION, "Kätzchen <1>")],
    ] {
        let answer = acme.api.call(&upload(headers)).unwrap();
        assert_eq!(xml(&answer, 400), "SignatureDoesNotMatch", "{headers:?}");
        assert!(!answer.text().contains("<1>"), "{}", answer.text());
    }
    let announced = [kind, (DESCRIPTION, "Kätzchen <1>")];
    for other in [("Content-Range", "bytes 0-6/20"), ("Content-Encoding", "aws-chunked,gzip")] {
        let answer = acme.api.call(&upload(&[&announced[..], &[other]].concat())).unwrap();
        assert_eq!(xml(&answer, 400), "InvalidRequest", "{other:?}");
        assert!(answer.text().contains(other.0), "{}", answer.text());
    }
    assert!(acme.ids().is_empty());
    let good =
        [kind, (DESCRIPTION, "Kätzchen <1>"), ("x-amz-acl", "private"), ("Authorization", "Basic eDp5")];
    assert_eq!(acme.api.call(&upload(&good)).unwrap().status, 200);
    assert_eq!(acme.ids(), [created.id]);
}

#[test]
fn a_url_takes_one_content_and_the_same_again() {
    let node = TestNode::start();
    let mut acme = Account::of(&node, "acme");
    let content = Content { seed: 1, size: 100_000 }.bytes();
    let created = acme.store(&content);
    let mut upload = |content: &[u8]| acme.api.call(&put(&created.target, content)).unwrap();
    assert_eq!(upload(&content).status, 200);
    let other = Content { seed: 2, size: 100_000 }.bytes();
    for other in [&other[..], &content[1..], b"", &[&content[..], b"x"].concat()] {
        assert_eq!(xml(&upload(other), 409), "ObjectAlreadyExists");
    }
    node.assert_holds(0, 1, 100_000);
    assert_eq!(acme.delete(&created.id).status, 204);
    assert_eq!(xml(&acme.api.call(&put(&created.target, &content)).unwrap(), 403), "AccessDenied");
    node.assert_holds(0, 0, 0);
}

#[test]
fn equal_bytes_are_kept_once_and_no_public_route_gives_what_is_private() {
    let cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(Duration::from_secs(20)).unwrap();
    let mut acme = Account::at(cluster.node(0), &cluster.data_dir(0), "acme");
    let content = Content { seed: 1, size: 100_000 };
    let first = acme.store(&content.bytes());
    for at in [0, 1] {
        assert_eq!(cluster.api(at).object(&content.id()).unwrap().status, 404, "node {at}");
        let query = cluster.api(at).query(&json!({})).unwrap().json().unwrap();
        assert_eq!(query["data"], json!([]));
    }
    let holds = |blobs: u64| {
        let mut last = json!(null);
        let found = wait_until(Duration::from_secs(10), || {
            last = cluster.api(0).node().unwrap()["blobs"].clone();
            (last == json!(blobs)).then_some(())
        });
        assert!(found.is_some(), "{last} blobs and not {blobs}");
    };
    let public = cluster.api(0).upload(&description_of("public", &json!({})), &content.bytes()).unwrap();
    assert_eq!(public.status, 201, "{}", public.text());
    let second = acme.store(&content.bytes());
    holds(1);
    assert_eq!(acme.delete(&first.id).status, 204);
    // Not from the other node: it would keep what was public, and give it on.
    assert!(cluster.api(0).object(&content.id()).unwrap().body == content.bytes());
    assert_eq!(cluster.api(0).delete("public:1-t").unwrap().status, 200);
    holds(1);
    assert_eq!(cluster.api(0).object(&content.id()).unwrap().status, 404);
    assert_eq!(acme.ids(), [second.id.as_str()]);
    assert_eq!(acme.delete(&second.id).status, 204);
    holds(0);
    // Another node knows nothing of the account's assets, nor of its token.
    let mut elsewhere = acme.with(cluster.node(1).address());
    assert_eq!(elsewhere.call(&Request::get(ASSETS)).status, 401);
}
