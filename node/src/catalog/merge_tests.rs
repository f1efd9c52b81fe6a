//! The index in memory and on disk together: whatever was merged, restarted, lost or torn, a query finds what a look
//! at every row finds, and the file is whole.

mod faults;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::actor::Tasks;
use crate::blobs;
use crate::catalog::merge::Merged;
use crate::storage::crash_tests::{Dice, image_of};
use crate::storage::test_disk::TestDisk;

/// Full after a few rows, so that freezes and merges happen all the time.
const SEGMENT_BYTES: usize = 3000;

/// A blob store that no test here puts anything in.
struct Below {
    blobs: Blobs,
    _tasks: Tasks,
    _dir: tempfile::TempDir,
}

impl Below {
    fn new() -> Self {
        let (mut tasks, dir) = (Tasks::default(), tempfile::tempdir().unwrap());
        let blobs = Blobs::start(&mut tasks, dir.path(), blobs::Config::default()).unwrap();
        Self { blobs, _tasks: tasks, _dir: dir }
    }

    fn on(&self, disk: &TestDisk) -> Result<Kit, String> {
        let small = StoreConfig { cache_bytes: 256 << 10, ..StoreConfig::default() };
        let store = disk.store(KIND, FORMAT, small).map_err(|error| error.to_string())?;
        let mut tasks = Tasks::default();
        let owner = Owner {
            assets_db_id: AssetsDbId::of_public_key(b"test"),
            public_url: "http://node".to_owned(),
            cursor_secret: [7; 32],
        };
        let config = Config { fresh_bytes: SEGMENT_BYTES, ..Config::default() };
        let catalog = Catalog::start_on(&mut tasks, store, owner, self.blobs.clone(), &config)
            .map_err(|error| error.to_string())?;
        Ok(Kit { catalog, tasks })
    }
}

/// A running catalog.
struct Kit {
    catalog: Catalog,
    tasks: Tasks,
}

/// Name → the values that queries ask for.
type Model = BTreeMap<String, (u64, u64)>;

impl Kit {
    /// Closes the file too: nothing below may hold the store.
    async fn stop(self) {
        self.catalog.inner.blobs.add_referenced(Arc::new(|_| Ok(false)));
        drop(self.catalog);
        self.tasks.finish().await;
    }

    async fn create(&self, name: &str, (group, rank): (u64, u64)) -> Result<(), Error> {
        let body = json!({
            "asset_name": name, "asset_version": {"version": "1", "tag": "t"},
            "asset_metadata": {"group": group, "rank": rank, "note": format!("note of {name}")},
        });
        let draft = Draft::external(&Document::from_value(&body).unwrap()).unwrap();
        self.catalog.create_external(draft).await.map(drop)
    }

    async fn update(&self, name: &str, (group, rank): (u64, u64)) -> Result<(), Error> {
        let body = json!({"asset_metadata": {"group": group, "rank": rank}});
        let patch = Patch::parse(&Document::from_value(&body).unwrap()).unwrap();
        self.catalog.update(&format!("{name}:1-t"), patch).await.map(drop)
    }

    async fn delete(&self, name: &str) -> Result<(), Error> {
        self.catalog.delete(&format!("{name}:1-t")).await.map(drop)
    }

