//! What a node keeps of others: where content comes from the second time, what is fetched again and what is not, and
//! that damage is mended with it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use assetmesh_tests::{Api, Cluster, Content, Method, Request, Response, binary, description_of, wait_until};
use serde_json::{Value, json};

use super::support::{flip, metric};

const SOON: Duration = Duration::from_secs(30);
const GROUP: u64 = 16 << 10;

fn upload(api: &mut Api, content: Content) -> String {
    let name = format!("asset {}", content.seed);
    let answer = api.upload(&description_of(&name, &json!({})), &content.bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    content.id()
}

fn call(api: &mut Api, method: Method, id: &str, range: Option<&str>) -> Response {
    let request = Request::new(method, format!("/asset-object/{id}"));
    let request = match range {
        Some(range) => request.with_header("Range", range),
        None => request,
    };
    api.call(&request).unwrap()
}

fn source(response: &Response) -> &str {
    response.header("x-assetmesh-source").unwrap_or("none")
}

/// Fetches all, which must be right, and says where it came from.
fn get(api: &mut Api, content: Content) -> String {
    let answer = call(api, Method::Get, &content.id(), None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.body == content.bytes(), "{content:?}");
    source(&answer).to_owned()
}

/// Waits until all of it is kept. A client that is served fast waits half a second for that at most.
fn wait_whole(api: &mut Api, content: Content) {
    let id = content.id();
    let whole = wait_until(SOON, || (source(&call(api, Method::Head, &id, None)) == "cache").then_some(()));
    assert!(whole.is_some(), "{content:?} is not kept");
}

fn cached_bytes(api: &mut Api) -> u64 {
    api.node().unwrap()["cached_bytes"].as_u64().unwrap()
}

fn peer(cluster: &Cluster, at: usize) -> String {
    format!("peer:{}", cluster.id(at).unwrap())
}

#[test]
fn the_second_time_content_comes_from_the_cache_and_others_have_it_from_there() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let contents = [7, GROUP as usize, 5_000_001].map(|size| Content { seed: size as u64, size });
    let ids = contents.map(|content| upload(&mut cluster.api(0), content));
    let mut near = cluster.api(1);
    let from = peer(&cluster, 0);
    for (content, id) in contents.into_iter().zip(&ids) {
        let [first, head] =
            [Method::Get, Method::Head].map(|method| call(&mut cluster.api(0), method, id, None));
        assert_eq!((source(&first), source(&head)), ("local", "local"));
        assert_eq!(source(&call(&mut near, Method::Head, id, None)), from);
        assert_eq!(get(&mut near, content), from);
        wait_whole(&mut near, content);
        assert_eq!(get(&mut near, content), "cache");
        for (method, range) in
            [(Method::Head, None), (Method::Get, Some("bytes=1-5")), (Method::Get, Some("bytes=-1"))]
        {
            let (here, there) =
                (call(&mut near, method, id, range), call(&mut cluster.api(0), method, id, range));
            assert_eq!(source(&here), "cache");
            assert!((here.status, &here.body) == (there.status, &there.body), "{method:?} {range:?}");
            for name in ["content-length", "content-type", "content-disposition", "content-range", "etag"] {
                assert_eq!(here.header(name), there.header(name), "{name} of {method:?} {range:?}");
            }
        }
    }
    let sum: u64 = contents.iter().map(|content| content.size as u64).sum();
    let node = near.node().unwrap();
    assert_eq!((&node["blobs"], &node["bytes"], &node["assets"]), (&json!(0), &json!(0), &json!(0)));
    assert_eq!(node["cached_bytes"], json!(sum));
    assert_eq!(metric(&mut near, "fetch_bytes_in_total"), sum);
    cluster.kill(0);
    let cache = peer(&cluster, 1);
    for content in contents {
        assert_eq!(get(&mut near, content), "cache");
        assert_eq!(get(&mut cluster.api(2), content), cache);
    }
}

#[test]
fn a_range_brings_no_more_than_its_groups_and_what_came_is_kept() {
    let cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 2, size: 3_000_000 };
    let id = upload(&mut cluster.api(0), content);
    let mut api = cluster.api(1);
    for (range, came, from) in [
        ("bytes=0-9", GROUP, peer(&cluster, 0)),
        ("bytes=5-100", GROUP, "cache".to_owned()),
        ("bytes=1000000-1000009", 2 * GROUP, peer(&cluster, 0)),
        ("bytes=999999-1000000", 2 * GROUP, "cache".to_owned()),
        ("bytes=-1", 2 * GROUP + content.size as u64 % GROUP, peer(&cluster, 0)),
    ] {
        let answer = call(&mut api, Method::Get, &id, Some(range));
        let expected = call(&mut cluster.api(0), Method::Get, &id, Some(range));
        assert!(answer.status == 206 && answer.body == expected.body, "{range}");
        assert_eq!(source(&answer), from, "{range}");
        assert_eq!(metric(&mut api, "fetch_bytes_in_total"), came, "{range}");
        let kept = wait_until(SOON, || (cached_bytes(&mut api) == came).then_some(()));
        assert!(kept.is_some(), "{range}: {} and not {came} bytes are kept", cached_bytes(&mut api));
    }
    assert_eq!(get(&mut api, content), peer(&cluster, 0));
    assert_eq!(metric(&mut api, "fetch_bytes_in_total"), content.size as u64, "nothing comes twice");
    wait_whole(&mut api, content);
    assert_eq!(get(&mut api, content), "cache");
}

