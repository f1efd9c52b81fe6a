//! Clients that only take up room.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use assetmesh_tests::{Request, description_of, wait_until};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use crate::it::support::TestNode;

const CONNECTIONS: usize = 1000;
/// Files that the node opens and closes for other reasons.
const SLACK: usize = 20;

/// Both sides of a thousand connections need more files than the usual limit of 1024.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

fn open_slowly(address: SocketAddr, start: &str) -> Vec<TcpStream> {
    (0..CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            stream
        })
        .collect()
}

fn open_files(node: &TestNode) -> usize {
    fs::read_dir(format!("/proc/{}/fd", node.process.id())).unwrap().count()
}

#[test]
fn others_are_served_while_a_thousand_clients_send_no_end() {
    allow_many_files();
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    let files_before = open_files(&node);
    for start in [
        "GET /health HTTP/1.1\r\nHost: node\r\nX-Slow: ",
        "POST /asset HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
    ] {
        let slow = open_slowly(node.process.address(), start);
        // All of them have been accepted when the node has that many more files open.
        let accepted = wait_until(Duration::from_secs(20), || {
            (open_files(&node) + SLACK >= files_before + CONNECTIONS).then_some(())
        });
        assert!(accepted.is_some(), "only {} files are open", open_files(&node));
        let mut slowest = Duration::ZERO;
        for number in 0..50 {
            let begun = Instant::now();
            let mut api = node.api();
            let name = format!("served-{}-{number}", start.len());
            assert_eq!(api.create(&description_of(&name, &json!({}))).unwrap().status, 201);
            assert_eq!(api.call(&Request::get("/health")).unwrap().status, 200);
            slowest = slowest.max(begun.elapsed());
        }
        assert!(slowest < Duration::from_secs(2), "others waited {slowest:?}");
        drop(slow);
        let closed =
            wait_until(Duration::from_secs(20), || (open_files(&node) < files_before + SLACK).then_some(()));
        assert!(closed.is_some(), "{} files stay open", open_files(&node));
    }
    let grown = node.process.resident_bytes_peak().unwrap().saturating_sub(idle);
    assert!(grown <= 128 << 20, "{} MiB were taken", grown >> 20);
    node.assert_holds(100, 0, 0);
}

#[test]
fn slow_headers_are_given_up() {
    let node = TestNode::start();
    let mut stream = TcpStream::connect(node.process.address()).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nX: ").unwrap();
    // The node promises at most 30 seconds for a head.
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8_lossy(&rest);
    assert!(rest.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
}
