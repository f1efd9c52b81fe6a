//! One account at one node: its token, and the calls that it makes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use assetmesh_tests::{Api, Method, NodeProcess, Request, Response, binary};
use serde_json::{Value, json};

use crate::it::support::TestNode;

pub(super) const ASSETS: &str = "/v2/nvcf/assets";
pub(super) const DESCRIPTION: &str = "x-amz-meta-nvcf-asset-description";

/// Calls a node on behalf of an account.
pub(super) struct Account {
    pub(super) api: Api,
    pub(super) token: String,
}

/// An asset that may be uploaded.
#[derive(Debug, Clone)]
pub(super) struct Created {
    pub(super) id: String,
    pub(super) url: String,
    /// Path and query of the URL.
    pub(super) target: String,
}

/// Makes a token beside a running node.
pub(super) fn token(data_dir: &Path, account: &str, scope: &str) -> String {
    let made = Command::new(binary())
        .args(["token", "create", "--account", account, "--scope", scope, "--data-dir"])
        .arg(data_dir)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().lines().last().unwrap().to_owned()
}

impl Account {
    pub(super) fn of(node: &TestNode, account: &str) -> Self {
        Self::at(&node.process, &node.data_dir(), account)
    }

    pub(super) fn at(process: &NodeProcess, data_dir: &Path, account: &str) -> Self {
        Self { api: process.api(), token: token(data_dir, account, "invoke_function") }
    }

    /// The same at another address.
    pub(super) fn with(&self, address: SocketAddr) -> Self {
        Self { api: Api::new(address), token: self.token.clone() }
    }

    pub(super) fn call(&mut self, request: &Request) -> Response {
        let bearer = format!("Bearer {}", self.token);
        self.api.call(&request.clone().with_header("Authorization", &bearer)).unwrap()
    }

    pub(super) fn try_create(&mut self, body: &Value) -> Response {
        self.call(&Request::json(Method::Post, ASSETS, body))
    }

    pub(super) fn create(&mut self) -> Created {
        let answer = self.try_create(&json!({"contentType": "image/png", "description": "red-cat-photo"}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        Created::from(&answer)
    }

    /// Makes an asset with content.
    pub(super) fn store(&mut self, content: &[u8]) -> Created {
        let created = self.create();
        let answer = self.api.call(&put(&created.target, content)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        created
    }

    pub(super) fn get(&mut self, id: &str) -> Response {
        self.call(&Request::get(format!("{ASSETS}/{id}")))
    }

    pub(super) fn delete(&mut self, id: &str) -> Response {
        self.call(&Request::new(Method::Delete, format!("{ASSETS}/{id}")))
    }

    /// All that are listed.
    pub(super) fn ids(&mut self) -> Vec<String> {
        let answer = self.call(&Request::get(ASSETS));
        assert_eq!(answer.status, 200, "{}", answer.text());
        ids_of(&answer)
    }
}

impl Created {
    pub(super) fn from(answer: &Response) -> Self {
        let body = answer.json().unwrap();
        let text = |member: &str| body[member].as_str().unwrap().to_owned();
        let url = text("uploadUrl");
        let (_, rest) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        Self { id: text("assetId"), target: format!("/{rest}"), url }
    }
}

/// An upload as it must be.
pub(super) fn put(target: &str, content: &[u8]) -> Request {
    Request::new(Method::Put, target)
        .with_header("Content-Type", "image/png")
        .with_header(DESCRIPTION, "red-cat-photo")
        .with_body(content.to_vec())
}

pub(super) fn ids_of(answer: &Response) -> Vec<String> {
    let body = answer.json().unwrap();
    let assets = body["assets"].as_array().unwrap();
    assets.iter().map(|asset| asset["assetId"].as_str().unwrap().to_owned()).collect()
}

/// A refusal in problem JSON; gives its detail.
pub(super) fn problem(answer: &Response, status: u16, instance: &str) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let body = answer.json().unwrap();
    let kind = body["type"].as_str().unwrap();
    assert!(kind.starts_with("urn:nv-boot:problem-details:"), "{body}");
    assert!(body["title"].is_string(), "{body}");
    assert_eq!((&body["status"], &body["instance"]), (&json!(status), &json!(instance)), "{body}");
    body["detail"].as_str().unwrap().to_owned()
}

/// A refusal in the XML of S3; gives its code.
pub(super) fn xml(answer: &Response, status: u16) -> String {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/xml"));
    let (_, rest) = text.split_once("<Error><Code>").unwrap();
    assert!(text.ends_with("</Message></Error>"), "{text}");
    rest.split_once("</Code>").unwrap().0.to_owned()
}
