//! Tests of `filter::terms`.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::document::Document;
use crate::filter::Filter;

fn number(value: i64) -> Scalar {
    Scalar::Number(Number::Int(value))
}

fn text(value: &str) -> Scalar {
    Scalar::String(value.to_owned())
}

fn equals(path: &str, value: Scalar) -> Need {
    let path = path.to_owned();
    Need::Equals { path, value }
}

fn range(path: &str, low: Option<(Scalar, bool)>, high: Option<(Scalar, bool)>) -> Need {
    let bound = |(value, inclusive)| Bound { value, inclusive };
    Need::Range { path: path.to_owned(), low: low.map(bound), high: high.map(bound) }
}

fn need(filter: &serde_json::Value) -> Need {
    Filter::parse(filter).unwrap().need()
}

#[test]
fn every_scalar_is_given_with_its_path_and_arrays_do_not_count() {
    let document = json!({
        "a": 1, "b": {"c": ["x", ["y", null], {"d": true}]}, "": {"": 2.5}, "e": [[{"f": 3}]], "g": {}, "h": [],
    });
    let document = Document::from_value(&document).unwrap();
    let mut found = Vec::new();
    terms(document.root(), &mut |path, scalar| {
        found.push(format!("{path}={:?}", scalar.to_scalar()));
    });
    let expected = [
        "a=Number(Int(1))",
        "b.c=String(\"x\")",
        "b.c=String(\"y\")",
        "b.c.d=Bool(true)",
        ".=Number(Double(2.5))",
        "e.f=Number(Int(3))",
    ];
    assert_eq!(found, expected);
}

#[rstest]
#[case(json!({}), Need::Anything)]
#[case(json!({"a": 1}), equals("a", number(1)))]
#[case(json!({"a.b": {"$eq": true}}), equals("a.b", Scalar::Bool(true)))]
#[case(json!({"a": null}), Need::Anything)]
#[case(json!({"a.0": 1}), Need::Anything)]
#[case(json!({"a.0.b": 1}), Need::Anything)]
#[case(json!({"a": []}), Need::Anything)]
#[case(json!({"asset_tags": ["sample"]}), equals("asset_tags", text("sample")))]
#[case(json!({"m": {"type": "image"}}), equals("m.type", text("image")))]
#[case(json!({"m": {"0": [null, 2]}}), equals("m.0", number(2)))]
#[case(json!({"a": {"$in": []}}), Need::Nothing)]
#[case(json!({"a": {"$in": [1, null]}}), Need::Anything)]
#[case(json!({"a": {"$in": [1, "x"]}}), Need::Any(vec![equals("a", number(1)), equals("a", text("x"))]))]
#[case(json!({"a": {"$all": []}}), Need::Nothing)]
#[case(json!({"a": {"$all": ["x", "y"]}}), Need::All(vec![equals("a", text("x")), equals("a", text("y"))]))]
#[case(json!({"a": {"$ne": 1}}), Need::Anything)]
#[case(json!({"a": {"$not": {"$eq": 1}}}), Need::Anything)]
#[case(json!({"$nor": [{"a": 1}]}), Need::Anything)]
#[case(json!({"a": {"$regex": "x"}}), Need::Anything)]
#[case(json!({"$expr": {"$eq": ["$a", 1]}}), Need::Anything)]
#[case(json!({"$alwaysFalse": 1, "a": 1}), Need::Nothing)]
#[case(json!({"$or": [{"a": 1}, {"$alwaysFalse": 1}]}), equals("a", number(1)))]
#[case(json!({"$or": [{"a": 1}, {"b": {"$gt": null}}]}), Need::Anything)]
#[case(json!({"$and": [{"a": 1}, {"b": {"$exists": true}}]}), equals("a", number(1)))]
#[case(json!({"a": {"$gt": 1, "$lte": 3}}), Need::All(vec![
    range("a", Some((number(1), false)), None), range("a", None, Some((number(3), true)))]))]
#[case(json!({"a": {"$gte": true}}), Need::Anything)]
#[case(json!({"a": {"$lt": {"b": 1}}}), Need::Anything)]
#[case(json!({"a": {"$elemMatch": {"$gt": 1, "$lt": 3}}}),
    range("a", Some((number(1), false)), Some((number(3), false))))]
#[case(json!({"a": {"$elemMatch": {"$lt": "x", "$gte": 1}}}), Need::All(vec![
    range("a", None, Some((text("x"), false))), range("a", Some((number(1), true)), None)]))]
