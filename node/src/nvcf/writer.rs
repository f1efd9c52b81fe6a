//! The one writer of the tables of input assets: a thread that gathers the changes that wait, applies them in one
//! transaction and answers each after the commit is on disk.

use assetmesh_protocol::ids::AssetId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::clock::Times;
use super::row::{Content, Key, Row};
use super::state::{self, Finish, Waiting};
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
    /// Insert an asset that waits for its content, if its account has at most so many of them.
    Create { key: Key, row: Row, waiting_max: u64 },
    /// Give an asset its content. The lease keeps the blob until the row is on disk.
    Finish { key: Key, content: Content, lease: Option<Lease> },
    /// Remove an asset.
    Delete { key: Key },
    /// Remove what is due, and keep the time.
    Sweep,
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
    /// The row after it.
    pub(super) row: Option<Row>,
    /// Blobs that no input asset has any more.
    pub(super) unheld: Vec<AssetId>,
    /// Rows that a sweep took out.
    pub(super) swept: usize,
    /// Whether it may have left some.
    pub(super) has_more: bool,
}

/// Starts the thread. It ends when every handle is gone or the node stops.
pub(super) fn start(
    tasks: &mut Tasks,
    store: Store,
    inbox: mpsc::Receiver<Request>,
) -> Result<Option<u64>, StoreError> {
    if store.view(tables::time).is_err() {
        store.update(Sync::Now, tables::create)?;
    }
    let (waiting, time) = store.view(|transaction| {
        let mut waiting = Waiting::default();
        tables::uploading(transaction, |account| {
            // They were let in when they came.
            waiting.begin(account, u64::MAX).ok();
        })?;
        waiting.settle(true);
        Ok::<_, StoreError>((waiting, tables::time(transaction)?))
    })?;
    let writer = Writer { store, waiting };
    let runtime = Handle::current();
    tasks.start_thread("nvcf", move |stop| writer.run(inbox, &stop, &runtime));
    Ok(time)
}

struct Writer {
    store: Store,
    waiting: Waiting,
}

struct Answer {
    reply: oneshot::Sender<Result<Done, Error>>,
    /// Held until the row is on disk.
    lease: Option<Lease>,
    result: Result<Done, Error>,
}

impl Writer {
    fn run(mut self, mut inbox: mpsc::Receiver<Request>, stop: &CancellationToken, runtime: &Handle) {
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

    fn commit(&mut self, batch: Vec<Request>) {
        let growth = ROW_GROWTH * batch.len() as u64;
        // On a full disk deletes must still go through; what would grow the file is refused first.
        let room = self.store.room(Purpose::Row, growth).map_err(Error::from);
        let mut answers = Vec::with_capacity(batch.len());
        let mut left = batch.into_iter();
        let Self { store, waiting } = self;
        let outcome = store.update(Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            let mut sure = 0;
            for Request { change, now, reply } in left.by_ref() {
                sure = sure.max(now.sure);
                let (lease, result) = one(&mut tables, waiting, (change, now), &room);
                let failure = result.as_ref().err().filter(|error| error.is_of_the_store()).cloned();
                answers.push(Answer { reply, lease, result });
                if let Some(error) = failure {
                    return Err(error);
                }
            }
            tables.keep_time(sure)
        });
        self.waiting.settle(outcome.is_ok());
        answers.extend(left.map(|request| Answer {
            reply: request.reply,
            lease: None,
            result: Err(Error::Busy),
        }));
        for Answer { reply, lease, result } in answers {
            let result = match &outcome {
                Err(error) if result.is_ok() => Err(error.clone()),
                _ => result,
            };
            // First, so that content which nobody names is free when the asker goes on.
            drop(lease);
            // The asker may have gone; the change stands.
            reply.send(result).ok();
        }
    }
}

fn one(
    tables: &mut Tables<'_>,
    waiting: &mut Waiting,
    (change, now): (Change, Times),
    room: &Result<(), Error>,
) -> (Option<Lease>, Result<Done, Error>) {
    match change {
        Change::Create { key, row, waiting_max } => {
            let made = room.clone().and_then(|()| waiting.begin(key.account(), waiting_max));
            let made = made.and_then(|()| tables.insert(&key, &row));
            (None, made.map(|()| Done { row: Some(row), ..Done::default() }))
        }
        Change::Finish { key, content, lease } => {
            (lease, room.clone().and_then(|()| finish(tables, waiting, (key, content), now)))
        }
        Change::Delete { key } => (None, delete(tables, waiting, &key, now)),
        Change::Sweep => (None, sweep(tables, waiting, now)),
    }
}

fn finish(
    tables: &mut Tables<'_>,
    waiting: &mut Waiting,
    (key, content): (Key, Content),
    now: Times,
) -> Result<Done, Error> {
    let before = match tables.asset(&key)? {
        Some(row) => Some(row),
        None => tables.upload(&key)?,
    };
    let row = match state::finish(before.clone(), content, now)? {
        Finish::Again(row) => row,
        Finish::Store(row) => {
            if let Some(before) = &before {
                tables.remove(&key, before)?;
                waiting.end(key.account());
            }
            tables.insert(&key, &row)?;
            row
        }
    };
    Ok(Done { row: Some(row), ..Done::default() })
}

fn delete(tables: &mut Tables<'_>, waiting: &mut Waiting, key: &Key, now: Times) -> Result<Done, Error> {
    let missing = || Error::NotFound(key.id());
    let row = match tables.asset(key) {
        Ok(None) => tables.upload(key),
        found => found,
    };
    match row {
        Ok(Some(row)) if !row.is_gone(now) => take(tables, waiting, key, &row),
        Ok(_) => Err(missing()),
        // What cannot be read can still be removed: its key says whose it is.
        Err(Error::Damaged(_)) => take_damaged(tables, key),
        Err(error) => Err(error),
    }
}

fn take(tables: &mut Tables<'_>, waiting: &mut Waiting, key: &Key, row: &Row) -> Result<Done, Error> {
    if row.content.is_none() {
        waiting.end(key.account());
    }
    let unheld = tables.remove(key, row)?.into_iter().collect();
    Ok(Done { unheld, swept: 1, ..Done::default() })
}

fn take_damaged(tables: &mut Tables<'_>, key: &Key) -> Result<Done, Error> {
    Ok(Done { unheld: tables.remove_damaged(key)?, swept: 1, ..Done::default() })
}

fn sweep(tables: &mut Tables<'_>, waiting: &mut Waiting, now: Times) -> Result<Done, Error> {
    let due = tables.due(now.sure, SWEPT_MAX)?;
    let mut done = Done { has_more: due.len() == SWEPT_MAX, ..Done::default() };
    for key in due {
        let row = match tables.asset(&key) {
            Ok(None) => tables.upload(&key),
            found => found,
        };
        let taken = match row {
            Ok(Some(row)) => match row.clone().settled(now) {
                late if late.due() > now.sure => {
                    tables.remove(&key, &row)?;
                    tables.insert(&key, &late)?;
                    continue;
                }
                _ => take(tables, waiting, &key, &row)?,
            },
            Ok(None) | Err(Error::Damaged(_)) => take_damaged(tables, &key)?,
            Err(error) => return Err(error),
        };
        done.swept += taken.swept;
        done.unheld.extend(taken.unheld);
    }
    Ok(done)
}
