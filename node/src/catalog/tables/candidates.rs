//! Where the rows of a query can be found: `index-1` of a snapshot together with the keys that are still in memory.
//! It yields a superset of the matching rows; the evaluator decides each.

use std::sync::Arc;

use super::View;
use crate::catalog::fresh::{self, Fresh, Segment, Segments};
use crate::catalog::plan::{Plan, Postings, Source};
use crate::catalog::{Error, index};
use crate::storage::{self, Store, StoreError};

/// Rows counted for an exact figure before a run's length is guessed from how far it got.
const SAMPLE: u64 = 4096;
/// Keys counted between two looks at the clock. Few in tests, so that short lists have some.
const KEYS_PER_TICK: u64 = if cfg!(test) { 4 } else { 1024 };

/// A view of the catalog with the whole index of its rows.
pub(in crate::catalog) struct Snapshot {
    pub(in crate::catalog) view: View,
    fresh: Option<Segments>,
    unread: u64,
}

impl Snapshot {
    /// Reads what is committed. What reads the snapshot runs inside [`storage::guard`].
    pub(in crate::catalog) fn take(store: &Store, fresh: &Fresh) -> Result<Self, Error> {
        // Before and after, in this order: see the invariant in `fresh`.
        Self::since(fresh.look(), store, fresh)
    }

    /// Like [`Snapshot::take`], after a first look.
    pub(in crate::catalog) fn since(
        before: Option<Segments>,
        store: &Store,
        fresh: &Fresh,
    ) -> Result<Self, Error> {
        let transaction = store.read()?;
        let view = storage::guard(|| View::open(&transaction))?;
        let unread = fresh.unread();
        let fresh = before.zip(fresh.look()).map(|(before, after)| fresh::joined(before, after));
        Ok(Self { view, fresh, unread })
    }

    /// Rows that the keys of these sources may have, and that no index leads to, because they cannot be read.
    pub(in crate::catalog) fn out_of_reach(&self, plan: &Plan) -> Result<u64, StoreError> {
        let by_keys = match plan {
            Plan::Empty | Plan::Scan => false,
            Plan::Stream(_) => true,
            Plan::Gather(sources) => {
                sources.iter().any(|source| matches!(source, Source::Run(_) | Source::Range(..)))
            }
        };
        if by_keys { Ok(self.unread.max(self.view.unindexed()?)) } else { Ok(0) }
    }

    /// Calls `visit` with each row of one run of index keys from row `first` on, in row order.
    pub(in crate::catalog) fn stream(
        &self,
        prefix: &[u8],
        first: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let (low, high) = (index::with_number(prefix, first), index::with_number(prefix, u64::MAX));
        let length = low.len();
        let mut merged = self.view.index.range(low.as_slice()..=high.as_slice())?.filter_map(|entry| {
            let number = |key: &[u8]| index::number_of(key).filter(|_| key.len() == length);
            entry.map(|(key, _)| number(key.value())).transpose()
        });
        let segments = self.fresh()?.iter();
        let runs = segments.map(|segment| segment.numbers(&low, &high, Some(length)).peekable());
        let mut runs: Vec<_> = runs.collect();
        let mut ahead = merged.next().transpose()?;
        loop {
            let fresh = runs.iter_mut().filter_map(|run| run.peek().copied());
            let Some(number) = fresh.chain(ahead).min() else { break };
            if ahead == Some(number) {
                ahead = merged.next().transpose()?;
            }
            for run in &mut runs {
                run.next_if_eq(&number);
            }
            if let Some(bytes) = self.view.assets.get(number)?
                && !visit(number, bytes.value())?
            {
                break;
            }
        }
        Ok(())
    }

    /// All row numbers of some sources from `first` on, ascending, each once. It asks after each number that it reads
    /// whether to go on, and gives what it has when it is told not to.
    pub(in crate::catalog) fn gather(
        &self,
        sources: &[Source],
        first: u64,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::new();
        for source in sources {
            self.visit_source(source, first, &mut |number| {
                if number >= first {
                    numbers.push(number);
                }
                goes_on()
            })?;
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// Rows before `first` are left out where they lie apart.
    fn visit_source(
        &self,
        source: &Source,
        first: u64,
        visit: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        match source {
            Source::Uri(uri) => {
                if let Some(number) = self.view.uris.get(uri.as_bytes())? {
                    visit(number.value());
                }
            }
            Source::Holders(blob) => {
                for entry in
                    self.view.holders.range((blob.as_bytes(), first)..=(blob.as_bytes(), u64::MAX))?
                {
                    if !visit(entry?.0.value().1) {
                        break;
                    }
                }
            }
            Source::Run(prefix) => {
                let (low, high) = (index::with_number(prefix, first), index::with_number(prefix, u64::MAX));
                self.visit_keys(&low, &high, visit)?;
            }
            Source::Range(low, high) => self.visit_keys(low, high, visit)?,
        }
        Ok(())
    }

    /// A key that is both in the index and still in memory is met twice.
    fn visit_keys(
        &self,
        first: &[u8],
        last: &[u8],
        visit: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        for entry in self.view.index.range(first..=last)? {
            if let Some(number) = index::number_of(entry?.0.value())
                && !visit(number)
            {
                return Ok(());
            }
        }
        for number in self.fresh()?.iter().flat_map(|segment| segment.numbers(first, last, None)) {
            if !visit(number) {
                break;
            }
        }
        Ok(())
    }

    fn fresh(&self) -> Result<&[Arc<Segment>], StoreError> {
        self.fresh.as_deref().ok_or_else(|| StoreError::Damaged("how far the index has got".into()))
    }
}

/// The planner's view of list lengths.
pub(in crate::catalog) struct Lengths<'s> {
    snapshot: &'s Snapshot,
    rows: u64,
    /// Rows before this are not counted.
    first: u64,
    is_late: &'s dyn Fn() -> bool,
}

impl<'s> Lengths<'s> {
    /// Of the rows from `first` on. Nothing is counted to its end once it is late.
    pub(in crate::catalog) fn of(
        snapshot: &'s Snapshot,
        first: u64,
        is_late: &'s dyn Fn() -> bool,
    ) -> Result<Self, StoreError> {
        Ok(Self { snapshot, rows: snapshot.view.rows()?, first, is_late })
    }
}

impl Postings for Lengths<'_> {
    type Error = StoreError;

    fn rows(&self) -> u64 {
        self.rows
    }

    fn estimate(&self, source: &Source, enough: u64) -> Result<u64, StoreError> {
        let sampled = matches!(source, Source::Run(_)) && enough > SAMPLE;
        let limit = if sampled { SAMPLE } else { enough };
        let (mut count, mut first, mut last) = (0, None, 0);
        self.snapshot.visit_source(source, self.first, &mut |number| {
            count += 1;
            first.get_or_insert(number);
            last = last.max(number);
            count < limit && !(count.is_multiple_of(KEYS_PER_TICK) && (self.is_late)())
        })?;
        // A run lies in row order, so that the part of all rows it has covered tells about how long it is.
        let span = last.saturating_sub(first.unwrap_or(last)) + 1;
        let guessed = sampled && count == SAMPLE;
        Ok(if guessed { (count.saturating_mul(self.rows) / span.max(1)).max(count) } else { count })
    }
}
