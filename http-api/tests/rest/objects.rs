//! Content: ranges, conditions, headers that cannot be injected, names that are no paths.

use std::path::Path;

use rstest::rstest;

use crate::client::{METADATA, Reply, Server, metadata};

async fn stored(server: &Server, head: &str, content: &[u8]) -> String {
    let reply = server.upload(&[(head, content), (METADATA, &metadata("object"))]).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    format!("/asset-object/{}", reply.json()["asset_id"].as_str().unwrap())
}

fn part(file_name: &str, content_type: &str) -> String {
    format!(
        "Content-Disposition: form-data; name=\"asset\"; filename=\"{file_name}\"\r\nContent-Type: {content_type}"
    )
}

async fn fetch(server: &Server, path: &str, headers: &str) -> Reply {
    server.call("GET", path, headers, b"").await
}

#[tokio::test]
async fn content_comes_back_as_it_was_sent_with_safe_headers() {
    let server = Server::start().await;
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let path = stored(&server, &part("a b.html", "text/html; charset=utf-8"), &content).await;
    let reply = fetch(&server, &path, "Accept-Encoding: gzip\r\n").await;
    assert_eq!(reply.status, 200);
    assert!(reply.body == content);
    let id = path.trim_start_matches("/asset-object/");
    for (name, value) in [
        ("etag", format!("\"{id}\"").as_str()),
        ("content-length", "3000000"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-disposition", "attachment; filename=\"a b.html\"; filename*=UTF-8''a%20b.html"),
        ("content-security-policy", "sandbox"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "public, max-age=31536000, immutable"),
        ("accept-ranges", "bytes"),
        ("x-assetmesh-source", "local"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{name}");
    }
    assert_eq!(reply.header("content-encoding"), None);
    let head = server.call("HEAD", &path, "", b"").await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("3000000"), 0));
}

#[rstest]
#[case("bytes=0-0", 206, "0", "bytes 0-0/10")]
#[case("bytes=9-", 206, "9", "bytes 9-9/10")]
#[case("bytes=-3", 206, "789", "bytes 7-9/10")]
#[case("bytes=2-5", 206, "2345", "bytes 2-5/10")]
#[case("bytes=5-99999999999999999999", 206, "56789", "bytes 5-9/10")]
#[case("bytes=0-1,4-5", 200, "0123456789", "")]
#[case("bytes=5-2", 200, "0123456789", "")]
#[case("lines=1-2", 200, "0123456789", "")]
#[tokio::test]
async fn ranges_are_served(
    #[case] range: &str,
    #[case] status: u16,
    #[case] body: &str,
    #[case] shown: &str,
) {
    let server = Server::start().await;
    let path = stored(&server, &part("r", "text/plain"), b"0123456789").await;
    let reply = fetch(&server, &path, &format!("Range: {range}\r\n")).await;
    assert_eq!((reply.status, reply.body.as_slice()), (status, body.as_bytes()));
    assert_eq!(reply.header("content-range").unwrap_or(""), shown);
    assert_eq!(reply.header("content-length"), Some(body.len().to_string().as_str()));
}

#[tokio::test]
async fn a_range_outside_is_416_and_says_the_size() {
    let server = Server::start().await;
    let path = stored(&server, &part("r", "text/plain"), b"0123456789").await;
    for range in ["bytes=10-", "bytes=-0"] {
        let reply = fetch(&server, &path, &format!("Range: {range}\r\n")).await;
        let sentence = reply.refused(416);
        assert_eq!(reply.header("content-range"), Some("bytes */10"));
        assert_eq!(reply.json()["message"], sentence);
    }
}

#[tokio::test]
async fn a_copy_at_hand_is_not_sent_again() {
    let server = Server::start().await;
    let path = stored(&server, &part("r", "text/plain"), b"0123456789").await;
    let etag = format!("\"{}\"", path.trim_start_matches("/asset-object/"));
    let unchanged = fetch(&server, &path, &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some(etag.as_str())));
    let resumed = fetch(&server, &path, &format!("Range: bytes=4-\r\nIf-Range: {etag}\r\n")).await;
    assert_eq!((resumed.status, resumed.body.as_slice()), (206, &b"456789"[..]));
    let another = fetch(&server, &path, "Range: bytes=4-\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((another.status, another.body.len()), (200, 10));
}

