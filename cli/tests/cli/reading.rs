//! The verbs that read and change descriptions, and what all client verbs share: reaching a node, rights, exit codes.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::run::Run;
use crate::stub::{Stub, answer, error, json as json_answer, nothing};

fn federation(complete: bool) -> Value {
    let missing = if complete {
        json!([])
    } else {
        json!([{"assets_db_id": "i", "name": "robot-7", "reason": "timed_out"}])
    };
    json!({"complete": complete, "nodes": {"known": 2, "answered": 1, "pruned": 0}, "missing": missing, "took_ms": 3})
}

fn page(uris: &[&str], next: Option<&str>, complete: bool) -> Vec<u8> {
    let rows: Vec<_> = uris.iter().map(|uri| json!({"asset_uri": uri, "asset_tags": ["a", "b"]})).collect();
    json_answer(
        200,
        &json!({"success": true, "data": rows, "next_cursor": next, "federation": federation(complete)}),
    )
}

#[test]
fn a_list_is_a_table_and_json_lines_on_demand() {
    let node = Stub::start(|_, _| page(&["x:1-a", "y:2-b"], None, true));
    let table = Run::new(["ls"]).at(&node).end().with_code(0);
    let lines: Vec<_> = table.stdout.lines().collect();
    assert!(lines[0].contains("URI") && lines[1].contains("x:1-a") && lines[2].contains("a,b"), "{lines:?}");
    assert!(table.stderr.contains("1 of 2 nodes answered"), "{}", table.stderr);
    let lines = Run::new(["ls", "--json", "-q"]).at(&node).end().with_code(0);
    let uris: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(uris[1]["asset_uri"], "y:2-b");
    assert_eq!(lines.stderr, "");
}

