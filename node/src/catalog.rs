//! The catalog: what this node knows of its assets. Rows, the uri index, which rows name a blob, the inverted index.
//! Reads go straight to a read transaction; every write passes the one writer thread. It moves no bytes of content.

mod cursor;
mod fresh;
mod index;
mod merge;
mod metrics;
mod numbers;
mod plan;
mod query;
mod row;
mod summary;
mod tables;
mod verify;
mod writer;

pub use cursor::Position;
pub use query::{Gap, Page, Query, Select, Selected};
pub(crate) use summary::OwnSummary;
pub(crate) use verify::run as verify;
pub use verify::{CatalogFinding, CatalogSummary};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use assetmesh_protocol::asset::{AssetError, Draft, FileFacts, Patch, Uploaded};
use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::filter::{EvalError, SortError};
use assetmesh_protocol::ids::{AssetId, AssetsDbId, RecordId};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Tasks;
use crate::blobs::{Blobs, StoredBlob};
use crate::blocking::{NotRead, Readers};
use crate::storage::{self, OpenError, Purpose, Store, StoreConfig, StoreError};
use cursor::Cursors;
use fresh::Fresh;
use merge::Ledger;
use metrics::Metrics;
use tables::{Row, Snapshot, View};
use writer::{Change, Done, Request, Stamp};

/// File name inside the data directory.
pub(crate) const FILE: &str = "catalog.redb";
/// Layout of the file. Another number is another layout, and is refused.
pub(crate) const FORMAT: u32 = 1;
/// What the file says it is.
pub(crate) const KIND: &str = "catalog";

/// How the catalog behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Memory for pages of the catalog, in bytes. 96 MiB holds the upper levels of the trees and the hot leaves of
    /// a million rows; the rest comes from the system's own cache of the file in about 3 µs a page.
    pub cache_bytes: usize,
    /// When the index keys of the newest rows begin to be merged into the file, in bytes; while they are, as much grows
    /// again beside them. 28 MiB are about 30 000 rows of 15 keys: enough that a leaf of the index takes several keys
    /// at once at a million rows, and little enough to be read from the rows in well under a second at the start.
    pub fresh_bytes: usize,
    /// Changes that may wait for the writer. More are answered `Busy`; 4096 is a second's work.
    pub mailbox: usize,
    /// Queries that may read at once. More wait until their deadline; each needs a core.
    pub queries_at_once: usize,
    /// Threads that read for one query that no index serves. 2 to 4: the answer comes sooner, and others still get a core.
    pub threads_per_query: usize,
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cache_bytes: 96 * 1024 * 1024,
            fresh_bytes: 28 * 1024 * 1024,
            mailbox: 4096,
            queries_at_once: 16,
            threads_per_query: cores.clamp(1, 4),
        }
    }
}

/// What the catalog needs to know of the node it belongs to.
#[derive(Debug, Clone)]
pub struct Owner {
    /// The node's asset database.
    pub assets_db_id: AssetsDbId,
    /// Where clients reach this node; the `asset_public_url` of uploaded content begins with it.
    pub public_url: String,
    /// Signs cursors. The same on all nodes of a federation, so that any of them gives the next page.
    pub cursor_secret: [u8; 32],
}

/// Why the catalog did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The file was opened and then failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the catalog did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No asset has this uri or record id.
    #[error("no asset has the uri or record id `{0}`")]
    NotFound(String),
    /// The uri is taken by another asset.
    #[error("an asset with the uri `{uri}` exists already")]
    Conflict {
        /// The uri that is taken.
        uri: String,
    },
    /// The description is not acceptable.
    #[error(transparent)]
    Invalid(#[from] AssetError),
    /// The cursor was not made by a node of this federation for this filter and sort.
    #[error("this cursor does not belong to this filter and sort in this federation")]
    BadCursor,
    /// The filter failed on some document.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The sort cannot order some document.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The page ends at a row whose sort key is too long for a cursor.
    #[error("the sort keys are too long to page through: at most {bytes_max} bytes")]
    SortKeyTooLong {
        /// How long a sort key may be.
        bytes_max: usize,
    },
    /// The sort keys of the rows of one page are too long to be kept at once.
    #[error(
        "the sort keys of this page are longer than {bytes_max} bytes together: ask for fewer rows, or sort by what is shorter"
    )]
    SortKeysTooLong {
        /// How long they may be together.
        bytes_max: usize,
    },
    /// The disk is full. Nothing was changed.
    #[error("no space left on the disk")]
    Full,
    /// Too much is waiting already. Nothing was changed.
    #[error("the catalog is busy")]
    Busy,
    /// A row or table is damaged. It is not served.
    #[error("the catalog is damaged: {0}")]
    Damaged(String),
    /// The store gave an error. Whether the change is there is not known.
    #[error("the catalog cannot be reached: {0}")]
    Failed(String),
    /// The node is stopping.
    #[error("the catalog has stopped")]
    Stopped,
}

