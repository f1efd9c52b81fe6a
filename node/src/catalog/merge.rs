//! What the writer knows of where index keys are, and how the newest ones get from memory into `index-1`: in key order,
//! a slice in each transaction that is committed anyway. It opens no transaction itself.
//!
//! **Invariant:** how far the index has got changes only in the transaction that puts the slice in, so that a crash
//! leaves both or neither; at the start the keys that are missing are made from the rows.
//! **Invariant:** a key of `index-1` belongs to a row. What a row has lost before its key was merged is not merged.

use std::ops::Range;
use std::sync::Arc;

use super::fresh::{Fresh, Segment};
use super::tables::{self, View};
use super::{Error, index};
use crate::storage::{self, Store};

/// Fewest keys that a commit merges.
const SLICE_MIN: usize = 8;
/// Keys merged for four that change: a segment is merged shortly before the next is full, and each commit does as
/// little of it as it can.
const PACE: usize = 5;
/// The pace when the growing segment has twice its size nevertheless.
const PACE_LATE: usize = 64;

/// How far the index on disk has got. In rows and keys, not in time: what it says of a key never depends on memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merged {
    /// Rows below have all their keys in `index-1`.
    pub(super) rows: u64,
    /// Rows from `rows` up to here are being merged.
    pub(super) until: u64,
    /// Of those rows, the keys up to this one are in `index-1`.
    pub(super) last: Vec<u8>,
}

impl Merged {
    /// All keys of the rows below `next` are in `index-1`.
    pub(super) const fn all(next: u64) -> Self {
        Self { rows: next, until: next, last: Vec::new() }
    }

    /// Whether a key of this row, if the row has it, is in `index-1`.
    pub(super) fn holds(&self, number: u64, key: &[u8]) -> bool {
        number < self.rows || (number < self.until && key <= self.last.as_slice())
    }
}

/// The writer's book of the keys in memory. What the writer does not commit never counts: after any failure the book
/// is made anew from the disk.
#[derive(Debug)]
pub(super) struct Ledger {
    fresh: Arc<Fresh>,
    /// A segment is merged when it is this large, in bytes.
    segment_bytes: usize,
    /// The session of the store that the book was made in; `None` if it has to be made anew.
    session: Option<u64>,
    /// As it was committed; but `until` rises as soon as a segment is frozen.
    merged: Merged,
    /// Keys of the rows from `merged.rows` to `merged.until`, if there are such rows.
    frozen: Option<Arc<Segment>>,
    /// Keys of all later rows.
    active: Arc<Segment>,
    /// What is true when the transaction is committed.
    pending: Option<Pending>,
    /// Rows that could not be read when the book was made: their keys are nowhere.
    unread: u64,
}

#[derive(Debug)]
struct Pending {
    merged: Merged,
    /// Keys in memory that their rows lose.
    lost: Vec<Vec<u8>>,
}

impl Ledger {
    /// A book that knows nothing yet.
    pub(super) fn new(fresh: Arc<Fresh>, segment_bytes: usize) -> Self {
        Self {
            fresh,
            segment_bytes,
            session: None,
            merged: Merged::all(0),
            frozen: None,
            active: Arc::default(),
            pending: None,
            unread: 0,
        }
    }

    /// Rows without keys, of which the file must tell once they count as merged.
    pub(super) const fn unread(&self) -> u64 {
        self.unread
    }

    /// Reads the rows anew if the book may not fit them. Returns the session of the store that it fits.
    pub(super) fn follow(&mut self, store: &Store) -> Result<u64, Error> {
        let session = store.session_number()?;
        if self.session != Some(session) {
            self.pending = None;
            let found = store.view(|transaction| Unmerged::read(&View::open(transaction)?))?;
            tracing::debug!(from = found.merged.rows, to = found.next, "read the keys of the newest rows");
            self.merged = found.merged;
            self.frozen = (self.merged.rows < self.merged.until).then(|| Arc::new(found.frozen));
            self.active = Arc::new(found.active);
            self.unread = found.unread;
            self.fresh.note_unread(found.unread);
            self.freeze_if_full(found.next);
            self.show();
            self.session = Some(session);
        }
        Ok(session)
    }

    /// Puts the next slice into the index, before `changes` other keys are changed in it. Where there is no `room`
    /// nothing is merged, so that a delete needs none.
    pub(super) fn advance<E>(
        &mut self,
        changes: usize,
        room: bool,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut merged = self.merged.clone();
        if let Some(frozen) = self.frozen.as_ref().filter(|_| room) {
            let is_late = self.active.bytes() >= 2 * self.segment_bytes;
            let pace = if is_late { PACE_LATE } else { PACE };
            let count = (changes.saturating_mul(pace) / 4).max(SLICE_MIN);
            merged = match frozen.slice(&merged.last, count, put)? {
                Some(last) => Merged { last, ..merged },
                None => Merged::all(merged.until),
            };
        }
        self.pending = Some(Pending { merged, lost: Vec::new() });
        Ok(())
    }