#[rstest]
#[case("x")]
#[case("../../etc/passwd")]
#[case("%2e%2e%2f%2e%2e%2fetc%2fpasswd")]
#[case("..%5c..%5cx")]
#[case("%00")]
#[case("%ff")]
#[case("AF1349B9F5F9A1A6A0404DEA36DCC9499BCB25C9ADC112B7CC9A93CAE41F3262")]
#[case("af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262")]
#[tokio::test]
async fn what_is_not_stored_is_404(#[case] id: &str) {
    let server = Server::start().await;
    let reply = server.get(&format!("/asset-object/{id}")).await;
    assert_eq!(reply.refused(404), "File not found");
    assert_eq!(reply.json()["message"], "File not found");
}

#[rstest]
#[case("../../x", "attachment; filename=\".._.._x\"; filename*=UTF-8''..%2F..%2Fx")]
#[case("q%22\\\"q", "attachment; filename=\"q__q\"; filename*=UTF-8''q%22%22q")]
#[case("\u{1b}[2Jé", "attachment; filename=\"_[2J_\"; filename*=UTF-8''%1B%5B2J%C3%A9")]
#[case(
    "x\tSet-Cookie: a=b",
    "attachment; filename=\"x_Set-Cookie: a=b\"; filename*=UTF-8''x%09Set-Cookie%3A%20a%3Db"
)]
#[tokio::test]
async fn a_hostile_file_name_stays_text(#[case] name: &str, #[case] shown: &str) {
    let server = Server::start().await;
    let path = stored(&server, &part(name, "text/plain"), b"x").await;
    let reply = server.get(&path).await;
    assert_eq!(reply.header("content-disposition"), Some(shown));
    assert_eq!(reply.header("set-cookie"), None);
}

#[tokio::test]
async fn a_line_break_in_a_file_name_is_refused() {
    let server = Server::start().await;
    for name in ["a\nb", "a\rb", "a\0b"] {
        let reply = server.upload(&[(&part(name, "text/plain"), b"x")]).await;
        assert!(reply.refused(400).contains("headers"), "{name:?}");
    }
}

#[tokio::test]
async fn deleted_content_is_gone() {
    let server = Server::start().await;
    let path = stored(&server, &part("r", "text/plain"), b"0123456789").await;
    assert_eq!(server.get(&path).await.status, 200);
    server.call("DELETE", "/asset/object:1.0-t", "", b"").await;
    assert_eq!(server.get(&path).await.refused(404), "File not found");
}

/// Flips one bit of the content's byte at `offset` in the blob file.
fn flip(data: &Path, content: &[u8], offset: usize) {
    let file = data.join("blobs.redb");
    let mut bytes = std::fs::read(&file).unwrap();
    let mark = &content[offset..offset + 32];
    let at = bytes.windows(32).position(|window| window == mark).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
}

/// Bytes without a period, so that each place is found again in a file.
fn unlike(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    })
    .take(size)
    .collect()
}

#[tokio::test]
async fn damage_at_the_start_is_500_and_never_wrong_bytes() {
    let server = Server::start().await;
    let content = unlike(3_000_000);
    let path = stored(&server, &part("d", "text/plain"), &content).await;
    let server = server.again(|data| flip(data, &content, 5)).await;
    let reply = server.get(&path).await;
    assert!(reply.refused(500).contains("damaged"));
    assert_eq!(reply.json()["code"], "integrity");
    assert_eq!(server.get("/livez").await.status, 200);
}

#[tokio::test]
async fn damage_midway_cuts_the_connection_after_the_last_true_byte() {
    let server = Server::start().await;
    let content = unlike(3_000_000);
    let path = stored(&server, &part("d", "text/plain"), &content).await;
    let server = server.again(|data| flip(data, &content, 2_500_000)).await;
    let reply = server.get(&path).await;
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("3000000")));
    assert!(reply.body.len() < 2_500_001, "{}", reply.body.len());
    assert!(content.starts_with(&reply.body));
    let good = fetch(&server, &path, "Range: bytes=0-99\r\n").await;
    assert_eq!((good.status, &good.body[..]), (206, &content[..100]));
}
