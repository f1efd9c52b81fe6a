//! Tests of `query`: how much is read for a page.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::catalog::row;
use crate::catalog::tests::Fixture;

const ROWS: u64 = 2000;
const PAGE: usize = 5;

async fn fixture() -> Fixture {
    let fixture = Fixture::new();
    for n in (0..ROWS).step_by(500) {
        let bodies: Vec<Value> = (n..n + 500)
            .map(|n| json!({"asset_name": format!("a{n}"), "asset_metadata": {"at": n, "fifth": n % 5}}))
            .collect();
        // One after another in the queue, so that row numbers follow names.
        let created = futures_util::future::join_all(bodies.iter().map(|body| fixture.create(body))).await;
        assert!(created.iter().all(Result::is_ok));
    }
    fixture
}

/// The rows that a page has, and how many rows and keys were looked at for it.
fn looked(fixture: &Fixture, filter: &Value) -> (Vec<String>, u64) {
    let catalog = &fixture.catalog;
    let filter = Filter::parse(filter).unwrap();
    let question = Question {
        filter: &filter,
        sort: None,
        limit: PAGE,
        after: None,
        owner: catalog.inner.owner.assets_db_id,
        turn: &Turn::until(Instant::now() + Duration::from_secs(60)),
        enough: AtomicU64::new(u64::MAX),
    };
    let answered = catalog.read_once(|snapshot| {
        let selection = catalog.follow_plan(snapshot, &question)?;
        let looks = selection.looks;
        let rows = read(&snapshot.view, selection, PAGE, PAGE_BYTES_MAX)?.rows;
        let name = |asset: &Asset| row::text(asset.document.root(), "asset_name").to_owned();
        Ok((rows.iter().map(|(_, asset)| name(asset)).collect(), looks))
    });
    answered.unwrap()
}

fn names(numbers: impl Iterator<Item = u64>) -> Vec<String> {
    numbers.take(PAGE).map(|n| format!("a{n}")).collect()
}

#[tokio::test]
async fn a_page_is_filled_by_a_short_scan_or_by_its_list_wherever_the_rows_lie() {
    let fixture = fixture().await;
    let (list, even) = (ROWS / 5, json!({"asset_metadata.fifth": {"$gte": 4}}));
    let (rows, looks) = looked(&fixture, &even);
    assert_eq!(rows, names((4..).step_by(5)));
    assert!(looks < 100, "not the list, which is spread evenly: {looks}");
    let head = plan::keys_for_page(PAGE as u64, ROWS) / 2;
    let (rows, looks) = looked(&fixture, &json!({"asset_metadata.at": {"$gte": ROWS - list}}));
    assert_eq!(rows, names(ROWS - list..));
    assert!(looks < head + list + 20, "a head, and the list at the end: {looks}");
    let rare = json!({"asset_metadata.fifth": {"$gte": 4}, "asset_metadata.at": {"$mod": [1000, 999]}});
    let (rows, looks) = looked(&fixture, &rare);
    assert_eq!(rows, names([999, 1999].into_iter()));
    assert!(looks < head + 2 * list + 20, "a head, and the rows of the list: {looks}");
    let unlisted = json!({"asset_metadata.at": {"$mod": [1000, 999]}});
    assert_eq!(looked(&fixture, &unlisted), (names([999, 1999].into_iter()), ROWS));
}