#[test]
fn what_had_come_when_the_node_was_killed_is_not_fetched_again() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 3, size: 90_000_000 };
    let id = upload(&mut cluster.api(0), content);
    let mut stream = TcpStream::connect(cluster.node(1).address()).unwrap();
    write!(stream, "GET /asset-object/{id} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; 1_000_000]).unwrap();
    // The client takes no more; what fits into memory comes and is made durable.
    let mut api = cluster.api(1);
    let is_kept = wait_until(SOON, || {
        let is_much = cached_bytes(&mut api) > 16_000_000;
        (is_much && metric(&mut api, "cache_unsynced_bytes") == 0).then_some(())
    });
    assert!(is_kept.is_some(), "{} bytes are kept", cached_bytes(&mut api));
    cluster.kill(1);
    cluster.restart(1).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let mut api = cluster.api(1);
    let kept = cached_bytes(&mut api);
    assert!((16_000_000..content.size as u64).contains(&kept), "{kept} bytes were kept");
    assert_eq!(get(&mut api, content), peer(&cluster, 0));
    assert_eq!(metric(&mut api, "fetch_bytes_in_total"), content.size as u64 - kept);
    wait_whole(&mut api, content);
    assert_eq!(get(&mut api, content), "cache");
}

#[test]
fn the_least_recently_used_makes_way_in_a_small_cache() {
    let cluster = Cluster::start_with(2, &["--cache-max", "8MiB"]).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let contents = [11, 12, 13, 14].map(|seed| Content { seed, size: 2_500_000 });
    for content in contents {
        upload(&mut cluster.api(0), content);
    }
    let large = Content { seed: 15, size: 9_000_000 };
    upload(&mut cluster.api(0), large);
    let mut api = cluster.api(1);
    let from = peer(&cluster, 0);
    let mut gets = |which: usize| {
        let source = get(&mut api, contents[which]);
        wait_whole(&mut api, contents[which]);
        source
    };
    assert_eq!([gets(0), gets(1), gets(0), gets(2), gets(0)], [&from, &from, "cache", &from, "cache"]);
    assert_eq!(gets(3), from);
    assert_eq!([gets(0), gets(3)], ["cache", "cache"]);
    assert_eq!(gets(1), from, "it was used before all others");
    let before = cached_bytes(&mut api);
    assert!(before <= 8 << 20);
    assert_eq!([get(&mut api, large), get(&mut api, large)], [&*from, &*from], "larger than the cache");
    assert_eq!(cached_bytes(&mut api), before, "it pushed nothing out");
}

#[test]
fn a_node_without_a_cache_keeps_nothing() {
    let cluster = Cluster::start_with(2, &["--cache-max", "0"]).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 4, size: 300_000 };
    upload(&mut cluster.api(0), content);
    let mut api = cluster.api(1);
    // Content that a transfer has brought a moment ago is still shared in memory.
    for _ in 0..2 {
        assert_eq!(get(&mut api, content), peer(&cluster, 0));
    }
    assert_eq!(cached_bytes(&mut api), 0);
}

#[test]
fn damage_is_mended_with_what_another_node_keeps() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 5, size: 5_000_000 };
    let id = upload(&mut cluster.api(0), content);
    get(&mut cluster.api(1), content);
    wait_whole(&mut cluster.api(1), content);
    cluster.stop(0).unwrap();
    // One alone, two next to each other, and the last group.
    flip(&cluster, 0, content, &[100, 2_000_000, 2_020_000, 4_990_000]);
    cluster.restart(0).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let mut api = cluster.api(0);
    assert_eq!(get(&mut api, content), "local");
    let mended = metric(&mut api, "blob_groups_mended_total");
    assert!((4..=6).contains(&mended), "{mended} groups");
    let came = metric(&mut api, "fetch_bytes_in_total");
    assert!(came <= 6 * GROUP, "{came} bytes came for four damaged groups");
    let met = metric(&mut api, "blob_damaged_reads_total");
    let range = call(&mut api, Method::Get, &id, Some("bytes=1999990-2030000"));
    assert!(range.body == content.bytes()[1_999_990..=2_030_000]);
    cluster.kill(1);
    assert_eq!(get(&mut api, content), "local");
    assert_eq!(metric(&mut api, "blob_damaged_reads_total"), met, "it was written over");
    cluster.kill(0);
    cluster.restart(0).unwrap();
    assert_eq!(get(&mut cluster.api(0), content), "local");
}

