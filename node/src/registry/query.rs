//! Answering a filter from this node's copy of the registry. It reads one view, and never blocks the async runtime.

use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::PAGE_ROWS_MAX;

use super::cursor::{Cursors, SORT_KEY_BYTES_MAX};
use super::view::{Entry, View};
use super::{Error, Registry, actor};
use crate::blocking::Turn;

/// Entries between two looks at the clock.
const ENTRIES_PER_TICK: usize = 64;

/// What is asked.
#[derive(Debug)]
pub struct Query {
    /// Which entries.
    pub filter: Filter,
    /// The filter's text, which a cursor is bound to.
    pub filter_text: String,
    /// In which order; `None` is the order of creation, then of ids, the same on every node.
    pub sort: Option<Sort>,
    /// The sort's text, which a cursor is bound to.
    pub sort_text: String,
    /// Entries in the page, at most [`PAGE_ROWS_MAX`].
    pub limit: usize,
    /// Where the page before ended.
    pub cursor: Option<String>,
    /// How long it may take.
    pub deadline: Duration,
}

/// One page of entries.
#[derive(Debug)]
pub struct Page {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
    /// False when the deadline came before all entries were looked at.
    pub is_complete: bool,
}

/// Where an entry stands in the order of an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The sort key; empty without a sort.
    pub(super) key: Vec<u8>,
    pub(super) created_ms: u64,
    pub(super) id: String,
}

impl Registry {
    /// The entries that match, page by page.
    ///
    /// # Errors
    /// A bad cursor, a filter or sort that fails on some entry, and `Busy` when too many read already.
    pub async fn page(&self, query: Query) -> Result<Page, Error> {
        let within = query.deadline;
        let inner = Arc::clone(&self.inner);
        let read = move |turn: &Turn| answer(&inner.shared.view(), &inner.cursors, &query, turn);
        self.inner.readers.read(within, read).await?
    }
}

/// An entry and its place, ordered by the place.
struct Found(Place, Entry);

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Found {}

fn answer(view: &View, cursors: &Cursors, query: &Query, turn: &Turn) -> Result<Page, Error> {
    let question = Cursors::question(&query.filter_text, &query.sort_text);
    let after = match &query.cursor {
        Some(text) => Some(cursors.open(question, text).ok_or(Error::BadCursor)?),
        None => None,
    };
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    let (mut first, mut is_complete) = (BinaryHeap::new(), true);
    for (number, entry) in view.entries(actor::now_ms()).enumerate() {
        if number.is_multiple_of(ENTRIES_PER_TICK) && turn.is_over() {
            is_complete = false;
            break;
        }
        let Some(place) = place(query, &entry)? else { continue };
        if after.as_ref().is_none_or(|after| place > *after) {
            first.push(Found(place, entry));
        }
        if first.len() > limit + 1 {
            first.pop();
        }
    }
    let mut found = first.into_sorted_vec();
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = match found.last().filter(|_| more) {
        Some(Found(place, _)) => {
            let too_long = Error::SortKeyTooLong { bytes_max: SORT_KEY_BYTES_MAX };
            Some(cursors.seal(question, place).ok_or(too_long)?)
        }
        None => None,
    };
    Ok(Page { entries: found.into_iter().map(|found| found.1).collect(), next_cursor, is_complete })
}

/// Where an entry stands; nothing if it does not match.
fn place(query: &Query, entry: &Entry) -> Result<Option<Place>, Error> {
    let Some(document) = entry.document() else { return Ok(None) };
    if !query.filter.matches(document.root())? {
        return Ok(None);
    }
    let key = match &query.sort {
        Some(sort) => sort.key(document.root())?.as_bytes().to_vec(),
        None => Vec::new(),
    };
    Ok(Some(Place { key, created_ms: entry.created_ms(), id: entry.id().to_string() }))
}
