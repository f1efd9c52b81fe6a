//! Tests of `catalog`.

use std::time::Duration;

use assetmesh_protocol::filter::terms::Scalar;
use assetmesh_protocol::limits::PAGE_BYTES_MAX;
use serde_json::{Value, json};

use super::*;
use crate::actor::Tasks;
use crate::blobs;
use crate::catalog::plan::{Postings, Source};
use crate::catalog::tables::Lengths;

/// A catalog in a folder of its own, with the blob store below it.
pub(super) struct Fixture {
    pub(super) catalog: Catalog,
    _tasks: Tasks,
    dir: tempfile::TempDir,
}

fn owner() -> Owner {
    Owner {
        assets_db_id: AssetsDbId::of_public_key(b"test"),
        public_url: "http://node".to_owned(),
        cursor_secret: [7; 32],
    }
}

impl Fixture {
    pub(super) fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let mut tasks = Tasks::default();
        let blobs = Blobs::start(&mut tasks, dir.path(), blobs::Config::default()).unwrap();
        let catalog = Catalog::start(&mut tasks, dir.path(), owner(), blobs, &Config::default()).unwrap();
        Self { catalog, _tasks: tasks, dir }
    }

    pub(super) async fn create(&self, body: &Value) -> Result<Asset, Error> {
        self.catalog.create_external(Draft::external(&document(body)).unwrap()).await
    }

    async fn upload(&self, name: &str, content: &[u8]) -> Result<Created, Error> {
        let mut upload = self.catalog.inner.blobs.begin();
        upload.write(content.to_vec().into()).await.unwrap();
        let stored = upload.finish().await.unwrap();
        let draft = Draft::upload(&document(&named(name))).unwrap();
        let file = FileFacts { file_name: "f".to_owned(), file_type: "text/plain".to_owned() };
        self.catalog.create_uploaded(draft, file, stored).await
    }

    async fn names(&self, filter: Value, sort: &str) -> Vec<String> {
        let page = self.catalog.query(query(&filter, sort, 1000, None)).await.unwrap();
        assert_eq!(page.gap, None);
        page.rows.iter().map(|asset| row::text(asset.document.root(), "asset_name").to_owned()).collect()
    }
}

fn document(value: &Value) -> Document {
    Document::from_value(value).unwrap()
}

fn named(name: &str) -> Value {
    json!({"asset_name": name, "asset_version": {"version": "1", "tag": "t"}})
}

fn query(filter: &Value, sort: &str, limit: usize, cursor: Option<String>) -> Query {
    Query {
        filter: assetmesh_protocol::filter::Filter::parse(filter).unwrap(),
        filter_text: filter.to_string(),
        sort: (!sort.is_empty()).then(|| assetmesh_protocol::filter::Sort::parse(sort).unwrap()),
        sort_text: sort.to_owned(),
        limit,
        cursor,
        deadline: Duration::from_secs(10),
    }
}

#[tokio::test]
async fn what_is_created_is_found_by_uri_and_by_record() {
    let fixture = Fixture::new();
    let made = fixture.create(&named("a")).await.unwrap();
    assert_eq!(made.uri(), "a:1-t");
    for key in ["a:1-t".to_owned(), made.record.to_string()] {
        let found = fixture.catalog.find(&key).unwrap().unwrap();
        assert_eq!((found.record, found.document), (made.record, made.document.clone()), "{key}");
    }
    assert!(fixture.catalog.find("A:1-t").unwrap().is_none());
    assert!(fixture.catalog.find(&uuid::Uuid::now_v7().to_string()).unwrap().is_none());
}

#[tokio::test]
async fn a_taken_uri_is_a_conflict_and_changes_nothing() {
    let fixture = Fixture::new();
    let first = fixture.create(&named("a")).await.unwrap();
    let error = fixture.create(&named("a")).await.unwrap_err();
    assert!(matches!(&error, Error::Conflict { uri } if uri == "a:1-t"), "{error}");
    fixture.create(&named("b")).await.unwrap();
    let rename = Patch::parse(&document(&json!({"asset_name": "a"}))).unwrap();
    assert!(matches!(fixture.catalog.update("b:1-t", rename).await, Err(Error::Conflict { .. })));
    assert_eq!(fixture.catalog.find("a:1-t").unwrap().unwrap().record, first.record);
    assert_eq!(fixture.catalog.assets().unwrap(), 2);
}

