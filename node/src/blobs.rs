//! The blob store: content under its BLAKE3 hash, written durably by one thread, verified when it is read.
//!
//! It knows no network and no records: who refers to a blob is asked of a check that the owner of the
//! records registers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::AssetId;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Tasks;
use crate::storage::{OpenError, Store, StoreConfig, StoreError};
use actor::{Message, Writer};
use backend::Backend;
use buffer::Pool;
use cache::About;
use keep::Shelves;
use keeping::Keeping;
use shared::{Readers, Referenced, Returned, Returns, Shared};
use tables::Tables;

mod actor;
mod backend;
mod batch;
mod buffer;
mod cache;
mod keep;
mod keeping;
mod metrics;
mod read;
mod runs;
mod scrub;
mod shared;
mod state;
mod tables;
pub(crate) mod tree;
mod upload;

pub use keep::{Cached, Keeper};
pub(crate) use keep::{Left, PART_BYTES};
pub use metrics::Metrics;
pub use read::Blob;
pub use scrub::{Damage, Verified};
pub use shared::{Check, CheckError};
pub use upload::Upload;

/// The format of `blobs.redb`.
const FORMAT: u32 = 1;
/// File name inside the data directory.
pub(crate) const FILE: &str = "blobs.redb";
/// Ids that a sweep looks at before it lets others go first.
const SWEEP_BATCH: usize = 256;

/// How a blob store works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The database file: cache and reserve. Its cache is 16 MiB: content is read once and then lies in
    /// the system's cache; more was measured to be no faster, and costs memory.
    pub store: StoreConfig,
    /// Questions that may wait for the writer. 256: more than the clients of one node that upload at once.
    pub mailbox_max: usize,
    /// Chunk buffers in all. 48: at most 48 MiB, also while the disk stalls and the buffers of uploads that broke off
    /// still wait for the writer; that leaves a quarter of the 64 MiB that any traffic may cost. Others wait.
    pub chunks_in_hand_max: usize,
    /// Chunk buffers of one upload. 4: one being filled, one on its way, two being written.
    pub chunks_per_upload: usize,
    /// An upload that has written nothing for so long gives its buffer up when others wait for one: what it
    /// holds is stored as it is. 1 s: a stalled or hostile client must not stop the others.
    pub upload_patience: Duration,
    /// Chunks in one commit. 16: larger commits are no faster, and keep small uploads waiting.
    pub chunks_per_commit: usize,
    /// Acknowledgements in one commit. 1024: one sync for all who wait.
    pub answers_per_commit: usize,
    /// Room in the file for content of other nodes that clients have asked for. 1 GiB: some large assets, on a disk
    /// that holds a node's own at all; 0 keeps nothing.
    pub cache_bytes_max: u64,
    /// Chunks that a reader is ahead of its consumer. 2: the disk works while the network does.
    pub read_ahead_chunks: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            store: StoreConfig { cache_bytes: 8 << 20, ..StoreConfig::default() },
            mailbox_max: 256,
            chunks_in_hand_max: 48,
            chunks_per_upload: 4,
            upload_patience: Duration::from_secs(1),
            chunks_per_commit: 16,
            answers_per_commit: 1024,
            cache_bytes_max: 1 << 30,
            read_ahead_chunks: 2,
        }
    }
}

/// Why a blob could not be stored, read or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The file could not be opened.
    #[error(transparent)]
    Open(Arc<OpenError>),
    /// No room for content; deletes and reads go on.
    #[error("the disk is full")]
    Full,
    /// Too much is waiting, or the file was just reopened: try again.
    #[error("the blob store is busy, try again")]
    Busy,
    /// The stored bytes are not those that were written.
    #[error("blob {id} is damaged at byte {offset}")]
    Damaged {
        /// The blob.
        id: AssetId,
        /// The first byte that cannot be trusted, rounded down to what is checked at once.
        offset: u64,
    },
    /// A page of the database is damaged.
    #[error("the blob database is damaged: {0}")]
    Corrupt(Arc<str>),
    /// Nobody could say whether a record refers to the blob.
    #[error("cannot tell whether the blob is referred to: {0}")]
    Check(Arc<str>),
    /// The node stops.
    #[error("the blob store has stopped")]
    Stopped,
    /// The store has given up until the node is started again.
    #[error("{0}")]
    Failed(Arc<str>),
    /// The operating system said no.
    #[error("input or output failed: {0}")]
    Io(Arc<std::io::Error>),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Open(Arc::new(error))
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Damaged(reason) => Self::Corrupt(reason),
            StoreError::Interrupted => Self::Busy,
            StoreError::Io(error) => Self::Io(error),
            failed @ StoreError::Failed { .. } => Self::Failed(failed.to_string().into()),
        }
    }
}

