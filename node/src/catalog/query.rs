//! Answering a filter from this node's rows: plan, read candidates, let the evaluator decide each, page.
//! It reads one snapshot and never blocks the async runtime.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::PAGE_ROWS_MAX;
use bytes::Bytes;

use super::cursor::{Cursors, Position, SORT_KEY_BYTES_MAX};
use super::plan::{self, Plan};
use super::tables::{self, Lengths, View};
use super::{Asset, Catalog, Error, numbers};

/// Rows between two looks at the clock.
const ROWS_PER_TICK: u32 = 256;

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
        let question = Cursors::question(&query.filter_text, &query.sort_text);
        let after = match &query.cursor {
            Some(text) => Some(self.inner.cursors.open(question, text).ok_or(Error::BadCursor)?),
            None => None,
        };
        let mut page = Gathering::new(query, after.as_ref(), deadline, stopped);
        self.read_once(|view| {
            let plan = plan::choose(&query.filter.need(), &Lengths::of(view)?)?;
            tracing::debug!(?plan, "query planned");
            page.gather(view, &plan)?;
            page.fill(view)
        })?;
        for _ in 0..page.damaged {
            self.report_damage("a row met by a query");
        }
        let next_cursor = match (page.more, page.last_position()) {
            (true, Some(position)) => Some(
                self.inner.cursors.seal(question, &position).ok_or(Error::SortKeyTooLong { bytes_max: SORT_KEY_BYTES_MAX })?,
            ),
            _ => None,
        };
        Ok(Page { next_cursor, gap: page.gap(), rows: page.rows })
    }
}

/// Tells the reading thread that nobody waits any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The rows found so far: in a heap that keeps the `limit + 1` smallest by (sort key, row number).
struct Gathering<'q> {
    query: &'q Query,
    limit: usize,
    after: Option<(SortBytes, u64)>,
    deadline: Instant,
    stopped: &'q AtomicBool,
    ticks: u32,
    best: BinaryHeap<(SortBytes, u64)>,
    order: Vec<(SortBytes, u64)>,
    rows: Vec<Asset>,
    more: bool,
    damaged: u64,
    late: bool,
}

type SortBytes = Bytes;

impl<'q> Gathering<'q> {
    fn new(query: &'q Query, after: Option<&Position>, deadline: Instant, stopped: &'q AtomicBool) -> Self {
        Self {
            query,
            limit: query.limit.clamp(1, PAGE_ROWS_MAX),
            after: after.map(|position| (position.key.clone(), numbers::row_number(position.record))),
            deadline,
            stopped,
            ticks: 0,
            best: BinaryHeap::new(),
            order: Vec::new(),
            rows: Vec::new(),
            more: false,
            damaged: 0,
            late: false,
        }
    }

    /// Without a sort, rows before the cursor need not be read.
    fn first_row(&self) -> u64 {
        match (&self.query.sort, &self.after) {
            (None, Some((_, number))) => number + 1,
            _ => 0,
        }
    }

    fn gather(&mut self, view: &View, plan: &Plan) -> Result<(), Error> {
        let first = self.first_row();
        match plan {
            Plan::Empty => Ok(()),
            Plan::Scan => view.scan(first, |number, bytes| self.consider(number, bytes)),
            Plan::Stream(prefix) => view.stream(prefix, first, |number, bytes| self.consider(number, bytes)),
            Plan::Gather(sources) => {
                let numbers = view.gather(sources, first)?;
                view.each(&numbers, |number, bytes| self.consider(number, bytes))
            }
        }
    }

    /// Takes a candidate if it matches. False when nothing more is needed or allowed.
    fn consider(&mut self, number: u64, bytes: &[u8]) -> Result<bool, Error> {
        if self.out_of_time() {
            return Ok(false);
        }
        let Ok((_, description)) = tables::description(number, bytes) else {
            self.damaged += 1;
            return Ok(true);
        };
        if !self.query.filter.matches(description)? {
            return Ok(true);
        }
        let key = match &self.query.sort {
            Some(sort) => Bytes::copy_from_slice(sort.key(description)?.as_bytes()),
            None => Bytes::new(),
        };
        let place = (key, number);
        if self.after.as_ref().is_some_and(|after| place <= *after) {
            return Ok(true);
        }
        self.best.push(place);
        if self.best.len() > self.limit + 1 {
            self.best.pop();
        }
        // In row order, what is found first is what the page holds.
        Ok(self.query.sort.is_some() || self.best.len() <= self.limit)
    }

    fn out_of_time(&mut self) -> bool {
        self.ticks += 1;
        if self.ticks.is_multiple_of(ROWS_PER_TICK) && (self.stopped.load(Ordering::Relaxed) || Instant::now() >= self.deadline) {
            self.late = true;
        }
        self.late
    }

    /// Reads the rows of the page from the same snapshot.
    fn fill(&mut self, view: &View) -> Result<(), Error> {
        self.order = std::mem::take(&mut self.best).into_sorted_vec();
        self.more = self.order.len() > self.limit;
        self.order.truncate(self.limit);
        for (_, number) in &self.order {
            let bytes = view.bytes(*number)?.ok_or_else(|| Error::damaged(*number))?;
            self.rows.push(tables::decode(*number, bytes.value())?.into());
        }
        Ok(())
    }

    fn last_position(&self) -> Option<Position> {
        let (key, _) = self.order.last()?;
        Some(Position { key: key.clone(), record: self.rows.last()?.record })
    }

    fn gap(&self) -> Option<Gap> {
        match (self.late, self.damaged) {
            (true, _) => Some(Gap::Deadline),
            (false, 0) => None,
            (false, rows) => Some(Gap::DamagedRows(rows)),
        }
    }
}