#[tokio::test]
async fn an_update_moves_the_uri_and_the_index() {
    let fixture = Fixture::new();
    fixture.create(&named("a")).await.unwrap();
    let patch = Patch::parse(&document(&json!({"asset_name": "z", "asset_metadata.k": "new"}))).unwrap();
    let after = fixture.catalog.update("a:1-t", patch).await.unwrap();
    assert_eq!(after.uri(), "z:1-t");
    assert!(fixture.catalog.find("a:1-t").unwrap().is_none());
    assert_eq!(fixture.names(json!({"asset_metadata.k": "new"}), "").await, ["z"]);
    assert!(fixture.names(json!({"asset_name": "a"}), "").await.is_empty());
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let fixture = Fixture::new();
    let patch = Patch::parse(&document(&json!({"asset_tags": ["q"]}))).unwrap();
    assert!(matches!(fixture.catalog.update("x:1-t", patch).await, Err(Error::NotFound(_))));
    assert!(matches!(fixture.catalog.delete("x:1-t").await, Err(Error::NotFound(_))));
    assert_eq!(fixture.catalog.assets().unwrap(), 0);
}

#[tokio::test]
async fn the_same_upload_again_is_the_same_asset() {
    let fixture = Fixture::new();
    let first = fixture.upload("a", b"bytes").await.unwrap();
    let again = fixture.upload("a", b"bytes").await.unwrap();
    assert_eq!((first.fresh, again.fresh, first.asset.record), (true, false, again.asset.record));
    assert!(matches!(fixture.upload("a", b"other").await, Err(Error::Conflict { .. })));
    assert!(fixture.catalog.inner.blobs.open(&AssetId::of(b"bytes")).unwrap().is_some());
}

#[tokio::test]
async fn bytes_go_with_the_last_asset_that_names_them() {
    let fixture = Fixture::new();
    fixture.upload("a", b"shared").await.unwrap();
    fixture.upload("b", b"shared").await.unwrap();
    let id = AssetId::of(b"shared");
    fixture.catalog.delete("a:1-t").await.unwrap();
    assert!(fixture.catalog.inner.blobs.open(&id).unwrap().is_some());
    assert!(fixture.catalog.object(&id).unwrap().is_some());
    fixture.catalog.delete("b:1-t").await.unwrap();
    assert!(fixture.catalog.inner.blobs.open(&id).unwrap().is_none());
    assert!(fixture.catalog.object(&id).unwrap().is_none());
}

