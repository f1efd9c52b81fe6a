//! The one writer of the catalog: a thread that gathers the changes that wait, applies them in one transaction and
//! answers each after the commit is on disk. Many acknowledgements share one fsync.

use std::time::Duration;

use assetmesh_protocol::asset::Patch;
use assetmesh_protocol::document::Document;
use assetmesh_protocol::ids::AssetId;
use assetmesh_protocol::summary::Marks;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Error;
use super::merge::Ledger;
use super::numbers::Numbers;
use super::row::{self, Header};
use super::summary::OwnSummary;
use super::tables::{self, Row, Tables, View};
use crate::actor::Tasks;
use crate::blobs::Lease;
use crate::storage::{Purpose, Store, StoreError, Sync};

/// Changes in one transaction. Enough that a commit's cost vanishes, few enough that none waits long.
const BATCH_MAX: usize = 512;

/// What to do.
pub(super) enum Change {
    /// Insert a description whose uri is free. The lease keeps its blob until the row is on disk.
    Create { document: Document, lease: Option<Lease> },
    /// Change the members of an asset.
    Update { key: String, patch: Patch },
    /// Remove an asset.
    Delete { key: String },
}

impl Change {
    fn into_lease(self) -> Option<Lease> {
        match self {
            Self::Create { lease, .. } => lease,
            Self::Update { .. } | Self::Delete { .. } => None,
        }
    }

    /// What the file may grow by: pages are powers of two, so a row can take twice its size, and a neighbour as
    /// large may have to move with it.
    fn growth(&self) -> u64 {
        let bytes = match self {
            Self::Create { document, .. } => document.as_bytes().len(),
            Self::Update { patch, .. } => patch.as_bytes().len(),
            Self::Delete { .. } => 0,
        };
        4 * bytes as u64
    }
}

/// What a new row needs from outside: the time, and bits that nobody can guess.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    pub(super) now: Duration,
    pub(super) random: u32,
}

/// A change, when it was asked for, and where its answer goes.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) stamp: Stamp,
    pub(super) reply: oneshot::Sender<Result<Done, Error>>,
}

/// What a change did.
#[derive(Debug)]
pub(super) struct Done {
    /// The row after a create or update, before a delete.
    pub(super) row: Row,
    /// False when the row was there already.
    pub(super) fresh: bool,
    /// A blob that no row names any more.
    pub(super) unreferenced: Option<AssetId>,
}

/// Starts the thread. It ends when every handle is gone or the node stops.
pub(super) fn start(
    tasks: &mut Tasks,
    store: Store,
    inbox: mpsc::Receiver<Request>,
    (mut ledger, summary): (Ledger, OwnSummary),
) -> Result<(), StoreError> {
    let numbers = prepare(&store)?;
    if let Err(error) = ledger.follow(&store) {
        // Every change tries again; until then each query reads all rows.
        tracing::error!(%error, "the keys of the newest rows cannot be read");
    }
    let writer = Writer { store, numbers, ledger, summary };
    let runtime = Handle::current();
    tasks.start_thread("catalog", move |stop| writer.run(inbox, &stop, &runtime));
    Ok(())
}

fn prepare(store: &Store) -> Result<Numbers, StoreError> {
    let numbering = || store.view(|transaction| View::open(transaction)?.numbering());
    // What has its tables is not written to at the start: it may be damaged where only a write looks.
    let (next, last) = match numbering() {
        Ok(found) => found,
        Err(_) => {
            store.update(Sync::Now, tables::create)?;
            numbering()?
        }
    };
    Ok(Numbers::resume(next, last))
}

struct Writer {
    store: Store,
    numbers: Numbers,
    ledger: Ledger,
    summary: OwnSummary,
}

