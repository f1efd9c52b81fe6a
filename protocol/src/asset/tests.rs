//! Tests of `asset`.

use rstest::rstest;

use super::*;
use crate::ids::{AssetId, AssetsDbId};

fn json(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap()
}

fn owner() -> AssetsDbId {
    AssetsDbId::of_public_key(b"key")
}

fn external(body: &str) -> Result<Document, AssetError> {
    Draft::external(&json(body))?.into_external(owner())
}

fn uploaded(body: &str) -> Result<Document, AssetError> {
    let file = FileFacts { file_name: "f.png".to_owned(), file_type: "image/png".to_owned() };
    let stored =
        Uploaded { id: AssetId::of(b"x"), size: 1, file: &file, public_url: "http://h/asset-object/x" };
    Draft::upload(&json(body))?.into_uploaded(owner(), stored)
}

fn member(document: &Document, path: &str) -> serde_json::Value {
    let pointer = format!("/{}", path.replace('.', "/"));
    document.to_value().pointer(&pointer).cloned().unwrap_or(serde_json::Value::Null)
}

fn update(document: &Document, patch: &str) -> Result<Document, AssetError> {
    Patch::parse(&json(patch))?.apply(document)
}

const VALID: &str = r#"{"asset_name":"N","asset_version":{"version":"1","tag":"t"}}"#;

#[test]
fn an_asset_has_its_nine_members_in_their_order() {
    let document = external("{}").unwrap();
    let keys: Vec<_> = document.to_value().as_object().unwrap().keys().cloned().collect();
    assert_eq!(keys, MEMBERS);
    assert_eq!(member(&document, "asset_uri"), "");
    assert_eq!(member(&document, "assets_db_id"), owner().to_string());
    assert_eq!(member(&document, "asset_tags"), serde_json::json!([]));
}

#[rstest]
#[case(r#"{"asset_name":"N","asset_version":{"version":"1","tag":"t"}}"#, "N:1-t")]
#[case(r#"{"asset_name":"  N ","asset_version":{"version":" 1 ","tag":"t"}}"#, "  N : 1 -t")]
#[case(r#"{"asset_name":"org/N","asset_version":{"version":"1","tag":"t"}}"#, "org/N:1-t")]
#[case(r#"{"asset_name":"名前é","asset_version":{"version":"1","tag":"t"}}"#, "名前é:1-t")]
#[case(r#"{"asset_name":"N","asset_version":{"version":1.0,"tag":"t"}}"#, "N:1.0-t")]
#[case(r#"{"asset_name":5,"asset_version":{"version":3,"tag":"t"}}"#, "5:3-t")]
#[case(r#"{"asset_name":"N","asset_version":{"version":true,"tag":"t"}}"#, "N:True-t")]
#[case(r#"{"asset_name":"N","asset_version":{"version":"1","tag":0}}"#, "")]
#[case(r#"{"asset_name":"N","asset_version":{"version":"1"}}"#, "")]
#[case(r#"{"asset_name":null,"asset_version":{"version":"1","tag":"t"}}"#, "")]
#[case(r#"{"asset_name":"N","asset_version":{}}"#, "")]
#[case(r#"{"asset_version":{"version":"1","tag":"t"}}"#, "")]
fn a_uri_is_what_the_original_made_of_the_parts(#[case] body: &str, #[case] uri: &str) {
    assert_eq!(member(&external(body).unwrap(), "asset_uri"), uri);
}

#[rstest]
#[case("[1]", "wrong_type", "JSON object")]
#[case(r#"{"my_field":1}"#, "unknown_member", "my_field")]
#[case(r#"{"asset_uri":"a:1-b"}"#, "read_only", "asset_uri")]
#[case(r#"{"asset_id":"x"}"#, "read_only", "asset_id")]
#[case(r#"{"assets_db_id":"x"}"#, "read_only", "assets_db_id")]
#[case(r#"{"asset_version":null}"#, "wrong_type", "asset_version")]
#[case(r#"{"asset_version":"1.0"}"#, "wrong_type", "asset_version")]
#[case(r#"{"asset_name":{"a":1}}"#, "wrong_type", "asset_name")]
#[case(
    r#"{"asset_name":"N","asset_version":{"version":{"a":1},"tag":"t"}}"#,
    "wrong_type",
    "asset_version.version"
)]
fn a_bad_external_description_is_refused_by_name(
    #[case] body: &str,
    #[case] code: &str,
    #[case] names: &str,
) {
    let error = external(body).unwrap_err();
    assert_eq!(error.code(), code);
    assert!(error.to_string().contains(names), "{error}");
}