/// Totals of a store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Blobs.
    pub blobs: u64,
    /// Bytes of content, without outboards and the database's own.
    pub bytes: u64,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Blobs that were looked at.
    pub seen: u64,
    /// Blobs that no record named, and that are gone.
    pub removed: u64,
}

/// A blob that is on the medium.
#[derive(Debug)]
pub struct StoredBlob {
    /// The BLAKE3 hash of the content.
    pub id: AssetId,
    /// Its size in bytes.
    pub size: u64,
    /// Keeps it until a record does.
    pub lease: Lease,
    /// The same content was here before.
    pub was_present: bool,
}

/// Keeps a blob while its record is being written. When the last lease of a blob goes and no record names
/// it, it is removed.
#[derive(Debug)]
pub struct Lease {
    id: AssetId,
    shared: Arc<Shared>,
}

impl Lease {
    fn new(id: AssetId, shared: Arc<Shared>) -> Self {
        Self { id, shared }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.shared.returns.push(Returned::Lease(self.id));
    }
}

/// The blob store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    shared: Arc<Shared>,
    mailbox: mpsc::Sender<Message>,
    failure: watch::Receiver<Option<StoreError>>,
}

impl Blobs {
    /// Opens `blobs.redb` in `data_dir`, or makes it, and starts the writer thread. What uploads of an
    /// earlier run left unfinished is cleared in the background. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The file is refused, see [`OpenError`], or cannot be written.
    pub fn start(tasks: &mut Tasks, data_dir: &Path, config: Config) -> Result<Self, Error> {
        let store = Store::open(&data_dir.join(FILE), "blobs", FORMAT, config.store.clone())?;
        let failure = store.failure();
        Self::start_on(tasks, Arc::new(Tables::new(store)?), failure, config)
    }

    /// Starts on any backend.
    fn start_on(
        tasks: &mut Tasks,
        backend: Arc<dyn Backend>,
        failure: watch::Receiver<Option<StoreError>>,
        config: Config,
    ) -> Result<Self, Error> {
        let unfinished = backend.unfinished()?;
        let number = backend.free_number()?;
        let session = backend.session()?;
        let runtime = Handle::current();
        let (mailbox, inbox) = mpsc::channel(config.mailbox_max);
        let shared = Arc::new(Shared {
            backend,
            metrics: Metrics::default(),
            pool: Pool::new(config.chunks_in_hand_max, config.upload_patience),
            numbers: AtomicU64::new(number.0),
            readers: Readers::default(),
            damaged: std::sync::Mutex::default(),
            referenced: Referenced::default(),
            returns: Returns::new(mailbox.downgrade()),
            shelves: Shelves::default(),
            keeping: keep::permits(),
            config,
        });
        let keeping = Keeping::load(&shared)?;
        let writer = Writer::new(Arc::clone(&shared), keeping, unfinished, session);
        tasks.start_thread("blobs", move |stop| writer.run(inbox, &stop, &runtime));
        Ok(Self { shared, mailbox, failure })
    }

    /// Begins an upload. Nothing is stored yet.
    #[must_use]
    pub fn begin(&self) -> Upload {
        Upload::new(Arc::clone(&self.shared), self.mailbox.clone())
    }

