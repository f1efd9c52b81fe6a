//! Answering a filter from this node's rows: plan, read candidates, let the evaluator decide each, page.
//! It reads one snapshot and never blocks the async runtime.

mod select;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::{PAGE_BYTES_MAX, PAGE_ROWS_MAX};
use bytes::Bytes;

use super::cursor::{Cursors, Position, SORT_KEY_BYTES_MAX};
use super::plan::{self, Plan};
use super::tables::{Lengths, Snapshot, View};
use super::{Asset, Catalog, Error};
use crate::blocking::Turn;
use crate::storage;
use select::{Question, Selection};

/// What is asked of this node, or of the whole federation.
#[derive(Debug)]
pub struct Query {
    /// Which assets.
    pub filter: Filter,
    /// The filter's text, which a cursor is bound to and others are asked with.
    pub filter_text: String,
    /// In which order; `None` is that of record ids: of one node, insertion order.
    pub sort: Option<Sort>,
    /// The sort's text, as the filter's; empty without a sort.
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

/// What is asked of this node as one of many.
#[derive(Debug, Clone)]
pub struct Select {
    /// Which assets.
    pub filter: Arc<Filter>,
    /// In which order; `None` is insertion order.
    pub sort: Option<Arc<Sort>>,
    /// Rows in the answer, at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Bytes of descriptions after which the answer ends; it has one row at least.
    pub bytes_max: usize,
    /// The row, of whatever node, behind which the answer begins.
    pub after: Option<Position>,
    /// How long it may take.
    pub deadline: Duration,
}

/// Some rows, in order.
#[derive(Debug)]
pub struct Selected {
    /// The rows with their sort keys.
    pub rows: Vec<(Bytes, Asset)>,
    /// Whether more follow.
    pub more: bool,
    /// What may be lacking; `None` if nothing.
    pub gap: Option<Gap>,
}

impl Catalog {
    /// The assets that match, page by page.
    ///
    /// # Errors
    /// A bad cursor, a filter or sort that fails on some document, `Busy`, and the store's own.
    pub async fn query(&self, query: Query) -> Result<Page, Error> {
        let Query { filter, filter_text, sort, sort_text, limit, cursor, deadline } = query;
        let after = cursor.map(|text| self.position(&filter_text, &sort_text, &text)).transpose()?;
        let (filter, sort) = (Arc::new(filter), sort.map(Arc::new));
        let select = Select { filter, sort, limit, bytes_max: PAGE_BYTES_MAX, after, deadline };
        let Selected { rows, more, gap } = self.select(select).await?;
        let last = rows.last().filter(|_| more).map(|(key, asset)| self.place(key.clone(), asset));
        let next_cursor =
            last.map(|position| self.cursor(&filter_text, &sort_text, &position)).transpose()?;
        Ok(Page { rows: rows.into_iter().map(|(_, asset)| asset).collect(), next_cursor, gap })
    }

    /// The place of one of this node's rows.
    pub(crate) fn place(&self, key: Bytes, asset: &Asset) -> Position {
        Position { key, record: asset.record, owner: self.inner.owner.assets_db_id }
    }

    /// The cursor of a position, for one filter and sort.
    ///
    /// # Errors
    /// When the sort key is too long.
    pub(crate) fn cursor(&self, filter: &str, sort: &str, position: &Position) -> Result<String, Error> {
        let sealed = self.inner.cursors.seal(Cursors::question(filter, sort), position);
        sealed.ok_or(Error::SortKeyTooLong { bytes_max: SORT_KEY_BYTES_MAX })
    }

    /// The position in a cursor.
    ///
    /// # Errors
    /// When this node did not make it for this filter and sort.
    pub(crate) fn position(&self, filter: &str, sort: &str, cursor: &str) -> Result<Position, Error> {
        self.inner.cursors.open(Cursors::question(filter, sort), cursor).ok_or(Error::BadCursor)
    }

    /// The first rows that match behind some place.
    ///
    /// # Errors
    /// A filter or sort that fails on some document, `Busy`, and the store's own.
    pub async fn select(&self, query: Select) -> Result<Selected, Error> {
        let catalog = self.clone();
        self.inner.readers.read(query.deadline, move |turn| catalog.answer(&query, turn)).await?
    }

