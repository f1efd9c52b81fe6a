//! Reads the files of cases into one form. They are part of this crate, so a file that cannot be read cannot be built.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// Documents, and the cases that are asked of them.
#[derive(Debug, Default)]
pub struct Collection {
    /// The documents; their index is their name.
    pub documents: Vec<Value>,
    /// The same, one a line.
    pub lines: String,
    /// What is asked of them.
    pub cases: Vec<Case>,
}

/// One question. `expect` holds indexes of documents, in order; none if it must be refused.
#[derive(Debug)]
pub struct Case {
    /// Its name in the file.
    pub id: String,
    /// As it stands in the file: some are too deep to be read here.
    pub filter: String,
    /// Paths and directions.
    pub sort: Option<Value>,
    /// Rows to leave out.
    pub skip: Option<i64>,
    /// Rows to give; 0 is no limit.
    pub limit: Option<i64>,
    /// Which members to show.
    pub projection: Option<Value>,
    /// The matching documents.
    pub expect: Option<Vec<usize>>,
    /// What is shown of them.
    pub expect_docs: Option<Vec<Value>>,
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

/// All collections with their cases.
///
/// # Panics
/// If a file is not what it is known to be.
#[must_use]
pub fn collections() -> Vec<Collection> {
    let documents: Vec<RawDocument> = read(include_str!("../../data/mongo/docs.json"));
    let mut collections: BTreeMap<String, Collection> = BTreeMap::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for RawDocument { id, coll, doc } in documents {
        let collection = collections.entry(coll).or_default();
        places.insert(id, collection.documents.len());
        collection.documents.push(doc);
    }
    let fuzz: BTreeMap<String, Vec<Value>> = read(include_str!("../../data/mongo/fuzz_docs.json"));
    for (name, documents) in fuzz {
        collections.entry(name).or_default().documents = documents;
    }
    for text in [
        include_str!("../../data/mongo/cases_public.json"),
        include_str!("../../data/mongo/sort_public.json"),
        include_str!("../../data/mongo/fuzz_public.json"),
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
    serde_json::from_str(text).expect("the file is JSON of this form")
}

impl RawCase {
    fn into_case(self, places: &BTreeMap<String, usize>) -> Case {
        let place = |expected: &Value| match expected.as_str() {
            Some(id) => places[id],
            None => {
                let number = expected.as_u64().expect("an id or an index");
                usize::try_from(number).expect("an index fits")
            }
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
