//! Laws of the filter language on generated documents and filters: an index never misses a match, and
//! operators that are defined by others agree with them.

use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::filter::terms::{Need, ScalarRef, range_keys, terms};
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::ids::RecordId;
use assetmesh_protocol::summary::{Growing, Marks, Probe};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

/// Scalars that meet often, and some that are alike.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..4_i64).prop_map(Value::from),
        (-2..4_i64).prop_map(|n| Value::from(n as f64 / 2.0)),
        prop::sample::select(vec![i64::MAX, i64::MIN, 1 << 53, (1 << 53) + 1]).prop_map(Value::from),
        Just(Value::from(9_007_199_254_740_992.0)),
        "[ab]{0,2}".prop_map(Value::from),
        "x{15,26}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "0", "1"]).prop_map(str::to_owned)
}

fn document() -> impl Strategy<Value = Value> {
    prop::collection::vec((key(), value()), 0..5).prop_map(|m| m.into_iter().collect())
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(key(), 1..4).prop_map(|keys| keys.join("."))
}

/// The operators on one path.
fn operators() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (comparison(), value()).prop_map(|(operator, value)| json!({ operator: value })),
        (comparison(), value(), comparison(), value()).prop_map(|(a, x, b, y)| json!({a: x, b: y})),
        prop::collection::vec(value(), 0..4).prop_map(|list| json!({ "$in": list })),
        prop::collection::vec(value(), 0..3).prop_map(|list| json!({ "$nin": list })),
        prop::collection::vec(value(), 0..3).prop_map(|list| json!({ "$all": list })),
        any::<bool>().prop_map(|exists| json!({ "$exists": exists })),
        (0..3_u64).prop_map(|size| json!({ "$size": size })),
        Just(json!({"$regex": "^a"})),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|operators| json!({ "$not": operators })),
            inner.clone().prop_map(|operators| json!({ "$elemMatch": operators })),
            (path(), inner).prop_map(|(path, inner)| json!({"$elemMatch": {path: inner}})),
        ]
    })
}

fn comparison() -> impl Strategy<Value = String> {
    let names = vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"];
    prop::sample::select(names).prop_map(str::to_owned)
}

/// A filter without regular expressions in `$in`, and always legal.
fn filter() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (path(), operators()).prop_map(|(path, operators)| json!({ path: operators })),
        (path(), value()).prop_map(|(path, value)| json!({ path: value })),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let branches = prop::collection::vec(inner, 1..4);
        (prop::sample::select(vec!["$and", "$or", "$nor"]), branches)
            .prop_map(|(operator, branches)| json!({ operator: branches }))
    })
}

fn parse(filter: &Value) -> Filter {
    Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"))
}

fn matches(filter: &Value, document: &Value) -> bool {
    let document = Document::from_value(document).expect("generated documents are shallow");
    let result = parse(filter).matches(document.root());
    result.expect("nothing here fails at run time")
}

/// Whether a document's terms satisfy a need, by the keys an index would hold.
fn is_satisfied(need: &Need, document: ValueRef<'_>) -> bool {
    match need {
        Need::Anything => true,
        Need::Nothing => false,
        Need::All(needs) => needs.iter().all(|need| is_satisfied(need, document)),
        Need::Any(needs) => needs.iter().any(|need| is_satisfied(need, document)),
        Need::Equals { path, value } => {
            let key = index_key(value.as_ref());
            has_term(document, path, &key, &key)
        }
        Need::Range { path, low, high } => {
            let (first, last) = range_keys(low.as_ref(), high.as_ref());
            has_term(document, path, &first, &last)
        }
    }
}

fn index_key(scalar: ScalarRef<'_>) -> Vec<u8> {
    let mut key = Vec::new();
    scalar.index_key(&mut key);
    key
}

fn has_term(document: ValueRef<'_>, path: &str, first: &[u8], last: &[u8]) -> bool {
    let mut found = false;
    terms(document, &mut |at, scalar| {
        let key = index_key(scalar);
        found |= at == path && first <= &*key && &*key <= last;
    });
    found
}

