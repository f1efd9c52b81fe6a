//! Uploads: whole, in both orders, broken in every way, and never half kept.

use rstest::rstest;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use assetmesh_http_api::Config;

use crate::client::{FILE, FORM, METADATA, Server, form, metadata, reply};

#[tokio::test]
async fn an_upload_is_stored_in_either_order() {
    let server = Server::start().await;
    let (first, second) = (metadata("first"), metadata("second"));
    let content = b"hello asset bytes\n";
    for (parts, uri) in [
        ([(FILE, &content[..]), (METADATA, &first[..])], "first:1.0-t"),
        ([(METADATA, &second[..]), (FILE, &content[..])], "second:1.0-t"),
    ] {
        let stored = server.upload(&parts).await;
        assert_eq!(stored.status, 201);
        let json = stored.json();
        let id = blake3::hash(content).to_string();
        assert_eq!((&json["asset_uri"], &json["asset_id"]), (&json!(uri), &json!(id)));
        assert_eq!(json["public_url"], format!("http://{}/asset-object/{id}", server.address));
        let info = &json["data"]["asset_file_info"];
        assert_eq!(info["file_name"], "f.bin");
        assert_eq!(info["file_type"], "application/octet-stream");
        assert_eq!(info["file_size"], 18);
        assert_eq!(info["checksum"], format!("blake3:{id}"));
    }
}

#[tokio::test]
async fn the_same_upload_again_is_answered_with_the_asset_that_is_there() {
    let server = Server::start().await;
    let description = metadata("again");
    let parts = [(FILE, &b"same"[..]), (METADATA, &description[..])];
    let first = server.upload(&parts).await;
    let again = server.upload(&parts).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.json(), again.json());
    let other = server.upload(&[(FILE, b"other"), (METADATA, &description)]).await;
    assert!(other.refused(409).contains("again:1.0-t"));
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn a_part_that_nobody_knows_is_skipped() {
    let server = Server::start().await;
    let note = "Content-Disposition: form-data; name=\"note\"";
    let parts = [(note, &b"hi"[..]), (FILE, b""), (METADATA, &metadata("empty")), (note, b"")];
    let stored = server.upload(&parts).await;
    assert_eq!(stored.status, 201);
    assert_eq!(stored.json()["data"]["asset_file_info"]["file_size"], 0);
}

fn cases() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let file = (FILE, &b"data"[..]);
    let described = |body: &'static [u8]| form(&[file, (METADATA, body)]);
    let plain = "Content-Disposition: form-data; name=\"asset\"";
    let unnamed = "Content-Disposition: form-data; name=\"asset\"; filename=\"\"";
    let whole = form(&[file, (METADATA, &metadata("x"))]);
    vec![
        ("no file", form(&[(METADATA, &metadata("x"))]), "No file part"),
        ("empty form", b"--XyZ--\r\n".to_vec(), "No file part"),
        ("plain field", form(&[(plain, b"data"), (METADATA, &metadata("x"))]), "No file part"),
        ("no file name", form(&[(unnamed, b""), (METADATA, &metadata("x"))]), "No selected file"),
        ("no metadata", form(&[file]), "asset_name is required"),
        (
            "metadata as a file",
            form(&[file, ("Content-Disposition: form-data; name=\"asset_metadata\"; filename=\"m\"", b"{}")]),
            "asset_name is required",
        ),
        ("empty object", described(b"{}"), "asset_name is required"),
        (
            "blank name",
            described(b"{\"asset_name\":\" \",\"asset_version\":{\"version\":\"1\",\"tag\":\"t\"}}"),
            "asset_name is required",
        ),
        (
            "no version",
            described(b"{\"asset_name\":\"X\"}"),
            "Both version and tag are required in asset_version",
        ),
        (
            "no tag",
            described(b"{\"asset_name\":\"X\",\"asset_version\":{\"version\":\"1\"}}"),
            "Both version and tag are required in asset_version",
        ),
        ("empty metadata", described(b""), "asset_metadata: "),
        ("bad metadata", described(b"{bad"), "asset_metadata: "),
        ("metadata list", described(b"[]"), "JSON object"),
        (
            "name is a number",
            described(b"{\"asset_name\":5,\"asset_version\":{\"version\":\"1\",\"tag\":\"t\"}}"),
            "asset_name",
        ),
        ("two files", form(&[file, file, (METADATA, &metadata("x"))]), "more than one part `asset`"),
        (
            "two metadata",
            form(&[file, (METADATA, &metadata("x")), (METADATA, &metadata("x"))]),
            "more than one part `asset_metadata`",
        ),
        ("bad type", form(&[(&format!("{FILE}\r\nContent-Type: x"), b"data")]), "Content-Type"),
        ("no disposition", form(&[("Content-Type: text/plain", b"data")]), "Content-Disposition"),
        ("no boundary in the body", b"hello".repeat(2000), "boundary"),
        ("truncated", whole[..whole.len() - 40].to_vec(), "No file part: "),
        ("truncated at the last dash", whole[..whole.len() - 3].to_vec(), "No file part: "),
        (
            "10 000 fields",
            form(&vec![("Content-Disposition: form-data; name=\"a\"", &b""[..]); 10_000]),
            "parts",
        ),
        (
            "1 MiB of part headers",
            form(&[(&format!("{FILE}\r\nX: {}", "a".repeat(1 << 20)), b"data")]),
            "headers",
        ),
    ]
}

