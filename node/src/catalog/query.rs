//! Answering a filter from this node's rows: plan, read candidates, let the evaluator decide each, page.
//! It reads one snapshot and never blocks the async runtime.

mod select;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::PAGE_ROWS_MAX;

use super::cursor::{Cursors, Position, SORT_KEY_BYTES_MAX};
use super::plan::{self, Plan};
use super::tables::{Lengths, Snapshot, View};
use super::{Asset, Catalog, Error, numbers};
use crate::storage;
use select::{Question, Selection};

/// What is asked of this node.
#[derive(Debug)]
pub struct Query {
    /// Which assets.
    pub filter: Filter,
    /// The filter's text, which a cursor is bound to.
    pub filter_text: String,
    /// In which order; `None` is insertion order.
    pub sort: Option<Sort>,
    /// The sort's text, which a cursor is bound to.
    pub sort_text: String,
    /// Rows in the page, at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// How long it may take.
    pub deadline: Duration,
}

/// Why a page may lack rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// The deadline came first.
    Deadline,
    /// This many damaged rows could not be read.
    DamagedRows(u64),
}

/// One page of rows.
#[derive(Debug)]
pub struct Page {
    /// The rows, in order.
    pub rows: Vec<Asset>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
    /// What the page may lack; `None` if it is whole.
    pub gap: Option<Gap>,
}

impl Catalog {
    /// The assets that match, page by page.
    ///
    /// # Errors
    /// A bad cursor, a filter or sort that fails on some document, `Busy`, and the store's own.
    pub async fn query(&self, query: Query) -> Result<Page, Error> {
        let deadline = Instant::now() + query.deadline;
        let permit = tokio::time::timeout(query.deadline, Arc::clone(&self.inner.readers).acquire_owned());
        let permit = permit.await.map_err(|_| Error::Busy)?.map_err(|_| Error::Stopped)?;
        let stop = StopOnDrop(Arc::new(AtomicBool::new(false)));
        let (catalog, stopped) = (self.clone(), Arc::clone(&stop.0));
        let work = move || {
            let _permit = permit;
            catalog.answer(&query, deadline, &stopped)
        };
        let result = tokio::task::spawn_blocking(work).await.map_err(|_| Error::Stopped)?;
        drop(stop);
        result
    }

    fn answer(&self, query: &Query, deadline: Instant, stopped: &AtomicBool) -> Result<Page, Error> {
        let asked = Cursors::question(&query.filter_text, &query.sort_text);
        let after = match &query.cursor {
            Some(text) => Some(self.inner.cursors.open(asked, text).ok_or(Error::BadCursor)?),
            None => None,
        };
        let question = Question {
            filter: &query.filter,
            sort: query.sort.as_ref(),
            limit: query.limit.clamp(1, PAGE_ROWS_MAX),
            after: after.map(|position| (position.key, numbers::row_number(position.record))),
            deadline,
            stopped,
            enough: AtomicU64::new(u64::MAX),
        };
        let found = self.read_once(|snapshot| self.select(snapshot, &question))?;
        if let Some(Gap::DamagedRows(rows)) = found.gap {
            self.report_damage(&format!("{rows} rows met by a query"));
        }
        let next_cursor = match found.last {
            Some(position) => {
                let too_long = Error::SortKeyTooLong { bytes_max: SORT_KEY_BYTES_MAX };
                Some(self.inner.cursors.seal(asked, &position).ok_or(too_long)?)
            }
            None => None,
        };
        Ok(Page { rows: found.rows, next_cursor, gap: found.gap })
    }

    fn select(&self, snapshot: &Snapshot, question: &Question<'_>) -> Result<Found, Error> {
        let view = &snapshot.view;
        let selection = match storage::guard(|| self.follow_plan(snapshot, question)) {
            // An index only narrows: where it cannot be read, every row is looked at.
            Err(Error::Damaged(what)) => {
                self.report_damage(&what);
                question.enough.store(u64::MAX, Ordering::Relaxed);
                let mut selection = Selection::new(question);
                selection.scan(view, question.first_row(), self.inner.threads_per_query)?;
                selection
            }
            followed => followed?,
        };
        Found::read(view, selection, question.limit)
    }

    fn follow_plan<'q>(
        &self,
        snapshot: &Snapshot,
        question: &'q Question<'q>,
    ) -> Result<Selection<'q>, Error> {
        let view = &snapshot.view;
        let plan = plan::choose(&question.filter.need(), &Lengths::of(snapshot)?)?;
        tracing::debug!(?plan, "query planned");
        let mut selection = Selection::new(question);
        let first = question.first_row();
        match &plan {
            Plan::Empty => {}
            Plan::Scan => selection.scan(view, first, self.inner.threads_per_query)?,
            Plan::Stream(prefix) => {
                snapshot.stream(prefix, first, |number, bytes| selection.consider(number, bytes))?
            }
            Plan::Gather(sources) => {
                let numbers = snapshot.gather(sources, first)?;
                view.each(&numbers, |number, bytes| selection.consider(number, bytes))?;
            }
        }
        Ok(selection)
    }
}

/// The rows of a page, read from the snapshot that they were selected in.
struct Found {
    rows: Vec<Asset>,
    /// The last row's place, if more follow.
    last: Option<Position>,
    gap: Option<Gap>,
}

impl Found {
    fn read(view: &View, selection: Selection<'_>, limit: usize) -> Result<Self, Error> {
        let gap = match (selection.is_cut(), selection.damaged) {
            (true, _) => Some(Gap::Deadline),
            (false, 0) => None,
            (false, rows) => Some(Gap::DamagedRows(rows)),
        };
        let mut places = selection.into_places();
        let more = places.len() > limit;
        places.truncate(limit);
        let mut rows = Vec::with_capacity(places.len());
        for (_, number) in &places {
            rows.push(view.row(*number)?.ok_or_else(|| Error::damaged(*number))?.into());
        }
        let last = places.pop().zip(rows.last()).filter(|_| more);
        let last = last.map(|((key, _), row): (_, &Asset)| Position { key, record: row.record });
        Ok(Self { rows, last, gap })
    }
}

/// Tells the reading thread that nobody waits any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
