//! What no honest client sends: each is refused with a reason, costs little, and leaves nothing behind.

mod json;
mod raw;
mod slow;
mod upload;

use std::time::Duration;

use assetmesh_tests::{Connection, Method, NodeProcess, Response};

use crate::it::support::{TestNode, assert_failure};

/// Processor time that one bad request may cost. A debug build is slower by about ten times.
const COST_MAX: Duration = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });
const MEMORY_MAX: u64 = 64 << 20;

/// Bytes that are sent as they are, and then the end of the sending side.
struct Case {
    name: String,
    bytes: Vec<u8>,
}

impl Case {
    fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    /// Sends it on a connection of its own. None if the node closed without an answer.
    fn send(&self, node: &NodeProcess) -> Option<Response> {
        let mut connection = Connection::open(node.address()).unwrap();
        // The node may refuse and close before it has read all.
        let _ = connection.send_raw(&self.bytes);
        let _ = connection.finish_sending();
        connection.receive(Method::Post).ok()
    }
}

/// Sends each case and checks that it is refused cheaply and that nothing stays.
fn assert_refused(cases: &[Case]) {
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    for case in cases {
        let before = node.process.processor_time().unwrap();
        let response = case.send(&node.process);
        let cost = node.process.processor_time().unwrap() - before;
        let name = &case.name;
        let response = response.unwrap_or_else(|| panic!("{name}: closed without an answer"));
        assert!((400..500).contains(&response.status), "{name}: {}", response.status);
        assert_failure(name, &response);
        assert!(cost <= COST_MAX, "{name} took {cost:?}");
    }
    assert_unharmed(&node, idle);
}

/// Sends each case and checks that the node outlives it: refused or closed, never an error of ours.
fn assert_survived(cases: &[Case]) {
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    assert_survived_by(&node, cases);
    assert_unharmed(&node, idle);
}

fn assert_survived_by(node: &TestNode, cases: &[Case]) {
    for case in cases {
        if let Some(response) = case.send(&node.process) {
            let status = response.status;
            assert!((400..500).contains(&status), "{}: {status} {}", case.name, response.text());
        }
    }
}

fn assert_unharmed(node: &TestNode, idle: u64) {
    node.assert_holds(0, 0, 0);
    let grown = node.process.resident_bytes_peak().unwrap().saturating_sub(idle);
    assert!(grown <= MEMORY_MAX, "{} MiB were taken", grown >> 20);
    let log = node.process.log();
    assert!(!log.contains("panicked at"), "{log}");
}
