//! Reads the three files of cases into one form.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Documents, and the cases that are asked of them.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) documents: Vec<Value>,
    /// The same, one a line.
    pub(super) lines: String,
    pub(super) cases: Vec<Case>,
}

/// One question. `expect` holds indexes of documents, in order; none if it must be refused.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) id: String,
    /// As it stands in the file: some are too deep to be read here.
    pub(super) filter: String,
    pub(super) sort: Option<Value>,
    pub(super) skip: Option<i64>,
    pub(super) limit: Option<i64>,
    pub(super) projection: Option<Value>,
    pub(super) expect: Option<Vec<usize>>,
    pub(super) expect_docs: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
struct RawDocument {
    id: String,
    coll: String,
    doc: Value,
}

#[derive(Debug, Deserialize)]
struct RawCase {
    id: String,
    #[serde(alias = "docs")]
    coll: String,
    filter: Box<RawValue>,
    sort: Option<Value>,
    skip: Option<i64>,
    limit: Option<i64>,
    projection: Option<Value>,
    expect: Option<Vec<Value>>,
    expect_docs: Option<Vec<Value>>,
    error: bool,
}

pub(super) fn collections() -> Vec<Collection> {
    let documents: Vec<RawDocument> = read(include_str!("../../../data/mongo/docs.json"));
    let mut collections: BTreeMap<String, Collection> = BTreeMap::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for RawDocument { id, coll, doc } in documents {
        let collection = collections.entry(coll).or_default();
        places.insert(id, collection.documents.len());
        collection.documents.push(doc);
    }
    let fuzz: BTreeMap<String, Vec<Value>> = read(include_str!("../../../data/mongo/fuzz_docs.json"));
    for (name, documents) in fuzz {
        collections.entry(name).or_default().documents = documents;
    }
    for text in [
        include_str!("../../../data/mongo/cases_public.json"),
        include_str!("../../../data/mongo/sort_public.json"),
        include_str!("../../../data/mongo/fuzz_public.json"),
    ] {
        for raw in read::<Vec<RawCase>>(text) {
            let collection = collections.get_mut(&raw.coll).expect("a case names its documents");
            collection.cases.push(raw.into_case(&places));
        }
    }
    for collection in collections.values_mut() {
        collection.lines = collection.documents.iter().map(|document| format!("{document}\n")).collect();
    }
    collections.into_values().collect()
}

fn read<T: for<'a> Deserialize<'a>>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

impl RawCase {
    fn into_case(self, places: &BTreeMap<String, usize>) -> Case {
        let place = |expected: &Value| match expected.as_str() {
            Some(id) => places[id],
            None => usize::try_from(expected.as_u64().unwrap()).unwrap(),
        };
        let mut expect: Option<Vec<usize>> =
            self.expect.as_ref().map(|expected| expected.iter().map(place).collect());
        assert_eq!(expect.is_none(), self.error, "{}", self.id);
        let ordered = self.sort.is_some() || self.skip.is_some() || self.limit.is_some();
        if let Some(expect) = expect.as_mut().filter(|_| !ordered) {
            // A set; both ways of asking answer in insertion order.
            expect.sort_unstable();
        }
        Case {
            id: self.id,
            filter: self.filter.get().to_owned(),
            sort: self.sort,
            skip: self.skip,
            limit: self.limit,
            projection: self.projection,
            expect,
            expect_docs: self.expect_docs,
        }
    }
}
