//! The node about itself: health, facts, metrics, the API document and its viewer; methods and unknown paths.

use rstest::rstest;
use serde_json::json;

use crate::client::Server;

#[tokio::test]
async fn health_is_as_the_original_plus_the_facts() {
    let server = Server::start().await;
    for path in ["/health", "//health", "/health?x=1"] {
        let json = server.get(path).await.json();
        assert_eq!((&json["success"], &json["message"]), (&json!(true), &json!("healthy")), "{path}");
        assert_eq!(json["node"]["http_addr"], server.address.to_string());
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(server.get(path).await.json()["success"], true);
    }
    let facts = server.get("/v1/node").await.json();
    for member in [
        "assets_db_id",
        "peer_id",
        "name",
        "version",
        "network",
        "public_url",
        "assets",
        "blobs",
        "bytes",
        "uptime_s",
    ] {
        assert!(!facts["data"][member].is_null(), "{member}");
    }
}

#[rstest]
#[case("/")]
#[case("/nope")]
#[case("/health/")]
#[case("/asset/")]
#[case("/assets/")]
#[case("/upload_asset/")]
#[tokio::test]
async fn an_unknown_path_is_404_with_any_method(#[case] path: &str) {
    let server = Server::start().await;
    for method in ["GET", "POST", "DELETE", "BREW"] {
        server.call(method, path, "", b"").await.refused(404);
    }
}

#[rstest]
#[case("/health", "POST", "GET, HEAD, OPTIONS")]
#[case("/asset", "GET", "POST, OPTIONS")]
#[case("/assets", "GET", "POST, OPTIONS")]
#[case("/upload_asset", "GET", "POST, OPTIONS")]
#[case("/asset/x", "POST", "DELETE, GET, HEAD, OPTIONS, PUT")]
#[case("/asset/x", "PATCH", "DELETE, GET, HEAD, OPTIONS, PUT")]
#[case("/asset-object/x", "DELETE", "GET, HEAD, OPTIONS")]
#[tokio::test]
async fn an_unknown_method_is_405_and_options_tells_the_known(
    #[case] path: &str,
    #[case] method: &str,
    #[case] allow: &str,
) {
    let server = Server::start().await;
    let sorted = |allow: &str| {
        let mut methods: Vec<String> = allow.split(", ").map(str::to_owned).collect();
        methods.sort();
        methods
    };
    let refused = server.call(method, path, "", b"").await;
    refused.refused(405);
    assert_eq!(sorted(refused.header("allow").unwrap()), sorted(allow));
    let asked = server.call("OPTIONS", path, "", b"").await;
    assert_eq!((asked.status, sorted(asked.header("allow").unwrap())), (200, sorted(allow)));
}

#[tokio::test]
async fn a_head_request_has_the_length_and_no_body() {
    let server = Server::start().await;
    let head = server.call("HEAD", "/livez", "", b"").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = server.get("/livez").await.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
}

#[tokio::test]
async fn the_request_id_comes_back_unless_it_is_harmful() {
    let server = Server::start().await;
    let reply = server.call("GET", "/livez", "X-Request-ID: abc-1\r\n", b"").await;
    assert_eq!(reply.header("x-request-id"), Some("abc-1"));
    let reply = server.call("GET", "/nope", "X-Request-ID: <b>\r\n", b"").await;
    assert_eq!(reply.header("x-request-id").map(str::len), Some(36));
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_name() {
    let server = Server::start().await;
    server.get("/asset/secret-name").await;
    server.call("BREW", "/livez", "", b"").await;
    let reply = server.get("/metrics").await;
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(reply.body).unwrap();
    let counted = r#"assetmesh_http_requests_total{route="/asset/{*uri}",method="GET",status="404"} 1"#;
    assert!(text.contains(counted), "{text}");
    assert!(text.contains(r#"{route="/livez",method="other",status="405"} 1"#), "{text}");
    assert!(text.contains("assetmesh_http_request_seconds_bucket"));
    assert!(text.contains("assetmesh_http_in_flight 1"));
    assert!(!text.contains("secret-name"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn every_figure_bears_the_name_of_the_program_once() {
    let server = Server::start().await;
    let text = String::from_utf8(server.get("/metrics").await.body).unwrap();
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert!(names.iter().any(|name| name.starts_with("assetmesh_catalog_assets ")), "{names:?}");
    for name in names {
        let rest = name.strip_prefix("assetmesh_");
        assert!(rest.is_some_and(|rest| !rest.starts_with("assetmesh")), "{name}");
    }
}

#[tokio::test]
async fn the_api_describes_itself_without_a_network() {
    let server = Server::start().await;
    let document = server.get("/openapi.json").await.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    let operations = ["get", "post", "put", "delete"];
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in operations.iter().filter_map(|method| item.get(method)) {
            assert!(operation["responses"]["500"].is_object(), "{path}");
        }
    }
    let viewer = server.get("/docs/").await;
    assert_eq!(viewer.status, 200);
    let page = String::from_utf8(viewer.body).unwrap();
    assert!(page.contains("swagger-ui") && !page.contains("https://"), "{page}");
    assert_eq!(server.get("/docs/swagger-ui-bundle.js").await.status, 200);
    assert_eq!(server.get("/docs").await.status, 303);
}
