//! Bytes as they are served: whole, in parts, conditionally, and in bounded memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use assetmesh_tests::{
    Api, Connection, Content, Method, Random, Request, Response, description_of, multipart,
};
use serde_json::json;

use crate::it::support::{TestNode, assert_failure, data_of};

const GROUP: usize = 16 * 1024;
const CHUNK: usize = 63 * GROUP;

/// Stores some content and returns its id.
fn store(api: &mut Api, name: &str, content: Content) -> String {
    let answer = api.upload(&description_of(name, &json!({})), &content.bytes()).unwrap();
    let data = data_of(201, &answer);
    assert_eq!(data["asset_id"], json!(content.id()));
    content.id()
}

fn part(api: &mut Api, id: &str, range: &str) -> Response {
    api.call(&Request::get(format!("/asset-object/{id}")).with_header("Range", range)).unwrap()
}

#[test]
fn every_size_comes_back_as_it_went_in() {
    let node = TestNode::start();
    let mut api = node.api();
    let sizes = [0, 1, GROUP - 1, GROUP, GROUP + 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5];
    let mut total = 0;
    for (number, size) in sizes.into_iter().enumerate() {
        let content = Content { seed: 1 + number as u64, size };
        let id = store(&mut api, &format!("size-{size}"), content);
        let response = api.object(&id).unwrap();
        assert_eq!(response.status, 200);
        assert!(response.body == content.bytes(), "wrong bytes of {content:?}");
        assert_eq!(response.header("content-length"), Some(size.to_string().as_str()));
        total += size as u64;
    }
    node.assert_holds(sizes.len() as u64, sizes.len() as u64, total);
}

#[test]
fn equal_bytes_are_stored_once_and_go_with_the_last_asset() {
    let node = TestNode::start();
    let mut api = node.api();
    let content = Content { seed: 1, size: CHUNK + 7 };
    let id = store(&mut api, "one", content);
    store(&mut api, "two", content);
    node.assert_holds(2, 1, content.size as u64);
    assert_eq!(api.delete("one:1-t").unwrap().status, 200);
    assert!(api.object(&id).unwrap().body == content.bytes());
    assert_eq!(api.delete("two:1-t").unwrap().status, 200);
    assert_eq!(api.object(&id).unwrap().status, 404);
    node.assert_holds(0, 0, 0);
}

#[test]
fn a_range_is_cut_out_exactly() {
    let node = TestNode::start();
    let mut api = node.api();
    let content = Content { seed: 2, size: 2 * CHUNK + 100 };
    let (id, bytes) = (store(&mut api, "ranges", content), content.bytes());
    let size = bytes.len();
    let mut random = Random::seeded(5);
    let mut ranges = vec![(0, 0), (0, size - 1), (size - 1, size - 1), (CHUNK - 1, CHUNK)];
    ranges.extend((0..40).map(|_| {
        let first = random.below(size);
        (first, first + random.below(size - first))
    }));
    for (first, last) in ranges {
        let response = part(&mut api, &id, &format!("bytes={first}-{last}"));
        assert_eq!(response.status, 206, "{first}-{last}");
        assert!(response.body == bytes[first..=last], "wrong bytes in {first}-{last}");
        let range = format!("bytes {first}-{last}/{size}");
        assert_eq!(response.header("content-range"), Some(range.as_str()));
    }
    assert!(part(&mut api, &id, "bytes=100-").body == bytes[100..]);
    assert!(part(&mut api, &id, "bytes=-3").body == bytes[size - 3..]);
    assert!(part(&mut api, &id, &format!("bytes=-{}", size + 9)).body == bytes);
    assert!(part(&mut api, &id, &format!("bytes=7-{}", u64::MAX)).body == bytes[7..]);
}

