//! Bad multipart bodies.

use std::fs;
use std::os::unix::fs::MetadataExt;

use assetmesh_tests::{Method, Request, description_of, multipart};
use serde_json::json;

use super::{Case, assert_refused, assert_survived_by, assert_unharmed};
use crate::it::support::{TestNode, data_of};

const FILE: &str = "name=\"asset\"; filename=\"f.bin\"";
const METADATA: &str = "name=\"asset_metadata\"";

fn description() -> Vec<u8> {
    description_of("bad", &json!({})).to_string().into_bytes()
}

fn request(body: Vec<u8>) -> Vec<u8> {
    let request = Request::new(Method::Post, "/upload_asset")
        .with_header("Content-Type", multipart::CONTENT_TYPE)
        .with_header("Content-Length", &body.len().to_string());
    [request.head(), body].concat()
}

fn parts(parts: &[(&str, &[u8])]) -> Vec<u8> {
    request(multipart::body(parts))
}

#[test]
fn missing_doubled_and_misnamed_parts_are_refused() {
    let content = vec![7; 100_000];
    let good = description();
    let huge = vec![b' '; 2 << 20];
    let long_head = format!("name=\"asset\"; filename=\"{}\"", "x".repeat(1 << 20));
    assert_refused(&[
        Case::new("nothing", parts(&[])),
        Case::new("no file", parts(&[(METADATA, &good)])),
        Case::new("no metadata", parts(&[(FILE, &content)])),
        Case::new("two files", parts(&[(FILE, &content), (FILE, b"x"), (METADATA, &good)])),
        Case::new("two files last", parts(&[(METADATA, &good), (FILE, &content), (FILE, b"x")])),
        Case::new("two metadata", parts(&[(FILE, b"x"), (METADATA, &good), (METADATA, &good)])),
        Case::new("file as text", parts(&[("name=\"asset\"", &content), (METADATA, &good)])),
        Case::new("no file name", parts(&[("name=\"asset\"; filename=\"\"", b""), (METADATA, &good)])),
        Case::new("other name", parts(&[("name=\"file\"; filename=\"f\"", b"x"), (METADATA, &good)])),
        Case::new("part without name", parts(&[("filename=\"f\"", b"x"), (METADATA, &good)])),
        Case::new("long part head", parts(&[(&long_head, b"x"), (METADATA, &good)])),
        Case::new("long metadata", parts(&[(FILE, b"x"), (METADATA, &huge)])),
        Case::new("empty metadata", parts(&[(FILE, &content), (METADATA, b"")])),
        Case::new("bad metadata first", parts(&[(METADATA, b"{"), (FILE, &content)])),
        Case::new("bad metadata last", parts(&[(FILE, &content), (METADATA, b"{\"asset_name\":")])),
        Case::new("metadata is a list", parts(&[(FILE, &content), (METADATA, b"[]")])),
        Case::new("metadata is no text", parts(&[(FILE, &content), (METADATA, b"\xff\xfe")])),
        Case::new("name is a number", parts(&[(FILE, &content), (METADATA, b"{\"asset_name\":5}")])),
        Case::new(
            "unknown member",
            parts(&[
                (METADATA, br#"{"asset_name":"n","asset_version":{"version":"1","tag":"t"},"extra":1}"#),
                (FILE, &content),
            ]),
        ),
        Case::new(
            "given id",
            parts(&[
                (METADATA, br#"{"asset_name":"n","asset_version":{"version":"1","tag":"t"},"asset_id":"x"}"#),
                (FILE, &content),
            ]),
        ),
    ]);
}

#[test]
fn bodies_that_are_no_multipart_are_refused() {
    let typed = |content_type: &str, body: &[u8]| {
        let request = Request::new(Method::Post, "/upload_asset")
            .with_header("Content-Type", content_type)
            .with_header("Content-Length", &body.len().to_string());
        [&request.head(), body].concat()
    };
    let body = multipart::body(&[(FILE, b"x"), (METADATA, &description())]);
    assert_refused(&[
        Case::new("json", typed("application/json", b"{}")),
        Case::new("no boundary", typed("multipart/form-data", &body)),
        Case::new("empty boundary", typed("multipart/form-data; boundary=", &body)),
        Case::new("wrong boundary", typed("multipart/form-data; boundary=other", &body)),
        Case::new("mixed", typed(&multipart::CONTENT_TYPE.replace("form-data", "mixed"), &body)),
        Case::new("text", typed(multipart::CONTENT_TYPE, b"just text")),
        Case::new("empty", typed(multipart::CONTENT_TYPE, b"")),
        Case::new("boundary only", typed(multipart::CONTENT_TYPE, multipart::BOUNDARY.as_bytes())),
        Case::new(
            "no end",
            typed(
                multipart::CONTENT_TYPE,
                &multipart::unfinished(&[(FILE, b"x"), (METADATA, &description())]),
            ),
        ),
    ]);
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    const ROUNDS: usize = 4;
    const GROWTH_MAX: u64 = 12 << 20;
    let content = vec![9; 3 << 20];
    let whole = parts(&[(FILE, &content), (METADATA, &description())]);
    let cuts = (1..24).map(|cut| whole.len() * cut / 24).chain([2, 30, 60].map(|left| whole.len() - left));
    let cases: Vec<Case> =
        cuts.map(|at| Case::new(format!("cut at {at} of {}", whole.len()), &whole[..at])).collect();
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    // A file does not shrink, so what a round leaves behind is seen as growth by the next.
    let mut sizes = Vec::new();
    for _ in 0..ROUNDS {
        assert_survived_by(&node, &cases);
        node.assert_holds(0, 0, 0);
        sizes.push(fs::metadata(node.data_dir().join("blobs.redb")).unwrap().blocks() * 512);
    }
    let grown = sizes[ROUNDS - 1].saturating_sub(sizes[0]);
    assert!(grown <= GROWTH_MAX, "the store grew: {sizes:?}");
    assert_unharmed(&node, idle);
}

#[test]
fn ten_thousand_other_parts_do_no_harm() {
    let node = TestNode::start();
    let idle = node.process.resident_bytes().unwrap();
    let good = description();
    let mut many: Vec<(&str, &[u8])> = vec![("name=\"other\"", b"value"); 10_000];
    many.extend([(METADATA, good.as_slice()), (FILE, b"x")]);
    let response = Case::new("many", parts(&many)).send(&node.process);
    let status = response.expect("an answer").status;
    assert!(status == 201 || (400..500).contains(&status), "{status}");
    let grown = node.process.resident_bytes_peak().unwrap().saturating_sub(idle);
    assert!(grown <= super::MEMORY_MAX, "{} MiB were taken", grown >> 20);
}

/// Names are only ever text: whatever is accepted comes back as text, in one header, and the data
/// folder holds the same files as before.
#[test]
fn hostile_names_never_become_paths_or_headers() {
    let node = TestNode::start();
    let mut api = node.api();
    let files = || {
        let mut names: Vec<_> =
            fs::read_dir(node.data_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    let names = [
        "../../x",
        "..%2f..%2fx",
        "%2e%2e%2f%2e%2e%2fx",
        "..\\..\\x",
        "/etc/passwd",
        "C:\\x",
        "CON",
        ".",
        "..",
        "x\u{202e}gpj.exe",
        "naïve 名前.bin",
        "a;b=c",
        "a\\\"; x=\\\"y",
        "%0d%0aX-Evil: 1",
        "trailing. ",
        "\u{1b}[31mred",
    ];
    for (number, name) in names.into_iter().enumerate() {
        let file = format!("name=\"asset\"; filename=\"{name}\"");
        let description = description_of(&format!("{number} {name}"), &json!({})).to_string();
        let body = parts(&[(&file, name.as_bytes()), (METADATA, description.as_bytes())]);
        let response = Case::new(name, body).send(&node.process).expect("an answer");
        if (400..500).contains(&response.status) {
            continue;
        }
        let data = data_of(201, &response);
        let object = api.object(data["asset_id"].as_str().unwrap()).unwrap();
        assert_eq!(object.body, name.as_bytes());
        assert_eq!(object.header("x-evil"), None, "{name}");
        let disposition = object.header("content-disposition").unwrap();
        assert!(disposition.starts_with("attachment"), "{disposition}");
        assert!(!disposition.contains('/') && !disposition.contains('\\'), "{disposition}");
        let found = data_of(200, &api.find(data["asset_uri"].as_str().unwrap()).unwrap());
        assert_eq!(found["asset_uri"], data["asset_uri"]);
    }
    assert_eq!(files(), before, "files appeared beside the database");
    assert!(!node.file("x").exists());
}

#[test]
fn line_ends_and_quotes_in_a_file_name_make_no_header() {
    let node = TestNode::start();
    for name in ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb", "a\"b", "a\0b"] {
        let file = format!("name=\"asset\"; filename=\"{name}\"");
        let description = description_of(&format!("{name:?}"), &json!({})).to_string();
        let body = parts(&[(&file, b"x"), (METADATA, description.as_bytes())]);
        let response = Case::new(name, body).send(&node.process).expect("an answer");
        if (400..500).contains(&response.status) {
            continue;
        }
        let data = data_of(201, &response);
        let object = node.api().object(data["asset_id"].as_str().unwrap()).unwrap();
        assert_eq!(object.header("x-evil"), None, "{name:?}");
        assert!(object.header("content-disposition").unwrap().starts_with("attachment"));
    }
}