#[tokio::test]
async fn a_restart_keeps_rows_and_order() {
    let fixture = Fixture::new();
    for name in ["c", "a", "b"] {
        fixture.create(&named(name)).await.unwrap();
    }
    fixture.catalog.delete("b:1-t").await.unwrap();
    let Fixture { catalog, _tasks, dir } = fixture;
    drop(catalog);
    _tasks.finish().await;
    let fixture = Fixture::in_dir(dir);
    fixture.create(&named("d")).await.unwrap();
    assert_eq!(fixture.names(json!({}), "").await, ["c", "a", "d"]);
    assert_eq!(fixture.names(json!({}), "-asset_name").await, ["d", "c", "a"]);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let fixture = Fixture::new();
    for at in 0..25 {
        fixture
            .create(&json!({"asset_name": format!("n{at:02}"), "asset_metadata": {"g": at % 3}}))
            .await
            .unwrap();
    }
    for (filter, sort) in [
        (json!({}), ""),
        (json!({"asset_metadata.g": 1}), ""),
        (json!({}), "-asset_metadata.g,asset_name"),
        (json!({"asset_metadata.g": {"$gte": 1}}), "asset_metadata.g"),
    ] {
        let whole = fixture.names(filter.clone(), sort).await;
        let (mut paged, mut cursor) = (Vec::new(), None);
        loop {
            let page = fixture.catalog.query(query(&filter, sort, 4, cursor)).await.unwrap();
            paged.extend(
                page.rows.iter().map(|asset| row::text(asset.document.root(), "asset_name").to_owned()),
            );
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(paged, whole, "{filter} by {sort}");
        assert!(!whole.is_empty());
    }
}

#[tokio::test]
async fn a_page_ends_early_when_it_has_enough_bytes_and_the_next_goes_on() {
    let fixture = Fixture::new();
    let long = "x".repeat(1 << 20);
    let made = PAGE_BYTES_MAX / long.len() + 3;
    for n in 0..made {
        let body = json!({"asset_name": format!("b{n:02}"), "asset_metadata": {"n": 1, "text": long}});
        fixture.create(&body).await.unwrap();
    }
    let (mut names, mut cursor) = (Vec::new(), None);
    for sort in ["", "asset_name"] {
        for last in [false, true] {
            let page =
                fixture.catalog.query(query(&json!({"asset_metadata.n": 1}), sort, 1000, cursor)).await;
            let page = page.unwrap();
            let name = |asset: &Asset| row::text(asset.document.root(), "asset_name").to_owned();
            names.extend(page.rows.iter().map(name));
            assert!(
                page.rows.iter().map(|row| row.document.as_bytes().len()).sum::<usize>() <= PAGE_BYTES_MAX
            );
            assert_eq!((page.gap, page.next_cursor.is_none()), (None, last));
            cursor = page.next_cursor;
        }
        assert_eq!(std::mem::take(&mut names), (0..made).map(|n| format!("b{n:02}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn sort_keys_that_are_too_long_to_be_kept_are_refused_and_fewer_of_them_are_not() {
    let fixture = Fixture::new();
    let long = "x".repeat(1 << 20);
    for n in 0..4 {
        let body = json!({"asset_name": format!("b{n}"), "asset_metadata": {"n": n, "text": long}});
        fixture.create(&body).await.unwrap();
    }
    let sort = ["asset_metadata.text"; 12].join(",");
    let refused = fixture.catalog.query(query(&json!({}), &sort, 1000, None)).await;
    assert!(matches!(refused, Err(Error::SortKeysTooLong { .. })));
    let first = query(&json!({"asset_metadata.n": {"$lte": 1}}), &sort, 2, None);
    let page = fixture.catalog.query(first).await.unwrap();
    assert_eq!((page.rows.len(), page.gap, page.next_cursor), (2, None, None));
}

#[tokio::test]
async fn a_cursor_of_another_question_is_refused() {
    let fixture = Fixture::new();
    for name in ["a", "b"] {
        fixture.create(&named(name)).await.unwrap();
    }
    let page = fixture.catalog.query(query(&json!({}), "", 1, None)).await.unwrap();
    let other = query(&json!({}), "asset_name", 1, page.next_cursor);
    assert!(matches!(fixture.catalog.query(other).await, Err(Error::BadCursor)));
    let forged = query(&json!({}), "", 1, Some("00".repeat(40)));
    assert!(matches!(fixture.catalog.query(forged).await, Err(Error::BadCursor)));
}

#[tokio::test]
async fn a_deadline_leaves_a_gap_and_says_so() {
    let fixture = Fixture::new();
    for at in 0..600 {
        fixture.create(&json!({"asset_name": format!("n{at}")})).await.unwrap();
    }
    let mut late = query(&json!({"asset_name": {"$regex": "x"}}), "", 10, None);
    late.deadline = Duration::ZERO;
    match fixture.catalog.query(late).await {
        Ok(page) => assert_eq!(page.gap, Some(Gap::Deadline)),
        Err(error) => assert!(matches!(error, Error::Busy), "{error}"),
    }
}

#[tokio::test]
async fn a_later_page_reads_no_keys_of_rows_before_it_and_all_end_when_they_are_told() {
    let fixture = Fixture::new();
    for at in 0..40 {
        let body = json!({"asset_name": format!("n{at}"), "asset_metadata": {"tag": "x", "n": at}});
        fixture.create(&body).await.unwrap();
    }
    let snapshot = Snapshot::take(&fixture.catalog.inner.store, &fixture.catalog.inner.fresh).unwrap();
    let run = Source::Run(index::equals_prefix("asset_metadata.tag", &Scalar::String("x".to_owned())));
    let (low, high) = index::range_bounds("asset_metadata.n", None, None);
    let range = Source::Range(low, high);
    for (sources, first, most, expect) in [
        (vec![run.clone()], 0, usize::MAX, (0..40, 40)),
        (vec![run.clone()], 30, usize::MAX, (30..40, 10)),
        // Values come in an order of their own.
        (vec![range.clone()], 30, usize::MAX, (30..40, 40)),
        (vec![run.clone()], 0, 5, (0..5, 5)),
        (vec![run.clone(), range.clone()], 0, 5, (0..5, 6)),
    ] {
        let mut read = 0;
        let numbers = snapshot.gather(&sources, first, || {
            read += 1;
            read < most
        });
        assert_eq!((numbers.unwrap(), read), (expect.0.collect(), expect.1), "{sources:?} {first} {most}");
    }
    for (first, late, expect) in [(0, false, 40), (30, false, 10), (0, true, 4)] {
        let is_late = || late;
        let lengths = Lengths::of(&snapshot, first, &is_late).unwrap();
        assert_eq!(lengths.estimate(&run, 1000).unwrap(), expect, "{first} {late}");
    }
}

#[tokio::test]
async fn a_row_with_too_many_terms_is_still_found_by_each() {
    let fixture = Fixture::new();
    let many: serde_json::Map<_, _> =
        (0..index::ROW_KEYS_MAX + 10).map(|at| (format!("k{at}"), json!(at))).collect();
    fixture.create(&json!({"asset_name": "many", "asset_metadata": many})).await.unwrap();
    fixture.create(&json!({"asset_name": "few", "asset_metadata": {"k3": 3}})).await.unwrap();
    assert_eq!(fixture.names(json!({"asset_metadata.k3": 3}), "").await, ["many", "few"]);
    fixture.catalog.update("x", Patch::parse(&document(&json!({}))).unwrap()).await.unwrap_err();
}

/// Puts `asset_metadata.` in front of every path of a filter.
fn prefixed(filter: &Value) -> Value {
    let Value::Object(members) = filter else { return filter.clone() };
    let member = |(key, value): (&String, &Value)| match key.as_str() {
        "$and" | "$or" | "$nor" => (
            key.clone(),
            value.as_array().map_or_else(|| value.clone(), |list| list.iter().map(prefixed).collect()),
        ),
        _ if key.starts_with('$') => (key.clone(), value.clone()),
        _ => (format!("asset_metadata.{key}"), value.clone()),
    };
    Value::Object(members.iter().map(member).collect())
}

/// Planner and evaluator together against answers that neither made.
#[tokio::test]
async fn every_generated_filter_finds_what_a_full_scan_finds() {
    let read = |name: &str| -> Value {
        let path = format!("{}/../tests/data/mongo/{name}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let (sets, cases) = (read("fuzz_docs.json"), read("fuzz_public.json"));
    let mut checked = 0;
    for (set, docs) in sets.as_object().unwrap() {
        let fixture = Fixture::new();
        for (at, doc) in docs.as_array().unwrap().iter().enumerate() {
            fixture.create(&json!({"asset_name": at.to_string(), "asset_metadata": doc})).await.unwrap();
        }
        for case in
            cases.as_array().unwrap().iter().filter(|case| {
                case["docs"] == **set && case["area"] == "fuzz_filter" && case["error"] == false
            })
        {
            let expected: Vec<String> =
                case["expect"].as_array().unwrap().iter().map(ToString::to_string).collect();
            let found = fixture.names(prefixed(&case["filter"]), "").await;
            assert_eq!(found, expected, "{} of {set}: {}", case["id"], case["filter"]);
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} cases");
}
