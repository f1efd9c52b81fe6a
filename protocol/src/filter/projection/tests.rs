//! Tests of `filter::projection`.

use rstest::rstest;
use serde_json::json;

use super::*;

const DOCUMENT: &str = r#"{"_id":7,"name":"n","v":{"tag":"t","version":1},"list":[{"a":1,"b":2},3,[{"a":4,"c":5}]],"tags":["x","y","z"]}"#;

fn projected(projection: Value) -> String {
    let document = Document::from_json(DOCUMENT.as_bytes()).unwrap();
    let projection = Projection::parse(&projection).unwrap();
    projection.apply(document.root()).unwrap().to_json()
}

#[rstest]
#[case(json!({}), DOCUMENT)]
#[case(json!({"tags": 1, "name": true}), r#"{"name":"n","tags":["x","y","z"]}"#)]
#[case(json!({"_id": 1}), r#"{"_id":7}"#)]
#[case(json!({"_id": 0, "name": 0.5}), r#"{"name":"n"}"#)]
#[case(json!({"_id": 1, "name": 1}), r#"{"_id":7,"name":"n"}"#)]
#[case(json!({"nosuch": 1}), "{}")]
#[case(json!({"v": {"tag": 1}, "name.x": 1}), r#"{"v":{"tag":"t"}}"#)]
#[case(json!({"list.a": 1}), r#"{"list":[{"a":1},[{"a":4}]]}"#)]
#[case(json!({"list.0": 1}), r#"{"list":[{},[{}]]}"#)]
#[case(json!({"_id": 0, "v": 0, "list.a": false, "tags": 0}), r#"{"name":"n","list":[{"b":2},3,[{"c":5}]]}"#)]
#[case(json!({"tags": {"$slice": 1}, "name": 1}), r#"{"name":"n","tags":["x"]}"#)]
#[case(json!({"tags": {"$slice": -2}, "_id": 0, "v": 0, "list": 0}), r#"{"name":"n","tags":["y","z"]}"#)]
#[case(json!({"tags": {"$slice": [1, 1]}, "v": 1}), r#"{"v":{"tag":"t","version":1},"tags":["y"]}"#)]
#[case(json!({"tags": {"$slice": [-9, 1]}, "name": {"$slice": 1}, "v": 1}), r#"{"name":"n","v":{"tag":"t","version":1},"tags":["x"]}"#)]
#[case(json!({"tags": {"$elemMatch": {"$ne": "x"}}, "name": {"$elemMatch": {}}}), r#"{"tags":["y"]}"#)]
#[case(json!({"list": {"$elemMatch": {"b": 2}}}), r#"{"list":[{"a":1,"b":2}]}"#)]
fn a_projection_shows_what_it_names(#[case] projection: Value, #[case] expected: &str) {
    assert_eq!(projected(projection), expected);
}

#[test]
fn a_slice_alone_keeps_all_other_members() {
    let expected = DOCUMENT.replace(r#"["x","y","z"]"#, "[]");
    assert_eq!(projected(json!({"tags": {"$slice": 0}})), expected);
}

#[test]
fn a_document_that_is_no_object_is_shown_whole() {
    let document = Document::from_json(b"[1]").unwrap();
    let projection = Projection::parse(&json!({"a": 1})).unwrap();
    assert_eq!(projection.apply(document.root()).unwrap(), document);
}

#[rstest]
#[case(json!(5), "the projection is not an object: expected paths and 1 or 0")]
#[case(json!({"a": 1, "b": 0}), "projection of `b`: members to show and members to leave out cannot be mixed")]
#[case(json!({"b": 0, "a": {"$elemMatch": {}}}), "projection of `a`: members to show and members to leave out cannot be mixed")]
#[case(json!({"a": 1, "a.b": 1}), "projection of `a.b`: it collides with another path")]
#[case(json!({"a.b": 1, "a": 1}), "projection of `a`: it collides with another path")]
#[case(json!({"a": "x"}), "projection of `a`: expected 1 or 0")]
#[case(json!({"a": {}}), "projection of `a`: expected 1 or 0")]
#[case(json!({"a": {"$foo": 1}}), "projection of `a`: unknown operator $foo")]
#[case(json!({"a": {"$slice": 1, "$x": 1}}), "projection of `a`: expected one operator")]
#[case(json!({"a": {"$slice": "1"}}), "projection of `a`: $slice takes a number or [skip, count]")]
#[case(json!({"a": {"$slice": [1, 0]}}), "projection of `a`: $slice takes a number or [skip, count]")]
#[case(json!({"a.b": {"$elemMatch": {}}}), "projection of `a.b`: $elemMatch is for members of the document itself")]
#[case(json!({"a": {"$elemMatch": 1}}), "projection of `a`: $elemMatch at a: expected an object")]
#[case(json!({"a.$": 1}), "projection of `a.$`: a component is empty or begins with `$`, or there are too many")]
#[case(json!({"a..b": 1}), "projection of `a..b`: a component is empty or begins with `$`, or there are too many")]
fn a_bad_projection_is_refused_with_its_path(#[case] projection: Value, #[case] sentence: &str) {
    let error = Projection::parse(&projection).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), (sentence, "bad_projection"));
}