#[test]
fn a_blank_system_member_says_nothing() {
    let document = external(r#"{"asset_id":null,"asset_uri":"","asset_name":"N"}"#).unwrap();
    assert_eq!(member(&document, "asset_id"), "");
}

#[test]
fn a_uri_has_a_longest_length() {
    let body =
        format!(r#"{{"asset_name":"{}","asset_version":{{"version":"1","tag":"t"}}}}"#, "n".repeat(5000));
    assert_eq!(external(&body).unwrap_err().code(), "too_long");
}

#[test]
fn an_upload_is_trimmed_and_gets_the_facts_of_its_file() {
    let body = r#"{"asset_name":" N ","asset_version":{"version":" 1","tag":"t "},"asset_file_info":{"format":"png","file_size":9}}"#;
    let document = uploaded(body).unwrap();
    assert_eq!(member(&document, "asset_uri"), "N:1-t");
    assert_eq!(member(&document, "asset_name"), "N");
    assert_eq!(member(&document, "asset_id"), AssetId::of(b"x").to_string());
    let info = serde_json::json!({
        "format": "png", "file_name": "f.png", "file_type": "image/png", "file_size": 1,
        "checksum": format!("blake3:{}", AssetId::of(b"x")),
    });
    assert_eq!(member(&document, "asset_file_info"), info);
}

#[rstest]
#[case("{}", "asset_name is required")]
#[case(r#"{"asset_name":" "}"#, "asset_name is required")]
#[case(r#"{"asset_name":"N"}"#, "Both version and tag are required in asset_version")]
#[case(
    r#"{"asset_name":"N","asset_version":{"version":"1"}}"#,
    "Both version and tag are required in asset_version"
)]
#[case(
    r#"{"asset_name":"N","asset_version":{"version":" ","tag":"t"}}"#,
    "Both version and tag are required in asset_version"
)]
#[case(r#"{"asset_name":5}"#, "`asset_name` must be a string")]
#[case(
    r#"{"asset_name":"N","asset_version":"1"}"#,
    "`asset_version` must be an object with `version` and `tag`"
)]
#[case(
    r#"{"asset_name":"N","asset_version":{"version":1.0,"tag":"t"}}"#,
    "`asset_version.version` must be a string"
)]
fn an_upload_without_its_parts_is_refused_in_the_original_words(#[case] body: &str, #[case] sentence: &str) {
    assert_eq!(uploaded(body).unwrap_err().to_string(), sentence);
}

#[rstest]
#[case("null")]
#[case("\"x\"")]
fn file_info_of_an_upload_must_be_an_object(#[case] info: &str) {
    let body = VALID.replacen('{', &format!(r#"{{"asset_file_info":{info},"#), 1);
    assert_eq!(uploaded(&body).unwrap_err().code(), "wrong_type");
}

#[test]
fn an_update_sets_members_and_dotted_paths_and_keeps_the_rest() {
    let before = external(
        r#"{"asset_name":"N","asset_version":{"version":"1","tag":"t"},"asset_metadata":{"a":1,"b":2}}"#,
    )
    .unwrap();
    let after = update(&before, r#"{"asset_metadata.author":"me","asset_tags":["x"]}"#).unwrap();
    assert_eq!(member(&after, "asset_metadata"), serde_json::json!({"a":1,"b":2,"author":"me"}));
    assert_eq!(member(&after, "asset_tags"), serde_json::json!(["x"]));
    let whole = update(&before, r#"{"asset_metadata":{"c":3}}"#).unwrap();
    assert_eq!(member(&whole, "asset_metadata"), serde_json::json!({"c":3}));
    assert_eq!(update(&before, "{}").unwrap(), before);
    assert_eq!(update(&before, r#"{"asset_metadata":{"a":1,"b":2}}"#).unwrap(), before);
}

#[test]
fn a_new_name_or_version_makes_a_new_uri() {
    let before = external(VALID).unwrap();
    assert_eq!(member(&update(&before, r#"{"asset_name":"M"}"#).unwrap(), "asset_uri"), "M:1-t");
    assert_eq!(member(&update(&before, r#"{"asset_version.tag":"u"}"#).unwrap(), "asset_uri"), "N:1-u");
    assert_eq!(member(&update(&before, r#"{"asset_version":{"version":"2"}}"#).unwrap(), "asset_uri"), "");
}

#[rstest]
#[case(r#"{"asset_uri":"x:1-t"}"#, "read_only", "asset_uri")]
#[case(r#"{"asset_id":null}"#, "read_only", "asset_id")]
#[case(r#"{"assets_db_id":"x"}"#, "read_only", "assets_db_id")]
#[case(r#"{"asset_file_info.checksum":"blake3:0"}"#, "read_only", "asset_file_info.checksum")]
#[case(r#"{"asset_file_info.file_size.x":1}"#, "read_only", "asset_file_info.file_size.x")]
#[case(r#"{"asset_file_info":{"file_size":7}}"#, "read_only", "asset_file_info.file_size")]
#[case(r#"{"asset_file_info":[]}"#, "wrong_type", "asset_file_info")]
#[case(r#"{"my_field":{"a":1}}"#, "unknown_member", "my_field")]
#[case(r#"{"asset_version":"str"}"#, "wrong_type", "asset_version")]
#[case(r#"{"asset_version.version":{"a":1}}"#, "wrong_type", "asset_version.version")]
#[case(r#"{"asset_metadata":{},"asset_metadata.a":1}"#, "bad_path", "asset_metadata.a")]
#[case(r#"{"asset_metadata..a":1}"#, "bad_path", "empty")]
#[case(r#"{"asset_metadata.$a":1}"#, "bad_path", "$")]
#[case(r#"{"asset_name.a":1}"#, "bad_path", "asset_name.a")]
#[case("[]", "wrong_type", "JSON object")]
fn a_bad_update_is_refused_by_name(#[case] patch: &str, #[case] code: &str, #[case] names: &str) {
    let error = update(&uploaded(VALID).unwrap(), patch).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert!(error.to_string().contains(names), "{error}");
}

#[test]
fn replaced_file_info_keeps_what_the_node_knows() {
    let after =
        update(&uploaded(VALID).unwrap(), r#"{"asset_file_info":{"format":"png","file_size":1}}"#).unwrap();
    assert_eq!(member(&after, "asset_file_info.format"), "png");
    assert_eq!(member(&after, "asset_file_info.file_name"), "f.png");
    assert_eq!(member(&after, "asset_file_info.file_size"), 1);
}

#[test]
fn file_info_of_an_external_asset_is_the_callers() {
    let before = external(VALID).unwrap();
    let after = update(&before, r#"{"asset_file_info.checksum":"sha256:1"}"#).unwrap();
    assert_eq!(member(&after, "asset_file_info.checksum"), "sha256:1");
}
