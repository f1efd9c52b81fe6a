//! The one writer of the tables of input assets: a thread that gathers the changes that wait, applies them in one
//! transaction and answers each after the commit is on disk.

use assetmesh_protocol::ids::AssetId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::accounts::{Accounts, Holding, Quota, Shared};
use super::clock::Times;
use super::metrics::Metrics;
use super::row::{Content, Key, Row};
use super::state::{self, Finish};
use super::tables::{self, Tables};
use crate::actor::Tasks;
use crate::blobs::Lease;
use crate::storage::{Purpose, Store, StoreError, Sync};

/// Changes in one transaction.
const BATCH_MAX: usize = 256;
/// Rows that one sweep takes out, so that nobody waits long behind it.
const SWEPT_MAX: usize = 256;
/// What the file may grow by for one row and what leads to it; pages are powers of two.
const ROW_GROWTH: u64 = 16 * 1024;

/// What to do.
#[derive(Debug)]
pub(super) enum Change {
    /// Insert an asset that waits for its content, if its account may have one more.
    Create { key: Key, row: Row },
    /// Give an asset its content. The lease keeps the blob until the row is on disk.
    Finish { key: Key, content: Content, lease: Option<Lease> },
    /// Remove an asset.
    Delete { key: Key },
    /// Remove what is due, and keep the time.
    Sweep,
}

impl Change {
    /// Whether it would make the file grow.
    const fn grows(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Finish { .. })
    }

    fn into_lease(self) -> Option<Lease> {
        match self {
            Self::Finish { lease, .. } => lease,
            Self::Create { .. } | Self::Delete { .. } | Self::Sweep => None,
        }
    }
}

/// A change, when it was asked for, and where its answer goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) now: Times,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
}

/// What a change did.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whether anything is to be written.
    changed: bool,
    /// The row after it.
    pub(super) row: Option<Row>,
    /// Blobs that no input asset has any more.
    pub(super) unheld: Vec<AssetId>,
    /// Rows that a sweep took out.
    pub(super) swept: usize,
    /// Whether it may have left some.
    pub(super) has_more: bool,
}

/// Starts the thread. It ends when every handle is gone or the node stops. Gives what the accounts have, and the time that
/// was kept.
pub(super) fn start(
    tasks: &mut Tasks,
    store: Store,
    inbox: mpsc::Receiver<Request>,
    (quota, metrics): (Quota, Metrics),
) -> Result<(Shared, Option<u64>), StoreError> {
    if store.view(tables::time).is_err() {
        store.update(Sync::Now, tables::create)?;
    }
    let (accounts, time) = store.view(|transaction| {
        let mut accounts = Accounts::new(quota);
        tables::holdings(transaction, |account, holding| accounts.add(account, holding))?;
        accounts.settle(true);
        Ok::<_, StoreError>((accounts, tables::time(transaction)?))
    })?;
    metrics.hold(accounts.total());
    let accounts = Shared::new(accounts);
    let writer = Writer { store, accounts: accounts.clone(), metrics };
    let runtime = Handle::current();
    tasks.start_thread("nvcf", move |stop| writer.run(inbox, &stop, &runtime));
    Ok((accounts, time))
}

struct Writer {
    store: Store,
    accounts: Shared,
    metrics: Metrics,
}

struct Answer {
    reply: oneshot::Sender<Result<Done, Error>>,
    /// Held until the row is on disk.
    lease: Option<Lease>,
    result: Result<Done, Error>,
}

impl Writer {
    fn run(self, mut inbox: mpsc::Receiver<Request>, stop: &CancellationToken, runtime: &Handle) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let waiting = runtime.block_on(async {
                tokio::select! {
                    biased;
                    waiting = inbox.recv_many(&mut batch, BATCH_MAX) => waiting,
                    () = stop.cancelled() => 0,
                }
            });
            if waiting == 0 {
                return;
            }
            self.commit(std::mem::take(&mut batch));
        }
    }

    fn commit(&self, batch: Vec<Request>) {
        let growth = ROW_GROWTH * batch.iter().filter(|request| request.change.grows()).count() as u64;
        // On a full disk deletes must still go through; what would grow the file is refused first.
        let room = self.store.room(Purpose::Row, growth).map_err(Error::from);
        let mut answers = Vec::with_capacity(batch.len());
        let mut left = batch.into_iter();
        let failure = match self.change((&mut left, &room), &mut answers) {
            Ok(()) | Err(Stop::Unchanged) => None,
            Err(Stop::Failed(error)) => Some(error),
        };
        let total = self.accounts.with(|accounts| {
            accounts.settle(failure.is_none());
            accounts.total()
        });
        self.metrics.hold(total);
        answers.extend(left.map(|request| Answer {
            reply: request.reply,
            lease: request.change.into_lease(),
            result: Err(Error::Busy),
        }));
        for Answer { reply, lease, result } in answers {
            let result = match &failure {
                Some(error) if result.is_ok() => Err(error.clone()),
                _ => result,
            };
            // First, so that content which nobody names is free when the asker goes on.
            drop(lease);
            // The asker may have gone; the change stands.
            reply.send(result).ok();
        }
    }

    fn change(
        &self,
        (batch, room): (&mut impl Iterator<Item = Request>, &Result<(), Error>),
        answers: &mut Vec<Answer>,
    ) -> Result<(), Stop> {
        let Self { store, accounts, .. } = self;
        store.update(Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            let sure = apply(&mut tables, accounts, (batch, room), answers)?.ok_or(Stop::Unchanged)?;
            tables.keep_time(sure).map_err(Stop::Failed)
        })
    }
}

