//! The documented registry commands, word for word but for host and id, and what the original refused or forgot.

use assetmesh_tests::{Client, Method, Request, encode_segment};
use serde_json::{Value, json};

use super::curl;
use crate::it::support::{TestNode, assert_failure, missing_from};

const DOCUMENTED: &str = include_str!("../../../data/aios/registry.sh");
const DOCUMENTED_ID: &str = "123e4567-e89b-12d3-a456-426614174000";
const PROBED_ID: &str = "tes-123e4567-e89b-12d3-a456-426614174000";

/// The commands by what they do, in the order of the documentation.
#[derive(Debug, Clone, Copy)]
enum Step {
    Create,
    Get,
    Update,
    Delete,
    Query,
    Health,
}

struct Player {
    client: Client,
    host: String,
}

impl Player {
    fn on(node: &TestNode) -> Self {
        let address = node.process.address();
        Self { client: Client::new(address), host: address.to_string() }
    }

    /// Says a command, with changes to its text, and checks status and part of the answer.
    fn expect(
        &mut self,
        step: Step,
        change: impl Fn(String) -> String,
        status: u16,
        expected: &Value,
    ) -> Value {
        let command = DOCUMENTED.split("\n\n").nth(step as usize).unwrap().replace("<api-url>", &self.host);
        let request = curl::request(&change(command));
        self.judge(&request, status, expected)
    }

    fn judge(&mut self, request: &Request, status: u16, expected: &Value) -> Value {
        let response = self.client.call(request).unwrap();
        assert_eq!(response.status, status, "{}: {}", request.target(), response.text());
        if status >= 400 {
            assert_failure(request.target(), &response);
        }
        let body = response.json().unwrap();
        assert_eq!(missing_from(&body, expected), None, "{}: {body}", request.target());
        body
    }

    fn create(&mut self, body: &Value, status: u16, expected: &Value) -> Value {
        self.judge(&Request::json(Method::Post, "/asset_registry", body), status, expected)
    }
}

fn verbatim(command: String) -> String {
    command
}

#[test]
fn documented_registry_commands_answer_as_described() {
    let node = TestNode::start();
    let mut player = Player::on(&node);
    let missing = |error: &str| json!({"success": false, "error": error, "code": "not_found"});
    player.expect(Step::Get, verbatim, 404, &missing("No document found"));
    player.expect(Step::Delete, verbatim, 404, &missing("No document found to delete"));
    player.expect(Step::Health, verbatim, 404, &missing("asset DB not found"));
    let created = json!({"success": true, "data": {"message": "Asset registry created"}});
    let created = player.expect(Step::Create, verbatim, 201, &created);
    let id = created["data"]["id"].as_str().unwrap().to_owned();
    let found = player.expect(Step::Query, verbatim, 200, &json!({"success": true, "next_cursor": null}));
    let entry = json!({
        "asset_registry_id": id,
        "asset_registry_name": "ResNet Models registry",
        "asset_registry_metadata":
            {"framework": "PyTorch", "version": "1.0", "author": "OpenAI", "license": "Apache-2.0"},
        "asset_registry_tags": ["image-classification", "deep-learning", "pytorch"],
        "asset_registry_public_url": "https://example.com/models/resnet-models-registry",
    });
    assert_eq!(found["data"], json!([entry]));
    let this = |command: String| command.replace(DOCUMENTED_ID, &id);
    player.expect(Step::Get, this, 200, &json!({"success": true, "data": entry}));
    // As printed it is not JSON.
    player.expect(Step::Update, this, 400, &json!({"code": "bad_json"}));
    let mended = |command: String| this(command).replace("\"TensorFlow\" models", "\"TensorFlow models\"");
    let updated = json!({"success": true, "data": {"id": id, "message": "Asset registry updated"}});
    player.expect(Step::Update, mended, 200, &updated);
    player.expect(Step::Update, mended, 200, &updated);
    let changed = json!({
        "asset_registry_name": "ResNet Models registry",
        "asset_registry_metadata": {"framework": "TensorFlow models", "version": "2.0"},
        "asset_registry_tags": ["neural-network", "tensorflow"],
    });
    let read = player.expect(Step::Get, this, 200, &json!({"data": changed}));
    assert_eq!(read["data"]["asset_registry_metadata"], changed["asset_registry_metadata"], "set as a whole");
    player.expect(Step::Delete, this, 200, &json!({"data": {"message": "Asset registry deleted"}}));
    player.expect(Step::Get, this, 404, &missing("No document found"));
    player.expect(Step::Update, mended, 404, &missing("No document found to update"));
}

