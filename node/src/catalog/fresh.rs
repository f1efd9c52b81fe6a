//! The index keys of the newest rows, in memory: those that `index-1` does not hold yet. Which key belongs here is not
//! decided here but in `merge`; nothing here touches the store.
//!
//! **Invariant:** a key never leaves a segment that a reader may hold. A row's keys are put in before its commit, and a
//! segment is dropped only after the commit that completes its merge. So a reader that looks once before it begins its
//! snapshot and once after, and takes what it saw both times, misses nothing: a segment that was gone at the first look
//! is in the `index-1` of the snapshot, and the keys of a row that the snapshot holds are there at the second look, in
//! `index-1` or in a segment that was seen. A key too many costs a look at a row: an index only narrows.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::index;

/// Keys that are read under one lock, so that the writer never waits long.
const KEYS_AT_ONCE: usize = if cfg!(test) { 3 } else { 512 };
/// What a key costs beside its bytes: its allocation and its share of a tree node.
const KEY_OVERHEAD: usize = 40;
/// A byte of rows counts as this part of a byte of keys: at the start they are read again.
const ROW_BYTES_PER_BYTE: usize = 4;

/// What readers and the writer share of the newest rows.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// `None` while it is not known which keys `index-1` lacks.
    segments: RwLock<Option<Segments>>,
    /// Rows that could not be read when their keys were made: no index has them.
    unread: AtomicU64,
}

/// The segments at one moment. At most two: one that is being merged, and the one that grows.
pub(super) type Segments = Vec<Arc<Segment>>;

impl Fresh {
    /// The segments of this moment; `None` if `index-1` and they together may lack keys.
    pub(super) fn look(&self) -> Option<Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows whose keys are neither here nor in `index-1`, because they could not be read.
    pub(super) fn unread(&self) -> u64 {
        self.unread.load(Ordering::Acquire)
    }

    /// Notes how many these are. Called before the segments of the other rows are shown.
    pub(super) fn note_unread(&self, rows: u64) {
        self.unread.store(rows, Ordering::Release);
    }

    /// Lets readers see other segments from now on.
    pub(super) fn show(&self, segments: Segments) {
        let before = self.segments.write().unwrap_or_else(PoisonError::into_inner).replace(segments);
        // Freed after the lock is: that can take long.
        drop(before);
    }
}

/// The segments of both looks, each once.
pub(super) fn joined(before: Segments, after: Segments) -> Segments {
    let mut all = before;
    for segment in after {
        if !all.iter().any(|held| Arc::ptr_eq(held, &segment)) {
            all.push(segment);
        }
    }
    all
}

/// Index keys of a range of rows.
#[derive(Debug, Default)]
pub(super) struct Segment {
    keys: RwLock<Keys>,
}

#[derive(Debug, Default)]
struct Keys {
    marks: BTreeMap<Box<[u8]>, Mark>,
    bytes: usize,
}

/// Whether a key still belongs to its row. Older snapshots need the dead too; the merge does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Live,
    Dead,
}

impl Segment {
    /// A segment with these keys, and what their rows weigh.
    pub(super) fn holding(mut keys: Vec<Box<[u8]>>, row_bytes: usize) -> Self {
        // In order, the tree is built in one walk.
        keys.sort_unstable();
        let bytes = row_bytes / ROW_BYTES_PER_BYTE + keys.iter().map(|key| cost(key)).sum::<usize>();
        let marks = keys.into_iter().map(|key| (key, Mark::Live)).collect();
        Self { keys: RwLock::new(Keys { marks, bytes }) }
    }

    /// Puts a key in.
    pub(super) fn add(&self, key: Box<[u8]>) {
        let mut keys = self.write();
        let cost = cost(&key);
        if keys.marks.insert(key, Mark::Live).is_none() {
            keys.bytes += cost;
        }
    }

    /// Marks a key that its row has lost.
    pub(super) fn bury(&self, key: &[u8]) {
        if let Some(mark) = self.write().marks.get_mut(key) {
            *mark = Mark::Dead;
        }
    }

    /// Counts the bytes of rows whose keys are here.
    pub(super) fn weigh(&self, row_bytes: usize) {
        self.write().bytes += row_bytes / ROW_BYTES_PER_BYTE;
    }

    /// About how much memory it takes, with a share for its rows.
    pub(super) fn bytes(&self) -> usize {
        self.read().bytes
    }

    /// Gives the live ones of the `count` keys that follow `after`. Returns the last of these keys, or `None` when no
    /// more follow.
    pub(super) fn slice<E>(
        &self,
        after: &[u8],
        count: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Option<Vec<u8>>, E> {
        let keys = self.read();
        let mut rest = keys.marks.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded));
        let mut last = None;
        for (key, mark) in rest.by_ref().take(count) {
            if *mark == Mark::Live {
                take(key)?;
            }
            last = Some(key);
        }
        Ok(last.filter(|_| rest.next().is_some()).map(|key| key.to_vec()))
    }

    /// The row numbers of all keys from `first` to `last`, both inclusive, in the order of the keys; if a length is
    /// given, of the keys of that length only.
    pub(super) fn numbers(&self, first: &[u8], last: &[u8], length: Option<usize>) -> Numbers<'_> {
        Numbers {
            segment: self,
            next: (first <= last).then(|| Bound::Included(first.to_vec())),
            last: last.to_vec(),
            length,
            chunk: Vec::new().into_iter(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.keys.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(key: &[u8]) -> usize {
    key.len() + KEY_OVERHEAD
}

/// Row numbers of a segment, read a few at a time. Keys that are added meanwhile may be among them or not.
#[derive(Debug)]
pub(super) struct Numbers<'s> {
    segment: &'s Segment,
    /// Where the next few begin; `None` at the end.
    next: Option<Bound<Vec<u8>>>,
    last: Vec<u8>,
    length: Option<usize>,
    chunk: std::vec::IntoIter<u64>,
}

impl Iterator for Numbers<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            if let Some(number) = self.chunk.next() {
                return Some(number);
            }
            let next = self.next.take()?;
            self.read_on(&next);
        }
    }
}

