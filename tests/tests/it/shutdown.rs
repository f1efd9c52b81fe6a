//! SIGTERM under load, and two nodes on one folder.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use assetmesh_tests::{Api, Content, NodeOptions, description_of, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::it::support::TestNode;

#[test]
fn sigterm_under_load_ends_cleanly_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let options = NodeOptions::new(&folder.path().join("data"));
    let mut node = options.start().unwrap();
    let address = node.address();
    let stopping = AtomicBool::new(false);
    let begun = AtomicBool::new(false);
    let acknowledged: Vec<Content> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let (stopping, begun) = (&stopping, &begun);
                scope.spawn(move || upload_until_refused(address, client, begun, stopping))
            })
            .collect();
        wait_until(Duration::from_secs(10), || begun.load(Ordering::Acquire).then_some(())).unwrap();
        stopping.store(true, Ordering::Release);
        let asked = Instant::now();
        let status = node.stop().unwrap();
        assert!(status.success(), "{status}: {}", node.log());
        assert!(asked.elapsed() < Duration::from_secs(31), "it took {:?}", asked.elapsed());
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert!(!acknowledged.is_empty());
    let node = options.start().unwrap();
    let mut api = node.api();
    for content in acknowledged {
        assert!(api.object(&content.id()).unwrap().body == content.bytes(), "{content:?}");
    }
}

/// Returns what was acknowledged. Before the stop everything must be.
fn upload_until_refused(
    address: std::net::SocketAddr,
    client: u64,
    begun: &AtomicBool,
    stopping: &AtomicBool,
) -> Vec<Content> {
    let mut api = Api::new(address);
    let mut acknowledged = Vec::new();
    loop {
        let seed = client * 1_000_000 + acknowledged.len() as u64;
        let content = Content { seed, size: 60_000 };
        let description = description_of(&format!("upload-{seed}"), &json!({}));
        match api.upload(&description, &content.bytes()) {
            Ok(answer) if answer.status == 201 => acknowledged.push(content),
            other => {
                assert!(stopping.load(Ordering::Acquire), "refused without a reason: {other:?}");
                return acknowledged;
            }
        }
        if acknowledged.len() == 20 {
            begun.store(true, Ordering::Release);
        }
    }
}

#[test]
fn a_request_that_is_on_its_way_is_finished() {
    let mut node = TestNode::start();
    let address = node.process.address();
    let content = vec![3; 8 << 20];
    let upload = assetmesh_tests::Request::upload("f", &content, &description_of("late", &json!({})));
    let mut connection = assetmesh_tests::Connection::open(address).unwrap();
    let (first, rest) = upload.body().split_at(4 << 20);
    connection.send_raw(&[upload.head().as_slice(), first].concat()).unwrap();
    // The node has read some of it when it says so.
    node.process.terminate().unwrap();
    let refusing =
        wait_until(Duration::from_secs(10), || std::net::TcpStream::connect(address).is_err().then_some(()));
    assert!(refusing.is_some(), "it still accepts connections");
    connection.send_raw(rest).unwrap();
    let answer = connection.receive(assetmesh_tests::Method::Post).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert!(node.process.wait(Duration::from_secs(31)).unwrap().success());
}

#[test]
fn a_second_node_on_the_same_folder_is_refused_at_once() {
    let mut first = TestNode::start();
    let begun = Instant::now();
    let second = NodeOptions::new(&first.data_dir()).start().unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(5), "only after {:?}", begun.elapsed());
    let status = second.status.expect("it ends by itself");
    assert!(!status.success(), "{status}");
    let path = first.data_dir();
    assert!(second.log.contains(path.to_str().unwrap()), "it does not say where: {}", second.log);
    assert!(!second.log.contains("panicked"), "{}", second.log);
    assert_eq!(first.api().create(&description_of("first", &json!({}))).unwrap().status, 201);
    first.restart();
    assert_eq!(first.api().find("first:1-t").unwrap().status, 200);
}
