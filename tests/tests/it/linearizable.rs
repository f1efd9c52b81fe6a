//! One uri under many writers and readers shows one order of events, and a retry is no second event.

use assetmesh_tests::{Connection, Contention, Request, description_of, linearize};
use serde_json::json;

use crate::it::support::{TestNode, data_of};

#[test]
fn sixty_four_writers_and_readers_see_one_order() {
    let node = TestNode::start();
    let contention = Contention { clients: 64, calls_each: 25, removals: false, seed: 3 };
    let calls = contention.run(node.process.address()).unwrap();
    assert_eq!(linearize(None, &calls), Ok(()));
}

#[test]
fn creations_and_deletes_of_one_uri_see_one_order() {
    let node = TestNode::start();
    let contention = Contention { clients: 10, calls_each: 60, removals: true, seed: 4 };
    let calls = contention.run(node.process.address()).unwrap();
    assert_eq!(linearize(None, &calls), Ok(()));
}

#[test]
fn an_upload_retried_after_a_lost_answer_is_one_asset() {
    let mut node = TestNode::start();
    let mut api = node.api();
    for size in [100_usize, 2_000_000] {
        let description = description_of(&format!("retried-{size}"), &json!({"a": 1}));
        let upload = Request::upload("f.bin", &vec![5; size], &description);
        // The answer is on its way when the client goes; it may or may not have been made.
        for _ in 0..5 {
            let mut connection = Connection::open(node.process.address()).unwrap();
            connection.send(&upload).unwrap();
            drop(connection);
        }
        let retried = api.call(&upload).unwrap();
        assert!(matches!(retried.status, 200 | 201), "{}", retried.text());
        let again = data_of(200, &api.call(&upload).unwrap());
        assert_eq!(retried.json().unwrap()["data"], again);
        let rows = api.query_all(&json!({"asset_uri": again["asset_uri"]})).unwrap();
        assert_eq!(rows.len(), 1);
    }
    node.assert_holds(2, 2, 2_000_100);
    // The node may have moved to another address meanwhile.
    node.restart();
    let description = description_of("retried-100", &json!({"a": 1}));
    let upload = Request::upload("f.bin", &[5; 100], &description);
    assert_eq!(node.api().call(&upload).unwrap().status, 200);
}

#[test]
fn one_of_many_equal_creations_wins() {
    let node = TestNode::start();
    let address = node.process.address();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..32)
            .map(|client| {
                scope.spawn(move || {
                    let description = description_of("raced", &json!({"client": client}));
                    assetmesh_tests::Api::new(address).create(&description).unwrap().status
                })
            })
            .collect();
        started.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 201 | 409)), "{statuses:?}");
}
