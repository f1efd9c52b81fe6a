//! Content through a node that does not hold it: the same bytes and headers as from the one that does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use assetmesh_tests::{Api, Cluster, Content, Method, Request, Response, description_of, wait_until};
use serde_json::json;

use super::support::metric;

const SOON: Duration = Duration::from_secs(20);

fn upload(api: &mut Api, name: &str, content: Content) -> String {
    let answer = api.upload(&description_of(name, &json!({})), &content.bytes()).unwrap();
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

#[test]
fn any_node_gives_what_another_holds() {
    let cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 1, size: 20_000_000 };
    let id = upload(&mut cluster.api(0), "far", content);
    let (mut near, mut far) = (cluster.api(0), cluster.api(2));
    let size = content.size;
    let ranges =
        [None, Some("bytes=0-0"), Some("bytes=16383-16384"), Some("bytes=-7"), Some("bytes=9999999-")];
    for method in [Method::Get, Method::Head] {
        for range in ranges {
            let (here, there) = (call(&mut near, method, &id, range), call(&mut far, method, &id, range));
            assert_eq!(there.status, here.status, "{range:?}: {}", there.text());
            assert!(there.body == here.body, "{range:?}");
            for name in ["content-length", "content-type", "content-disposition", "content-range", "etag"] {
                assert_eq!(there.header(name), here.header(name), "{name} of {range:?}");
            }
        }
    }
    assert!(call(&mut far, Method::Get, &id, None).body == content.bytes());
    let outside = call(&mut far, Method::Get, &id, Some(&format!("bytes={size}-")));
    assert_eq!(outside.status, 416);
}

#[test]
fn what_no_node_holds_is_not_found_and_who_did_not_answer_is_named() {
    let mut cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let absent = Content { seed: 9, size: 9 }.id();
    let answer = call(&mut cluster.api(0), Method::Get, &absent, None);
    assert_eq!(answer.status, 404);
    let body = answer.json().unwrap();
    assert_eq!(body["message"], "File not found");
    assert_eq!(body["federation"]["complete"], true, "{body}");
    let lost = cluster.id(1).unwrap();
    cluster.kill(1);
    let mut api = cluster.api(0);
    let mut last = json!(null);
    let named = wait_until(SOON, || {
        last = call(&mut api, Method::Get, &absent, None).json().unwrap();
        (last["federation"]["missing"][0]["assets_db_id"] == json!(lost)).then_some(())
    });
    assert!(named.is_some() && last["federation"]["complete"] == false, "{last}");
}

#[test]
fn many_clients_of_one_absent_asset_share_one_transfer() {
    let cluster = Cluster::start(2).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 2, size: 4_000_000 };
    let id = upload(&mut cluster.api(0), "herd", content);
    let bytes = content.bytes();
    thread::scope(|scope| {
        for _ in 0..50 {
            let (mut api, id, bytes) = (cluster.api(1), &id, &bytes);
            scope.spawn(move || assert!(call(&mut api, Method::Get, id, None).body == *bytes));
        }
    });
    let mut api = cluster.api(1);
    assert_eq!(metric(&mut api, "fetch_transfers_total"), 1);
    assert_eq!(metric(&mut api, "fetch_bytes_in_total"), content.size as u64);
}

#[test]
fn a_download_goes_on_when_the_provider_is_killed_midway() {
    let mut cluster = Cluster::start(3).unwrap();
    cluster.wait_alive(SOON).unwrap();
    let content = Content { seed: 3, size: 120_000_000 };
    let id = upload(&mut cluster.api(0), "twice", content);
    upload(&mut cluster.api(1), "twice", content);
    let mut stream = TcpStream::connect(cluster.node(2).address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /asset-object/{id} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut got = vec![0; 1_000_000];
    stream.read_exact(&mut got).unwrap();
    let head = got.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    let text = String::from_utf8(got[..head].to_vec()).unwrap();
    let serving = (0..2).find(|at| text.contains(&cluster.id(*at).unwrap())).expect("the source is named");
    cluster.kill(serving);
    stream.read_to_end(&mut got).unwrap();
    assert!(got[head..] == content.bytes(), "{} bytes behind {text}", got.len() - head);
}
