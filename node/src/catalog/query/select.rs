//! Selecting the rows of one page among candidates: on one thread, or striped over several when all rows are read.
//! Each thread keeps only the `limit + 1` first rows it has met, so memory does not grow with the catalog.

use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::ids::{AssetsDbId, RecordId};
use bytes::Bytes;

use crate::blocking::Turn;
use crate::catalog::cursor::Position;
use crate::catalog::tables::{self, View};
use crate::catalog::{Error, numbers};
use crate::storage;

/// Rows between two looks at the clock.
const ROWS_PER_TICK: u64 = 256;
/// Rows that one thread reads before others help: most pages are full by then. Few in tests, so that small
/// catalogs are striped too.
const HEAD_ROWS: u64 = if cfg!(test) { 4 } else { 16_384 };
/// Rows that a thread takes at a time.
const STRIPE_ROWS: u64 = if cfg!(test) { 3 } else { 8192 };

/// Bytes of sort keys that one thread keeps. A thousand rows leave 32 KiB to each.
const SORT_KEYS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Where a row stands in the order of the answer: sort key, then row number.
pub(super) type Place = (Bytes, u64);

/// What all threads of one question share.
pub(super) struct Question<'q> {
    pub(super) filter: &'q Filter,
    pub(super) sort: Option<&'q Sort>,
    /// Rows in the page.
    pub(super) limit: usize,
    /// The last row of the page before. It may be another node's.
    pub(super) after: Option<&'q Position>,
    /// The node that all rows here belong to.
    pub(super) owner: AssetsDbId,
    pub(super) turn: &'q Turn,
    /// In row order, no row from here on can be in the page.
    pub(super) enough: AtomicU64,
}

impl Question<'_> {
    /// Without a sort, rows before the cursor need not be read. It only narrows; [`Question::is_after`] decides.
    pub(super) fn first_row(&self, view: &View) -> u64 {
        match (self.sort, self.after) {
            (None, Some(after)) if after.owner == self.owner => numbers::row_number(after.record) + 1,
            (None, Some(after)) => storage::guard(|| view.first_since(after.record)).unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether a row here stands behind the page before, in the order of the whole federation.
    fn is_after(&self, key: &Bytes, record: RecordId) -> bool {
        self.after.is_none_or(|after| (key, record, self.owner) > (&after.key, after.record, after.owner))
    }
}

/// The rows that one thread has selected so far.
pub(super) struct Selection<'q> {
    question: &'q Question<'q>,
    /// Rows and keys that were looked at.
    pub(super) looks: u64,
    first: BinaryHeap<Place>,
    /// Bytes of the sort keys in `first`.
    key_bytes: usize,
    pub(super) damaged: u64,
    /// The first row that was left out because the time was up.
    late_at: Option<u64>,
}

impl<'q> Selection<'q> {
    pub(super) fn new(question: &'q Question<'q>) -> Self {
        Self { question, looks: 0, first: BinaryHeap::new(), key_bytes: 0, damaged: 0, late_at: None }
    }

    /// The selected places in order, at most `limit + 1`.
    pub(super) fn into_places(self) -> Vec<Place> {
        self.first.into_sorted_vec()
    }

    /// Takes a candidate if it matches. False when this thread needs or may read no more.
    pub(super) fn consider(&mut self, number: u64, bytes: &[u8]) -> Result<bool, Error> {
        if number >= self.question.enough.load(Ordering::Relaxed) {
            return Ok(false);
        }
        if !self.goes_on(number) {
            return Ok(false);
        }
        let Ok((header, description)) = tables::description(number, bytes) else {
            self.damaged += 1;
            return Ok(true);
        };
        if !self.question.filter.matches(description)? {
            return Ok(true);
        }
        let key = match self.question.sort {
            Some(sort) => Bytes::from(sort.key(description)?.into_bytes()),
            None => Bytes::new(),
        };
        if self.question.is_after(&key, header.record) {
            self.keep((key, number))?;
        }
        Ok(true)
    }