/// What a batch has the summary of the rows learn.
#[derive(Default)]
struct Learned {
    rows: Vec<Marks>,
    /// Rows whose former content it still knows.
    stale: u64,
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
        let session = match self.ledger.follow(&self.store) {
            Ok(session) => session,
            Err(error) => {
                for request in batch {
                    request.reply.send(Err(error.clone())).ok();
                }
                return;
            }
        };
        let growth = batch.iter().map(|request| request.change.growth()).sum();
        let mut answers = Vec::with_capacity(batch.len());
        let mut waiting = batch.into_iter();
        // On a full disk deletes must still go through; what would grow the file is refused first.
        let room = self.store.room(Purpose::Row, growth).map_err(Error::from);
        let mut learned = Learned::default();
        let changed = self.change(session, (&mut waiting, &room), (&mut answers, &mut learned));
        // What failed may be on disk nevertheless.
        self.summary.add(&learned.rows);
        self.summary.forget(learned.stale);
        let failure = match changed {
            Ok(()) => {
                self.ledger.committed(self.numbers.next());
                None
            }
            Err(Stop::Unchanged) => None,
            Err(Stop::Failed(error)) => {
                self.ledger.failed();
                Some(error)
            }
        };
        answers.extend(waiting.map(|request| Answer {
            reply: request.reply,
            lease: None,
            result: Err(Error::Busy),
        }));
        for Answer { reply, lease, result } in answers {
            let result = match &failure {
                Some(error) if result.is_ok() => Err(error.clone()),
                _ => result,
            };
            // The asker may have gone; the change stands.
            reply.send(result).ok();
            drop(lease);
        }
    }

    fn change(
        &mut self,
        session: u64,
        (batch, room): (&mut impl Iterator<Item = Request>, &Result<(), Error>),
        (answers, learned): (&mut Vec<Answer>, &mut Learned),
    ) -> Result<(), Stop> {
        let Self { store, numbers, ledger, summary } = self;
        store.update_within(session, Sync::Now, |transaction| {
            let mut tables = Tables::open(transaction)?;
            let changed = apply(&mut tables, numbers, (batch, room), (answers, learned))?;
            if !changed {
                return Err(Stop::Unchanged);
            }
            tables.finish(numbers.next(), room.is_ok(), ledger)?;
            summary.add(&learned.rows);
            Ok(())
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

struct Answer {
    reply: oneshot::Sender<Result<Done, Error>>,
    /// Held until the row is on disk.
    lease: Option<Lease>,
    result: Result<Done, Error>,
}

/// Whether anything was changed.
fn apply(
    tables: &mut Tables<'_>,
    numbers: &mut Numbers,
    (batch, room): (&mut impl Iterator<Item = Request>, &Result<(), Error>),
    (answers, learned): (&mut Vec<Answer>, &mut Learned),
) -> Result<bool, Stop> {
    let mut changed = false;
    for Request { change, stamp, reply } in batch {
        if let (Change::Create { .. } | Change::Update { .. }, Err(full)) = (&change, room) {
            let lease = change.into_lease();
            answers.push(Answer { reply, lease, result: Err(full.clone()) });
            continue;
        }
        let (is_new, is_left) =
            (matches!(change, Change::Create { .. }), !matches!(change, Change::Delete { .. }));
        let (lease, result) = one(tables, numbers, change, stamp);
        if let Ok(Done { row, fresh: true, .. }) = &result {
            changed = true;
            learned.stale += u64::from(!is_new);
            learned.rows.extend(is_left.then(|| Marks::of(row.header.record, row.document.root())));
        }
        let failure = result.as_ref().err().filter(|error| error.is_of_the_store()).cloned();
        answers.push(Answer { reply, lease, result });
        if let Some(error) = failure {
            return Err(Stop::Failed(error));
        }
    }
    Ok(changed)
}

fn one(
    tables: &mut Tables<'_>,
    numbers: &mut Numbers,
    change: Change,
    stamp: Stamp,
) -> (Option<Lease>, Result<Done, Error>) {
    match change {
        Change::Create { document, lease } => {
            let again_is_same = lease.is_some();
            (lease, create(tables, numbers, document, again_is_same, stamp))
        }
        Change::Update { key, patch } => (None, update(tables, &key, &patch, stamp.now)),
        Change::Delete { key } => (None, delete(tables, &key)),
    }
}

fn create(
    tables: &mut Tables<'_>,
    numbers: &mut Numbers,
    document: Document,
    again_is_same: bool,
    Stamp { now, random }: Stamp,
) -> Result<Done, Error> {
    let uri = row::text(document.root(), "asset_uri");
    if !uri.is_empty()
        && let Some(row) = tables.find_uri(uri)?
    {
        let same = again_is_same && describes_the_same(&row.document, &document);
        return if same {
            Ok(Done { row, fresh: false, unreferenced: None })
        } else {
            Err(Error::Conflict { uri: uri.to_owned() })
        };
    }
    let (number, record) = numbers.take(now, random).ok_or(Error::Full)?;
    let row = Row { number, header: Header { record, created: now, updated: now }, document };
    tables.insert(&row).map_err(Error::torn)?;
    Ok(Done { row, fresh: true, unreferenced: None })
}

/// Whether a client said the same of both. The public URL is not the client's: it follows the address
/// of the node, which may be another one by now.
fn describes_the_same(stored: &Document, new: &Document) -> bool {
    let said = |document: &Document| {
        let members = document.root().as_object().into_iter().flat_map(|object| object.iter());
        let members = members.filter(|(name, _)| *name != "asset_public_url");
        let mut text = Vec::new();
        for (name, value) in members {
            text.extend_from_slice(name.as_bytes());
            value.write_json(&mut text);
        }
        text
    };
    said(stored) == said(new)
}

fn update(tables: &mut Tables<'_>, key: &str, patch: &Patch, now: Duration) -> Result<Done, Error> {
    let old = tables.find(key)?.ok_or_else(|| Error::NotFound(key.to_owned()))?;
    let document = patch.apply(&old.document)?;
    if document == old.document {
        return Ok(Done { row: old, fresh: false, unreferenced: None });
    }
    let uri = row::text(document.root(), "asset_uri");
    if uri != row::text(old.document.root(), "asset_uri")
        && !uri.is_empty()
        && tables.find_uri(uri)?.is_some()
    {
        return Err(Error::Conflict { uri: uri.to_owned() });
    }
    let header = Header { updated: now.max(old.header.updated), ..old.header };
    let row = Row { number: old.number, header, document };
    tables.replace(&old, &row).map_err(Error::torn)?;
    Ok(Done { row, fresh: true, unreferenced: None })
}

fn delete(tables: &mut Tables<'_>, key: &str) -> Result<Done, Error> {
    let row = tables.find(key)?.ok_or_else(|| Error::NotFound(key.to_owned()))?;
    tables.remove(&row).map_err(Error::torn)?;
    let unreferenced = match row.blob() {
        Some(blob) if !tables.is_held(&blob)? => Some(blob),
        _ => None,
    };
    Ok(Done { row, fresh: true, unreferenced })
}
