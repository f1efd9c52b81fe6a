//! Runs every public case of the filter language: filters, sorts, skips, limits and projections, and
//! lists each one whose answer differs.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;
use std::path::Path;

use assetmesh_protocol::document::Document;
use assetmesh_protocol::filter::{Filter, Projection, Sort, SortKey};
use serde_json::Value;

fn read_text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/mongo").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> Value {
    serde_json::from_str(&read_text(name)).unwrap()
}

/// A document with what a case calls it: an id or a position.
type Named = (Value, Document);

/// The names of the documents a case selects, in order, and what its projection shows of them.
fn run(case: &Value, documents: &[Named]) -> Result<(Vec<Value>, Vec<Value>), String> {
    let filter = Filter::parse(&case["filter"]).map_err(|error| error.to_string())?;
    let again = Filter::parse_json(case["filter"].to_string().as_bytes());
    assert!(again.is_ok(), "the JSON text of {} is refused", case["id"]);
    let mut found: Vec<&Named> = Vec::new();
    for named in documents {
        if filter.matches(named.1.root()).map_err(|e| e.to_string())? {
            found.push(named);
        }
    }
    if let Some(sort) = case.get("sort").filter(|sort| !sort.is_null()) {
        let sort = Sort::parse(&sort.to_string()).map_err(|error| error.to_string())?;
        let mut keyed: Vec<(SortKey, &Named)> = Vec::new();
        for named in found {
            keyed.push((sort.key(named.1.root()).map_err(|e| e.to_string())?, named));
        }
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        found = keyed.into_iter().map(|(_, named)| named).collect();
    }
    let count = |key: &str| usize::try_from(case[key].as_i64().unwrap_or(0));
    let skip = count("skip").map_err(|_| "negative skip")?;
    let limit = count("limit").map_err(|_| "negative limit")?;
    let limit = if limit == 0 { usize::MAX } else { limit };
    let found: Vec<_> = found.into_iter().skip(skip).take(limit).collect();
    let names = found.iter().map(|named| named.0.clone()).collect();
    let mut shown = Vec::new();
    if let Some(projection) = case.get("projection").filter(|p| !p.is_null()) {
        let projection = Projection::parse(projection).map_err(|error| error.to_string())?;
        for named in found {
            let part = projection.apply(named.1.root());
            shown.push(part.map_err(|error| error.to_string())?.to_value());
        }
    }
    Ok((names, shown))
}

/// What is wrong with the answer to a case.
fn difference(case: &Value, documents: &[Named]) -> Option<String> {
    let refused = case["error"] == true;
    let (names, shown) = match run(case, documents) {
        Err(_) if refused => return None,
        Err(error) => return Some(format!("refused: {error}")),
        Ok(_) if refused => return Some("accepted, but it must be refused".into()),
        Ok(answer) => answer,
    };
    let expected = case["expect"].as_array().unwrap();
    if names != *expected {
        return Some(format!("found {names:?}, expected {expected:?}"));
    }
    let docs = case.get("expect_docs")?;
    // Key order counts, and only the text shows it.
    let (shown, docs) = (Value::from(shown).to_string(), docs.to_string());
    (shown != docs).then(|| format!("shows {shown}, expected {docs}"))
}

fn check(cases: &Value, documents_of: impl Fn(&Value) -> Vec<Named>) {
    let cases = cases.as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        if let Some(difference) = difference(case, &documents_of(case)) {
            wrong.push(format!("{} {}: {difference}", case["id"], case["filter"]));
        }
    }
    let (count, all) = (wrong.len(), cases.len());
    assert!(wrong.is_empty(), "{count} of {all}\n{}", wrong.join("\n"));
}

fn collection() -> impl Fn(&Value) -> Vec<Named> {
    let docs = read("docs.json");
    move |case| {
        let docs = docs.as_array().unwrap().iter();
        docs.filter(|doc| doc["coll"] == case["coll"])
            .map(|doc| (doc["id"].clone(), Document::from_value(&doc["doc"]).unwrap()))
            .collect()
    }
}

/// The cases, one a line, and the texts of the filters that are nested too deep for the JSON reader of
/// this test.
fn read_cases(name: &str) -> (Value, Vec<String>) {
    let text = read_text(name);
    let (mut cases, mut deep) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let line = line.trim_end_matches(',');
        match serde_json::from_str::<Value>(line) {
            Ok(case) => cases.push(case),
            Err(_) => {
                let (_, rest) = line.split_once("\"filter\": ").unwrap();
                let (filter, rest) = rest.rsplit_once(", \"expect\": ").unwrap();
                assert!(rest.contains("\"error\": true"), "{rest}");
                deep.push(filter.to_owned());
            }
        }
    }
    (cases.into(), deep)
}

#[test]
fn every_public_filter_case_gives_the_expected_assets() {
    let (cases, deep) = read_cases("cases_public.json");
    assert_eq!(cases.as_array().unwrap().len() + deep.len(), 636);
    check(&cases, collection());
    for filter in deep {
        let error = Filter::parse_json(filter.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "filter_too_large", "{error}");
    }
}

#[test]
fn every_public_sort_and_projection_case_gives_the_expected_order_and_members() {
    check(&read("sort_public.json"), collection());
}

#[test]
fn every_generated_case_gives_the_expected_positions() {
    let docs: HashMap<String, Value> = serde_json::from_value(read("fuzz_docs.json")).unwrap();
    check(&read("fuzz_public.json"), |case| {
        let list = docs[case["docs"].as_str().unwrap()].as_array().unwrap();
        let named = list.iter().enumerate();
        named.map(|(n, doc)| (n.into(), Document::from_value(doc).unwrap())).collect()
    });
}
