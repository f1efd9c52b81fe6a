//! The documented commands, run by curl itself, with nothing exchanged but host, token, URL and id.

use std::fs;
use std::path::Path;
use std::process::Command;

use assetmesh_tests::Content;
use serde_json::{Value, json};

use super::account::{Account, token};
use crate::it::support::TestNode;

const CREATE: &str = include_str!("../../../data/nvcf/create.sh");
const UPLOAD: &str = include_str!("../../../data/nvcf/upload.sh");
const LIST: &str = include_str!("../../../data/nvcf/list.sh");
const DELETE: &str = include_str!("../../../data/nvcf/delete.sh");

/// Runs a command in a shell. Gives the status and the body.
fn run(folder: &Path, command: &str) -> (u16, String) {
    let command = command.trim_end().replacen("curl ", "curl -sS -w '\\n%{http_code}' ", 1);
    let output = Command::new("sh").arg("-c").arg(&command).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{command}: {errors}"));
    (status.parse().unwrap(), body.to_owned())
}

#[test]
fn the_documented_commands_work() {
    if Command::new("curl").arg("-V").output().is_err() {
        println!("no curl on this machine, so its commands are not tried");
        return;
    }
    let node = TestNode::start();
    let folder = node.file("");
    let bearer = token(&node.data_dir(), "acme", "invoke_function");
    let fill = |command: &str| {
        command.replace("https://api.nvcf.nvidia.com", &node.process.url()).replace("<JWT Token>", &bearer)
    };
    let content = Content { seed: 1, size: 2_500_000 };
    fs::write(node.file("my-image-file.png"), content.bytes()).unwrap();

    let (status, body) = run(&folder, &fill(CREATE));
    assert_eq!(status, 200, "{body}");
    let created: Value = serde_json::from_str(&body).unwrap();
    let (id, url) = (created["assetId"].as_str().unwrap(), created["uploadUrl"].as_str().unwrap());
    let expected =
        json!({"assetId": id, "uploadUrl": url, "contentType": "image/png", "description": "red-cat-photo"});
    assert_eq!(created, expected);
    assert_eq!(run(&folder, &fill(LIST)), (200, r#"{"assets":[]}"#.to_owned()), "it is not uploaded yet");

    let upload = UPLOAD.replace("<pre-signed-URL>", &format!("'{url}'"));
    assert_eq!(run(&folder, &upload), (200, String::new()));
    for (from, to) in [
        ("Content-Type: image/png", "Content-Type: image/jpeg"),
        ("red-cat-photo", "red-dog-photo"),
        ("-H \"Content-Type: image/png\"", ""),
    ] {
        let (status, body) = run(&folder, &upload.replace(from, to));
        assert!(status == 400 && body.contains("<Code>SignatureDoesNotMatch</Code>"), "{status} {body}");
    }
    // A stream of unknown length, as `-T -` sends it.
    let piped =
        upload.replace("curl", "cat my-image-file.png | curl").replace("-T my-image-file.png", "-T -");
    assert_eq!(run(&folder, &piped), (200, String::new()));

    let (status, body) = run(&folder, &fill(LIST));
    let listed: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &listed["assets"][0]["assetId"]), (200, &json!(id)), "{body}");
    assert_eq!(node.api().node().unwrap()["bytes"], content.size);
    let (status, body) = run(&folder, &fill(&LIST.replace("/assets ", &format!("/assets/{id} "))));
    let one: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &one["asset"]), (200, &listed["assets"][0]));

    let delete = fill(DELETE).replace("{assetId}", id);
    assert_eq!(run(&folder, &delete), (204, String::new()));
    let (status, body) = run(&folder, &delete);
    assert!(status == 404 && body.contains("urn:nv-boot:problem-details:not-found"), "{status} {body}");
    let (status, _) = run(&folder, &upload);
    assert_eq!(status, 403, "the URL of a deleted asset");
    assert_eq!(Account::of(&node, "acme").ids(), [""; 0]);
    node.assert_holds(0, 0, 0);
}