    /// Opens a blob for reading. Its bytes stay while the answer lives, even if it is removed.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn open(&self, id: &AssetId) -> Result<Option<Blob>, Error> {
        Blob::open(&self.shared, *id)
    }

    /// Whether the blob is here.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn contains(&self, id: &AssetId) -> Result<bool, Error> {
        Ok(self.shared.backend.find(id)?.is_some())
    }

    /// The totals, which are kept with each commit.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stats(&self) -> Result<Stats, Error> {
        self.shared.backend.stats()
    }

    /// Looks up content of another node of which something is kept. That counts as a use.
    #[must_use]
    pub fn cached(&self, id: &AssetId) -> Option<Cached> {
        Cached::open(&self.shared, id)
    }

    /// Bytes of other nodes' content that are kept.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.shared.shelves.bytes()
    }

    /// Takes in content that another node has proven, of this size.
    #[must_use]
    pub fn keeper(&self, id: AssetId, size: u64, facts: FileFacts) -> Keeper {
        Keeper::new(&self.shared, self.mailbox.clone(), id, About { size, facts })
    }

    /// Keeps nothing of this content of another node any more.
    ///
    /// # Errors
    /// The store has stopped or cannot be written: it stays.
    pub async fn drop_cached(&self, id: AssetId) -> Result<(), Error> {
        self.ask(|reply| Message::Drop { id, reply }).await?
    }

    /// Lets go what is kept beyond the bound, and parts that nobody has asked for in a day.
    ///
    /// # Errors
    /// The store has stopped, or cannot be written.
    pub async fn tidy_cache(&self) -> Result<(), Error> {
        self.ask(|reply| Message::Tidy { reply }).await?
    }

    /// Keeps a blob that is here, for a new record of it.
    ///
    /// # Errors
    /// The database cannot be read, or the store has stopped.
    pub async fn hold(&self, id: AssetId) -> Result<Option<StoredBlob>, Error> {
        self.ask(|reply| Message::Hold { id, reply }).await?
    }

    /// Removes a blob, unless a lease or a record needs it. Says whether this call removed it; durable then.
    ///
    /// # Errors
    /// The store has stopped, cannot be written, or cannot tell whether a record needs the blob.
    pub async fn remove(&self, id: AssetId) -> Result<bool, Error> {
        self.ask(|reply| Message::Remove { id, reply }).await?
    }

    /// Registers one who knows records; a blob goes when none of them names it. Until there is one every blob counts
    /// as needed. The check runs on the writer thread and must not wait for this store.
    pub fn add_referenced(&self, check: Check) {
        self.shared.referenced.add(check);
    }

    /// Removes every blob that no record names, and waits until all that was unfinished is cleared.
    ///
    /// # Errors
    /// The store has stopped, or cannot be read or written.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut after = None;
        loop {
            let shared = Arc::clone(&self.shared);
            let batch = tokio::task::spawn_blocking(move || orphans(&shared, after));
            let (last, seen, orphans) = batch.await.map_err(|_| Error::Stopped)??;
            swept.seen += seen;
            for id in orphans {
                // The writer checks again, and with it the leases.
                swept.removed += u64::from(self.remove(id).await?);
            }
            match last {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        self.settle().await?;
        Ok(swept)
    }

    /// Ids of blobs in order, after one, at most `limit`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn list(&self, after: Option<AssetId>, limit: usize) -> Result<Vec<AssetId>, Error> {
        let shared = Arc::clone(&self.shared);
        let list = tokio::task::spawn_blocking(move || shared.backend.list(after.as_ref(), limit));
        Ok(list.await.map_err(|_| Error::Stopped)??.into_iter().map(|(id, _)| id).collect())
    }

    /// Reads one blob whole, if it is here.
    ///
    /// # Errors
    /// It is damaged, or the database cannot be read.
    pub async fn check(&self, id: AssetId) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let job = tokio::task::spawn_blocking(move || scrub::check(&shared, id, &mut Verified::default()));
        job.await.map_err(|_| Error::Stopped)?
    }

    /// Reads and checks everything: content against its hash, outboards against their root, chunks
    /// against blobs, totals against the sum. Each damage goes to `sink` when it is found.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub async fn verify(&self, sink: impl FnMut(Damage) + Send + 'static) -> Result<Verified, Error> {
        let shared = Arc::clone(&self.shared);
        let job = tokio::task::spawn_blocking(move || scrub::verify(&shared, sink));
        job.await.map_err(|_| Error::Stopped)?
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Turns to `Some` when the store gives up for good: the node should stop then, and say why.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.failure.clone()
    }

    /// Waits until all that was let go before is looked at, and all that can be cleared is.
    async fn settle(&self) -> Result<(), Error> {
        self.ask(|reply| Message::Settle { reply }).await
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(question(reply)).await.map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }
}

/// Ids after `after` that no record names; with the last id seen, unless there are no more.
fn orphans(shared: &Shared, after: Option<AssetId>) -> Result<(Option<AssetId>, u64, Vec<AssetId>), Error> {
    let list = shared.backend.list(after.as_ref(), SWEEP_BATCH)?;
    let mut orphans = Vec::new();
    for (id, _) in &list {
        if !shared.referenced.ask(id)? {
            orphans.push(*id);
        }
    }
    Ok((list.last().map(|(id, _)| *id), list.len() as u64, orphans))
}

#[cfg(test)]
mod contract_tests;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
mod keep_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
pub(crate) mod test_kit;