#[tokio::test]
async fn a_bad_form_is_400_and_nothing_of_it_is_kept() {
    let server = Server::start().await;
    for (name, body, sentence) in cases() {
        let refused = server.call("POST", "/upload_asset", FORM, &body).await;
        let error = refused.refused(400);
        assert!(error.contains(sentence), "{name}: {error}");
        assert_eq!(refused.json()["message"], error, "{name}");
    }
    let facts = server.get("/v1/node").await.json();
    assert_eq!((&facts["data"]["assets"], &facts["data"]["blobs"]), (&json!(0), &json!(0)));
}

#[rstest]
#[case("")]
#[case("Content-Type: application/json\r\n")]
#[case("Content-Type: application/x-www-form-urlencoded\r\n")]
#[case("Content-Type: multipart/form-data\r\n")]
#[case("Content-Type: multipart/mixed; boundary=XyZ\r\n")]
#[case("Content-Type: nonsense\r\n")]
#[tokio::test]
async fn what_is_no_form_holds_no_file(#[case] headers: &str) {
    let server = Server::start().await;
    assert_eq!(server.call("POST", "/upload_asset", headers, b"{}").await.refused(400), "No file part");
    assert_eq!(server.call("POST", "/upload_asset", headers, b"").await.refused(400), "No file part");
}

#[tokio::test]
async fn metadata_and_ignored_parts_are_bounded() {
    let server = Server::start().await;
    let large = vec![b' '; (1 << 20) + 1];
    server.upload(&[(METADATA, &large)]).await.refused(413);
    server.upload(&[("Content-Disposition: form-data; name=\"x\"", &large)]).await.refused(413);
}

#[tokio::test]
async fn a_file_over_the_limit_is_413_and_the_client_can_read_it() {
    let server = Server::with(Config { upload_bytes_max: Some(1000), ..Config::default() }).await;
    let upload = |size: usize| form(&[(FILE, &vec![7; size]), (METADATA, &metadata("x"))]);
    assert_eq!(server.call("POST", "/upload_asset", FORM, &upload(1000)).await.status, 201);
    server.call("POST", "/upload_asset", FORM, &upload(1001)).await.refused(413);
    // Refused from the declared length alone, while the client is still sending all of it.
    let refused = server.call("POST", "/upload_asset", FORM, &upload(20_000_000)).await;
    refused.refused(413);
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(server.count().await, 1);
}

#[tokio::test]
async fn bad_metadata_is_refused_before_the_file_is_sent() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = format!(
        "POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Content-Length: 5000000000\r\n\r\n--XyZ\r\n{METADATA}\r\n\r\n{{}}\r\n--XyZ\r\n{FILE}\r\n\r\nda"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let refused = reply(&mut stream, false).await;
    assert_eq!(refused.refused(400), "asset_name is required");
    assert_eq!(refused.header("connection"), Some("close"));
}

#[tokio::test]
async fn an_expecting_client_is_told_to_go_on_or_not() {
    let server = Server::start().await;
    let body = form(&[(FILE, b"data"), (METADATA, &metadata("expect"))]);
    let head = |form: &str| {
        format!(
            "POST /upload_asset HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n{form}Content-Length: {}\r\n\r\n",
            body.len()
        )
    };
    let mut stream = server.connect().await;
    stream.write_all(head(FORM).as_bytes()).await.unwrap();
    let go_on = async {
        let mut seen = [0; 25];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut seen).await.unwrap();
        assert_eq!(&seen, b"HTTP/1.1 100 Continue\r\n\r\n");
    };
    go_on.await;
    stream.write_all(&body).await.unwrap();
    assert_eq!(reply(&mut stream, false).await.status, 201);

    let mut stream = server.connect().await;
    stream.write_all(head("Content-Type: text/plain\r\n").as_bytes()).await.unwrap();
    assert_eq!(reply(&mut stream, false).await.refused(400), "No file part");
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing() {
    let server = Server::start().await;
    let body = form(&[(METADATA, &metadata("cut")), (FILE, &vec![7; 3_000_000])]);
    let head =
        format!("POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Content-Length: {}\r\n\r\n", body.len());
    for at in [0, 10, 200, 100_000, 2_900_000, body.len() - 1] {
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body[..at]).await.unwrap();
        if at % 20 == 0 {
            stream.set_zero_linger().unwrap();
        }
    }
    let facts = server.get("/v1/node").await.json();
    assert_eq!((&facts["data"]["assets"], &facts["data"]["blobs"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_chunked_upload_is_taken() {
    let server = Server::start().await;
    let body = form(&[(FILE, b"chunked data"), (METADATA, &metadata("chunked"))]);
    let mut request =
        format!("POST /upload_asset HTTP/1.1\r\nHost: t\r\n{FORM}Transfer-Encoding: chunked\r\n\r\n")
            .into_bytes();
    for piece in body.chunks(10) {
        request.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        request.extend_from_slice(piece);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(server.raw(&request).await.status, 201);
}
