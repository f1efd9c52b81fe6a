//! Bytes that are hardly HTTP, and lengths that lie.

use assetmesh_tests::{Request, description_of, multipart};
use serde_json::json;

use super::{Case, assert_survived};
use crate::it::support::{TestNode, assert_failure};

#[test]
fn lengths_that_lie_do_no_harm() {
    let description = description_of("lie", &json!({})).to_string();
    let body = multipart::body(&[
        ("name=\"asset\"; filename=\"f\"", &[1; 5000]),
        ("name=\"asset_metadata\"", description.as_bytes()),
    ]);
    let lie = |headers: &str| {
        let head = format!(
            "POST /upload_asset HTTP/1.1\r\nHost: node\r\nContent-Type: {}\r\n{headers}\r\n\r\n",
            multipart::CONTENT_TYPE
        );
        [head.as_bytes(), &body].concat()
    };
    let length = body.len();
    let cases: Vec<Case> = [
        "Content-Length: 10".to_owned(),
        format!("Content-Length: {}", length - 5),
        format!("Content-Length: {}", length + 1000),
        "Content-Length: -1".to_owned(),
        "Content-Length: 18446744073709551616".to_owned(),
        "Content-Length: 9223372036854775807".to_owned(),
        "Content-Length: 0x10".to_owned(),
        "Content-Length: ".to_owned(),
        format!("Content-Length: {length}\r\nContent-Length: 10"),
        "Transfer-Encoding: chunked".to_owned(),
        "Transfer-Encoding: gzip, chunked".to_owned(),
        "Transfer-Encoding: nonsense".to_owned(),
    ]
    .iter()
    .map(|headers| Case::new(headers, lie(headers)))
    .collect();
    assert_survived(&cases);
}

#[test]
fn bytes_that_are_no_request_do_no_harm() {
    let head = |line: &str| format!("{line}\r\nHost: node\r\n\r\n").into_bytes();
    let many_headers: String = (0..2000).map(|n| format!("X-{n}: y\r\n")).collect();
    assert_survived(&[
        Case::new("nothing", ""),
        Case::new("noise", [0, 255, 1, 254, 13, 10, 13, 10]),
        Case::new("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice()),
        Case::new("http 0.9", "GET /\r\n"),
        Case::new("http 3.7", head("GET /nothing HTTP/3.7")),
        Case::new("method", head("G\u{e9}T /nothing HTTP/1.1")),
        Case::new("unknown method", head("BREW /health HTTP/1.1")),
        Case::new("long target", head(&format!("GET /{} HTTP/1.1", "x".repeat(1 << 20)))),
        Case::new("bad target", head("GET nothing HTTP/1.1")),
        Case::new("no colon", "GET /nothing HTTP/1.1\r\nHost node\r\n\r\n"),
        Case::new("long header", format!("GET /nothing HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(4 << 20))),
        Case::new("many headers", format!("GET /nothing HTTP/1.1\r\n{many_headers}\r\n")),
        Case::new(
            "bad chunk",
            "POST /asset HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        ),
        Case::new(
            "two kinds of length",
            "POST /nothing HTTP/1.1\r\nHost: node\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
    ]);
}

#[test]
fn traversal_in_targets_finds_nothing() {
    let node = TestNode::start();
    let mut api = node.api();
    for name in [
        "../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e%252fetc%252fpasswd",
        "..%5c..%5cx",
        "%00",
        "%ff%fe",
        "%c0%ae%c0%ae%2f",
        "/etc/passwd",
        "blobs.redb",
        "..",
        "%zz",
    ] {
        for target in [format!("/asset-object/{name}"), format!("/asset/{name}")] {
            let response = api.call(&Request::get(&target)).unwrap();
            assert!((400..500).contains(&response.status), "{target}: {}", response.status);
            assert_failure(&target, &response);
        }
    }
}

#[test]
fn a_request_id_is_kept_if_it_is_one() {
    let node = TestNode::start();
    let mut api = node.api();
    let id = |api: &mut assetmesh_tests::Api, given: &str| {
        let request = Request::get("/health").with_header("X-Request-ID", given);
        api.call(&request).unwrap().header("x-request-id").unwrap_or_default().to_owned()
    };
    assert_eq!(id(&mut api, "abc-123"), "abc-123");
    for bad in ["", &"x".repeat(5000), "a b", "<script>"] {
        let kept = id(&mut api, bad);
        assert!(!kept.is_empty() && kept.len() <= 200, "{bad:?} became {kept:?}");
    }
}