/// Why a transaction is not committed.
enum Stop {
    /// Nothing was changed, so that nothing needs an fsync.
    Unchanged,
    /// The store failed: nothing of the batch may be kept.
    Failed(Error),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// The time that has passed for certain, if anything was changed.
fn apply(
    tables: &mut Tables<'_>,
    accounts: &Shared,
    (batch, room): (&mut impl Iterator<Item = Request>, &Result<(), Error>),
    answers: &mut Vec<Answer>,
) -> Result<Option<u64>, Stop> {
    let (mut changed, mut sure) = (false, 0);
    for Request { change, now, reply } in batch {
        if let (true, Err(full)) = (change.grows(), room) {
            answers.push(Answer { reply, lease: change.into_lease(), result: Err(full.clone()) });
            continue;
        }
        sure = sure.max(now.sure);
        let (lease, result) = one(tables, accounts, change, now);
        changed |= result.as_ref().is_ok_and(|done| done.changed);
        let failure = result.as_ref().err().filter(|error| error.is_of_the_store()).cloned();
        answers.push(Answer { reply, lease, result });
        if let Some(error) = failure {
            return Err(Stop::Failed(error));
        }
    }
    Ok(changed.then_some(sure))
}

fn one(
    tables: &mut Tables<'_>,
    accounts: &Shared,
    change: Change,
    now: Times,
) -> (Option<Lease>, Result<Done, Error>) {
    match change {
        Change::Create { key, row } => (None, create(tables, accounts, key, row)),
        Change::Finish { key, content, lease } => (lease, finish(tables, accounts, (key, content), now)),
        Change::Delete { key } => (None, delete(tables, accounts, &key, now)),
        Change::Sweep => (None, sweep(tables, accounts, now)),
    }
}

fn create(tables: &mut Tables<'_>, accounts: &Shared, key: Key, row: Row) -> Result<Done, Error> {
    accounts.with(|accounts| accounts.may_create(key.account()))?;
    tables.insert(&key, &row).map_err(Error::torn)?;
    accounts.with(|accounts| accounts.add(key.account(), Holding::from(&row)));
    Ok(Done { changed: true, row: Some(row), ..Done::default() })
}

fn finish(
    tables: &mut Tables<'_>,
    accounts: &Shared,
    (key, content): (Key, Content),
    now: Times,
) -> Result<Done, Error> {
    let before = match tables.asset(&key)? {
        Some(row) => Some(row),
        None => tables.upload(&key)?,
    };
    let (changed, row) = match state::finish(before.clone(), content, now)? {
        Finish::Again(row) => (false, row),
        Finish::Store(row) => {
            accounts.with(|accounts| accounts.may_store(key.account(), content.size))?;
            if let Some(before) = &before {
                tables.remove(&key, before).map_err(Error::torn)?;
                accounts.with(|accounts| accounts.remove(key.account(), Holding::from(before)));
            }
            tables.insert(&key, &row).map_err(Error::torn)?;
            accounts.with(|accounts| accounts.store(key, &row));
            (true, row)
        }
    };
    Ok(Done { changed, row: Some(row), ..Done::default() })
}

fn delete(tables: &mut Tables<'_>, accounts: &Shared, key: &Key, now: Times) -> Result<Done, Error> {
    let missing = || Error::NotFound(key.id());
    let row = match tables.asset(key) {
        Ok(None) => tables.upload(key),
        found => found,
    };
    match row {
        Ok(Some(row)) if !row.is_gone(now) => take(tables, accounts, key, &row),
        Ok(_) => Err(missing()),
        // What cannot be read can still be removed: its key says whose it is.
        Err(Error::Damaged(_)) => take_damaged(tables, accounts, key),
        Err(error) => Err(error),
    }
}

fn take(tables: &mut Tables<'_>, accounts: &Shared, key: &Key, row: &Row) -> Result<Done, Error> {
    let unheld = tables.remove(key, row).map_err(Error::torn)?.into_iter().collect();
    accounts.with(|accounts| accounts.remove(key.account(), Holding::from(row)));
    Ok(Done { changed: true, unheld, swept: 1, ..Done::default() })
}

fn take_damaged(tables: &mut Tables<'_>, accounts: &Shared, key: &Key) -> Result<Done, Error> {
    let (had, unheld) = tables.remove_damaged(key).map_err(Error::torn)?;
    accounts.with(|accounts| accounts.remove(key.account(), had));
    Ok(Done { changed: true, unheld, swept: 1, ..Done::default() })
}

fn sweep(tables: &mut Tables<'_>, accounts: &Shared, now: Times) -> Result<Done, Error> {
    let due = tables.due(now.sure, SWEPT_MAX)?;
    // It keeps the time, so there is always something to write.
    let mut done = Done { changed: true, has_more: due.len() == SWEPT_MAX, ..Done::default() };
    for key in due {
        let row = match tables.asset(&key) {
            Ok(None) => tables.upload(&key),
            found => found,
        };
        let taken = match row {
            Ok(Some(row)) if row.is_due(now) => take(tables, accounts, &key, &row)?,
            Ok(Some(row)) => {
                tables.remove(&key, &row).map_err(Error::torn)?;
                tables.insert(&key, &row.settled(now)).map_err(Error::torn)?;
                continue;
            }
            Ok(None) | Err(Error::Damaged(_)) => take_damaged(tables, accounts, &key)?,
            Err(error) => return Err(error),
        };
        done.swept += taken.swept;
        done.unheld.extend(taken.unheld);
    }
    Ok(done)
}

#[cfg(test)]
mod tests;
