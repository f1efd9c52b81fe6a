//! Tokens of real nodes: made beside them, taken back, believed by peers, and never told.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use assetmesh_tests::{
    Method, NodeOptions, NodeProcess, Request, Response, binary, description_of, wait_until,
};
use serde_json::{Value, json};
use tempfile::TempDir;

fn assetmesh(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

fn last_line(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().last().unwrap().to_owned()
}

/// `assetmesh token VERB ... --data-dir DATA`: the last line that it prints.
fn token(data: &Path, arguments: &[&str]) -> String {
    let place = ["--data-dir", data.to_str().unwrap()];
    last_line(&assetmesh(&[&["token"], arguments, &place].concat()))
}

fn create(data: &Path, scopes: &[&str], more: &[&str]) -> String {
    let scopes: Vec<&str> = scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
    token(data, &[&["create", "--account", "acme"], &scopes[..], more].concat())
}

/// A new token, and its id.
fn create_named(data: &Path, scopes: &[&str], more: &[&str]) -> (String, String) {
    let made: Value = serde_json::from_str(&create(data, scopes, &[more, &["--json"]].concat())).unwrap();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

fn start(data: &Path, arguments: &[&str]) -> NodeProcess {
    let options =
        arguments.iter().fold(NodeOptions::new(data), |options, &argument| options.argument(argument));
    options.start().unwrap_or_else(|error| panic!("{error}"))
}

fn call(node: &NodeProcess, request: Request, token: &str) -> Response {
    let request = request.with_header("Authorization", &format!("Bearer {token}"));
    node.api().call(&request).unwrap()
}

fn create_asset(node: &NodeProcess, name: &str, token: &str) -> u16 {
    call(node, Request::json(Method::Post, "/asset", &description_of(name, &json!({}))), token).status
}

#[test]
fn a_token_made_beside_a_running_node_counts_at_once_until_it_is_revoked_for_good() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut node = start(&data, &["--auth", "token"]);
    let mut revoked = Vec::new();
    let mut kept = Vec::new();
    for (at, more) in [&["--ttl", "10m"][..], &["--opaque"]].into_iter().enumerate() {
        kept.push(create(&data, &["assets:write"], more));
        let (secret, id) = create_named(&data, &["assets:write"], more);
        assert_eq!(create_asset(&node, &format!("first{at}"), &secret), 201);
        assert_eq!(token(&data, &["revoke", &id]), id);
        let begun = Instant::now();
        assert_eq!(create_asset(&node, &format!("second{at}"), &secret), 401);
        assert!(begun.elapsed() < Duration::from_secs(1));
        revoked.push(secret);
    }
    node.kill();
    let node = start(&data, &["--auth", "token"]);
    for (at, secret) in revoked.iter().enumerate() {
        assert_eq!(create_asset(&node, &format!("third{at}"), secret), 401, "revoked before the crash");
        assert_eq!(create_asset(&node, &format!("third{at}"), &kept[at]), 201, "made before the crash");
    }
    let listed = assetmesh(&["token", "ls", "--data-dir", data.to_str().unwrap()]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(revoked.iter().chain(&kept).all(|secret| !listed.contains(secret.as_str())), "{listed}");
}

#[test]
fn the_command_line_brings_its_token_and_says_what_it_lacks() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let node = start(&data, &["--auth", "token", "--reads", "token"]);
    let file = folder.path().join("token");
    let run = |secret: Option<&str>, arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.args(arguments).env("ASSETMESH_NODE", node.url());
        if let Some(secret) = secret {
            std::fs::write(&file, format!("{secret}\n")).unwrap();
            command.env("ASSETMESH_TOKEN_FILE", &file);
        }
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let upload = ["upload", binary().to_str().unwrap(), "--name", "n", "--version", "1", "--tag", "t"];
    let (code, told) = run(None, &upload);
    assert!(code == 4 && told.contains("401 unauthorized"), "{code} {told}");
    let reader = create(&data, &["assets:read"], &["-q"]);
    let (code, told) = run(Some(&reader), &upload);
    assert!(code == 4 && told.contains("assets:write"), "{code} {told}");
    let writer = create(&data, &["assets:write"], &["-q"]);
    assert_eq!(run(Some(&writer), &upload).0, 0);
    assert_eq!(run(None, &["show", "n:1-t"]).0, 4);
    assert_eq!(run(Some(&reader), &["show", "n:1-t"]).0, 0);
    assert_eq!(run(Some(&writer), &["peers", "unblock"]).0, 4);
    let operator = create(&data, &["admin"], &["-q", "--opaque"]);
    assert_eq!(run(Some(&operator), &["peers", "unblock"]).0, 0);
    for (arguments, code) in [
        (&["create", "--account", "a/b", "--scope", "admin"][..], 2),
        (&["create", "--account", "a", "--scope", "admin", "--ttl", "9000h"], 2),
        (&["create", "--account", "a"], 2),
        (&["revoke", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"], 3),
    ] {
        let output = assetmesh(&[&["token"], arguments, &["--data-dir", data.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
    let nowhere = folder.path().join("nowhere");
    let output = assetmesh(&["token", "ls", "--data-dir", nowhere.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    assert!(!nowhere.exists(), "a look makes no folder");
}

#[test]
fn no_secret_reaches_the_log_the_metrics_or_an_answer() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut node = start(&data, &["--auth", "token", "--log", "trace"]);
    let mut secrets = Vec::new();
    let mut answers = String::new();
    for more in [&[][..], &["--opaque"]] {
        let (good, id) = create_named(&data, &["assets:write", "admin"], more);
        // What makes a token secret is its signature, or the key.
        secrets.push(good[good.len() - 40..].to_owned());
        for (at, shown) in
            [good.clone(), format!("{good}x"), good.to_lowercase(), good.clone()].iter().enumerate()
        {
            if at == 3 {
                token(&data, &["revoke", &id]);
            }
            let name = format!("{}-{at}", more.len());
            let request = Request::json(Method::Post, "/asset", &description_of(&name, &json!({})));
            answers.push_str(&call(&node, request, shown).text());
        }
    }
    for path in ["/metrics", "/health", "/v1/node", "/v1/peers", "/openapi.json"] {
        answers.push_str(&node.api().call(&Request::get(path)).unwrap().text());
    }
    assert!(node.stop().unwrap().success());
    let log = node.log();
    assert!(log.contains("answered"), "the log is not detailed enough to prove anything");
    for secret in &secrets {
        for (place, text) in [("the log", &log), ("an answer", &answers)] {
            let lower = secret.to_lowercase();
            assert!(!text.contains(secret.as_str()) && !text.contains(&lower), "a secret stands in {place}");
        }
    }
}

#[test]
fn a_node_is_open_to_other_machines_only_if_that_is_said() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let refused = assetmesh(&[
        "node",
        "run",
        "--http",
        "0.0.0.0:0",
        "--p2p",
        "/ip4/127.0.0.1/tcp/0",
        "--data-dir",
        data.to_str().unwrap(),
    ]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("--auth token") && told.contains("--allow-anonymous-writes"), "{told}");
    assert!(!data.exists(), "nothing was started");
    let node = start(&data, &["--allow-anonymous-writes"]);
    assert!(node.log().contains("open_writes"), "{}", node.log());
    let health = node.api().call(&Request::get("/health")).unwrap().json().unwrap();
    assert_eq!(health["node"]["open_writes"], json!(true));
}

#[test]
fn a_peer_speaks_for_accounts_where_it_is_trusted_and_a_change_needs_the_right_where_it_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let (home, away) = (folder.path().join("home"), folder.path().join("away"));
    let first = start(&home, &["--auth", "token"]);
    let facts = first.api().node().unwrap();
    let (id, address) = (facts["assets_db_id"].as_str().unwrap(), facts["p2p_addrs"][0].as_str().unwrap());
    let second = start(&away, &["--auth", "token", "--bootstrap", address, "--trusted-issuer", id]);
    let (theirs, their_id) = create_named(&home, &["assets:write"], &[]);
    // The key of a trusted issuer comes with the registry.
    let believed =
        wait_until(Duration::from_secs(20), || (create_asset(&second, "a", &theirs) == 201).then_some(()));
    assert!(believed.is_some(), "{}", second.log());
    let ours = create(&away, &["assets:write"], &[]);
    assert_eq!(create_asset(&first, "b", &ours), 401, "trust goes one way");

    assert_eq!(create_asset(&first, "b", &theirs), 201);
    let change = || Request::json(Method::Put, "/asset/b:1-t", &json!({"asset_tags": ["seen"]}));
    assert_eq!(second.api().call(&change()).unwrap().status, 401);
    assert_eq!(call(&second, change(), &create(&away, &["registry:write"], &[])).status, 403);
    // The owner does not know this token; it takes the word of the member that does.
    let changed =
        wait_until(Duration::from_secs(20), || (call(&second, change(), &ours).status == 200).then_some(()));
    assert!(changed.is_some(), "{}", call(&second, change(), &ours).text());
    token(&away, &["revoke", &their_id, "--issuer", id]);
    assert_eq!(create_asset(&second, "c", &theirs), 401, "refused here by its id");
    assert_eq!(create_asset(&first, "c", &theirs), 201, "and still good where it was made");
}
