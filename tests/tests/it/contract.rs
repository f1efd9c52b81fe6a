//! What clients of the original services rely on: the documented curl commands, and recorded answers.

mod curl;
mod recorded;
mod registry;

use std::fs;
use std::process::Command;

use assetmesh_tests::Client;
use serde_json::{Value, json};

use crate::it::support::{TestNode, missing_from};

const DOCUMENTED: &str = include_str!("../../data/aios/documented.sh");
const CONTENT: &[u8] = b"\x89PNG the bytes of a picture";

/// The commands by what they do, in the order of the documentation.
#[derive(Debug, Clone, Copy)]
enum Step {
    Upload,
    Get,
    Update,
    Delete,
    QueryExact,
    QueryOperators,
    Download,
    External,
    Health,
}

impl Step {
    fn command(self) -> &'static str {
        DOCUMENTED.split("\n\n").nth(self as usize).unwrap()
    }
}

#[test]
fn documented_commands_answer_as_described() {
    let node = TestNode::start();
    let file = node.file("file.png");
    fs::write(&file, CONTENT).unwrap();
    let mut client = Client::new(node.process.address());
    play(&node, |command| {
        let request = curl::request(command);
        let response = client.call(&request).unwrap();
        (response.status, response.body)
    });
}

#[test]
fn documented_commands_run_in_a_real_shell() {
    if let Err(error) = Command::new("curl").arg("--version").output() {
        // Without curl the test above still sends the same commands, read by our own eyes.
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "curl cannot be asked for");
        println!("there is no curl here, so no shell was asked to run the commands");
        return;
    }
    let node = TestNode::start();
    fs::write(node.file("file.png"), CONTENT).unwrap();
    let folder = node.file("");
    play(&node, |command| {
        let command = command.replacen("curl", "curl -sS -w '\\n%{http_code}'", 1);
        let ran = Command::new("sh").arg("-c").arg(&command).current_dir(&folder).output().unwrap();
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
        let end = ran.stdout.iter().rposition(|byte| *byte == b'\n').unwrap();
        let status = std::str::from_utf8(&ran.stdout[end + 1..]).unwrap().parse().unwrap();
        let downloaded = folder.join("downloaded_asset");
        let body = if command.contains("-o downloaded_asset") {
            fs::read(&downloaded).unwrap()
        } else {
            ran.stdout[..end].to_vec()
        };
        (status, body)
    });
}

/// Runs every documented command, in an order that lets each of them find something.
fn play(node: &TestNode, run: impl FnMut(&str) -> (u16, Vec<u8>)) {
    let mut player = Player { node, run };
    player.expect(Step::Health, 200, &json!({"success": true, "message": "healthy"}));
    player.store();
    player.search();
    player.change();
    player.download();
}

/// Says the commands to a node and reads the answers.
struct Player<'a, F> {
    node: &'a TestNode,
    run: F,
}