    async fn names(&self, filter: &Value, limit: usize) -> Result<Vec<String>, Error> {
        let (mut names, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.catalog.query(query(filter, limit, cursor)).await?;
            assert_eq!(page.gap, None);
            names.extend(page.rows.iter().map(|row| row::text(row.document.root(), "asset_name").to_owned()));
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(names);
            }
        }
    }

    /// All that is there, by a filter that no index serves.
    async fn model(&self) -> Result<Model, Error> {
        let page = self.catalog.query(query(&json!({"asset_name": {"$regex": "."}}), 1000, None)).await?;
        assert_eq!((page.gap, &page.next_cursor), (None, &None));
        let number = |row: &Asset, member| {
            let ValueRef::Object(root) = row.document.root() else { panic!() };
            let ValueRef::Object(metadata) = root.get("asset_metadata").unwrap() else { panic!() };
            let ValueRef::Int(value) = metadata.get(member).unwrap() else { panic!() };
            u64::try_from(value).unwrap()
        };
        let rows = page.rows.iter().map(|row| {
            let name = row::text(row.document.root(), "asset_name").to_owned();
            (name, (number(row, "group"), number(row, "rank")))
        });
        Ok(rows.collect())
    }

    /// Compares what the index finds with what is there. Insertion order is not the model's: names are sorted here,
    /// and that pages follow the rows is looked at elsewhere.
    async fn check_queries(&self, model: &Model) -> Result<(), String> {
        for group in 0..4u64 {
            let with_group = json!({"asset_metadata.group": group});
            let ranks = json!({"asset_metadata.rank": {"$gte": 10 * group, "$lt": 10 * group + 10}});
            let either = json!({"$or": [{"asset_metadata.group": group}, {"asset_metadata.rank": 7}]});
            self.check_query(model, &with_group, |found| found.0 == group).await?;
            self.check_query(model, &ranks, |found| found.1 / 10 == group).await?;
            self.check_query(model, &either, |found| found.0 == group || found.1 == 7).await?;
        }
        Ok(())
    }

    async fn check_query(
        &self,
        model: &Model,
        filter: &Value,
        matches: impl Fn(&(u64, u64)) -> bool,
    ) -> Result<(), String> {
        let mut found = self.names(filter, 3).await.map_err(|error| error.to_string())?;
        found.sort_unstable();
        let expected = model.iter().filter(|(_, row)| matches(row)).map(|(name, _)| name.clone());
        let expected: Vec<String> = expected.collect();
        if found == expected { Ok(()) } else { Err(format!("{filter}: {found:?}, there are {expected:?}")) }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        verify(&self.catalog.inner.store, &mut |finding| findings.push(finding.to_string()), &mut |_| ())
            .unwrap();
        findings
    }

    fn merged(&self) -> Merged {
        self.catalog.inner.store.view(|transaction| View::open(transaction)?.merged()).unwrap()
    }
}

fn query(filter: &Value, limit: usize, cursor: Option<String>) -> Query {
    Query {
        filter: assetmesh_protocol::filter::Filter::parse(filter).unwrap(),
        filter_text: filter.to_string(),
        sort: None,
        sort_text: String::new(),
        limit,
        cursor,
        deadline: Duration::from_secs(10),
    }
}

/// A change that a history makes.
#[derive(Debug, Clone)]
enum Step {
    Create(String, (u64, u64)),
    Update(String, (u64, u64)),
    Delete(String),
}

impl Step {
    fn roll(dice: &mut Dice, model: &Model, at: usize) -> Self {
        let values = (dice.roll(4), dice.roll(40));
        let known = (!model.is_empty()).then(|| {
            // Often one of the newest, whose keys are in memory.
            let reach = if dice.roll(2) == 0 { 6 } else { model.len() as u64 };
            let back = dice.roll(reach) as usize;
            model.keys().rev().nth(back % model.len()).unwrap().clone()
        });
        match (dice.roll(6), known) {
            (0 | 1, Some(name)) => Self::Update(name, values),
            (2, Some(name)) => Self::Delete(name),
            _ => Self::Create(format!("n{at:04}"), values),
        }
    }

    async fn run(&self, kit: &Kit) -> Result<(), Error> {
        match self {
            Self::Create(name, values) => kit.create(name, *values).await,
            Self::Update(name, values) => kit.update(name, *values).await,
            Self::Delete(name) => kit.delete(name).await,
        }
    }

    fn apply(&self, model: &mut Model) {
        match self {
            Self::Create(name, values) | Self::Update(name, values) => {
                model.insert(name.clone(), *values);
            }
            Self::Delete(name) => {
                model.remove(name);
            }
        }
    }
}

/// What a history must have met, or it shows nothing.
#[derive(Debug, Default)]
struct Met {
    merging: usize,
    merges: usize,
}

impl Met {
    fn note(&mut self, before: &Merged, now: &Merged) {
        self.merging += usize::from(now.rows < now.until && !now.last.is_empty());
        self.merges += usize::from(now.rows > before.rows);
    }
}