impl Error {
    fn damaged(number: u64) -> Self {
        Self::Damaged(format!("row {number}"))
    }

    /// An error in the middle of a change: what was done of it must not be kept.
    fn torn(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            other => Self::Failed(other.to_string()),
        }
    }

    /// Whether the store itself failed, so that nothing of the same transaction may be kept.
    const fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Full | Self::Failed(_))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Damaged(what) => Self::Damaged(what.to_string()),
            StoreError::Interrupted => Self::Busy,
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<NotRead> for Error {
    fn from(why: NotRead) -> Self {
        match why {
            NotRead::Busy => Self::Busy,
            NotRead::Stopped => Self::Stopped,
        }
    }
}

/// One asset as a client sees it.
#[derive(Debug, Clone)]
pub struct Asset {
    /// Names the record; sorts by insertion.
    pub record: RecordId,
    /// The nine members of an `AssetObject`, in their order.
    pub document: Document,
}

impl Asset {
    /// The asset's uri; empty if a part of it is missing.
    #[must_use]
    pub fn uri(&self) -> &str {
        row::text(self.document.root(), "asset_uri")
    }
}

impl From<Row> for Asset {
    fn from(row: Row) -> Self {
        Self { record: row.header.record, document: row.document }
    }
}

/// What came of an upload.
#[derive(Debug, Clone)]
pub struct Created {
    /// The asset, new or as it was.
    pub asset: Asset,
    /// False when the very same upload had been acknowledged before.
    pub fresh: bool,
}

/// Asks the catalog. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    fresh: Arc<Fresh>,
    summary: OwnSummary,
    sender: mpsc::Sender<Request>,
    blobs: Blobs,
    owner: Owner,
    cursors: Cursors,
    readers: Readers,
    threads_per_query: usize,
    damaged_rows: AtomicU64,
}

impl Catalog {
    /// Opens or makes the catalog file and starts its writer thread.
    ///
    /// # Errors
    /// When the file cannot be opened or is of another format.
    pub fn start(
        tasks: &mut Tasks,
        data_dir: &Path,
        owner: Owner,
        blobs: Blobs,
        config: &Config,
    ) -> Result<Self, StartError> {
        let store_config = StoreConfig { cache_bytes: config.cache_bytes, ..StoreConfig::default() };
        let store = Store::open(&data_dir.join(FILE), KIND, FORMAT, store_config)?;
        Ok(Self::start_on(tasks, store, owner, blobs, config)?)
    }

    /// Starts on a store that is open.
    fn start_on(
        tasks: &mut Tasks,
        store: Store,
        owner: Owner,
        blobs: Blobs,
        config: &Config,
    ) -> Result<Self, StoreError> {
        let (sender, inbox) = mpsc::channel(config.mailbox);
        let fresh = Arc::new(Fresh::default());
        let (ledger, summary) = (Ledger::new(Arc::clone(&fresh), config.fresh_bytes), OwnSummary::new());
        writer::start(tasks, store.clone(), inbox, (ledger, summary.clone()))?;
        summary.start(tasks, store.clone());
        let cursors = Cursors::new(owner.cursor_secret);
        let readers = Readers::new(config.queries_at_once);
        let threads_per_query = config.threads_per_query.max(1);
        let damaged_rows = AtomicU64::new(0);
        let inner = Inner {
            store,
            fresh,
            summary,
            sender,
            blobs,
            owner,
            cursors,
            readers,
            threads_per_query,
            damaged_rows,
        };
        let catalog = Self { inner: Arc::new(inner) };
        let held = catalog.inner.store.clone();
        catalog.inner.blobs.add_referenced(Arc::new(move |blob| is_held(&held, blob).map_err(Into::into)));
        Ok(catalog)
    }

    /// Stores the description of an asset that lies elsewhere.
    ///
    /// # Errors
    /// `Conflict` when its uri is taken, and the store's own.
    pub async fn create_external(&self, draft: Draft) -> Result<Asset, Error> {
        let document = draft.into_external(self.inner.owner.assets_db_id)?;
        self.change(Change::Create { document, lease: None }).await.map(|done| done.row.into())
    }

    /// Stores the description of uploaded content. The same upload again gives the same asset.
    ///
    /// # Errors
    /// `Conflict` when its uri is taken by anything else, and the store's own.
    pub async fn create_uploaded(
        &self,
        draft: Draft,
        file: FileFacts,
        blob: StoredBlob,
    ) -> Result<Created, Error> {
        let public_url = format!("{}/asset-object/{}", self.inner.owner.public_url, blob.id);
        let stored = Uploaded { id: blob.id, size: blob.size, file: &file, public_url: &public_url };
        let document = draft.into_uploaded(self.inner.owner.assets_db_id, stored)?;
        let done = self.change(Change::Create { document, lease: Some(blob.lease) }).await?;
        Ok(Created { asset: done.row.into(), fresh: done.fresh })
    }

