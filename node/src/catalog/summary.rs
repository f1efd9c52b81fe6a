//! The summary of this node's rows, which spares other nodes questions. The writer adds each row before it is
//! acknowledged; it is made anew, a slice at a time and beside the writer, when it is outgrown or much was deleted.
//!
//! **Invariant:** what is offered knows every row that is committed. What it learns is counted, so that who has a copy
//! can be told.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::summary::{Growing, Marks, Shape, Version, Want};
use tokio::sync::{Notify, watch};

use super::Error;
use super::row::Header;
use super::tables::{self, View};
use crate::actor::Tasks;
use crate::storage::{self, Store};

/// Rows that are read at once while a summary is made.
const SLICE_ROWS: u64 = 1000;
/// Terms that a row is expected to have, when nothing is known of the rows yet.
const ROW_TERMS: u64 = 8;
/// Fewest rows changed or deleted before a summary is made anew for them.
const STALE_MIN: u64 = 1024;
/// Rows changed or deleted for each row there is before that: a quarter.
const STALE_SHARE: u64 = 4;
/// The wait after a slice that could not be read.
const RETRY: Duration = Duration::from_secs(1);

/// The summary that this node offers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OwnSummary {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// A random number for this start: what was pulled from an earlier life says nothing of this one.
    life: u64,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// Wakes the one that makes summaries anew.
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What is offered; none before the rows have been read once.
    offered: Option<Growing>,
    /// What is being made in its place. It gets every new row too.
    coming: Option<Growing>,
    build: u64,
    changes: u64,
    /// Rows when the last one was begun, and those that were changed or deleted since.
    rows: u64,
    stale: u64,
    /// Rows that cannot be read might match anything.
    is_damaged: bool,
}

impl State {
    fn is_due(&self) -> bool {
        let is_stale = self.stale >= STALE_MIN && self.stale >= self.rows / STALE_SHARE;
        let is_outgrown = self.offered.as_ref().is_none_or(Growing::is_outgrown);
        !self.is_damaged && self.coming.is_none() && (is_stale || is_outgrown)
    }

    fn version(&self, life: u64) -> Version {
        Version { life, build: self.build, changes: self.changes }
    }
}

impl OwnSummary {
    pub(super) fn new() -> Self {
        let life = uuid::Uuid::new_v4().as_u64_pair().0;
        let (changes, _) = watch::channel(0);
        let (state, wake) = (Mutex::default(), Notify::new());
        Self { shared: Arc::new(Shared { life, state, changes, wake }) }
    }

    /// Begins to read the rows, and to make the summary anew whenever that is due.
    pub(super) fn start(&self, tasks: &mut Tasks, store: Store) {
        let this = self.clone();
        tasks.run("summary of rows", |stop| async move {
            stop.run_until_cancelled(this.run(store)).await;
        });
    }

    /// How often it has changed; tells when it changes again.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Names what it knows now. `None` while there is none.
    pub(crate) fn version(&self) -> Option<Version> {
        let state = self.state();
        state.offered.is_some().then(|| state.version(self.shared.life))
    }

    /// The version, and all that comes before the second part. Later parts know at least as much.
    pub(crate) fn first(&self) -> Option<(Version, Shape, Vec<u8>)> {
        let state = self.state();
        let offered = state.offered.as_ref()?;
        Some((state.version(self.shared.life), offered.shape(), offered.part(0)))
    }

    /// A further part. `None` when the summary has been made anew, or there is no such part.
    pub(crate) fn part(&self, want: Want) -> Option<Vec<u8>> {
        let state = self.state();
        let is_same = want.life == self.shared.life && want.build == state.build;
        let part = state.offered.as_ref().filter(|_| is_same)?.part(usize::try_from(want.part).ok()?);
        Some(part).filter(|part| !part.is_empty())
    }

    /// Takes rows. To be called before they are committed, so that who has a copy hears of them at once, and again
    /// after, because what is made anew meanwhile may have begun between the two and read the rows before the commit.
    pub(super) fn add(&self, rows: &[Marks]) {
        let mut state = self.state();
        let before = state.changes;
        for marks in rows {
            if let Some(coming) = &mut state.coming {
                coming.insert(marks);
            }
            let is_news = state.offered.as_mut().is_some_and(|offered| offered.insert(marks));
            state.changes += u64::from(is_news);
        }
        self.end(state, before);
    }