#[case(json!({"a": {"$elemMatch": {"b": 1, "c.d": "x"}}}),
    Need::All(vec![equals("a.b", number(1)), equals("a.c.d", text("x"))]))]
#[case(json!({"a": {"$elemMatch": {"0": 1}}}), Need::Anything)]
#[case(json!({"a": {"$elemMatch": {"$elemMatch": {"b": 1}}}}), equals("a.b", number(1)))]
#[case(json!({"a": {"$all": [{"$elemMatch": {"b": 1}}]}}), equals("a.b", number(1)))]
fn a_filter_needs_no_more_than_every_match_has(#[case] filter: serde_json::Value, #[case] expected: Need) {
    assert_eq!(need(&filter), expected);
}

#[test]
fn bounds_of_inner_elements_are_not_joined() {
    // `{"a":[[{"b":[0,2]}]]}` matches, and no single value of it lies in the range.
    let filter = json!({"a": {"$elemMatch": {"$elemMatch": {"b": {"$gte": 1, "$lte": 1}}}}});
    assert!(matches!(need(&filter), Need::All(needs) if needs.len() == 2));
}

#[test]
fn a_long_literal_asks_for_a_few_terms_only() {
    let list: Vec<i64> = (0..1000).collect();
    assert!(matches!(need(&json!({"a": list})), Need::All(needs) if needs.len() == 16));
}

fn key(scalar: &Scalar) -> Vec<u8> {
    let mut out = Vec::new();
    scalar.index_key(&mut out);
    out
}

#[test]
fn equal_scalars_have_equal_keys_and_types_do_not_mix() {
    assert_eq!(key(&number(1)), key(&Scalar::Number(Number::Double(1.0))));
    assert_eq!(key(&number(0)), key(&Scalar::Number(Number::Double(-0.0))));
    assert_eq!(key(&Scalar::Bool(true)), [8, 1]);
    assert_eq!(key(&text("ab")), [3, b'a', b'b']);
    let long = "x".repeat(25);
    assert_eq!(key(&text(&long)).len(), 25);
    assert_ne!(key(&text(&long)), key(&text(&format!("{long}y"))));
    assert!(key(&number(i64::MAX)) < key(&text("")));
}

fn scalars() -> Vec<Scalar> {
    let texts =
        ["", "a", "ab", "b", "\u{10FFFF}", "aaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaab", "aaaaaaaaaaaaaaa"];
    let long =
        ["a".repeat(24), "a".repeat(25), "a".repeat(99), format!("{}z", "a".repeat(20)), "b".repeat(30)];
    let ints = [0, 1, -1, i64::MAX, i64::MIN, 9_007_199_254_740_993, 9_007_199_254_740_992];
    let doubles = [0.5, -0.5, 1e300, -1e300, 5e-324, 9_007_199_254_740_992.0];
    let mut all = vec![Scalar::Bool(false), Scalar::Bool(true)];
    all.extend(texts.map(text));
    all.extend(long.iter().map(|long| text(long)));
    all.extend(ints.map(number));
    all.extend(doubles.map(|double| Scalar::Number(Number::Double(double))));
    all
}

/// The order of two scalars of one type; nothing for two types.
fn order(a: &Scalar, b: &Scalar) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Scalar::Bool(a), Scalar::Bool(b)) => Some(a.cmp(b)),
        (Scalar::Number(a), Scalar::Number(b)) => Some(a.cmp_exact(b)),
        (Scalar::String(a), Scalar::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

#[test]
fn every_scalar_of_a_range_has_its_key_between_the_keys_of_the_range() {
    let all = scalars();
    for bound in &all {
        let end = Bound { value: bound.clone(), inclusive: true };
        let (low_first, low_last) = range_keys(Some(&end), None);
        let (high_first, high_last) = range_keys(None, Some(&end));
        for scalar in &all {
            let key = key(scalar);
            match order(scalar, bound) {
                None => assert!(key < low_first || key > low_last, "{scalar:?} {bound:?}"),
                Some(order) => {
                    assert!(
                        order.is_lt() || (low_first <= key && key <= low_last),
                        "{scalar:?} >= {bound:?}"
                    );
                    assert!(
                        order.is_gt() || (high_first <= key && key <= high_last),
                        "{scalar:?} <= {bound:?}"
                    );
                }
            }
        }
    }
    let (first, last) = range_keys(None, None);
    assert!(all.iter().all(|scalar| first <= key(scalar) && key(scalar) <= last));
}
