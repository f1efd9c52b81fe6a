//! Assets by name and by filter.

use rstest::rstest;
use serde_json::json;

use crate::client::Server;

const SAMPLE: &str = r#"{"asset_name":"Sample Asset","asset_version":{"version":"1.0","tag":"initial"},
    "asset_metadata":{"z":1,"a":[1.0,"é"]},"asset_tags":["test"]}"#;

#[tokio::test]
async fn an_external_asset_is_created_read_changed_and_deleted() {
    let server = Server::start().await;
    let created = server.json("POST", "/asset", SAMPLE).await;
    assert_eq!(created.status, 201);
    let data = &created.json()["data"];
    assert_eq!(data["message"], "Asset created");
    assert_eq!(data["asset_uri"], "Sample Asset:1.0-initial");

    for path in ["/asset/Sample%20Asset:1.0-initial", "/asset/Sample%20Asset%3A1.0-initial?a=b"] {
        let read = server.get(path).await;
        assert_eq!(read.status, 200, "{path}");
        assert!(
            String::from_utf8_lossy(&read.body).contains(r#"{"z":1,"a":[1.0,"é"]}"#),
            "key order is kept"
        );
    }
    let by_id = server.get(&format!("/asset/{}", data["id"].as_str().unwrap())).await;
    assert_eq!(by_id.json()["data"]["asset_name"], "Sample Asset");

    let updated = server
        .json("PUT", "/asset/Sample%20Asset:1.0-initial", r#"{"asset_metadata.z":2,"asset_name":"New"}"#)
        .await;
    assert_eq!((updated.status, &updated.json()["data"]["message"]), (200, &json!("Asset updated")));
    assert_eq!(updated.json()["data"]["asset_uri"], "New:1.0-initial");
    assert_eq!(server.get("/asset/New:1.0-initial").await.json()["data"]["asset_metadata"]["z"], 2);

    let deleted = server.call("DELETE", "/asset/New:1.0-initial", "", b"").await;
    assert_eq!((deleted.status, &deleted.json()["data"]["message"]), (200, &json!("Asset deleted")));
    assert_eq!(server.get("/asset/New:1.0-initial").await.refused(404), "No document found");
}

#[tokio::test]
async fn what_does_not_exist_is_404_in_the_original_words() {
    let server = Server::start().await;
    server.json("POST", "/asset", SAMPLE).await;
    for path in [
        "/asset/Sample+Asset:1.0-initial",
        "/asset/sample%20asset:1.0-initial",
        "/asset/x?scope=local",
        "/asset/%2e%2e%2fx",
    ] {
        assert_eq!(server.get(path).await.refused(404), "No document found", "{path}");
    }
    let elsewhere = "/asset/Sample%20Asset:1.0-initial?assets_db_id=00000000-0000-8000-8000-000000000000";
    assert_eq!(server.get(elsewhere).await.refused(404), "No document found");
    assert_eq!(server.json("PUT", "/asset/x", "{}").await.refused(404), "No document found to update");
    assert_eq!(server.call("DELETE", "/asset/x", "", b"").await.refused(404), "No document found to delete");
    assert_eq!(server.count().await, 1, "a PUT creates nothing");
}

#[tokio::test]
async fn a_name_with_slashes_is_reached_literally_and_escaped() {
    let server = Server::start().await;
    let body = r#"{"asset_name":"org//N","asset_version":{"version":"1","tag":"t"}}"#;
    assert_eq!(server.json("POST", "/asset", body).await.status, 201);
    for path in ["/asset/org//N:1-t", "/asset/org%2F%2FN:1-t", "//asset/org//N:1-t"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[rstest]
#[case("", 400)]
#[case("{", 400)]
#[case("{'a':1}", 400)]
#[case("[]", 400)]
#[case("null", 400)]
#[case("\"x\"", 400)]
#[case("{\"a\":NaN}", 400)]
#[case("{\"asset_metadata\":1e400}", 400)]
#[case("{\"asset_metadata\":\"\\ud800\"}", 400)]
#[case("\u{feff}{}", 400)]
#[case("{\"free\":1}", 400)]
#[case("{\"asset_uri\":\"x\"}", 400)]
#[tokio::test]
async fn a_bad_description_is_400(#[case] body: &str, #[case] status: u16) {
    let server = Server::start().await;
    for (method, path) in [("POST", "/asset"), ("PUT", "/asset/x")] {
        let sentence = server.json(method, path, body).await.refused(status);
        assert!(!sentence.is_empty());
    }
    assert_eq!(server.count().await, 0);
}

#[tokio::test]
async fn bodies_are_bounded_in_depth_and_size() {
    let server = Server::start().await;
    let nested = |depth: usize| format!("{{\"asset_metadata\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(server.json("POST", "/asset", &nested(99)).await.status, 201);
    server.json("POST", "/asset", &nested(100)).await.refused(400);
    server.json("POST", "/asset", &nested(100_000)).await.refused(400);
    let large = format!("{{\"asset_metadata\":\"{}\"}}", "x".repeat(1 << 20));
    server.json("POST", "/asset", &large).await.refused(413);
    server.json("POST", "/assets", &large).await.refused(413);
}

#[tokio::test]
async fn only_json_is_taken_as_json() {
    let server = Server::start().await;
    for headers in
        ["", "Content-Type: text/plain\r\n", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"]
    {
        for (method, path) in [("POST", "/asset"), ("PUT", "/asset/x"), ("POST", "/assets")] {
            server.call(method, path, headers, b"{}").await.refused(415);
        }
    }
    let merge = "Content-Type: application/merge-patch+json; charset=utf-8\r\n";
    assert_eq!(server.call("POST", "/asset", merge, b"{}").await.status, 201);
}

#[tokio::test]
async fn the_same_uri_again_is_a_conflict() {
    let server = Server::start().await;
    assert_eq!(server.json("POST", "/asset", SAMPLE).await.status, 201);
    assert!(server.json("POST", "/asset", SAMPLE).await.refused(409).contains("Sample Asset:1.0-initial"));
}

#[tokio::test]
async fn a_query_pages_through_what_matches_and_tells_its_coverage() {
    let server = Server::start().await;
    for number in 0..5 {
        let body =
            format!(r#"{{"asset_name":"A{number}","asset_metadata":{{"n":{number}}},"asset_tags":["x"]}}"#);
        server.json("POST", "/asset", &body).await;
    }
    let page =
        server.json("POST", "/assets?limit=2&sort=-asset_metadata.n", r#"{"asset_tags":"x"}"#).await.json();
    let names = |page: &serde_json::Value| -> Vec<String> {
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["asset_name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&page), ["A4", "A3"]);
    let federation = &page["federation"];
    assert_eq!((&federation["complete"], &federation["missing"]), (&json!(true), &json!([])));
    assert_eq!(federation["nodes"]["known"], 1);
    assert_eq!(federation["nodes"]["answered"], 1);
    assert!(federation["took_ms"].is_u64());

    let cursor = page["next_cursor"].as_str().unwrap();
    let path = format!("/assets?limit=3&sort=-asset_metadata.n&cursor={cursor}");
    let rest = server.json("POST", &path, r#"{"asset_tags":"x"}"#).await.json();
    assert_eq!(names(&rest), ["A2", "A1", "A0"]);
    assert_eq!(rest["next_cursor"], json!(null));
    server.json("POST", &path, r#"{"asset_tags":"y"}"#).await.refused(400);
    server.json("POST", "/assets?cursor=x", "{}").await.refused(400);
}

#[rstest]
#[case("/assets", r#"{"$foo":1}"#, "$foo")]
#[case("/assets", r#"{"a":{"$where":"1"}}"#, "$where")]
#[case("/assets", r#"{"asset_tags":{"$size":-1}}"#, "$size")]
#[case("/assets", "[1]", "object")]
#[case("/assets", "{\"a\":", "line 1")]
#[case("/assets?limit=0", "{}", "limit")]
#[case("/assets?limit=1001", "{}", "limit")]
#[case("/assets?scope=all", "{}", "scope")]
#[case("/assets?timeout_ms=99999", "{}", "timeout_ms")]
#[case("/assets?allow_partial=yes", "{}", "allow_partial")]
#[case("/assets?skip=1", "{}", "skip")]
#[case("/assets?limit=1&limit=2", "{}", "limit")]
#[case("/assets?sort=%7B%22a%22%3A2%7D", "{}", "a")]
#[tokio::test]
async fn a_bad_query_is_400_and_names_the_fault(#[case] path: &str, #[case] body: &str, #[case] named: &str) {
    let server = Server::start().await;
    let sentence = server.json("POST", path, body).await.refused(400);
    assert!(sentence.contains(named), "{sentence}");
}