    /// Notes that rows were changed or deleted: what it knows of them stays until it is made anew.
    pub(super) fn forget(&self, rows: u64) {
        let mut state = self.state();
        state.stale += rows;
        let before = state.changes;
        self.end(state, before);
    }

    /// Offers nothing from now on.
    fn give_up(&self) {
        let mut state = self.state();
        (state.offered, state.coming, state.is_damaged) = (None, None, true);
        let before = state.changes;
        state.changes += 1;
        self.end(state, before);
        tracing::warn!("rows are damaged, so no summary of them is offered: every question comes here");
    }

    fn end(&self, state: MutexGuard<'_, State>, before: u64) {
        let (changes, is_due) = (state.changes, state.is_due());
        drop(state);
        if changes != before {
            self.shared.changes.send_replace(changes);
        }
        if is_due {
            self.shared.wake.notify_one();
        }
    }

    async fn run(&self, store: Store) {
        loop {
            if self.state().is_due() {
                self.make(&store).await;
            } else {
                self.shared.wake.notified().await;
            }
        }
    }

    /// Reads all rows. After each slice it rests as long as that took, so that half a core is left at least.
    async fn make(&self, store: &Store) {
        let (begun, mut next) = (Instant::now(), 0);
        self.begin(rows(store));
        loop {
            let (this, store, slice) = (self.clone(), store.clone(), next..next + SLICE_ROWS);
            let started = Instant::now();
            let read = tokio::task::spawn_blocking(move || this.read(&store, slice)).await;
            match read {
                Ok(Ok(Slice::More)) => next += SLICE_ROWS,
                Ok(Ok(Slice::Last)) => break,
                Ok(Ok(Slice::Damaged) | Err(Error::Damaged(_))) | Err(_) => return self.give_up(),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "rows cannot be read for the summary, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
            tokio::time::sleep(started.elapsed()).await;
        }
        self.offer();
        tracing::debug!(rows = next, took = ?begun.elapsed(), "the summary of the rows was made anew");
    }

    fn begin(&self, rows: u64) {
        let mut state = self.state();
        let growing = match &state.offered {
            Some(offered) => offered.successor(),
            None => Growing::new(rows.saturating_mul(ROW_TERMS)),
        };
        (state.coming, state.rows, state.stale) = (Some(growing), rows, 0);
    }

    fn read(&self, store: &Store, slice: Range<u64>) -> Result<Slice, Error> {
        let (mut marks, mut is_damaged) = (Vec::new(), false);
        let transaction = store.read()?;
        let end = storage::guard(|| {
            let view = View::open(&transaction)?;
            let lost = view.scan(slice.clone(), |number, bytes| {
                match tables::description(number, bytes) {
                    Ok((Header { record, .. }, description)) => marks.push(Marks::of(record, description)),
                    Err(_) => is_damaged = true,
                }
                Ok(true)
            })?;
            is_damaged |= lost > 0;
            Ok::<_, Error>(view.numbering()?.0)
        })?;
        if is_damaged {
            return Ok(Slice::Damaged);
        }
        let mut state = self.state();
        if let Some(coming) = &mut state.coming {
            for marks in &marks {
                coming.insert(marks);
            }
        }
        Ok(if slice.end >= end { Slice::Last } else { Slice::More })
    }

    /// A change too: a copy of the old one may lack what looks known to the new one.
    fn offer(&self) {
        let mut state = self.state();
        let before = state.changes;
        if let Some(coming) = state.coming.take() {
            state.offered = Some(coming);
            state.build += 1;
            state.changes += 1;
        }
        self.end(state, before);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Slice {
    More,
    Last,
    Damaged,
}

/// How many rows there are, about.
fn rows(store: &Store) -> u64 {
    let rows = store.view(|transaction| Ok::<_, Error>(View::open(transaction)?.rows()?));
    rows.unwrap_or_default()
}

#[cfg(test)]
mod tests;
