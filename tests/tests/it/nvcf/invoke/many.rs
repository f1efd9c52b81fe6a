//! Many invocations at once, and two processes at one folder.

use std::thread;

use assetmesh_tests::{Api, Container, Content};
use serde_json::{Value, json};

use super::super::account::Account;
use super::setup::{Setup, hash, settings};
use crate::it::support::TestNode;

const CLIENTS: usize = 64;

#[test]
fn many_invocations_at_once_have_their_own_folders_and_the_right_bytes() {
    let mut setup = Setup::start();
    // Another node on the same folder, with a container that answers by itself.
    let address = Container::of_hashes().unwrap();
    let settings = settings(&format!("http://{address}/"), "");
    let (root, file) = (setup.staging(), settings.path().join("settings.toml"));
    let neighbour = TestNode::start_with(|options| {
        options.argument("--config").argument(file).argument("--asset-root").argument(root)
    });
    let mut held = setup.send(&setup.invocation(""));
    let mut call = setup.container.next().unwrap();

    let mut acme = Account::of(&neighbour, "acme");
    let contents: Vec<Vec<u8>> = [40_000, 1_100_000, 300_000]
        .iter()
        .map(|size| Content { seed: *size, size: *size as usize }.bytes())
        .collect();
    let ids: Vec<String> = contents.iter().map(|content| acme.store(content).id).collect();
    let references = ids.join(", ");
    let expect: Value =
        ids.iter().zip(&contents).map(|(id, content)| (id.clone(), json!(hash(content)))).collect();
    let request = setup.invocation(&references).with_bearer(&acme.token);
    let folders: Vec<String> = thread::scope(|scope| {
        let one = || {
            let answer = Api::new(neighbour.process.address()).call(&request).unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let body = answer.json().unwrap();
            assert_eq!(body["hashes"], expect);
            body["folder"].as_str().unwrap().to_owned()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let different: std::collections::BTreeSet<_> = folders.iter().collect();
    assert_eq!(different.len(), CLIENTS, "each has a folder of its own");

    // The neighbour has started, worked and stops: the folder of the first node is still there, and nothing else.
    drop(neighbour);
    assert_eq!(setup.staged(), [call.header("NVCF-REQID").unwrap()]);
    setup.node.process.kill();
    assert_eq!(setup.staged().len(), 1, "killed, it left its folder");
    let file = settings.path().join("settings.toml");
    let root = setup.staging();
    let next = TestNode::start_with(|options| {
        options.argument("--config").argument(file).argument("--asset-root").argument(root)
    });
    assert_eq!(setup.staged(), Vec::<String>::new(), "{}", next.process.log());
    assert!(held.receive(assetmesh_tests::Method::Post).is_err());
    call.wait_closed().unwrap();
}