    /// How far the index gets with this transaction.
    pub(super) fn merged(&self) -> &Merged {
        self.pending.as_ref().map_or(&self.merged, |pending| &pending.merged)
    }

    /// Takes a key that `index-1` does not get in this transaction, or notes that its row loses it.
    pub(super) fn change(&mut self, number: u64, key: Vec<u8>, present: bool) {
        if present {
            self.segment_of(number).add(key.into_boxed_slice());
        } else if let Some(pending) = &mut self.pending {
            pending.lost.push(key);
        }
    }

    /// Counts the bytes of the rows that were written.
    pub(super) fn weigh(&self, row_bytes: usize) {
        self.active.weigh(row_bytes);
    }

    /// The transaction is on disk. `next` is the number that the next row gets.
    pub(super) fn committed(&mut self, next: u64) {
        let Some(Pending { merged, lost }) = self.pending.take() else { return };
        for key in lost {
            if let Some(number) = index::number_of(&key) {
                self.segment_of(number).bury(&key);
            }
        }
        self.merged = merged;
        let done = self.frozen.take_if(|_| self.merged.rows == self.merged.until);
        if self.freeze_if_full(next) || done.is_some() {
            self.show();
        }
    }

    /// The transaction failed, and perhaps is on disk nevertheless. Readers keep what they have: it holds the keys of
    /// either outcome.
    pub(super) fn failed(&mut self) {
        self.session = None;
    }

    fn freeze_if_full(&mut self, next: u64) -> bool {
        let is_due = self.frozen.is_none() && self.active.bytes() >= self.segment_bytes;
        if is_due {
            self.frozen = Some(std::mem::take(&mut self.active));
            self.merged.until = next;
        }
        is_due
    }

    fn show(&self) {
        self.fresh.show(self.frozen.iter().chain([&self.active]).cloned().collect());
    }

    fn segment_of(&self, number: u64) -> &Segment {
        match &self.frozen {
            Some(frozen) if number < self.merged.until => frozen,
            _ => &self.active,
        }
    }
}

/// The keys that `index-1` lacks, made from the rows.
struct Unmerged {
    merged: Merged,
    next: u64,
    frozen: Segment,
    active: Segment,
    /// Rows that cannot be read: nobody knows what keys they have.
    unread: u64,
}

impl Unmerged {
    /// The rows of either segment are read on a thread of their own: a start waits for this.
    fn read(view: &View) -> Result<Self, Error> {
        let (merged, next) = (view.merged()?, view.numbering()?.0);
        let until = merged.until.clamp(merged.rows, next.max(merged.rows));
        let read = |rows| storage::guard(|| missing(view, &merged, rows));
        let ((frozen, lost), (active, more)) = std::thread::scope(|scope| {
            let frozen = scope.spawn(|| read(merged.rows..until));
            let active = read(until..next.max(until));
            let damage = |_| Error::Damaged("a page of the newest rows".to_owned());
            Ok::<_, Error>((frozen.join().map_err(damage)??, active?))
        })?;
        Ok(Self { merged, next, frozen, active, unread: lost + more })
    }
}