    fn keep(&mut self, place: Place) -> Result<(), Error> {
        let is_full = self.first.len() > self.question.limit;
        if is_full && self.first.peek().is_some_and(|last| place >= *last) {
            return Ok(());
        }
        self.key_bytes += place.0.len();
        self.first.push(place);
        if is_full {
            self.key_bytes -= self.first.pop().map_or(0, |(key, _)| key.len());
        }
        if self.key_bytes > SORT_KEYS_BYTES_MAX {
            return Err(Error::SortKeysTooLong { bytes_max: SORT_KEYS_BYTES_MAX });
        }
        if self.question.sort.is_none()
            && self.first.len() > self.question.limit
            && let Some((_, last)) = self.first.peek()
        {
            self.question.enough.fetch_min(last + 1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether there is time for another row or key; `number` is the first row that is left out if not.
    pub(super) fn goes_on(&mut self, number: u64) -> bool {
        self.looks += 1;
        let is_late = match self.looks.is_multiple_of(ROWS_PER_TICK) {
            true => self.question.turn.is_over(),
            false => self.late_at.is_some(),
        };
        if is_late {
            self.late_at.get_or_insert(number);
        }
        !is_late
    }

    /// Whether the deadline came before a row that the page may lack.
    pub(super) fn is_cut(&self) -> bool {
        self.late_at.is_some_and(|row| row < self.question.enough.load(Ordering::Relaxed))
    }

    /// Reads the rows from `first` on, at most so many. Gives the row to go on with; none when the page needs or may read no
    /// more.
    pub(super) fn scan(
        &mut self,
        view: &View,
        first: u64,
        rows_max: u64,
        threads: usize,
    ) -> Result<Option<u64>, Error> {
        let last = view.numbering()?.0;
        let end = last.min(first.saturating_add(rows_max));
        self.scan_rows(view, first..end, threads)?;
        Ok((end < last && !self.is_done(end)).then_some(end))
    }

    /// Whether no row from this one on is needed or may be read.
    fn is_done(&self, row: u64) -> bool {
        self.late_at.is_some() || row >= self.question.enough.load(Ordering::Relaxed)
    }

    /// Reads rows; when they are many, with the help of other threads.
    fn scan_rows(&mut self, view: &View, rows: Range<u64>, threads: usize) -> Result<(), Error> {
        let Range { start: first, end } = rows;
        let head = end.min(first.saturating_add(HEAD_ROWS));
        let lost = view.scan(first..head, |number, bytes| self.consider(number, bytes))?;
        self.damaged += lost;
        if self.is_done(head) {
            return Ok(());
        }
        let stripes = Stripes { next: AtomicU64::new(head), end };
        let helpers = threads.min(((end - head) / STRIPE_ROWS) as usize).saturating_sub(1);
        let question = self.question;
        std::thread::scope(|scope| {
            let help = || {
                let mut selection = Selection::new(question);
                storage::guard(|| selection.scan_stripes(view, &stripes)).map(|()| selection)
            };
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(help)).collect();
            let mine = self.scan_stripes(view, &stripes);
            for helper in helpers {
                let damage = |_| Error::Damaged("a page met by a query".to_owned());
                self.merge(helper.join().map_err(damage)??)?;
            }
            mine
        })
    }

    fn scan_stripes(&mut self, view: &View, stripes: &Stripes) -> Result<(), Error> {
        while let Some(rows) = stripes.take(self.question.enough.load(Ordering::Relaxed)) {
            if self.late_at.is_some() {
                break;
            }
            let lost = view.scan(rows, |number, bytes| self.consider(number, bytes))?;
            self.damaged += lost;
        }
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<(), Error> {
        self.damaged += other.damaged;
        self.looks += other.looks;
        self.late_at = self.late_at.into_iter().chain(other.late_at).min();
        other.first.into_iter().try_for_each(|place| self.keep(place))
    }
}

/// Row numbers that nobody has read yet, handed out in order.
struct Stripes {
    next: AtomicU64,
    end: u64,
}

impl Stripes {
    fn take(&self, enough: u64) -> Option<Range<u64>> {
        let first = self.next.fetch_add(STRIPE_ROWS, Ordering::Relaxed);
        let end = self.end.min(enough);
        (first < end).then(|| first..end.min(first + STRIPE_ROWS))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use assetmesh_protocol::document::Document;
    use assetmesh_protocol::ids::RecordId;
    use serde_json::json;

    use super::*;
    use crate::catalog::row::{self, Header};

    const LIMIT: usize = 2;

    fn row(number: u64, name: &str) -> Vec<u8> {
        let header =
            Header { record: RecordId(uuid::Uuid::nil()), created: Duration::ZERO, updated: Duration::ZERO };
        row::encode(number, &header, &Document::from_value(&json!({"name": name})).unwrap())
    }

    /// Considers rows on one thread after another, each with its rows, when the time is long up. Says whether the
    /// page is cut, and which rows it has.
    fn late(threads: &[&[(u64, &str)]]) -> (bool, Vec<u64>) {
        let filter = Filter::parse(&json!({"name": "wanted"})).unwrap();
        let question = Question {
            filter: &filter,
            sort: None,
            limit: LIMIT,
            after: None,
            owner: AssetsDbId(uuid::Uuid::nil()),
            turn: &Turn::until(Instant::now()),
            enough: AtomicU64::new(u64::MAX),
        };
        let mut all = Selection::new(&question);
        for rows in threads {
            // The clock is looked at when the fifth row comes.
            let mut selection = Selection { looks: ROWS_PER_TICK - 5, ..Selection::new(&question) };
            for (number, name) in *rows {
                if !selection.consider(*number, &row(*number, name)).unwrap() {
                    break;
                }
            }
            all.merge(selection).unwrap();
        }
        (all.is_cut(), all.into_places().into_iter().map(|(_, number)| number).collect())
    }

    const FULL: [(u64, &str); 5] = [(0, "wanted"), (1, "other"), (2, "wanted"), (3, "wanted"), (4, "wanted")];

    #[test]
    fn a_page_that_is_full_before_the_time_is_up_is_whole() {
        assert_eq!(late(&[&FULL]), (false, vec![0, 2, 3]));
    }

    #[test]
    fn a_page_that_lacks_a_row_is_cut() {
        let rows = [(0, "wanted"), (1, "other"), (2, "other"), (3, "other"), (4, "wanted"), (5, "wanted")];
        assert_eq!(late(&[&rows]), (true, vec![0]));
    }

    #[test]
    fn only_a_thread_that_is_late_before_the_end_of_the_page_cuts_it() {
        let after = [(10, "other"), (11, "other"), (12, "other"), (13, "other"), (14, "other")];
        assert_eq!(late(&[&after, &FULL]), (false, vec![0, 2, 3]));
        let later: Vec<_> = FULL.iter().map(|(number, name)| (number + 20, *name)).collect();
        assert_eq!(late(&[&after, &later]), (true, vec![20, 22, 23]));
    }
}