#[tokio::test]
async fn at_every_step_and_after_every_restart_the_index_finds_what_is_there() {
    let below = Below::new();
    let mut met = Met::default();
    for seed in 0..4 {
        let (dice, disk) = (&mut Dice::new(seed), TestDisk::made(KIND, FORMAT));
        let (mut kit, mut model) = (below.on(&disk).unwrap(), Model::new());
        let mut before = kit.merged();
        for at in 0..160 {
            let step = Step::roll(dice, &model, at);
            step.run(&kit).await.unwrap();
            step.apply(&mut model);
            if dice.roll(12) == 0 {
                kit.stop().await;
                kit = below.on(&disk).unwrap();
                assert_eq!(kit.findings(), [""; 0], "seed {seed}, step {at}");
                assert_eq!(kit.model().await.unwrap(), model);
            }
            kit.check_queries(&model).await.unwrap_or_else(|wrong| panic!("seed {seed}, step {at}: {wrong}"));
            let now = kit.merged();
            met.note(&before, &now);
            before = now;
        }
        assert_eq!(kit.findings(), [""; 0], "seed {seed}");
        kit.stop().await;
    }
    assert!(met.merging > 100 && met.merges > 15, "{met:?}");
}

#[tokio::test]
async fn many_changes_in_one_transaction_are_found_and_leave_the_file_whole() {
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let mut kit = below.on(&disk).unwrap();
    let mut model = Model::new();
    for round in 0..8u64 {
        let name = |at| format!("n{round}-{at:03}");
        let all = (0..60).map(|at| {
            let (kit, name) = (&kit, name(at));
            there_and_back(kit, name, at)
        });
        futures_util::future::join_all(all).await;
        for at in (0..60).filter(|at| at % 3 != 1) {
            model.insert(name(at), (if at % 3 == 0 { at % 4 } else { (at + 1) % 4 }, at % 40));
        }
        kit.check_queries(&model).await.unwrap();
        assert_eq!(kit.findings(), [""; 0], "round {round}");
        if round % 2 == 1 {
            kit.stop().await;
            kit = below.on(&disk).unwrap();
            kit.check_queries(&model).await.unwrap();
        }
    }
    assert!(kit.merged().rows > 0);
    kit.stop().await;
}