/// The keys of some rows that `index-1` lacks, and how many of these rows cannot be read.
fn missing(view: &View, merged: &Merged, rows: Range<u64>) -> Result<(Segment, u64), Error> {
    let (mut missing, mut row_bytes, mut unread) = (Vec::new(), 0, 0);
    let lost = view.scan(rows, |number, bytes| {
        let Ok((_, description)) = tables::description(number, bytes) else {
            unread += 1;
            return Ok(true);
        };
        let keys = index::keys(number, description).into_iter();
        missing.extend(keys.filter(|key| !merged.holds(number, key)).map(Vec::into_boxed_slice));
        row_bytes += bytes.len();
        Ok(true)
    })?;
    Ok((Segment::holding(missing, row_bytes), unread + lost))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use assetmesh_protocol::document::Document;
    use assetmesh_protocol::filter::Number;
    use assetmesh_protocol::filter::terms::Scalar;
    use assetmesh_protocol::ids::RecordId;

    use super::*;
    use crate::catalog::row::Header;
    use crate::catalog::tables::{Row, Snapshot, Tables};
    use crate::catalog::{FORMAT, KIND};
    use crate::storage::test_disk::TestDisk;
    use crate::storage::{StoreConfig, StoreError, Sync};

    fn store() -> Store {
        let store = TestDisk::made(KIND, FORMAT).store(KIND, FORMAT, StoreConfig::default()).unwrap();
        store.update(Sync::Now, tables::create).unwrap();
        store
    }

    fn row(number: u64) -> Row {
        let time = Duration::from_secs(1);
        let header = Header { record: RecordId(uuid::Uuid::from_u128(7)), created: time, updated: time };
        let text = format!(r#"{{"asset_name":"n{number}","asset_metadata":{{"group":1,"rank":{number}}}}}"#);
        Row { number, header, document: Document::from_json(text.as_bytes()).unwrap() }
    }

    fn insert(store: &Store, ledger: &mut Ledger, number: u64) -> Result<(), Error> {
        let session = ledger.follow(store)?;
        store.update_within(session, Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            tables.insert(&row(number))?;
            Ok::<_, Error>(tables.finish(number + 1, true, ledger)?)
        })?;
        ledger.committed(number + 1);
        Ok(())
    }

    fn held(fresh: &Fresh) -> usize {
        fresh.look().unwrap().iter().map(|segment| segment.bytes()).sum()
    }

    #[test]
    fn keys_up_to_the_last_are_merged_and_rows_below_the_first_wholly() {
        let merged = Merged { rows: 10, until: 20, last: b"m".to_vec() };
        for (number, key, holds) in [
            (9, "z", true),
            (10, "a", true),
            (19, "m", true),
            (19, "ma", false),
            (20, "a", false),
            (21, "z", false),
        ] {
            assert_eq!(merged.holds(number, key.as_bytes()), holds, "{number} {key}");
        }
        assert!(Merged::all(5).holds(4, b"z") && !Merged::all(5).holds(5, b""));
    }

    #[test]
    fn what_a_failed_transaction_took_is_forgotten() {
        let (store, fresh) = (store(), Arc::new(Fresh::default()));
        let mut ledger = Ledger::new(Arc::clone(&fresh), 10_000);
        insert(&store, &mut ledger, 0).unwrap();
        let before = held(&fresh);
        let session = ledger.follow(&store).unwrap();
        let outcome = store.update_within(session, Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            tables.insert(&row(1))?;
            tables.remove(&row(0))?;
            tables.finish(2, true, &mut ledger)?;
            Err::<(), _>(StoreError::Interrupted)
        });
        assert!(outcome.is_err() && held(&fresh) > before);
        ledger.failed();
        assert_eq!(ledger.follow(&store).unwrap(), session, "the file was not opened anew");
        assert_eq!(held(&fresh), before);
        insert(&store, &mut ledger, 1).unwrap();
        assert!(held(&fresh) > before);
    }

    #[test]
    fn a_delete_on_a_full_disk_merges_nothing() {
        let (store, fresh) = (store(), Arc::new(Fresh::default()));
        let mut ledger = Ledger::new(fresh, 600);
        (0..4).for_each(|number| insert(&store, &mut ledger, number).unwrap());
        assert!(ledger.frozen.is_some());
        let before = ledger.merged.clone();
        let session = ledger.follow(&store).unwrap();
        let deleted = store.update_within(session, Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            tables.remove(&row(3))?;
            tables.finish(4, false, &mut ledger)
        });
        deleted.unwrap();
        ledger.committed(4);
        assert_eq!(ledger.merged, before);
    }

    #[test]
    fn memory_stays_within_a_bound_however_many_rows_come() {
        let (store, fresh) = (store(), Arc::new(Fresh::default()));
        let mut ledger = Ledger::new(Arc::clone(&fresh), 2000);
        let mut most = 0;
        for number in 0..200 {
            insert(&store, &mut ledger, number).unwrap();
            most = most.max(held(&fresh));
        }
        assert!((2000..5000).contains(&most), "{most} bytes");
        assert!(ledger.merged.rows > 100, "{:?}", ledger.merged);
    }

    #[test]
    fn a_reader_that_looked_long_before_its_snapshot_misses_nothing() {
        let (store, fresh) = (store(), Arc::new(Fresh::default()));
        let mut ledger = Ledger::new(Arc::clone(&fresh), 600);
        insert(&store, &mut ledger, 0).unwrap();
        for rows in 1..60 {
            let before = fresh.look();
            // Between the looks segments freeze, merge and go.
            for number in 0..rows % 7 {
                insert(&store, &mut ledger, 100 * rows + number).unwrap();
            }
            let all = store.view(|transaction| View::open(transaction)?.rows().map_err(Error::from));
            let snapshot = Snapshot::since(before, &store, &fresh).unwrap();
            let group = index::equals_prefix("asset_metadata.group", &Scalar::Number(Number::Int(1)));
            let mut seen = Vec::new();
            let visit = |number, _: &[u8]| {
                seen.push(number);
                Ok(true)
            };
            snapshot.stream(&group, 0, visit).unwrap();
            assert!(seen.is_sorted() && seen.len() as u64 == all.unwrap(), "{seen:?}");
        }
    }
}
