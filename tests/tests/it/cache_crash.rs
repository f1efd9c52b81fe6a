//! kill -9 while content of another node is kept, let go and used to mend: what the node has acknowledged stays, no byte
//! is wrong, and what is kept stays within its bound.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use assetmesh_tests::{Api, Cluster, Content, Method, Random, Request, binary, description_of, wait_until};
use serde_json::json;

use super::support::{flip, metric};

const SOON: Duration = Duration::from_secs(30);
const CACHE_BYTES: u64 = 8 << 20;
/// Of each upload: it fills its page of 64 KiB, so that uploads take in the file what they count for. The database
/// doubles the file when it is full and gives back half of what is free.
const OWN_BYTES: usize = 65_000;
const CYCLES: u64 = 8;

fn upload(api: &mut Api, content: Content) -> bool {
    let description = description_of(&format!("c{}", content.seed), &json!({}));
    api.upload(&description, &content.bytes()).is_ok_and(|answer| answer.status == 201)
}

/// Fetches all, which must be right if it comes at all.
fn get(api: &mut Api, content: Content) -> Option<String> {
    let answer = api.call(&Request::new(Method::Get, format!("/asset-object/{}", content.id()))).ok()?;
    if answer.status != 200 {
        return None;
    }
    assert!(answer.body == content.bytes(), "{content:?}");
    answer.header("x-assetmesh-source").map(str::to_owned)
}

/// Clients of node 1 fetch what node 0 holds, and upload to it, until it is killed. The uploads that were taken.
fn work_and_kill(cluster: &mut Cluster, far: &[Content], cycle: u64, random: &mut Random) -> Vec<Content> {
    let over = AtomicBool::new(false);
    let mut taken = Vec::new();
    let alive_for = Duration::from_millis(random.within(30..900));
    let choices: Vec<Random> = (0..3).map(|_| random.fork()).collect();
    let apis: Vec<Api> = (0..4).map(|_| cluster.api(1)).collect();
    thread::scope(|scope| {
        let mut apis = apis.into_iter();
        let uploading = apis.next().unwrap();
        let over = &over;
        for (mut api, mut random) in apis.zip(choices) {
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let content = far[random.within(0..far.len() as u64) as usize];
                    get(&mut api, content);
                }
            });
        }
        let uploads = scope.spawn(move || {
            let (mut api, mut taken) = (uploading, Vec::new());
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let content = Content { seed: 10_000 + cycle * 1000 + number, size: OWN_BYTES };
                if upload(&mut api, content) {
                    taken.push(content);
                }
            }
            taken
        });
        thread::sleep(alive_for);
        cluster.kill(1);
        over.store(true, Ordering::Relaxed);
        taken = uploads.join().unwrap();
    });
    taken
}

#[test]
fn kill_9_loses_no_upload_and_leaves_no_wrong_byte_and_no_more_than_the_bound() {
    let mut random = Random::seeded(29);
    let mut cluster = Cluster::start_with(2, &["--cache-max", "8MiB"]).unwrap();
    let far: Vec<Content> = (1..=9).map(|seed| Content { seed, size: 400_000 * seed as usize }).collect();
    let shared = Content { seed: 100, size: 2_000_000 };
    for content in &far {
        assert!(upload(&mut cluster.api(0), *content));
    }
    for node in [0, 1] {
        assert!(upload(&mut cluster.api(node), shared));
    }
    let mut own = vec![shared];
    for cycle in 0..CYCLES {
        cluster.wait_alive(SOON).unwrap();
        own.extend(work_and_kill(&mut cluster, &far, cycle, &mut random));
        flip(&cluster, 1, shared, &[random.within(0..1_900_000) as usize]);
        cluster.restart(1).unwrap();
        cluster.wait_alive(SOON).unwrap();
        // Again while what is damaged is being mended.
        let mut api = cluster.api(1);
        let mending = thread::spawn(move || get(&mut api, shared));
        thread::sleep(Duration::from_millis(random.within(0..80)));
        cluster.kill(1);
        mending.join().unwrap();
        cluster.restart(1).unwrap();
        cluster.wait_alive(SOON).unwrap();
        let mut api = cluster.api(1);
        let kept = api.node().unwrap()["cached_bytes"].as_u64().unwrap();
        assert!(kept <= CACHE_BYTES, "{kept} bytes are kept");
        for content in &own {
            assert_eq!(get(&mut api, *content).as_deref(), Some("local"), "{content:?} in cycle {cycle}");
        }
        for content in &far {
            assert!(get(&mut api, *content).is_some(), "node 0 holds {content:?}");
        }
    }
    let mut api = cluster.api(1);
    wait_until(SOON, || get(&mut api, far[0]).filter(|source| source == "cache")).expect("it is kept");
    wait_until(SOON, || (metric(&mut api, "cache_unsynced_bytes") == 0).then_some(())).unwrap();
    cluster.kill(1);
    cluster.restart(1).unwrap();
    assert_eq!(get(&mut cluster.api(1), far[0]).as_deref(), Some("cache"), "what was synced survives");
    assert!(own.len() > 10, "{} uploads were taken", own.len());
    // Twice: what is let go is cleared in the background, and by the next start if not before.
    cluster.stop(1).unwrap();
    cluster.restart(1).unwrap();
    cluster.stop(1).unwrap();
    let file = fs::metadata(cluster.data_dir(1).join("blobs.redb")).unwrap().len();
    let own_bytes: u64 = own.iter().map(|content| content.size as u64).sum();
    assert!(file < 2 * own_bytes + 4 * CACHE_BYTES, "{file} bytes for {own_bytes} of its own");
    let mut verify = std::process::Command::new(binary());
    let verify = verify.args(["verify", "--all", "--data-dir"]).arg(cluster.data_dir(1)).output().unwrap();
    let told =
        String::from_utf8_lossy(&verify.stdout).into_owned() + &String::from_utf8_lossy(&verify.stderr);
    assert!(verify.status.success(), "{told}");
}