impl<F: FnMut(&str) -> (u16, Vec<u8>)> Player<'_, F> {
    fn answer(&mut self, step: Step, asset_id: &str) -> (u16, Vec<u8>) {
        let host = self.node.process.address().to_string();
        let command = step
            .command()
            .replace("<server-url>", &host)
            .replace("<api-url>", &host)
            .replace("<asset_id>", asset_id)
            .replace("/path/to/your/file.png", self.node.file("file.png").to_str().unwrap());
        (self.run)(&command)
    }

    fn expect(&mut self, step: Step, status: u16, expected: &Value) -> Value {
        let (answered, body) = self.answer(step, "");
        let text = String::from_utf8_lossy(&body);
        assert_eq!(answered, status, "{step:?}: {text}");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(missing_from(&body, expected), None, "{step:?}: {text}");
        body
    }

    fn store(&mut self) {
        let id = content_id();
        let sample = json!({
            "asset_uri": "SampleAsset:1.0-initial",
            "asset_id": id,
            "asset_version": {"version": "1.0", "tag": "initial"},
            "asset_metadata": {"description": "Sample asset upload"},
            "asset_tags": ["image", "sample"],
            "asset_file_info": {
                "file_name": "file.png",
                "file_type": "image/png",
                "file_size": CONTENT.len(),
                "checksum": format!("blake3:{id}"),
            },
        });
        let answer = json!({
            "success": true,
            "asset_id": id,
            "asset_uri": "SampleAsset:1.0-initial",
            "data": sample,
        });
        let uploaded = self.expect(Step::Upload, 201, &answer);
        let public_url = uploaded["public_url"].as_str().unwrap();
        assert!(public_url.ends_with(&format!("/asset-object/{id}")), "{public_url}");
        // The same again is safe.
        self.expect(Step::Upload, 200, &json!({"success": true, "asset_id": id}));
        self.expect(Step::Get, 200, &json!({"success": true, "data": sample}));
    }

    fn search(&mut self) {
        let none = json!({"success": true, "next_cursor": null, "federation": {"complete": true}});
        for step in [Step::QueryExact, Step::QueryOperators] {
            let answer = self.expect(step, 200, &none);
            assert_eq!(answer["data"], json!([]), "arrays and objects are compared whole");
        }
        let created = json!({"message": "Asset created", "asset_uri": "Sample Asset:1.0-initial"});
        self.expect(Step::External, 201, &json!({"success": true, "data": created}));
        self.expect(Step::External, 409, &json!({"success": false}));
        for (step, uri) in found_by_examples(self.node) {
            let answer = self.expect(step, 200, &json!({"success": true}));
            let rows = answer["data"].as_array().unwrap();
            let uris: Vec<&Value> = rows.iter().map(|row| &row["asset_uri"]).collect();
            assert_eq!(uris, [uri], "{step:?}");
        }
    }

    fn change(&mut self) {
        let updated = json!({"success": true, "data": {"message": "Asset updated"}});
        self.expect(Step::Update, 200, &updated);
        // A change of nothing is a success too.
        self.expect(Step::Update, 200, &updated);
        let changed = json!({
            "asset_metadata": {"description": "Updated asset description"},
            "asset_tags": ["updated", "sample"],
        });
        self.expect(Step::Get, 200, &json!({"data": changed}));
        let deleted = json!({"success": true, "data": {"message": "Asset deleted"}});
        self.expect(Step::Delete, 200, &deleted);
        let missing = |error: &str| json!({"success": false, "error": error});
        self.expect(Step::Get, 404, &missing("No document found"));
        self.expect(Step::Delete, 404, &missing("No document found to delete"));
        self.expect(Step::Update, 404, &json!({"success": false}));
    }

    fn download(&mut self) {
        let (status, body) = self.answer(Step::Download, &content_id());
        let body: Value = serde_json::from_slice(&body).unwrap();
        let missing = json!({"success": false, "message": "File not found"});
        assert_eq!((status, missing_from(&body, &missing)), (404, None), "{body}");
        self.expect(Step::Upload, 201, &json!({"success": true}));
        assert_eq!(self.answer(Step::Download, &content_id()), (200, CONTENT.to_vec()));
    }
}

fn content_id() -> String {
    blake3::hash(CONTENT).to_hex().to_string()
}

/// Adds what the two documented queries look for.
fn found_by_examples(node: &TestNode) -> [(Step, &'static str); 2] {
    let mut api = node.api();
    for (name, version, metadata, tags) in [
        ("exact", "0.9", json!({"type": "image"}), json!(["sample"])),
        ("operators", "1.10", json!({"type": "image", "more": 1}), json!(["other", "image"])),
    ] {
        let answer = api.create(&json!({
            "asset_name": name,
            "asset_version": {"version": version, "tag": "t"},
            "asset_metadata": metadata,
            "asset_tags": tags,
        }));
        assert_eq!(answer.unwrap().status, 201);
    }
    [(Step::QueryExact, "exact:0.9-t"), (Step::QueryOperators, "operators:1.10-t")]
}
