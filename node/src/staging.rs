//! Staging: gives each invocation of a function a folder of its own, fills it with checked content, and takes it away
//! again whatever happens. It knows no HTTP, and of accounts only how many places each has; names of folders and files are
//! uuids only.

mod folder;
mod janitor;
mod ledger;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::actor::Tasks;
use folder::{Folder, Root};
use janitor::Leftover;
use ledger::{Ledger, Limits};

/// Folders that are made at once. They are made in no time; but each blocking thread that a crowd would start keeps memory
/// of its own for good.
const MAKERS_MAX: usize = 2;

/// How much may be staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Invocations that may have a folder at once. 128: each holds a connection to a container, and few containers do
    /// more than that at once.
    pub invocations_max: usize,
    /// Of these, by one account. 96, three quarters: it may use a node that is idle, and others still find a place.
    pub account_invocations_max: usize,
    /// Bytes that may be staged together. 64 GiB: some hundred invocations with the inputs of large models.
    pub bytes_max: u64,
    /// Assets of one invocation. 100: more than any known function takes, and their names fit into one header.
    pub assets_max: usize,
    /// Files of this node's own content that are written at once. 4: one or two keep a disk busy, more hide the waits for it;
    /// each holds some MiB of what is read ahead.
    pub writers_max: usize,
    /// Files that are written at once while their bytes come from elsewhere. 16: each holds a thread and little more, and
    /// mostly waits for a network; a few slow ones must not hold up all others. One account has at most three quarters of
    /// them.
    pub receivers_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            invocations_max: 128,
            account_invocations_max: account_share(128),
            bytes_max: 64 << 30,
            assets_max: 100,
            writers_max: 4,
            receivers_max: 16,
        }
    }
}

/// What one account may have of so many places, if nothing else is said: three quarters, and never none.
#[must_use]
pub const fn account_share(invocations: usize) -> usize {
    invocations - invocations / 4
}

/// Why the staging folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is a symbolic link, or a file.
    #[error("{} is not a folder of its own (a symbolic link is not followed)", .0.display())]
    NotAFolder(PathBuf),
    /// Its file system cannot tell a live process from a dead one.
    #[error("{}: locks do not work there, choose a folder on a local disk: {source}", path.display())]
    NoLocks {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It cannot be made or read.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Why an invocation did not get what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// As many invocations as may be are under way.
    #[error("{0} invocations are under way, as many as may be")]
    Busy(usize),
    /// Its account has as many under way as one may have.
    #[error("your account has {0} invocations under way, as many as one account may have")]
    AccountBusy(usize),
    /// It names more assets than one invocation may have.
    #[error("{0} assets are more than the {1} of one invocation")]
    TooMany(usize, usize),
    /// Its assets would never fit.
    #[error("{0} bytes are more than may be staged at all")]
    TooLarge(u64),
    /// Others hold too much now.
    #[error("there is no room to stage {0} bytes now")]
    NoRoom(u64),
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The bytes that came are not those of the asset.
    #[error("the bytes of asset {0} are not those that were stored")]
    Damaged(Uuid),
    /// The bytes of an asset did not come.
    #[error("asset {0} could not be read: {1}")]
    Source(Uuid, Arc<str>),
    /// The operating system said no.
    #[error("input or output failed: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// Where the bytes of an asset are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// On this node: they come as fast as its disk is.
    Here,
    /// On another node: they come as they can.
    Elsewhere,
}

/// Content that is to be staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// The asset: the name of its file.
    pub asset: Uuid,
    /// The BLAKE3 hash of its bytes.
    pub hash: AssetId,
    /// Its size in bytes.
    pub size: u64,
    /// Where they are.
    pub origin: Origin,
}

/// The staging folder of one process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Staging {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    root: Root,
    ledger: Mutex<Ledger>,
    makers: Semaphore,
    /// For what is here.
    writers: Semaphore,
    /// For what comes from elsewhere.
    receivers: Semaphore,
    leftovers: mpsc::Sender<Leftover>,
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Staging {
    /// Opens the folder that holds the folders of invocations, makes it if absent, and removes what processes that are
    /// gone have left there. Its file system must be a local one: locks tell a live process from a dead one. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn start(tasks: &mut Tasks, path: &Path, config: Config) -> Result<Self, OpenError> {
        let root = Root::open(path)?;
        let swept = root.sweep().map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        if swept > 0 {
            tracing::info!(folders = swept, root = %path.display(), "removed what an earlier run staged");
        }
        // Each folder has its place in the queue from the start, so that no removal ever finds it full.
        let (leftovers, inbox) = mpsc::channel(config.invocations_max.max(1));
        tasks.run("staging", |stop| janitor::run(inbox, stop));
        let limits = Limits {
            invocations: config.invocations_max,
            of_account: config.account_invocations_max,
            receivers_of_account: account_share(config.receivers_max.max(1)),
            bytes: config.bytes_max,
        };
        let ledger = Mutex::new(Ledger::new(limits));
        let makers = Semaphore::new(MAKERS_MAX);
        let writers = Semaphore::new(config.writers_max.max(1));
        let receivers = Semaphore::new(config.receivers_max.max(1));
        let shared = Shared { config, root, ledger, makers, writers, receivers, leftovers };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes one of the places for invocations, for an account. It is free again once the folder is gone.
    ///
    /// # Errors
    /// There is none, the account has its share, or so many assets are never staged.
    pub fn enter(&self, account: &str, assets: usize) -> Result<Invocation, Error> {
        let max = self.shared.config.assets_max;
        if assets > max {
            return Err(Error::TooMany(assets, max));
        }
        let account = Arc::from(account);
        let receivers = self.shared.ledger().enter(&account)?;
        let place = Place { shared: Arc::clone(&self.shared), account, receivers, bytes: 0 };
        Ok(Invocation { id: Uuid::new_v4(), place: Some(place), folder: None })
    }

    /// Invocations and bytes that are held now.
    #[must_use]
    pub fn held(&self) -> (usize, u64) {
        self.shared.ledger().held()
    }
}