/// Each of these changes may share a transaction with those of other rows.
async fn there_and_back(kit: &Kit, name: String, at: u64) {
    kit.create(&name, (at % 4, at % 40)).await.unwrap();
    kit.update(&name, ((at + 1) % 4, at % 40)).await.unwrap();
    match at % 3 {
        0 => kit.update(&name, (at % 4, at % 40)).await.unwrap(),
        1 => kit.delete(&name).await.unwrap(),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_beside_the_writer_sees_all_that_was_acknowledged_before() {
    const ROWS: usize = 600;
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let kit = below.on(&disk).unwrap();
    let acknowledged = AtomicUsize::new(0);
    let write = async {
        for at in 0..ROWS {
            let name = format!("n{at:04}");
            kit.create(&name, (0, 7)).await.unwrap();
            acknowledged.store(at + 1, Ordering::SeqCst);
            // An older row changes, but not in what is asked.
            kit.update(&format!("n{:04}", at / 2), (0, 7)).await.unwrap();
        }
    };
    let read = |filter: Value| {
        let (kit, acknowledged) = (&kit, &acknowledged);
        async move {
            let mut before = 0;
            while before < ROWS {
                before = acknowledged.load(Ordering::SeqCst);
                let names = kit.names(&filter, 1000).await.unwrap();
                let expected = (0..names.len()).map(|at| format!("n{at:04}"));
                assert!(names.len() >= before, "{filter}: {} rows, {before} were answered", names.len());
                assert!(names.iter().eq(&expected.collect::<Vec<_>>()), "{filter}: {names:?}");
            }
        }
    };
    // The second need makes the planner look at lists, and neither is a scan while there are other rows.
    for at in 0..ROWS * 4 {
        kit.create(&format!("other{at}"), (1, 40)).await.unwrap();
    }
    let stream = json!({"asset_metadata.group": 0});
    let gather = json!({"asset_metadata.rank": {"$gte": 7, "$lte": 8}});
    futures_util::future::join3(write, read(stream), read(gather)).await;
    assert_eq!(kit.findings(), [""; 0]);
    kit.stop().await;
}

#[tokio::test]
async fn a_file_from_before_the_merge_is_read_and_goes_on() {
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let kit = below.on(&disk).unwrap();
    let mut model = Model::new();
    let mut grow = async |kit: &Kit, from: u64| {
        for at in from..from + 30 {
            let (name, values) = (format!("n{at:04}"), (at % 4, at % 40));
            kit.create(&name, values).await.unwrap();
            model.insert(name, values);
        }
        model.clone()
    };
    let merged = redb::TableDefinition::<(), (u64, u64, &[u8])>::new("index-merged-1");
    let index = redb::TableDefinition::<&[u8], ()>::new("index-1");
    let model = grow(&kit, 0).await;
    let rows = kit.model().await.unwrap();
    assert_eq!(rows, model);
    // As it was: every key in the index, and no word of how far that has got.
    let store = kit.catalog.inner.store.clone();
    let all = store.view(|transaction| {
        let mut keys = Vec::new();
        View::open(transaction)?.scan(0..u64::MAX, |number, bytes| {
            keys.extend(index::keys(number, tables::description(number, bytes)?.1));
            Ok(true)
        })?;
        Ok::<_, Error>(keys)
    });
    kit.stop().await;
    store
        .update(storage::Sync::Now, |transaction| {
            transaction.delete_table(merged)?;
            let mut index = transaction.open_table(index)?;
            all.unwrap().iter().for_each(|key| drop(index.insert(key.as_slice(), ()).unwrap()));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    drop(store);
    let kit = below.on(&disk).unwrap();
    assert_eq!(kit.merged(), Merged::all(30));
    assert_eq!(kit.findings(), [""; 0]);
    kit.check_queries(&model).await.unwrap();
    let model = grow(&kit, 30).await;
    kit.stop().await;
    let kit = below.on(&disk).unwrap();
    assert_eq!(kit.findings(), [""; 0]);
    kit.check_queries(&model).await.unwrap();
    kit.stop().await;
}

#[tokio::test]
async fn where_the_newest_keys_are_not_known_the_index_does_not_answer() {
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let kit = below.on(&disk).unwrap();
    kit.create("a", (1, 1)).await.unwrap();
    let snapshot = Snapshot::take(&kit.catalog.inner.store, &Fresh::default()).unwrap();
    let stream = snapshot.stream(b"x", 0, |_, _| Ok(true));
    assert!(matches!(stream, Err(Error::Damaged(_))));
    kit.stop().await;
}

#[tokio::test]
async fn damage_to_how_far_the_index_has_got_costs_no_answer() {
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let (kit, mut model) = (below.on(&disk).unwrap(), Model::new());
    for at in 0..20 {
        let (name, values) = (format!("n{at:04}"), (at % 4, at % 40));
        kit.create(&name, values).await.unwrap();
        model.insert(name, values);
    }
    kit.stop().await;
    let (bytes, mut met) = (disk.bytes(), 0);
    for page in 0..bytes.len() / 4096 {
        let damaged = TestDisk::holding(bytes.clone());
        // One bit would be mended.
        (0..64).for_each(|at| damaged.flip(page * 4096 + 64 * at, (at % 8) as u8));
        let Ok(kit) = below.on(&damaged) else { continue };
        let merged = kit.catalog.inner.store.view(|transaction| View::open(transaction)?.merged());
        if matches!(merged, Err(StoreError::Damaged(_))) && kit.catalog.assets().is_ok() {
            met += 1;
            assert_eq!(kit.model().await.unwrap(), model);
            kit.check_queries(&model).await.unwrap();
            assert!(kit.findings().iter().any(|finding| finding.contains("index-merged")));
            let error = kit.create("after", (0, 0)).await.unwrap_err();
            assert!(matches!(error, Error::Damaged(_)), "{error}");
        }
        kit.stop().await;
    }
    assert!(met > 0, "no page of it was met");
}

#[tokio::test]
async fn how_far_the_index_has_got_is_stored_as_it_is_written_down() {
    type At = (u64, u64, &'static [u8]);
    let bytes = <At as redb::Value>::as_bytes(&(1, 2, b"key"));
    assert_eq!(bytes, [&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0][..], b"key"].concat());
    let (below, disk) = (Below::new(), TestDisk::made(KIND, FORMAT));
    let kit = below.on(&disk).unwrap();
    for at in 0..20 {
        kit.create(&format!("n{at:04}"), (1, at)).await.unwrap();
    }
    let stored = kit.catalog.inner.store.view(|transaction| {
        let table = transaction.open_table(redb::TableDefinition::<(), At>::new("index-merged-1"))?;
        let row = table.get(())?.unwrap();
        let (rows, until, last) = row.value();
        Ok::<_, StoreError>(Merged { rows, until, last: last.to_vec() })
    });
    let stored = stored.unwrap();
    assert!(stored == kit.merged() && stored.rows > 0, "{stored:?}");
    kit.stop().await;
}
