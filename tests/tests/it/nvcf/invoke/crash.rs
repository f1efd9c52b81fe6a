//! A node that is killed at any point of an invocation: nothing stays staged, no asset is lost, and each client is told or
//! sees its connection end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use assetmesh_tests::{Api, Container, Method, NodeOptions, Random, Request};
use tempfile::TempDir;

use super::super::account::Account;
use super::setup::{FUNCTION, names, settings};

const ROUNDS: u32 = 6;
const CLIENTS: usize = 6;

/// Each call ends: with an answer, or with an error of the connection. Gives the number of answers.
fn invoke_until_cut(mut api: Api, request: &Request) -> u32 {
    let mut answered = 0;
    while let Ok(answer) = api.call(request) {
        assert_eq!(answer.status, 200, "{}", answer.text());
        answered += 1;
    }
    answered
}

#[test]
fn killed_at_any_point_it_leaves_no_folder_and_loses_no_asset() {
    let address = Container::of_hashes().unwrap();
    let settings = settings(&format!("http://{address}/"), "");
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let file = settings.path().join("settings.toml");
    let options = NodeOptions::new(&data_dir).argument("--config").argument(file);
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 7) as u8).collect();
    let mut random = Random::seeded(11);
    let (answered, cut) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut ids = Vec::new();
    for _ in 0..ROUNDS {
        let mut node = options.start().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(names(&data_dir.join("staging")), Vec::<String>::new());
        let mut acme = Account::at(&node, &data_dir, "acme");
        assert_eq!(acme.ids().len(), ids.len(), "an asset was lost");
        ids.push(acme.store(&content).id);
        let request = Request::new(Method::Post, format!("/v2/nvcf/pexec/functions/{FUNCTION}"))
            .with_header("NVCF-INPUT-ASSET-REFERENCES", &ids.join(","))
            .with_bearer(&acme.token);
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let (api, request, answered, cut) = (node.api(), &request, &answered, &cut);
                scope.spawn(move || {
                    answered.fetch_add(invoke_until_cut(api, request), Ordering::Relaxed);
                    cut.fetch_add(1, Ordering::Relaxed);
                });
            }
            thread::park_timeout(Duration::from_millis(random.within(20..400)));
            node.kill();
        });
    }
    let node = options.start().unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(names(&data_dir.join("staging")), Vec::<String>::new());
    let mut acme = Account::at(&node, &data_dir, "acme");
    assert_eq!(acme.ids().len(), ids.len());
    assert_eq!(cut.into_inner(), ROUNDS * CLIENTS as u32);
    assert!(answered.into_inner() > 0, "no invocation ever ended");
}