#[test]
fn a_bad_range_is_refused_or_ignored_and_never_guessed() {
    let node = TestNode::start();
    let mut api = node.api();
    let content = Content { seed: 3, size: 1000 };
    let id = store(&mut api, "ranges", content);
    for range in ["bytes=1000-", "bytes=5000-6000", "bytes=-0"] {
        let response = part(&mut api, &id, range);
        assert_eq!(response.status, 416, "{range}");
        assert_eq!(response.header("content-range"), Some("bytes */1000"), "{range}");
        assert_failure(range, &response);
    }
    let many = format!("bytes={}", (0..10_000).map(|n| format!("{n}-{n},")).collect::<String>());
    for range in ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=", "bytes=0-0,2-3", "bytes=--1", &many] {
        let response = part(&mut api, &id, range);
        match response.status {
            200 => assert!(response.body == content.bytes(), "{range}"),
            400 | 416 | 431 => {}
            status => panic!("{range}: {status}"),
        }
    }
    let empty = store(&mut api, "empty", Content { seed: 1, size: 0 });
    assert_eq!(part(&mut api, &empty, "bytes=0-0").status, 416);
}

#[test]
fn headers_keep_browsers_from_running_what_they_get() {
    let node = TestNode::start();
    let mut api = node.api();
    let parts: [(&str, &[u8]); 2] = [
        ("name=\"asset\"; filename=\"page.html\"\r\nContent-Type: text/html", b"<script>"),
        (
            "name=\"asset_metadata\"",
            b"{\"asset_name\":\"page\",\"asset_version\":{\"version\":\"1\",\"tag\":\"t\"}}",
        ),
    ];
    let upload = Request::new(Method::Post, "/upload_asset")
        .with_header("Content-Type", multipart::CONTENT_TYPE)
        .with_body(multipart::body(&parts));
    let id = data_of(201, &api.call(&upload).unwrap())["asset_id"].as_str().unwrap().to_owned();
    let get = Request::get(format!("/asset-object/{id}")).with_header("Accept-Encoding", "gzip, br");
    let response = api.call(&get).unwrap();
    let etag = format!("\"{id}\"");
    for (name, value) in [
        ("content-type", "text/html"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("etag", &etag),
        ("accept-ranges", "bytes"),
        ("x-assetmesh-source", "local"),
    ] {
        let given = response.header(name).unwrap_or_default();
        assert!(given.contains(value), "{name}: {given}");
    }
    assert!(response.header("cache-control").unwrap().contains("immutable"));
    assert!(response.header("content-disposition").unwrap().starts_with("attachment"));
    assert_eq!(response.header("content-encoding"), None);
    let head = api.call(&Request::new(Method::Head, format!("/asset-object/{id}"))).unwrap();
    for name in ["content-length", "content-type", "etag", "content-disposition"] {
        assert_eq!(head.header(name), response.header(name), "{name}");
    }
}

#[test]
fn conditions_are_answered_by_the_etag() {
    let node = TestNode::start();
    let mut api = node.api();
    let content = Content { seed: 4, size: 5000 };
    let id = store(&mut api, "conditions", content);
    let get = |headers: &[(&str, &str)]| {
        let request = Request::get(format!("/asset-object/{id}"));
        headers.iter().fold(request, |request, (name, value)| request.with_header(name, value))
    };
    let etag = format!("\"{id}\"");
    let weak = format!("W/{etag}, \"x\"");
    for (headers, status) in [
        (vec![("If-None-Match", etag.as_str())], 304),
        (vec![("If-None-Match", "*")], 304),
        (vec![("If-None-Match", weak.as_str())], 304),
        (vec![("If-None-Match", "\"other\"")], 200),
        (vec![("Range", "bytes=0-9"), ("If-Range", etag.as_str())], 206),
        (vec![("Range", "bytes=0-9"), ("If-Range", "\"other\"")], 200),
    ] {
        let response = api.call(&get(&headers)).unwrap();
        assert_eq!(response.status, status, "{headers:?}");
        assert_eq!(response.header("etag"), Some(etag.as_str()), "{headers:?}");
    }
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let node = TestNode::start();
    let content = Content { seed: 5, size: 20 * CHUNK };
    let id = store(&mut node.api(), "resumed", content);
    let mut stream = TcpStream::connect(node.process.address()).unwrap();
    write!(stream, "GET /asset-object/{id} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
    let mut begun = vec![0; CHUNK + 4711];
    stream.read_exact(&mut begun).unwrap();
    drop(stream);
    let body = begun.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let mut bytes = begun.split_off(body);
    let rest = Request::get(format!("/asset-object/{id}"))
        .with_header("Range", &format!("bytes={}-", bytes.len()))
        .with_header("If-Range", &format!("\"{id}\""));
    let response = node.api().call(&rest).unwrap();
    assert_eq!(response.status, 206);
    bytes.extend_from_slice(&response.body);
    assert!(bytes == content.bytes());
}

#[test]
fn large_transfers_take_little_memory_and_the_last_byte_comes_at_once() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 256;
    const ALLOWED_BYTES: u64 = 64 << 20;
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    let mut blocks = (0..).map(|seed| Content { seed, size: BLOCK }.bytes());
    let description = description_of("large", &json!({})).to_string();
    let parts: [(&str, &[u8]); 2] =
        [("name=\"asset_metadata\"", description.as_bytes()), ("name=\"asset\"; filename=\"large\"", b"")];
    let head = multipart::unfinished(&parts);
    let head = &head[..head.len() - 2];
    let tail = format!("\r\n--{}--\r\n", multipart::BOUNDARY);
    let length = head.len() + BLOCK * BLOCKS + tail.len();
    let request = Request::new(Method::Post, "/upload_asset")
        .with_header("Content-Type", multipart::CONTENT_TYPE)
        .with_header("Content-Length", &length.to_string());
    let mut connection = Connection::open(node.process.address()).unwrap();
    connection.send_raw(&[&request.head(), head].concat()).unwrap();
    let mut hasher = blake3::Hasher::new();
    let mut last = 0;
    for block in blocks.by_ref().take(BLOCKS) {
        hasher.update(&block);
        last = block[BLOCK - 1];
        connection.send_raw(&block).unwrap();
    }
    connection.send_raw(tail.as_bytes()).unwrap();
    let id = hasher.finalize().to_hex().to_string();
    assert_eq!(data_of(201, &connection.receive(Method::Post).unwrap())["asset_id"], json!(id));
    let grown = node.process.resident_bytes_peak().unwrap().saturating_sub(idle);
    assert!(grown <= ALLOWED_BYTES, "an upload took {} MiB", grown >> 20);
    let mut api = node.api();
    let before = node.process.processor_time().unwrap();
    assert_eq!(part(&mut api, &id, "bytes=-1").body, [last]);
    let used = node.process.processor_time().unwrap() - before;
    assert!(used.as_millis() <= 100, "the last byte took {used:?}");
    let whole = api.object(&id).unwrap();
    assert_eq!(blake3::hash(&whole.body).to_hex().to_string(), id);
    let grown = node.process.resident_bytes_peak().unwrap().saturating_sub(idle);
    assert!(grown <= ALLOWED_BYTES, "a download took {} MiB", grown >> 20);
}

#[test]
fn a_slow_reader_does_not_hold_the_bytes_in_memory() {
    let node = TestNode::start();
    let content = Content { seed: 6, size: 60 * CHUNK };
    let id = store(&mut node.api(), "slow", content);
    let before = node.process.resident_bytes().unwrap();
    let readers: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(node.process.address()).unwrap();
            write!(stream, "GET /asset-object/{id} HTTP/1.1\r\nHost: node\r\n\r\n").unwrap();
            let mut first = [0; 1];
            stream.read_exact(&mut first).unwrap();
            stream
        })
        .collect();
    let grown = node.process.resident_bytes().unwrap().saturating_sub(before);
    assert!(grown <= 128 << 20, "16 readers that do not read hold {} MiB", grown >> 20);
    // Others are served meanwhile.
    assert_eq!(part(&mut node.api(), &id, "bytes=0-0").status, 206);
    drop(readers);
}
