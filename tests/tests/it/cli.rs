//! The verbs of the command line against a real node: what they print, and how they end.

use std::fs;
use std::process::{Command, Output};
use std::thread::available_parallelism;

use assetmesh_tests::{Content, NodeOptions, NodeProcess, binary, description_of};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::it::support::TestNode;

/// Runs a verb in the folder of the test, against its node.
fn run(node: &TestNode, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .env("ASSETMESH_NODE", node.process.url())
        .current_dir(node.file(""))
        .output()
        .unwrap()
}

fn assert_exit(output: &Output, code: i32, what: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {errors}");
    assert!(code == 0 || !errors.trim().is_empty(), "{what} gives no reason");
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

const IDENTITY: [&str; 6] = ["--name", "model", "--version", "1.0", "--tag", "first"];

#[test]
fn an_upload_comes_back_by_download() {
    let node = TestNode::start();
    let content = Content { seed: 1, size: 3_000_000 };
    fs::write(node.file("model.bin"), content.bytes()).unwrap();
    let upload = [&["upload", "model.bin"], IDENTITY.as_slice()].concat();
    let labelled = [upload.as_slice(), &["--label", "gpu", "--meta", "author=me"]].concat();
    let uploaded = run(&node, &labelled);
    assert_exit(&uploaded, 0, "upload");
    assert_eq!(last_line(&uploaded), "model:1.0-first");
    assert_exit(&run(&node, &labelled), 0, "the same upload again");
    assert_exit(&run(&node, &upload), 5, "another description under the same uri");
    for (key, name) in [("model:1.0-first", "by-uri.bin"), (content.id().as_str(), "by-id.bin")] {
        let downloaded = run(&node, &["download", key, "-o", name]);
        assert_exit(&downloaded, 0, "download");
        assert!(last_line(&downloaded).ends_with(name), "{}", last_line(&downloaded));
        assert!(fs::read(node.file(name)).unwrap() == content.bytes());
    }
    assert_exit(&run(&node, &["download", "model:1.0-first", "-o", "by-uri.bin"]), 5, "it is there");
    assert_exit(&run(&node, &["download", "nothing:1-x", "-o", "n"]), 3, "unknown");
    assert!(!node.file("n").exists());
}

#[test]
fn assets_are_listed_found_shown_changed_and_removed() {
    let node = TestNode::start();
    let mut api = node.api();
    for number in 0..3 {
        let answer = api.create(&description_of(&format!("a{number}"), &json!({"number": number})));
        assert_eq!(answer.unwrap().status, 201);
    }
    let lines = |output: &Output| -> Vec<Value> {
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let listed = run(&node, &["ls", "--json"]);
    assert_exit(&listed, 0, "ls");
    assert_eq!(lines(&listed).len(), 3);
    let table = run(&node, &["ls"]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("a2:1-t"));
    let filter = r#"{"asset_metadata.number":{"$gte":1}}"#;
    let found = run(&node, &["query", filter, "--json", "--sort=-asset_metadata.number"]);
    assert_exit(&found, 0, "query");
    let uris: Vec<Value> = lines(&found).into_iter().map(|row| row["asset_uri"].clone()).collect();
    assert_eq!(uris, [json!("a2:1-t"), json!("a1:1-t")]);
    assert_exit(&run(&node, &["query", r#"{"a":{"$foo":1}}"#]), 2, "a bad filter");
    let shown = run(&node, &["show", "a1:1-t", "--json"]);
    assert_exit(&shown, 0, "show");
    assert_eq!(lines(&shown)[0]["asset_metadata"]["number"], json!(1));
    assert_exit(&run(&node, &["update", "a1:1-t", "--meta", "author=me"]), 0, "update");
    let row = api.find("a1:1-t").unwrap().json().unwrap();
    assert_eq!(row["data"]["asset_metadata"], json!({"number": 1, "author": "me"}));
    assert_exit(&run(&node, &["rm", "a1:1-t"]), 0, "rm");
    for verb in ["rm", "show"] {
        assert_exit(&run(&node, &[verb, "a1:1-t"]), 3, verb);
    }
    assert_exit(&run(&node, &["update", "a1:1-t", "--meta", "a=b"]), 3, "update");
}

#[test]
fn mistakes_and_absent_nodes_have_codes_of_their_own() {
    let mut node = TestNode::start();
    assert_exit(&run(&node, &["upload"]), 2, "no file");
    assert_exit(&run(&node, &["frobnicate"]), 2, "no verb");
    assert_exit(&run(&node, &["filter", "{"]), 2, "no JSON");
    assert_exit(&run(&node, &["filter", r#"{"$where":"x"}"#]), 2, "refused");
    node.process.kill();
    let absent = ["ls", "--retries", "0"];
    assert_exit(&run(&node, &absent), 8, "nobody there");
}

#[test]
fn verify_passes_a_sound_store_and_names_what_is_damaged() {
    let mut node = TestNode::start();
    let data_dir = node.data_dir();
    let contents: Vec<Content> = (0..6).map(|seed| Content { seed, size: 60_000 }).collect();
    for content in &contents {
        let description = description_of(&format!("a{}", content.seed), &json!({}));
        assert_eq!(node.api().upload(&description, &content.bytes()).unwrap().status, 201);
    }
    let verify = ["verify", "--all", "--data-dir", data_dir.to_str().unwrap()];
    let in_use = run(&node, &verify);
    assert_ne!(in_use.status.code(), Some(0), "a node is running on it");
    assert!(node.process.stop().unwrap().success());
    assert_exit(&run(&node, &verify), 0, "a sound store");
    assert_exit(&run(&node, &["verify", "--data-dir", "nowhere"]), 3, "no such folder");
    let path = data_dir.join("blobs.redb");
    let mut bytes = fs::read(&path).unwrap();
    let hidden = contents[3].bytes()[30_000..30_064].to_vec();
    let at = bytes.windows(64).position(|window| window == hidden).expect("the bytes are stored");
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = run(&node, &verify);
    assert_exit(&damaged, 6, "a flipped bit");
    let told = String::from_utf8_lossy(&damaged.stdout);
    assert!(told.contains(&contents[3].id()), "{told}");
    assert!(!told.contains(&contents[2].id()), "{told}");
}

#[test]
fn a_broken_download_is_refused_or_resumed() {
    let node = TestNode::start();
    let content = Content { seed: 9, size: 5_000_000 };
    let description = description_of("resumed", &json!({}));
    assert_eq!(node.api().upload(&description, &content.bytes()).unwrap().status, 201);
    let whole = run(&node, &["download", "resumed:1-t", "-o", "whole.bin"]);
    assert_exit(&whole, 0, "download");
    let names: Vec<String> = fs::read_dir(node.file(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "data")
        .collect();
    assert_eq!(names, ["whole.bin"], "nothing else stays");
    let quiet = run(&node, &["download", "resumed:1-t", "-o", "-", "-q"]);
    assert!(quiet.stdout == content.bytes(), "standard output has the bytes and nothing else");
}

#[test]
#[cfg(target_env = "gnu")]
fn a_node_keeps_its_memory_in_few_arenas_unless_told_otherwise() {
    let folder = TempDir::new().unwrap();
    let arenas_of = |node: &NodeProcess| {
        let variables = fs::read(format!("/proc/{}/environ", node.id())).unwrap();
        let mut variables = variables.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        variables.find_map(|variable| variable.strip_prefix("MALLOC_ARENA_MAX=").map(str::to_owned))
    };
    let started = |name: &str, told: &str| {
        let told = ["env", "-u", "MALLOC_ARENA_MAX", "-u", "GLIBC_TUNABLES", told];
        NodeOptions::new(&folder.path().join(name)).wrapped(&told).start().unwrap()
    };
    let processors = available_parallelism().unwrap().get();
    assert_eq!(arenas_of(&started("one", "LANG=C")), Some(processors.max(2).to_string()));
    assert_eq!(arenas_of(&started("two", "MALLOC_ARENA_MAX=7")), Some("7".to_owned()));
    // As where the loader takes the variable away.
    assert_eq!(arenas_of(&started("three", "ASSETMESH_BEGUN_ANEW=1")), None);
}
