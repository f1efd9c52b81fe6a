//! A node that is killed while uploads run: what it has acknowledged is there and whole, and nothing else takes room.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use assetmesh_tests::{Api, Content, Method, NodeOptions, Random, Request, binary};
use serde_json::json;
use tempfile::TempDir;

use super::account::{ASSETS, Account, Created, put, token};

const ROUNDS: u64 = 6;
const CLIENTS: u64 = 4;

/// What clients were told.
#[derive(Debug, Default)]
struct Told {
    stored: BTreeSet<String>,
    deleted: BTreeSet<String>,
    /// Deletes whose answer did not come.
    unsure: BTreeSet<String>,
}

/// Creates, uploads and deletes until the node is gone.
fn client(address: SocketAddr, token: &str, mut random: Random, told: &Mutex<Told>) -> Option<()> {
    let mut api = Api::new(address);
    let bearer = format!("Bearer {token}");
    let mut own = Vec::new();
    loop {
        let body = json!({"contentType": "image/png", "description": "red-cat-photo"});
        let create = Request::json(Method::Post, ASSETS, &body).with_header("Authorization", &bearer);
        let created = Created::from(&api.call(&create).ok()?);
        let size = *random.pick(&[10, 16_384, 16_385, 400_000, 1_500_000]);
        // A part of them has the bytes of another.
        let content = Content { seed: random.within(0..20), size };
        let answer = api.call(&put(&created.target, &content.bytes())).ok()?;
        assert_eq!(answer.status, 200, "{}", answer.text());
        told.lock().unwrap().stored.insert(created.id.clone());
        own.push(created.id);
        if random.chance(30) {
            let id = own.swap_remove(random.below(own.len()));
            told.lock().unwrap().unsure.insert(id.clone());
            let delete = Request::new(Method::Delete, format!("{ASSETS}/{id}"));
            let answer = api.call(&delete.with_header("Authorization", &bearer)).ok()?;
            assert_eq!(answer.status, 204, "{}", answer.text());
            told.lock().unwrap().deleted.insert(id);
        }
    }
}

fn verify(data_dir: &Path) {
    let verified =
        Command::new(binary()).args(["verify", "--all", "--data-dir"]).arg(data_dir).output().unwrap();
    let text = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{text} {}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn acknowledged_uploads_survive_kill_9_and_nothing_else_stays() {
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let options = NodeOptions::new(&data_dir);
    let told = Mutex::new(Told::default());
    let mut random = Random::seeded(9);
    for _ in 0..ROUNDS {
        let mut node = options.start().unwrap_or_else(|error| panic!("{error}"));
        let bearer = token(&data_dir, "acme", "invoke_function");
        let address = node.address();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                let random = random.fork();
                let (bearer, told) = (&bearer, &told);
                scope.spawn(move || client(address, bearer, random, told));
            }
            thread::park_timeout(Duration::from_millis(random.within(150..900)));
            node.kill();
        });
        verify(&data_dir);
        let node = options.start().unwrap_or_else(|error| panic!("{error}"));
        let listed: BTreeSet<String> = Account::at(&node, &data_dir, "acme").ids().into_iter().collect();
        let told = told.lock().unwrap();
        let lost: Vec<_> =
            told.stored.iter().filter(|id| !listed.contains(*id) && !told.unsure.contains(*id)).collect();
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
        let back: Vec<_> = told.deleted.intersection(&listed).collect();
        assert!(back.is_empty(), "deleted and there again: {back:?}");
    }
    assert!(told.lock().unwrap().stored.len() > 20, "hardly anything was tried");
    let node = options.start().unwrap_or_else(|error| panic!("{error}"));
    let mut acme = Account::at(&node, &data_dir, "acme");
    for id in acme.ids() {
        assert_eq!(acme.delete(&id).status, 204);
    }
    let freed = assetmesh_tests::wait_until(Duration::from_secs(20), || {
        let facts = acme.api.node().unwrap();
        (facts["blobs"] == 0 && facts["bytes"] == 0).then_some(())
    });
    assert!(freed.is_some(), "orphans stay: {}", acme.api.node().unwrap());
}
