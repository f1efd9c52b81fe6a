//! What handles, readers and the writer thread share: small lists of what was let go, and counts.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use assetmesh_protocol::ids::AssetId;
use tokio::sync::{Semaphore, mpsc};

use super::actor::Message;
use super::backend::{Backend, BlobNumber};
use super::buffer::Pool;
use super::keep::Shelves;
use super::{Config, Error, Metrics};

/// Why the owner of the records could not say whether a blob is referred to.
pub type CheckError = Box<dyn std::error::Error + Send + Sync>;
/// Says whether any record names a blob.
pub type Check = Arc<dyn Fn(&AssetId) -> Result<bool, CheckError> + Send + Sync>;

/// Everything around the writer thread.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(crate) pool: Arc<Pool>,
    pub(crate) numbers: std::sync::atomic::AtomicU64,
    pub(crate) readers: Readers,
    /// Blobs of this node that were found damaged: an upload of one replaces it.
    pub(crate) damaged: Mutex<HashSet<AssetId>>,
    pub(crate) referenced: Referenced,
    pub(crate) returns: Returns,
    /// What is kept of other nodes' content.
    pub(crate) shelves: Shelves,
    pub(crate) keeping: Arc<Semaphore>,
}

/// What was let go since the writer looked last. Each entry was one live handle, so the list is bounded
/// by them; it is no queue of requests.
pub(crate) struct Returns {
    list: Mutex<Vec<Returned>>,
    wake: mpsc::WeakSender<Message>,
}

/// One thing let go.
#[derive(Debug)]
pub(crate) enum Returned {
    /// A lease.
    Lease(AssetId),
    /// An upload that did not finish.
    Upload(BlobNumber),
    /// The last reader of a blob.
    Reader,
    /// One that brought content of another node.
    Keeper,
}

impl Returns {
    pub(crate) fn new(wake: mpsc::WeakSender<Message>) -> Self {
        Self { list: Mutex::new(Vec::new()), wake }
    }

    /// Lets go. A full mailbox needs no waking: the writer looks at the list before each commit.
    pub(crate) fn push(&self, returned: Returned) {
        lock(&self.list).push(returned);
        if let Some(wake) = self.wake.upgrade() {
            let _ = wake.try_send(Message::Wake);
        }
    }

    pub(crate) fn any(&self) -> bool {
        !lock(&self.list).is_empty()
    }

    pub(crate) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut *lock(&self.list))
    }
}

impl fmt::Debug for Returns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returns").finish_non_exhaustive()
    }
}

/// Counts who reads which blob, so that its chunks stay until the last is done.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    counts: Mutex<HashMap<AssetId, u32>>,
}

impl Readers {
    pub(crate) fn is_read(&self, id: &AssetId) -> bool {
        lock(&self.counts).contains_key(id)
    }
}

/// One reader of a blob.
#[derive(Debug)]
pub(crate) struct Reading {
    id: AssetId,
    shared: Arc<Shared>,
}

impl Reading {
    /// Must be taken before the blob is looked up: then whoever sees the blob is counted.
    pub(crate) fn begin(shared: &Arc<Shared>, id: AssetId) -> Self {
        *lock(&shared.readers.counts).entry(id).or_default() += 1;
        Self { id, shared: Arc::clone(shared) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut counts = lock(&self.shared.readers.counts);
        let Some(count) = counts.get_mut(&self.id) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.id);
            drop(counts);
            self.shared.returns.push(Returned::Reader);
        }
    }
}

/// Asks the owners of records.
#[derive(Default)]
pub(crate) struct Referenced(RwLock<Vec<Check>>);

impl Referenced {
    pub(crate) fn add(&self, check: Check) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(check);
    }

    /// Whether the blob must stay: somebody names it, or nobody can say yet.
    pub(crate) fn ask(&self, id: &AssetId) -> Result<bool, Error> {
        let checks = self.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut is_named = checks.is_empty();
        for check in checks {
            is_named |= check(id).map_err(|error| Error::Check(error.to_string().into()))?;
        }
        Ok(is_named)
    }
}

impl fmt::Debug for Referenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Referenced").finish_non_exhaustive()
    }
}

/// An upload as the writer knows it.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) number: BlobNumber,
    failure: OnceLock<Error>,
}

impl Ticket {
    pub(crate) fn new(number: BlobNumber) -> Arc<Self> {
        Arc::new(Self { number, failure: OnceLock::new() })
    }

    pub(crate) fn fail(&self, error: &Error) {
        // The first error is the reason; what follows is its echo.
        let _ = self.failure.set(error.clone());
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