impl Numbers<'_> {
    fn read_on(&mut self, next: &Bound<Vec<u8>>) {
        let keys = self.segment.read();
        let from = next.as_ref().map(Vec::as_slice);
        let run = keys.marks.range::<[u8], _>((from, Bound::Included(self.last.as_slice())));
        let few: Vec<&[u8]> = run.take(KEYS_AT_ONCE).map(|(key, _)| &**key).collect();
        if few.len() == KEYS_AT_ONCE {
            self.next = few.last().map(|key| Bound::Excluded(key.to_vec()));
        }
        let wanted = few.into_iter().filter(|key| self.length.is_none_or(|length| key.len() == length));
        self.chunk = wanted.filter_map(index::number_of).collect::<Vec<_>>().into_iter();
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn key(prefix: &[u8], number: u64) -> Box<[u8]> {
        index::with_number(prefix, number).into_boxed_slice()
    }

    fn segment(keys: &[(&[u8], u64)]) -> Segment {
        let segment = Segment::default();
        keys.iter().for_each(|(prefix, number)| segment.add(key(prefix, *number)));
        segment
    }

    fn sliced(segment: &Segment, after: &[u8], count: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let mut taken = Vec::new();
        let last = segment.slice(after, count, |key| {
            taken.push(key.to_vec());
            Ok::<_, ()>(())
        });
        (taken, last.unwrap())
    }

    proptest! {
        #[test]
        fn slices_of_any_size_give_every_live_key_once_and_in_order(
            keys in btree_set((0u8..4, 0u64..30), 0..40), dead in btree_set((0u8..4, 0u64..30), 0..20),
            count in 1usize..9,
        ) {
            let segment = Segment::holding(keys.iter().rev().map(|(at, number)| key(&[*at], *number)).collect(), 0);
            dead.iter().for_each(|(at, number)| segment.bury(&key(&[*at], *number)));
            let (mut all, mut after) = (Vec::new(), Some(Vec::new()));
            while let Some(last) = after {
                let (taken, next) = sliced(&segment, &last, count);
                prop_assert!(taken.len() <= count && next.as_ref().is_none_or(|next| *next > last));
                all.extend(taken);
                after = next;
            }
            let live = keys.difference(&dead).map(|(at, number)| key(&[*at], *number).into_vec());
            prop_assert_eq!(all, live.collect::<Vec<_>>());
        }

        #[test]
        fn a_run_gives_the_numbers_of_its_keys_in_order_dead_or_not(
            numbers in btree_set(0u64..200, 0..30), others in vec(0u64..200, 0..10), from in 0u64..200,
        ) {
            let segment = Segment::default();
            numbers.iter().for_each(|number| segment.add(key(b"run", *number)));
            others.iter().for_each(|number| segment.add(key(b"run-on", *number)));
            numbers.iter().step_by(2).for_each(|number| segment.bury(&key(b"run", *number)));
            let (low, high) = (key(b"run", from), key(b"run", u64::MAX));
            let found: Vec<u64> = segment.numbers(&low, &high, Some(low.len())).collect();
            prop_assert_eq!(found, numbers.range(from..).copied().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_key_that_comes_back_is_alive_again() {
        let segment = segment(&[(b"a", 1)]);
        segment.bury(&key(b"a", 1));
        assert_eq!(sliced(&segment, &[], 9).0, Vec::<Vec<u8>>::new());
        segment.add(key(b"a", 1));
        assert_eq!(sliced(&segment, &[], 9).0, [key(b"a", 1).into_vec()]);
        segment.bury(&key(b"b", 1));
        assert_eq!(sliced(&segment, &[], 9).0.len(), 1, "what was never there is not made by its death");
    }

    #[test]
    fn keys_and_rows_have_weight_and_a_key_weighs_once() {
        let segment = segment(&[(b"a", 1)]);
        let one = segment.bytes();
        segment.add(key(b"a", 1));
        assert_eq!(segment.bytes(), one);
        segment.weigh(1000);
        assert_eq!(segment.bytes(), one + 1000 / ROW_BYTES_PER_BYTE);
        assert_eq!(Segment::holding(vec![key(b"a", 1)], 1000).bytes(), segment.bytes());
    }

    #[test]
    fn bounds_the_wrong_way_round_hold_nothing() {
        assert_eq!(segment(&[(b"a", 1)]).numbers(b"b", b"a", None).count(), 0);
    }

    #[test]
    fn two_looks_give_each_segment_once() {
        let [frozen, active, newer] = [(); 3].map(|()| Arc::new(Segment::default()));
        let fresh = Fresh::default();
        assert!(fresh.look().is_none(), "nothing is known before the rows are read");
        fresh.show(vec![Arc::clone(&frozen), Arc::clone(&active)]);
        let before = fresh.look().unwrap();
        fresh.show(vec![Arc::clone(&active), Arc::clone(&newer)]);
        let both = joined(before, fresh.look().unwrap());
        let expected = [frozen, active, newer];
        assert!(both.len() == 3 && both.iter().zip(&expected).all(|(held, seen)| Arc::ptr_eq(held, seen)));
    }
}
