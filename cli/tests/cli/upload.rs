//! `assetmesh upload`: what is sent, what is checked, what is sent again.

use serde_json::{Value, json};

use crate::run::Run;
use crate::stub::{Seen, Stub, error, json as json_answer, nothing};

const LINE: [&str; 8] = ["upload", "f.png", "--name", "cat", "--version", "1.0", "--tag", "initial"];

/// The bytes of one part of a multipart body, found by the boundary as a reader would.
fn part(request: &Seen, name: &str) -> (String, Vec<u8>) {
    let boundary = request.header("content-type").unwrap().split("boundary=").nth(1).unwrap();
    let text = String::from_utf8_lossy(&request.body);
    let found = text.split(&format!("--{boundary}")).find(|part| part.contains(&format!("name=\"{name}\"")));
    let (head, body) = found.unwrap().split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.strip_suffix("\r\n").unwrap().as_bytes().to_vec())
}

fn stored(request: &Seen) -> Value {
    let (_, bytes) = part(request, "asset");
    let id = blake3::hash(&bytes).to_hex().to_string();
    let data = json!({"asset_uri": "cat:1.0-initial", "asset_id": id, "asset_file_info": {"file_size": bytes.len()}});
    json!({"success": true, "asset_id": id, "asset_uri": "cat:1.0-initial", "public_url": "http://h/x", "data": data})
}

fn folder_with_file() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f.png"), "not really a picture").unwrap();
    folder
}

#[test]
fn an_upload_sends_description_and_file_and_ends_with_the_uri() {
    let node = Stub::start(|request, _| json_answer(201, &stored(request)));
    let folder = folder_with_file();
    let line = LINE.into_iter().chain(["--label", "pets", "--meta", "lr:=0.5"]);
    let ended = Run::new(line).at(&node).in_folder(folder.path()).end().with_code(0);
    assert_eq!(ended.stdout, "cat:1.0-initial\n");
    assert!(ended.stderr.contains("http://h/x"), "{}", ended.stderr);
    let [request] = &node.seen()[..] else { panic!("not one request") };
    assert_eq!(request.line, "POST /upload_asset");
    assert!(request.header("content-length").is_some(), "the size is told in advance");
    let (head, bytes) = part(request, "asset");
    assert!(head.contains("filename=\"f.png\"") && head.contains("image/png"), "{head}");
    assert_eq!(bytes, b"not really a picture");
    let (_, description) = part(request, "asset_metadata");
    let expected = json!({
        "asset_name": "cat", "asset_version": {"version": "1.0", "tag": "initial"},
        "asset_metadata": {"lr": 0.5}, "asset_tags": ["pets"],
    });
    assert_eq!(serde_json::from_slice::<Value>(&description).unwrap(), expected);
}

#[test]
fn a_lost_answer_is_asked_for_again() {
    let node = Stub::start(|request, number| match number {
        0 => nothing(),
        _ => json_answer(200, &stored(request)),
    });
    let folder = folder_with_file();
    let ended = Run::new(LINE).at(&node).in_folder(folder.path()).end().with_code(0);
    assert!(ended.stderr.contains("stored already"), "{}", ended.stderr);
    let seen = node.seen();
    assert_eq!(part(&seen[0], "asset").1, part(&seen[1], "asset").1);
}

#[test]
fn other_bytes_in_the_store_are_an_integrity_failure() {
    let node = Stub::start(|request, _| {
        let mut answer = stored(request);
        answer["asset_id"] = Value::from("0".repeat(64));
        json_answer(201, &answer)
    });
    let folder = folder_with_file();
    let ended = Run::new(LINE).at(&node).in_folder(folder.path()).end().with_code(6);
    assert_eq!(ended.stdout, "");
}

#[test]
fn a_refusal_has_its_code_and_is_not_repeated() {
    for (status, code) in [(400, 2), (401, 4), (409, 5), (413, 9), (507, 9)] {
        let node = Stub::start(move |_, _| error(status, "No.", "no"));
        let folder = folder_with_file();
        let ended = Run::new(LINE).at(&node).in_folder(folder.path()).end().with_code(code);
        assert!(ended.stderr.contains("f.png") && ended.stderr.contains("No."), "{}", ended.stderr);
        assert_eq!(node.seen().len(), 1);
    }
}

#[test]
fn standard_input_is_streamed_and_never_sent_twice() {
    let node = Stub::start(|request, number| match number {
        0 => json_answer(201, &stored(request)),
        _ => nothing(),
    });
    let line = ["upload", "-", "--name", "cat", "--version", "1.0", "--tag", "initial"];
    let input = vec![b'x'; 3_000_000];
    Run::new(line).at(&node).with_input(input.clone()).end().with_code(0);
    let (head, bytes) = part(&node.seen()[0], "asset");
    assert!(head.contains("filename=\"cat\""), "{head}");
    assert!(bytes == input, "{} bytes came", bytes.len());
    Run::new(line).at(&node).with_input(input).end().with_code(8);
    assert_eq!(node.seen().len(), 2);
}

#[test]
fn a_file_that_is_not_there_is_a_usage_error() {
    let node = Stub::start(|_, _| nothing());
    let folder = tempfile::tempdir().unwrap();
    let ended = Run::new(LINE).at(&node).in_folder(folder.path()).end().with_code(2);
    assert!(ended.stderr.contains("f.png"), "{}", ended.stderr);
    assert_eq!(node.seen().len(), 0);
}