/// A place among the invocations, with the bytes it may stage. They are given back when this is dropped.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    account: Arc<str>,
    /// Its account's turns to receive a file.
    receivers: Arc<Semaphore>,
    bytes: u64,
}

impl Place {
    /// Waits for a turn to write a file.
    async fn turn(&self, origin: Origin) -> Result<Turn<'_>, Error> {
        // First the account's own, so that those of one account are never all that waits for the common ones.
        let (of_account, turns) = match origin {
            Origin::Here => (None, &self.shared.writers),
            Origin::Elsewhere => {
                (Some(self.receivers.acquire().await.map_err(|_| closed())?), &self.shared.receivers)
            }
        };
        let of_all = turns.acquire().await.map_err(|_| closed())?;
        Ok(Turn { _of_account: of_account, _of_all: of_all })
    }
}

/// The right to write one file now.
struct Turn<'a> {
    _of_account: Option<SemaphorePermit<'a>>,
    _of_all: SemaphorePermit<'a>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.ledger().leave(&self.account, self.bytes);
    }
}

/// One invocation: its place and its folder. Dropping it removes the folder soon; [`Invocation::close`] waits for that.
#[derive(Debug)]
pub struct Invocation {
    id: Uuid,
    place: Option<Place>,
    folder: Option<Folder>,
}

impl Invocation {
    /// Names the invocation, and its folder.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Makes the folder and sets room aside for its files. Nobody else may enter the folder yet. Gives its path.
    ///
    /// # Errors
    /// There is no room, or the disk says no.
    pub async fn open(&mut self, bytes: u64) -> Result<PathBuf, Error> {
        let place = self.place.as_mut().ok_or_else(closed)?;
        place.shared.ledger().claim(bytes)?;
        place.bytes += bytes;
        let shared = Arc::clone(&place.shared);
        let id = self.id;
        let _turn = place.shared.makers.acquire().await.map_err(|_| closed())?;
        let folder = blocking(move || shared.root.make(id)).await?;
        let path = folder.path().to_owned();
        self.folder = Some(folder);
        Ok(path)
    }

    /// Writes one file. The bytes are hashed while they are written; wrong ones never stay.
    ///
    /// # Errors
    /// The bytes are wrong or do not come, or the disk says no.
    pub async fn add<S, E>(&self, content: Content, bytes: S) -> Result<(), Error>
    where
        S: Stream<Item = Result<Bytes, E>> + Send,
        E: std::fmt::Display,
    {
        let (Some(place), Some(folder)) = (&self.place, &self.folder) else { return Err(closed()) };
        let _turn = place.turn(content.origin).await?;
        let file = folder.file(content)?;
        // One blocking thread a file: many short jobs would spread its pieces over the memory of many threads.
        let (writer, pieces) = mpsc::channel(1);
        let writing = blocking(move || file.write_all(pieces));
        let reading = forward(content.asset, bytes, writer);
        let (written, read) = tokio::join!(writing, reading);
        read.and(written)
    }

    /// Lets everybody on this machine into the folder: the container may run as another user.
    ///
    /// # Errors
    /// The disk says no.
    pub fn publish(&self) -> Result<(), Error> {
        let folder = self.folder.as_ref().ok_or_else(closed)?;
        Ok(folder.publish()?)
    }

    /// Removes the folder and waits until it is gone.
    pub async fn close(mut self) {
        if let Some(gone) = self.leave() {
            // The janitor drops it only when the process ends at once.
            let _ = gone.await;
        }
    }

    /// Hands folder and place to the janitor.
    fn leave(&mut self) -> Option<oneshot::Receiver<()>> {
        let (place, folder) = (self.place.take()?, self.folder.take()?);
        let (done, gone) = oneshot::channel();
        let queue = place.shared.leftovers.clone();
        // After the janitor has stopped, what comes back is removed here.
        if let Err(refused) = queue.try_send(Leftover { folder, place, done }) {
            refused.into_inner().remove();
        }
        Some(gone)
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Hands the pieces of an asset on as they come.
async fn forward<S, E>(asset: Uuid, bytes: S, writer: mpsc::Sender<Bytes>) -> Result<(), Error>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::fmt::Display,
{
    let mut bytes = std::pin::pin!(bytes);
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| Error::Source(asset, error.to_string().into()))?;
        if writer.send(piece).await.is_err() {
            // The writer has failed and says why.
            break;
        }
    }
    Ok(())
}

fn closed() -> Error {
    Error::Io(Arc::new(io::Error::other("the invocation is closed")))
}

/// Runs what blocks.
async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Send + 'static,
    Error: From<E>,
{
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(error) => Err(Error::Io(Arc::new(io::Error::other(error)))),
    }
}
