//! A node of one test, in a folder of its own, and checks that many tests make.

use std::fs;
use std::path::PathBuf;

use assetmesh_tests::{Api, Cluster, Content, NodeOptions, NodeProcess, Request, Response, wait_until};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

/// A running node and its folder, which goes with it.
#[derive(Debug)]
pub(super) struct TestNode {
    pub(super) process: NodeProcess,
    folder: TempDir,
}

impl TestNode {
    pub(super) fn start() -> Self {
        Self::start_with(|options| options)
    }

    pub(super) fn start_with(change: impl FnOnce(NodeOptions) -> NodeOptions) -> Self {
        let folder = TempDir::new().unwrap();
        let options = change(NodeOptions::new(&folder.path().join("data")));
        let process = options.start().unwrap_or_else(|error| panic!("{error}"));
        Self { process, folder }
    }

    pub(super) fn api(&self) -> Api {
        self.process.api()
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A path beside the data, for files of the test.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Stops the node and starts it again on the same data.
    pub(super) fn restart(&mut self) {
        self.restart_with(|options| options);
    }

    /// The same, with other arguments.
    pub(super) fn restart_with(&mut self, change: impl FnOnce(NodeOptions) -> NodeOptions) {
        let status = self.process.stop().unwrap();
        assert!(status.success(), "{status}");
        let options = change(NodeOptions::new(&self.data_dir()));
        self.process = options.start().unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until the node holds exactly this many assets, blobs and bytes.
    pub(super) fn assert_holds(&self, assets: u64, blobs: u64, bytes: u64) {
        let expected = json!([assets, blobs, bytes]);
        let mut api = self.api();
        let mut last = Value::Null;
        let found = wait_until(Duration::from_secs(10), || {
            let node = api.node().unwrap();
            last = json!([node["assets"], node["blobs"], node["bytes"]]);
            (last == expected).then_some(())
        });
        assert!(found.is_some(), "[assets, blobs, bytes] are {last} and not {expected}");
    }
}

/// The first difference by which `whole` does not contain `part`: objects may have more members.
pub(super) fn missing_from(whole: &Value, part: &Value) -> Option<String> {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().find_map(|(name, value)| {
            let found = whole.get(name).unwrap_or(&Value::Null);
            missing_from(found, value).map(|why| format!("{name}: {why}"))
        }),
        _ => (whole != part).then(|| format!("{whole} and not {part}")),
    }
}

/// A failure is told in JSON, with a sentence and a code.
pub(super) fn assert_failure(what: &str, response: &Response) {
    let body = response.json().unwrap_or_else(|error| panic!("{what}: {error:#}"));
    assert_eq!(body["success"], json!(false), "{what}: {body}");
    for member in ["error", "code"] {
        let text = body[member].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{what}: no {member} in {body}");
    }
}

/// Sends the answer's `data`, after a check of the status.
pub(super) fn data_of(status: u16, response: &Response) -> Value {
    assert_eq!(response.status, status, "{}", response.text());
    let mut body = response.json().unwrap();
    assert_eq!(body["success"], json!(true), "{body}");
    body["data"].take()
}

/// One line of `GET /metrics`.
pub(super) fn metric(api: &mut Api, name: &str) -> u64 {
    let text = String::from_utf8(api.call(&Request::get("/metrics")).unwrap().body).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("assetmesh_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Flips bits of stored content in the file of a node that is stopped.
pub(super) fn flip(cluster: &Cluster, at: usize, content: Content, places: &[usize]) {
    let path = cluster.data_dir(at).join("blobs.redb");
    let (mut file, bytes) = (fs::read(&path).unwrap(), content.bytes());
    for &place in places {
        let needle = &bytes[place..place + 64];
        let found = file.windows(64).position(|window| window == needle).expect("the content is in the file");
        file[found + 7] ^= 0x10;
    }
    fs::write(path, file).unwrap();
}