#[test]
fn a_nodes_own_health_is_found_through_its_entry() {
    let node = TestNode::start();
    let mut player = Player::on(&node);
    let facts = node.api().node().unwrap();
    let own = facts["assets_db_id"].as_str().unwrap();
    let healthy = json!({"success": true, "data": {"success": true, "message": "healthy"}});
    player.judge(&Request::get(format!("/check_health/{own}")), 200, &healthy);
    for (id, url) in [(PROBED_ID, node.process.url()), ("slash", format!("{}/", node.process.url()))] {
        let entry = json!({"asset_registry_id": id, "asset_registry_public_url": url});
        player.create(&entry, 201, &json!({"data": {"id": id}}));
        player.judge(&Request::get(format!("/check_health/{id}")), 200, &healthy);
    }
    for (id, url, code) in [
        ("metadata", "http://169.254.169.254", "address_refused"),
        ("mapped", "http://[::ffff:169.254.169.254]", "address_refused"),
        ("nobody", "http://127.0.0.1:1", "unreachable"),
        ("nowhere", "", "bad_public_url"),
        ("file", "file:///etc/passwd", "bad_public_url"),
    ] {
        let entry = json!({"asset_registry_id": id, "asset_registry_public_url": url});
        player.create(&entry, 201, &json!({}));
        let known = json!({"code": code, "federation": {"owner": own}});
        player.judge(&Request::get(format!("/check_health/{id}")), 503, &known);
    }
    let record = format!("/asset_registry/{own}");
    player.judge(&Request::get(record.clone()), 200, &json!({"data": {"asset_registry_id": own}}));
    for method in [Method::Put, Method::Delete] {
        let change = Request::json(method, record.clone(), &json!({"asset_registry_name": "x"}));
        player.judge(&change, 403, &json!({"code": "forbidden"}));
    }
}

#[test]
fn an_id_of_the_callers_own_is_kept_and_given_once() {
    let node = TestNode::start();
    let mut player = Player::on(&node);
    for id in ["own-1", "with space", "a/b", "ü", "6b025a58e4e4c460b9c03db7"] {
        let entry = json!({"asset_registry_id": id, "asset_registry_name": "first"});
        player.create(&entry, 201, &json!({"data": {"id": id, "asset_registry_id": id}}));
        let again = json!({"asset_registry_id": id, "asset_registry_name": "second"});
        player.create(&again, 409, &json!({"code": "conflict"}));
        let target = format!("/asset_registry/{}", encode_segment(id));
        player.judge(&Request::get(target), 200, &json!({"data": entry}));
    }
    for id in [Value::Null, json!("")] {
        let made = player.create(&json!({"asset_registry_id": id}), 201, &json!({}));
        assert_eq!(made["data"]["id"].as_str().unwrap().len(), 36, "{made}");
    }
    player.create(&json!({}), 201, &json!({"data": {"message": "Asset registry created"}}));
}

#[test]
fn what_is_no_entry_is_refused_by_name_and_leaves_nothing() {
    let node = TestNode::start();
    let mut player = Player::on(&node);
    let none = Request::json(Method::Post, "/asset_registries", &json!({}));
    let before = player.judge(&none, 200, &json!({}))["data"].as_array().unwrap().len();
    let others_id = "0192d3b4-0000-8000-8000-000000000000";
    for (body, named) in [
        (json!([]), "object"),
        (json!(null), "object"),
        (json!({"asset_registry_id": 7}), "asset_registry_id"),
        (json!({"asset_registry_id": "x".repeat(129)}), "asset_registry_id"),
        (json!({"asset_registry_id": "a\u{0}b"}), "asset_registry_id"),
        (json!({"asset_registry_id": others_id}), "asset_registry_id"),
        (json!({"asset_registry_name": [1]}), "asset_registry_name"),
        (json!({"asset_registry_tags": "x"}), "asset_registry_tags"),
        (json!({"asset_registry_tags": [1]}), "asset_registry_tags"),
        (json!({"asset_registry_public_url": {}}), "asset_registry_public_url"),
        (json!({"extra": 1}), "extra"),
        (json!({"asset_registry_metadata": {"x": "y".repeat(9000)}}), "long"),
    ] {
        let refused = player.create(&body, 400, &json!({"success": false}));
        assert!(refused["error"].as_str().unwrap().contains(named), "{named}: {refused}");
    }
    let unknown = Request::json(Method::Post, "/asset_registries", &json!({"$foo": 1}));
    let refused = player.judge(&unknown, 400, &json!({"success": false}));
    assert!(refused["error"].as_str().unwrap().contains("$foo"), "{refused}");
    let text = Request::new(Method::Post, "/asset_registry").with_body(b"{}".to_vec());
    player.judge(&text, 415, &json!({"code": "unsupported_media_type"}));
    let after = player.judge(&none, 200, &json!({}))["data"].as_array().unwrap().len();
    assert_eq!((before, after), (1, 1), "the node's own record is all there is");
}
