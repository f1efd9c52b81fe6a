//! Changes that go to the owner of an asset: what a client was told of one is what became of it, also when the owner
//! stopped in the middle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use assetmesh_tests::{Cluster, Response, description_of, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const CLIENTS: usize = 12;
/// More than any client changes before the owner stops.
const ASSETS_EACH: usize = 200;
/// Changes that are made before the owner stops.
const MADE_BEFORE: usize = 60;

/// What a client was told of its change of one asset.
struct Told {
    name: String,
    is_delete: bool,
    status: u16,
    code: String,
}

fn code(response: &Response) -> String {
    let answer = response.json().unwrap_or_default();
    answer["code"].as_str().unwrap_or_default().to_owned()
}

fn signal(cluster: &Cluster, at: usize, signal: Signal) {
    let id = cluster.node(at).id().try_into().unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

/// One change each of one asset after another, until one fails. A node that has too much to hand on says so at once.
fn change_until_refused(cluster: &Cluster, client: usize, made: &AtomicUsize) -> Vec<Told> {
    let mut api = cluster.api(1);
    let mut told = Vec::new();
    for number in 0..ASSETS_EACH {
        let name = format!("{client}-{number}");
        let uri = format!("{name}:1-t");
        let is_delete = number % 2 == 1;
        let response = if is_delete {
            api.delete(&uri).unwrap()
        } else {
            api.update(&uri, &json!({"asset_tags": ["changed"]})).unwrap()
        };
        made.fetch_add(1, Ordering::Relaxed);
        let code = code(&response);
        let goes_on = response.status == 200 || code == "busy";
        told.push(Told { name, is_delete, status: response.status, code });
        if !goes_on {
            break;
        }
    }
    told
}

/// Whether the change of an asset is there, as its owner says.
fn is_changed(asset: Option<&Value>, is_delete: bool) -> bool {
    match asset {
        None => true,
        Some(asset) => !is_delete && asset["asset_tags"] == json!(["changed"]),
    }
}

#[test]
fn an_owner_that_is_stopped_among_changes_makes_none_that_were_given_up() {
    let cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let mut owner = cluster.api(0);
    for client in 0..CLIENTS {
        for number in 0..ASSETS_EACH {
            let created = owner.create(&description_of(&format!("{client}-{number}"), &json!({}))).unwrap();
            assert_eq!(created.status, 201, "{}", created.text());
        }
    }
    let made = AtomicUsize::new(0);
    let told: Vec<Told> = thread::scope(|scope| {
        let change = |client| {
            scope.spawn({
                let (cluster, made) = (&cluster, &made);
                move || change_until_refused(cluster, client, made)
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(change).collect();
        let begun = wait_until(SOON, || (made.load(Ordering::Relaxed) >= MADE_BEFORE).then_some(()));
        signal(&cluster, 0, Signal::STOP);
        assert!(begun.is_some(), "too few changes were made");
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    signal(&cluster, 0, Signal::CONT);
    cluster.wait_alive(SOON).unwrap();
    let rows = owner.query_all(&json!({})).unwrap();
    let mut unreachable = 0;
    for told in &told {
        let asset = rows.iter().find(|row| row["asset_name"] == json!(told.name));
        let is_changed = is_changed(asset, told.is_delete);
        match (told.status, told.code.as_str()) {
            (200, _) => assert!(is_changed, "{} was acknowledged and is not there", told.name),
            (503, "owner_unreachable") => {
                assert!(!is_changed, "{} was made behind its client's back", told.name);
                unreachable += 1;
            }
            (503, "busy") => assert!(!is_changed, "{} was called too much and is there", told.name),
            (504, "unconfirmed") => {}
            (status, code) => panic!("{}: {status} {code}", told.name),
        }
    }
    assert!(unreachable > 0, "no change was refused");
}
