//! A node with one function, its container, and an account that invokes it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use assetmesh_tests::{Connection, Container, Method, Request, Response, wait_until};
use tempfile::TempDir;

use super::super::account::Account;
use crate::it::support::TestNode;

pub(super) const FUNCTION: &str = "44444444-4444-4444-8444-444444444444";
const PATIENCE: Duration = Duration::from_secs(20);

/// All that an invocation needs.
pub(super) struct Setup {
    pub(super) node: TestNode,
    pub(super) container: Container,
    pub(super) acme: Account,
    /// For a node that starts again.
    _settings: TempDir,
}

/// Settings with the function, and more lines.
pub(super) fn settings(url: &str, more: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let text = format!(
        "[[functions]]\nid = \"{FUNCTION}\"\nname = \"cat classifier\"\nversion_id = \"v-1.2\"\nurl = \"{url}\"\n{more}"
    );
    fs::write(folder.path().join("settings.toml"), text).unwrap();
    folder
}

impl Setup {
    pub(super) fn start() -> Self {
        Self::with("")
    }

    /// With more settings.
    pub(super) fn with(more: &str) -> Self {
        let container = Container::start().unwrap();
        let settings = settings(&container.url(), more);
        let file = settings.path().join("settings.toml");
        let node = TestNode::start_with(|options| options.argument("--config").argument(file));
        let acme = Account::of(&node, "acme");
        Self { node, container, acme, _settings: settings }
    }

    /// An asset with this content; gives its id.
    pub(super) fn asset(&mut self, content: &[u8]) -> String {
        self.acme.store(content).id
    }

    /// An invocation of the account.
    pub(super) fn invocation(&self, references: &str) -> Request {
        self.signed(Request::new(Method::Post, format!("/v2/nvcf/pexec/functions/{FUNCTION}")))
            .with_header("NVCF-INPUT-ASSET-REFERENCES", references)
    }

    /// A question for the answer.
    pub(super) fn status(&self, request: &str, seconds: u32) -> Request {
        self.signed(Request::get(format!("/v2/nvcf/pexec/status/{request}")))
            .with_header("NVCF-POLL-SECONDS", &seconds.to_string())
    }

    pub(super) fn signed(&self, request: Request) -> Request {
        request.with_header("Authorization", &format!("Bearer {}", self.acme.token))
    }

    /// Sends a request on a connection of its own, without waiting for the answer.
    pub(super) fn send(&self, request: &Request) -> Connection {
        let mut connection = Connection::open(self.node.process.address()).unwrap();
        connection.send(request).unwrap();
        connection
    }

    /// Sends a request and reads the answer.
    pub(super) fn call(&self, request: &Request) -> Response {
        self.send(request).receive(request.method()).unwrap()
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.node.data_dir().join("staging")
    }

    /// Folders that are there now.
    pub(super) fn staged(&self) -> Vec<String> {
        names(&self.staging())
    }

    /// For endings of which the client learns nothing.
    pub(super) fn wait_nothing_staged(&self) {
        let empty = wait_until(PATIENCE, || self.staged().is_empty().then_some(()));
        assert!(empty.is_some(), "folders stay: {:?}", self.staged());
    }
}

pub(super) fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The content's hash as the container tells it.
pub(super) fn hash(content: &[u8]) -> String {
    blake3::hash(content).to_hex().to_string()
}