    /// Changes some members of an asset.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when its new uri is taken, `Invalid`, and the store's own.
    pub async fn update(&self, key: &str, patch: Patch) -> Result<Asset, Error> {
        self.change(Change::Update { key: key.to_owned(), patch }).await.map(|done| done.row.into())
    }

    /// Deletes an asset, and its bytes once nothing refers to them.
    ///
    /// # Errors
    /// `NotFound`, and the store's own.
    pub async fn delete(&self, key: &str) -> Result<Asset, Error> {
        let done = self.change(Change::Delete { key: key.to_owned() }).await?;
        if let Some(blob) = done.unreferenced
            && let Err(error) = self.inner.blobs.remove(blob).await
        {
            // The asset is gone either way; the sweeper finds what is left of its bytes.
            tracing::warn!(%blob, %error, "the bytes of a deleted asset stay until the next sweep");
        }
        Ok(done.row.into())
    }

    /// The asset with a uri or record id.
    ///
    /// # Errors
    /// When the row is damaged or the store cannot be read.
    pub fn find(&self, key: &str) -> Result<Option<Asset>, Error> {
        self.read(|view| view.find(key)).map(|row| row.map(Asset::from))
    }

    /// What an upload said of a blob, if any asset names it.
    ///
    /// # Errors
    /// When the row is damaged or the store cannot be read.
    pub fn object(&self, blob: &AssetId) -> Result<Option<FileFacts>, Error> {
        let Some(row) = self.read(|view| view.holder(blob))? else {
            return Ok(None);
        };
        let ValueRef::Object(asset) = row.document.root() else {
            return Err(Error::damaged(row.number));
        };
        let info = asset.get("asset_file_info").unwrap_or(ValueRef::Null);
        let fact = |member| row::text(info, member).to_owned();
        Ok(Some(FileFacts { file_name: fact("file_name"), file_type: fact("file_type") }))
    }

    /// How many assets there are.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn assets(&self) -> Result<u64, Error> {
        self.read(|view| Ok(view.rows()?))
    }

    /// Fails with the reason if writes are refused.
    ///
    /// # Errors
    /// When the store has given up writing.
    pub fn writable(&self) -> Result<(), Error> {
        Ok(self.inner.store.room(Purpose::Row, 0)?)
    }

    /// How often a damaged row was met and left out since the start.
    #[must_use]
    pub fn damaged_rows(&self) -> u64 {
        self.inner.damaged_rows.load(Ordering::Relaxed)
    }

    /// The summary of its rows.
    pub(crate) fn summary(&self) -> OwnSummary {
        self.inner.summary.clone()
    }

    /// The file that the catalog lies in, for others that keep tables of their own there.
    pub(crate) fn store(&self) -> Store {
        self.inner.store.clone()
    }

    /// Turns to `Some` when the store gives up for good.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.inner.store.failure()
    }

    /// Adds the catalog's metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let collector = Metrics { catalog: Arc::downgrade(&self.inner) };
        registry.register_collector(Box::new(collector));
    }

    fn read<T>(&self, read: impl Fn(&View) -> Result<T, Error>) -> Result<T, Error> {
        self.reported(self.inner.store.view(|transaction| read(&View::open(transaction)?)))
    }

    /// Reads one snapshot in a way that cannot be begun again.
    fn read_once<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T, Error>) -> Result<T, Error> {
        let taken = Snapshot::take(&self.inner.store, &self.inner.fresh);
        let result = taken.and_then(|snapshot| storage::guard(|| read(&snapshot)));
        self.reported(result)
    }

    fn reported<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(Error::Damaged(what)) = &result {
            self.report_damage(what);
        }
        result
    }

    fn report_damage(&self, what: &str) {
        self.inner.damaged_rows.fetch_add(1, Ordering::Relaxed);
        tracing::error!(%what, "damage in the catalog: not served");
    }

    async fn change(&self, change: Change) -> Result<Done, Error> {
        let (reply, answer) = oneshot::channel();
        let request = Request { change, stamp: Stamp { now: crate::clock::now(), random: random() }, reply };
        self.inner.sender.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })?;
        self.reported(answer.await.map_err(|_| Error::Stopped)?)
    }
}

fn is_held(store: &Store, blob: &AssetId) -> Result<bool, Error> {
    store.view(|transaction| View::open(transaction)?.is_held(blob))
}

/// Unpredictable low bits for record ids.
fn random() -> u32 {
    uuid::Uuid::new_v4().as_u128() as u32
}

#[cfg(test)]
mod merge_tests;
#[cfg(test)]
mod tests;