#[test]
fn a_query_sends_its_filter_and_options() {
    let node = Stub::start(|_, _| page(&[], None, true));
    let line = [
        "query",
        r#"{"a":{"$gt":1}}"#,
        "--sort",
        "-b,c",
        "--limit",
        "5",
        "--scope",
        "local",
        "--timeout",
        "3s",
    ];
    Run::new(line).at(&node).end().with_code(0);
    let [request] = &node.seen()[..] else { panic!("not one request") };
    for pair in ["sort=-b%2Cc", "limit=5", "scope=local", "timeout_ms=3000"] {
        assert!(request.line.contains(pair), "{}", request.line);
    }
    assert_eq!(request.body, br#"{"a":{"$gt":1}}"#);
}

#[test]
fn all_pages_are_followed_to_the_end() {
    let node = Stub::start(|request, _| match request.line.contains("cursor=next") {
        true => page(&["y:2-b"], None, true),
        false => page(&["x:1-a"], Some("next"), true),
    });
    let first = Run::new(["ls"]).at(&node).end().with_code(0);
    assert!(!first.stdout.contains("y:2-b") && first.stderr.contains("--cursor next"), "{first:?}");
    let all = Run::new(["ls", "--all", "--json"]).at(&node).end().with_code(0);
    assert_eq!(all.stdout.lines().count(), 2);
    let limited = Run::new(["ls", "--limit", "2", "--json"]).at(&node).end().with_code(0);
    assert_eq!(limited.stdout.lines().count(), 2);
}

#[test]
fn a_list_that_lacks_nodes_is_told_by_its_exit_code() {
    let node = Stub::start(|_, _| page(&["x:1-a"], None, false));
    let ended = Run::new(["query", "{}"]).at(&node).end().with_code(7);
    assert!(ended.stdout.contains("x:1-a"), "{}", ended.stdout);
    assert!(ended.stderr.contains("robot-7 (timed_out)"), "{}", ended.stderr);
    Run::new(["query", "{}", "--allow-partial"]).at(&node).end().with_code(0);
}

#[test]
fn a_bad_filter_is_a_usage_error_in_the_nodes_words() {
    let node = Stub::start(|_, _| error(400, "unknown operator: $near", "bad_filter"));
    let ended = Run::new(["query", r#"{"a":{"$near":1}}"#]).at(&node).end().with_code(2);
    assert!(ended.stderr.contains("$near"), "{}", ended.stderr);
    Run::new(["query", "{"]).at(&node).end().with_code(2);
    assert_eq!(node.seen().len(), 1, "what is not JSON is not sent");
}

#[test]
fn show_update_and_rm_name_the_asset_in_one_path_segment() {
    let node =
        Stub::start(|_, _| json_answer(200, &json!({"success": true, "data": {"asset_uri": "a/b:2-x"}})));
    let shown = Run::new(["show", "a/b:1-x", "--json"]).at(&node).end().with_code(0);
    assert_eq!(shown.stdout, "{\"asset_uri\":\"a/b:2-x\"}\n");
    let updated = Run::new(["update", "a/b:1-x", "--version", "2", "--set", "asset_tags=[]"]).at(&node).end();
    assert_eq!(updated.with_code(0).last_line(), "a/b:2-x");
    assert_eq!(Run::new(["rm", "a/b:2-x"]).at(&node).end().with_code(0).last_line(), "a/b:2-x");
    let seen = node.seen();
    let lines: Vec<_> = seen.iter().map(|request| request.line.as_str()).collect();
    assert_eq!(lines, ["GET /asset/a%2Fb:1-x", "PUT /asset/a%2Fb:1-x", "DELETE /asset/a%2Fb:2-x"]);
    assert_eq!(seen[1].body, br#"{"asset_version.version":"2","asset_tags":[]}"#);
}

#[test]
fn a_lost_answer_is_asked_for_again_only_if_that_is_harmless() {
    let node =
        Stub::start(|_, number| if number == 0 { nothing() } else { json_answer(200, &json!({"data": {}})) });
    Run::new(["show", "a:1-x"]).at(&node).end().with_code(0);
    let node = Stub::start(|_, _| nothing());
    Run::new(["rm", "a:1-x"]).at(&node).end().with_code(8);
    assert_eq!(node.seen().len(), 1);
}

#[test]
fn a_busy_node_is_asked_again_after_the_pause_it_names() {
    let node = Stub::start(|_, number| match number {
        0 => answer(503, &["Retry-After: 0"], b"{}"),
        _ => json_answer(200, &json!({"data": {}})),
    });
    Run::new(["rm", "a:1-x"]).at(&node).end().with_code(0);
    assert_eq!(node.seen().len(), 2);
}

#[test]
fn no_token_follows_an_answer_that_points_elsewhere() {
    let thief = Stub::start(|_, _| json_answer(200, &json!({"success": true, "data": {}})));
    let target = format!("Location: {}/asset/a:1-x", thief.url());
    for status in [301, 302, 303, 307, 308] {
        let headers = target.clone();
        let node = Stub::start(move |_, _| answer(status, &[&headers], b""));
        for verb in ["show", "rm"] {
            let run = Run::new([verb, "a:1-x"]).at(&node).with_variable("ASSETMESH_TOKEN", "t0k");
            let ended = run.end();
            assert_ne!(ended.code, 0, "{ended:?}");
            assert!(!ended.stderr.contains("t0k"), "{ended:?}");
        }
        assert_eq!(node.seen()[0].header("authorization"), Some("Bearer t0k"));
    }
    assert!(thief.seen().is_empty());
}

#[test]
fn the_token_is_sent_and_a_refusal_of_it_has_its_code() {
    let node = Stub::start(|_, _| error(403, "the token lacks assets:write", "forbidden"));
    Run::new(["rm", "a:1-x"]).at(&node).with_variable("ASSETMESH_TOKEN", "t0k").end().with_code(4);
    assert_eq!(node.seen()[0].header("authorization"), Some("Bearer t0k"));
}

#[test]
fn no_node_and_a_silent_node_are_unreachable() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = Run::new(["ls", "--node", &format!("http://127.0.0.1:{port}")]).end().with_code(8);
    assert!(ended.stderr.contains("assetmesh node run"), "{}", ended.stderr);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let line = ["ls", "--node", &url, "--idle-timeout", "100ms", "--retries", "0"];
    let ended = Run::new(line).end().with_code(8);
    assert!(ended.stderr.contains("silent for 100ms"), "{}", ended.stderr);
}

#[test]
fn what_is_not_a_node_is_said_to_be_none() {
    let node = Stub::start(|_, _| answer(200, &[], b"<html>"));
    let ended = Run::new(["ls"]).at(&node).end().with_code(1);
    assert!(ended.stderr.contains("is it an assetmesh node?"), "{}", ended.stderr);
}

#[test]
fn a_settings_file_is_read_and_its_mistakes_are_shown_by_line() {
    let node = Stub::start(|_, _| page(&[], None, true));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.toml");
    std::fs::write(&path, format!("[client]\nnode = \"{}\"\n", node.url())).unwrap();
    let path = path.to_str().unwrap();
    Run::new(["ls", "--config", path]).end().with_code(0);
    std::fs::write(path, "[client]\nnodes = \"x\"\n").unwrap();
    let ended = Run::new(["ls"]).with_variable("ASSETMESH_CONFIG", path).end().with_code(2);
    assert!(ended.stderr.contains("a.toml") && ended.stderr.contains("line 2"), "{}", ended.stderr);
}

#[test]
fn completion_scripts_and_usage_errors_need_no_node() {
    let ended = Run::new(["completion", "bash"]).end().with_code(0);
    assert!(ended.stdout.contains("_assetmesh"), "no bash function");
    Run::new(["fly"]).end().with_code(2);
    Run::new(["upload"]).end().with_code(2);
}