    fn answer(&self, query: &Select, turn: &Turn) -> Result<Selected, Error> {
        let question = Question {
            filter: &query.filter,
            sort: query.sort.as_deref(),
            limit: query.limit.clamp(1, PAGE_ROWS_MAX),
            after: query.after.as_ref(),
            owner: self.inner.owner.assets_db_id,
            turn,
            enough: AtomicU64::new(u64::MAX),
        };
        let found = self.read_once(|snapshot| self.find_rows(snapshot, &question, query.bytes_max))?;
        if let Some(Gap::DamagedRows(rows)) = found.gap {
            self.report_damage(&format!("{rows} rows met by a query"));
        }
        Ok(found)
    }

    fn find_rows(
        &self,
        snapshot: &Snapshot,
        question: &Question<'_>,
        bytes_max: usize,
    ) -> Result<Selected, Error> {
        let view = &snapshot.view;
        let selection = match storage::guard(|| self.follow_plan(snapshot, question)) {
            // An index only narrows: where it cannot be read, every row is looked at.
            Err(Error::Damaged(what)) => {
                self.report_damage(&what);
                question.enough.store(u64::MAX, Ordering::Relaxed);
                let mut selection = Selection::new(question);
                selection.scan(view, question.first_row(view), u64::MAX, self.inner.threads_per_query)?;
                selection
            }
            followed => followed?,
        };
        read(view, selection, question.limit, bytes_max)
    }

    fn follow_plan<'q>(
        &self,
        snapshot: &Snapshot,
        question: &'q Question<'q>,
    ) -> Result<Selection<'q>, Error> {
        let (view, threads) = (&snapshot.view, self.inner.threads_per_query);
        let (need, rows, is_late) = (question.filter.need(), view.rows()?, || question.turn.is_over());
        let mut keys_max = match question.sort {
            None => plan::keys_for_page(question.limit as u64, rows),
            Some(_) => u64::MAX,
        };
        let (mut selection, mut next) = (Selection::new(question), Some(question.first_row(view)));
        while let Some(first) = next.take() {
            let plan = plan::choose(&need, &Lengths::of(snapshot, first, &is_late)?, keys_max)?;
            tracing::debug!(?plan, first, "query planned");
            selection.damaged = selection.damaged.max(snapshot.out_of_reach(&plan)?);
            match &plan {
                Plan::Empty => {}
                Plan::Scan => {
                    let rows_max = plan::head_rows(keys_max, rows).unwrap_or(u64::MAX);
                    next = selection.scan(view, first, rows_max, threads)?;
                    keys_max = plan::longer(keys_max);
                }
                Plan::Stream(prefix) => {
                    snapshot.stream(prefix, first, |number, bytes| selection.consider(number, bytes))?
                }
                Plan::Gather(sources) => {
                    let numbers = snapshot.gather(sources, first, || selection.goes_on(first))?;
                    view.each(&numbers, |number, bytes| selection.consider(number, bytes))?;
                }
            }
        }
        tracing::debug!(looks = selection.looks, "query answered");
        Ok(selection)
    }
}

/// The rows of a page, read from the snapshot that they were selected in.
fn read(view: &View, selection: Selection<'_>, limit: usize, bytes_max: usize) -> Result<Selected, Error> {
    let gap = match (selection.is_cut(), selection.damaged) {
        (true, _) => Some(Gap::Deadline),
        (false, 0) => None,
        (false, rows) => Some(Gap::DamagedRows(rows)),
    };
    let places = selection.into_places();
    let (found, mut bytes) = (places.len(), 0_usize);
    let mut rows = Vec::with_capacity(found.min(limit));
    for (key, number) in places.into_iter().take(limit) {
        let row = view.row(number)?.ok_or_else(|| Error::damaged(number))?;
        bytes = bytes.saturating_add(row.document.as_bytes().len());
        if bytes > bytes_max && !rows.is_empty() {
            break;
        }
        rows.push((key, Asset::from(row)));
    }
    let more = rows.len() < found;
    Ok(Selected { rows, more, gap })
}