#[test]
fn damage_in_what_is_kept_is_fetched_again() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 6, size: 4_000_000 };
    let id = upload(&mut cluster.api(0), content);
    get(&mut cluster.api(1), content);
    wait_whole(&mut cluster.api(1), content);
    cluster.stop(1).unwrap();
    flip(&cluster, 1, content, &[2_500_000]);
    cluster.restart(1).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let mut api = cluster.api(1);
    assert_eq!(get(&mut api, content), "cache");
    assert!(metric(&mut api, "fetch_bytes_in_total") > 0);
    let whole = wait_until(SOON, || {
        get(&mut api, content);
        (cached_bytes(&mut api) == content.size as u64).then_some(())
    });
    assert!(whole.is_some(), "{} bytes are kept", cached_bytes(&mut api));
    let met = metric(&mut api, "blob_damaged_reads_total");
    cluster.kill(0);
    assert_eq!(source(&call(&mut api, Method::Get, &id, None)), "cache");
    assert_eq!(metric(&mut api, "blob_damaged_reads_total"), met);
}

#[test]
fn damage_that_nobody_can_mend_is_no_clean_answer() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 7, size: 1_000_000 };
    let id = upload(&mut cluster.api(0), content);
    cluster.stop(0).unwrap();
    flip(&cluster, 0, content, &[100]);
    cluster.restart(0).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let mut api = cluster.api(0);
    let answer = call(&mut api, Method::Get, &id, None);
    assert_eq!(answer.status, 500, "{}", answer.text());
    // The same content uploaded elsewhere is as good as a backup.
    upload(&mut cluster.api(1), content);
    assert_eq!(get(&mut api, content), "local");
}

/// Runs `assetmesh verify` against a running node.
fn verify(cluster: &Cluster, at: usize) -> (Option<i32>, String) {
    let url = format!("http://{}", cluster.node(at).address());
    let mut command = Command::new(binary());
    let output = command.args(["verify", "--json", "--retries", "0", "--node", &url]).output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_running_node_mends_all_that_others_hold_and_names_what_nobody_does() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let sound = Content { seed: 20, size: 200_000 };
    // Its chunk shares a page with a checksum: two flipped bits make all of it unreadable.
    let unreadable = Content { seed: 21, size: 60_000 };
    let flipped = Content { seed: 22, size: 3_000_000 };
    let lost = Content { seed: 23, size: 400_000 };
    for content in [sound, unreadable, flipped, lost] {
        upload(&mut cluster.api(0), content);
    }
    for (node, content) in [(1, unreadable), (2, flipped)] {
        get(&mut cluster.api(node), content);
        wait_whole(&mut cluster.api(node), content);
    }
    assert_eq!(verify(&cluster, 0), (Some(0), String::new()));
    cluster.stop(0).unwrap();
    flip(&cluster, 0, unreadable, &[100, 40_000]);
    flip(&cluster, 0, flipped, &[5, 1_500_000]);
    flip(&cluster, 0, lost, &[300_000]);
    cluster.restart(0).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let (code, told) = verify(&cluster, 0);
    assert_eq!(code, Some(6), "{told}");
    let findings: BTreeMap<String, Value> = told
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|finding| (finding["asset_id"].as_str().unwrap().to_owned(), finding))
        .collect();
    assert_eq!(findings.len(), 3, "{told}");
    for (content, holder) in [(unreadable, 1), (flipped, 2)] {
        let finding = &findings[&content.id()];
        assert_eq!(finding["state"], "mended", "{finding}");
        assert_eq!(finding["mended_from"], json!([cluster.id(holder).unwrap()]));
    }
    assert_eq!(findings[&flipped.id()]["mended_bytes"], json!(2 * GROUP));
    assert_eq!(findings[&lost.id()]["state"], "damaged");
    for node in [1, 2] {
        cluster.kill(node);
    }
    for content in [sound, unreadable, flipped] {
        assert_eq!(get(&mut cluster.api(0), content), "local");
    }
    let (code, told) = verify(&cluster, 0);
    assert_eq!((code, told.lines().count()), (Some(6), 1), "{told}");
    // Nobody helps a second node's client either.
    assert_eq!(call(&mut cluster.api(0), Method::Get, &lost.id(), None).status, 500);
    upload_again(&mut cluster.api(0), lost);
    assert_eq!(verify(&cluster, 0), (Some(0), String::new()));
}

/// The same content under another name takes the place of a damaged copy.
fn upload_again(api: &mut Api, content: Content) {
    let answer = api.upload(&description_of("again", &json!({})), &content.bytes()).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
}
