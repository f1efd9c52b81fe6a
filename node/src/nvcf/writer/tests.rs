//! Batches on a disk that can be full, and that tells how often it was synced.

use uuid::Uuid;

use super::*;
use crate::nvcf::row::AccountTag;
use crate::nvcf::row::tests::sample;
use crate::nvcf::tables::tests::lengths;
use crate::storage::test_disk::{Event, TestDisk};
use crate::storage::{Space, StoreConfig};

/// When the sample was made.
const MADE: Times = Times { shown: 1_000_000, sure: 1_000_000 };

struct Kit {
    disk: TestDisk,
    writer: Writer,
}

impl Kit {
    fn new() -> Self {
        let disk = TestDisk::made("catalog", 1);
        let store = disk.store("catalog", 1, StoreConfig::default()).unwrap();
        store.update(Sync::Now, tables::create).unwrap();
        disk.record();
        let quota = Quota { waiting_max: 4, assets_max: 6, bytes_max: 10 };
        let (accounts, metrics) = (Shared::new(Accounts::new(quota)), Metrics::default());
        Self { disk, writer: Writer { store, accounts, metrics } }
    }

    /// Has a batch written; gives the answers, and how often the disk was synced.
    fn commit(&self, changes: Vec<Change>, now: Times) -> (Vec<Result<Done, Error>>, usize) {
        let syncs = || {
            let events = self.disk.events();
            events.into_iter().filter(|event| matches!(event, Event::Sync)).count()
        };
        let before = syncs();
        let (batch, mut answers): (Vec<_>, Vec<_>) = changes
            .into_iter()
            .map(|change| {
                let (reply, answer) = oneshot::channel();
                (Request { change, now, reply }, answer)
            })
            .unzip();
        self.writer.commit(batch);
        (answers.iter_mut().map(|answer| answer.try_recv().unwrap()).collect(), syncs() - before)
    }

    fn fill_disk(&self, is_full: bool) {
        let free = if is_full { 0 } else { 1 << 40 };
        self.disk.set_space(Space { free, total: 1 << 40, taken: 0 });
    }
}

fn key(id: u128) -> Key {
    Key::new(AccountTag::of("acme"), Uuid::from_u128(id))
}

fn create(id: u128) -> Change {
    Change::Create { key: key(id), row: sample("acme") }
}

fn finish(id: u128, text: &[u8]) -> Change {
    let content = Content { blob: AssetId::of(text), size: text.len() as u64 };
    Change::Finish { key: key(id), content, lease: None }
}

fn delete(id: u128) -> Change {
    Change::Delete { key: key(id) }
}

#[tokio::test]
async fn a_full_disk_refuses_what_grows_and_nothing_beside_it() {
    let kit = Kit::new();
    kit.commit((1..=4).map(create).collect(), MADE);
    kit.commit(vec![finish(1, b"x"), finish(2, b"y")], MADE);
    kit.fill_disk(true);
    let now = Times { shown: 1_010_000, sure: 1_010_000 };
    let (answers, _) =
        kit.commit(vec![create(5), delete(1), finish(3, b"z"), Change::Sweep, delete(2), create(6)], now);
    let refused = |at: usize| matches!(answers[at], Err(Error::Full));
    assert!(refused(0) && refused(2) && refused(5), "{answers:?}");
    assert_eq!(answers[1].as_ref().unwrap().unheld, [AssetId::of(b"x")]);
    assert_eq!(answers[3].as_ref().unwrap().swept, 2, "those that were never uploaded");
    assert_eq!(answers[4].as_ref().unwrap().unheld, [AssetId::of(b"y")]);
    assert_eq!(
        (lengths(&kit.writer.store), kit.writer.accounts.with(|all| all.total())),
        ([0; 4], Holding::default())
    );
    kit.fill_disk(false);
    assert!(kit.commit((1..=4).map(create).collect(), MADE).0.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_changes_nothing_costs_no_sync() {
    let kit = Kit::new();
    let (_, syncs) = kit.commit(vec![create(1)], MADE);
    assert!(syncs > 0);
    kit.commit(vec![create(2), create(3), create(4), finish(1, b"x")], MADE);
    kit.commit(vec![create(5)], MADE);
    let late = Times { shown: 1_024_000, sure: 1_024_000 };
    for (change, now, good) in [
        (create(6), MADE, false),
        (delete(7), MADE, false),
        (delete(1), late, false),
        (finish(7, b"x"), MADE, false),
        (finish(1, b"other"), MADE, false),
        (finish(1, b"x"), MADE, true),
    ] {
        let told = format!("{change:?}");
        let (answers, syncs) = kit.commit(vec![change], now);
        assert_eq!((answers[0].is_ok(), syncs), (good, 0), "{told}");
    }
    let (answers, syncs) = kit.commit(vec![delete(7), delete(1), finish(1, b"x")], MADE);
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    assert!(syncs > 0, "one change among refused ones is kept");
    assert_eq!(lengths(&kit.writer.store), [4, 0, 0, 4]);
}
