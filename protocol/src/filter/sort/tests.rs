//! Tests of `filter::sort`.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn doc(text: &str) -> Document {
    Document::from_json(text.as_bytes()).unwrap()
}

/// The documents in the order of a sort, as text.
fn sorted(keys: &str, documents: &[&str]) -> Vec<String> {
    let sort = Sort::parse(keys).unwrap();
    let mut documents: Vec<Document> = documents.iter().map(|text| doc(text)).collect();
    documents.sort_by_cached_key(|document| sort.key(document.root()).unwrap());
    documents.iter().map(Document::to_json).collect()
}

#[rstest]
#[case("a", &[r#"{"a":[]}"#, r#"{"a":null}"#, r#"{"b":1}"#, r#"{"a":1}"#, r#"{"a":"1"}"#, r#"{"a":{}}"#, r#"{"a":[[]]}"#, r#"{"a":false}"#])]
#[case("-a", &[r#"{"a":[1,9]}"#, r#"{"a":[2,8]}"#, r#"{"a":3}"#, r#"{"a":[]}"#])]
#[case("a", &[r#"{"a":[1,9]}"#, r#"{"a":[2,8]}"#, r#"{"a":3}"#])]
#[case("a.b,-a.c", &[r#"{"a":[{"b":1,"c":2},{"b":0,"c":1}]}"#, r#"{"a":[{"b":1,"c":3}]}"#, r#"{"a":{"b":1,"c":2}}"#])]
#[case("a.b", &[r#"{"a":{"b":[]}}"#, r#"{"a":[1,{"b":0}]}"#, r#"{"a":[{"b":1}]}"#])]
#[case("a.0", &[r#"{"a":[1,0]}"#, r#"{"a":{"0":2}}"#, r#"{"a":[3]}"#])]
#[case(r#"{"x.y":-1,"a":1}"#, &[r#"{"x":{"y":2},"a":1}"#, r#"{"x":{"y":2},"a":3}"#, r#"{"x":{"y":1},"a":2}"#])]
#[case("a", &[r#"{"a":9007199254740992}"#, r#"{"a":9007199254740993}"#, r#"{"a":9007199254740994.0}"#])]
#[case("{}", &[r#"{"a":2}"#, r#"{"a":1}"#])]
fn documents_come_in_the_order_of_the_sort(#[case] keys: &str, #[case] documents: &[&str]) {
    let expected: Vec<String> = documents.iter().map(|text| doc(text).to_json()).collect();
    assert_eq!(sorted(keys, documents), expected);
    // Ties keep the order they have; documents that differ come back from any order.
    let mut turned = documents.to_vec();
    turned.reverse();
    let ties = ["{}", "a"];
    assert!(ties.contains(&keys) || sorted(keys, &turned) == expected);
}

#[rstest]
#[case("", "cannot sort by ``: a component is empty or begins with `$`, or there are too many")]
#[case("a..b", "cannot sort by `a..b`: a component is empty or begins with `$`, or there are too many")]
#[case("a,", "cannot sort by ``: a component is empty or begins with `$`, or there are too many")]
#[case("--a.$b", "cannot sort by `-a.$b`: a component is empty or begins with `$`, or there are too many")]
#[case(
    "$natural",
    "cannot sort by `$natural`: a component is empty or begins with `$`, or there are too many"
)]
#[case(r#"{"a":2}"#, "cannot sort by `a`: the direction must be 1 or -1")]
#[case(r#"{"a":{"$meta":"x"}}"#, "cannot sort by `a`: the direction must be 1 or -1")]
#[case("{\"a\":1", "the sort is not JSON: line 1 column 7: the text ends too early")]
fn a_bad_sort_is_refused_with_its_path(#[case] keys: &str, #[case] sentence: &str) {
    let error = Sort::parse(keys).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.code()), (sentence, "bad_sort"));
}

#[test]
fn too_many_keys_are_refused() {
    let keys = |count: usize| vec!["a"; count].join(",");
    assert!(Sort::parse(&keys(SORT_KEYS_MAX)).is_ok());
    assert_eq!(Sort::parse(&keys(SORT_KEYS_MAX + 1)).unwrap_err(), SortError::TooManyKeys);
}

#[rstest]
#[case(
    "a,b",
    r#"{"a":[1],"b":[2]}"#,
    "cannot sort by `b`: a document has parallel arrays under the sort keys"
)]
#[case("a,b", r#"{"a":[],"b":[]}"#, "cannot sort by `b`: a document has parallel arrays under the sort keys")]
#[case("a.0", r#"{"a":[{"0":1}]}"#, "cannot sort by `a.0`: `0` is both a position and a key in a document")]
fn a_document_that_cannot_be_sorted_is_refused(
    #[case] keys: &str,
    #[case] document: &str,
    #[case] sentence: &str,
) {
    let error = Sort::parse(keys).unwrap().key(doc(document).root()).unwrap_err();
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn a_big_string_beside_a_long_array_costs_little() {
    let list: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    let text = format!(r#"{{"s":"{}","a":[{}]}}"#, "x".repeat(500_000), list.join(","));
    let key = Sort::parse("s,-a").unwrap().key(doc(&text).root()).unwrap();
    assert!(key.as_bytes().len() < 600_000);
}

fn any_scalar() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (0..4_i64).prop_map(Into::into),
        (-4..4_i64).prop_map(|n| (n as f64 / 2.0).into()),
        (-1025..1025_i64).prop_map(|n| (i64::MAX - 1024).saturating_add(n).into()),
        Just((i64::MAX as f64).into()),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Into::into),
        any::<i32>().prop_map(|n| (f64::from(n) * 4_294_967_296.0).into()),
        "[ab\u{0}\u{1}\u{2}é]{0,3}".prop_map(Into::into),
    ]
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    any_scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::vec(("[ab\u{0}]{0,2}", inner), 0..3)
                .prop_map(|members| { members.into_iter().collect::<serde_json::Value>() }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn key_bytes_are_ordered_as_the_values_are(a in any_value(), b in any_value()) {
        let (a, b) = (Document::from_value(&a).unwrap(), Document::from_value(&b).unwrap());
        let bytes = |value: &Document| {
            let mut out = Vec::new();
            key::write(Some(value.root()), &mut out);
            out
        };
        prop_assert_eq!(bytes(&a).cmp(&bytes(&b)), a.root().cmp_total(&b.root()));
        let mut empty = Vec::new();
        key::write(None, &mut empty);
        prop_assert!(empty < bytes(&a));
    }

    #[test]
    fn two_keys_compare_one_after_the_other(a in any_scalar(), b in any_scalar(), c in any_scalar(), d in any_scalar()) {
        let (x, y) = (serde_json::json!({"k": a, "l": b}), serde_json::json!({"k": c, "l": d}));
        let (x, y) = (Document::from_value(&x).unwrap(), Document::from_value(&y).unwrap());
        let sort = Sort::parse("-k,l").unwrap();
        let member = |document: &Document, key| Document::from(document.root().as_object().unwrap().get(key).unwrap());
        let order = (member(&y, "k").root().cmp_total(&member(&x, "k").root()))
            .then(member(&x, "l").root().cmp_total(&member(&y, "l").root()));
        prop_assert_eq!(sort.key(x.root()).unwrap().cmp(&sort.key(y.root()).unwrap()), order);
    }
}