/// Every value of a document with the paths to it, positions of arrays both named and left out.
fn walk(value: &Value, path: &[&str], places: &mut Vec<(String, Value)>) {
    if !path.is_empty() {
        places.push((path.join("."), value.clone()));
    }
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                walk(value, &[path, &[key]].concat(), places);
            }
        }
        Value::Array(elements) => {
            for (position, value) in elements.iter().enumerate() {
                walk(value, path, places);
                walk(value, &[path, &[&*position.to_string()]].concat(), places);
            }
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_match_has_the_terms_that_the_filter_needs(filter in filter(), documents in prop::collection::vec(document(), 8)) {
        let parsed = parse(&filter);
        let need = parsed.need();
        for document in documents {
            let stored = Document::from_value(&document).unwrap();
            if parsed.matches(stored.root()).unwrap() {
                prop_assert!(is_satisfied(&need, stored.root()), "{filter} {document} {need:?}");
            }
        }
    }

    #[test]
    fn a_summary_never_rules_out_a_node_that_holds_a_match(
        others in prop::collection::vec((filter(), value(), any::<prop::sample::Index>()), 6),
        documents in prop::collection::vec(document(), 0..6),
    ) {
        let stored: Vec<Document> = documents.iter().map(|d| Document::from_value(d).unwrap()).collect();
        let (mut growing, mut places) = (Growing::new(0), Vec::new());
        for (number, (document, value)) in stored.iter().zip(&documents).enumerate() {
            growing.insert(&Marks::of(RecordId(Uuid::from_u128(number as u128)), document.root()));
            walk(value, &[], &mut places);
        }
        places.push(("a".to_owned(), json!(1)));
        for (other, unlike, at) in others {
            // Conditions that some document satisfies, together with any others.
            let (path, value) = &places[at.index(places.len())];
            for filter in [
                json!({"$and": [{ path: value }, other]}),
                json!({"$or": [{ path: value }, other]}),
                json!({"$or": [other, { path: {"$gte": value} }, { path: unlike }]}),
                json!({ path: {"$in": [unlike, value]} }),
                json!({ path: {"$lte": value} }),
                json!({ path: {"$not": {"$in": [unlike]}} }),
                json!({"$nor": [{ path: unlike }, other]}),
                other,
            ] {
                let parsed = parse(&filter);
                let probe = Probe::of(&parsed.need());
                if stored.iter().any(|document| parsed.matches(document.root()).unwrap()) {
                    prop_assert!(growing.summary().may_hold(&probe), "{filter} {documents:?} {probe:?}");
                }
            }
        }
    }

    #[test]
    fn every_value_of_a_document_is_found_through_the_index(document in document()) {
        let stored = Document::from_value(&document).unwrap();
        let mut places = Vec::new();
        walk(&document, &[], &mut places);
        let mut summary = Growing::new(0);
        summary.insert(&Marks::of(RecordId(Uuid::nil()), stored.root()));
        for (path, value) in places {
            for operators in [
                json!({ "$eq": value }),
                json!({"$in": [value, "other"]}),
                json!({ "$all": [value] }),
                json!({"$gte": value, "$lte": value}),
                json!({"$elemMatch": {"$gte": value, "$lte": value}}),
                json!({ "$elemMatch": { "a": value } }),
            ] {
                let filter = parse(&json!({ &path: operators }));
                if filter.matches(stored.root()).unwrap() {
                    let need = filter.need();
                    prop_assert!(is_satisfied(&need, stored.root()), "{path} {operators} {need:?}");
                    let probe = Probe::of(&need);
                    prop_assert!(summary.summary().may_hold(&probe), "{path} {operators} {probe:?}");
                }
            }
        }
    }

    #[test]
    fn logic_is_that_of_its_branches(a in filter(), b in filter(), document in document()) {
        let (x, y) = (matches(&a, &document), matches(&b, &document));
        prop_assert_eq!(matches(&json!({"$and": [a, b]}), &document), x && y);
        prop_assert_eq!(matches(&json!({"$or": [a, b]}), &document), x || y);
        prop_assert_eq!(matches(&json!({"$nor": [a, b]}), &document), !(x || y));
    }

    #[test]
    fn negations_are_the_complement_of_the_positive_test(path in path(), value in value(), list in prop::collection::vec(value(), 0..12), operators in operators(), document in document()) {
        let test = |operators: Value| matches(&json!({ &path: operators }), &document);
        prop_assert_eq!(test(json!({"$ne": value})), !test(json!({"$eq": value})));
        prop_assert_eq!(test(json!({"$nin": list})), !test(json!({"$in": list})));
        prop_assert_eq!(test(json!({"$not": operators})), !test(operators.clone()));
        prop_assert_eq!(test(json!({"$exists": false})), !test(json!({"$exists": true})));
        let any = list.iter().any(|value| test(json!({"$eq": value})));
        prop_assert_eq!(test(json!({"$in": list})), any);
    }

    #[test]
    fn a_comparison_with_itself_is_its_parts(path in path(), value in value(), document in document()) {
        let test = |operator: &str| matches(&json!({ &path: { operator: value } }), &document);
        prop_assert_eq!(test("$gte"), test("$gt") || test("$eq"));
        prop_assert_eq!(test("$lte"), test("$lt") || test("$eq"));
    }

    #[test]
    fn sorting_down_is_sorting_up_turned_round(documents in prop::collection::vec(document(), 2..6)) {
        // Arrays have a smallest and a largest key, so only documents without them are turned round.
        let documents: Vec<Value> = documents.into_iter().filter(|d| !d.to_string().contains('[')).collect();
        let stored: Vec<Document> = documents.iter().map(|d| Document::from_value(d).unwrap()).collect();
        let (up, down) = (Sort::parse("a.b,c").unwrap(), Sort::parse(r#"{"a.b":-1,"c":-1.0}"#).unwrap());
        for x in &stored {
            for y in &stored {
                let up = up.key(x.root()).unwrap().cmp(&up.key(y.root()).unwrap());
                let down = down.key(x.root()).unwrap().cmp(&down.key(y.root()).unwrap());
                prop_assert_eq!(up, down.reverse());
            }
        }
    }
}
