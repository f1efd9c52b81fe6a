//! One redb file, safely held: opened only if it is ours, reopened once after an I/O error, never a panic.
//!
//! The node's data lives in a few such files. Tables are named in the `tables.rs` of their owner; this
//! file knows only `meta`, which says what a file holds.
//!
//! **Invariant:** a file that is refused is left as it was, to the byte and the modification time.
//! **Invariant:** no page reaches the database library that differs from what it once wrote, but for leaves of values that
//! prove themselves (`storage/leaf.rs`).
//! **Invariant:** every durable commit is a two-phase commit. So after a failed sync the file still names
//! only pages that an earlier sync made durable, and opening it anew, which itself writes and syncs the
//! header, is safe. A failed sync is never repeated.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, ReadTransaction, ReadableDatabase, TableDefinition, WriteTransaction};
use tokio::sync::watch;

use backend::{Backend, Fault};
use disk::Disk;

mod backend;
mod disk;
mod error;
mod file;
mod guard;
mod header;
mod held;
mod leaf;
mod mend;
mod sums;

pub use error::{OpenError, StoreError};
pub use file::{Integrity, verify};

pub(crate) use disk::Space;
pub(crate) use guard::guard;
pub(crate) use leaf::self_proving;

/// What a file holds: rows `kind` and `format`.
const META: TableDefinition<&str, &str> = TableDefinition::new("meta");

/// How a store is held.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Memory for pages, in bytes. At most half of it holds pages that are not yet written.
    pub cache_bytes: usize,
    /// Bulk writes stop when the file system has less room than this, in bytes. 64 MiB: enough for
    /// any number of deletes to go through on a full disk.
    pub reserve_bytes_max: u64,
    /// On a small file system the reserve is at most its size divided by this. 12: a 24 MiB file
    /// system keeps 2 MiB.
    pub reserve_divisor: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, reserve_bytes_max: 64 << 20, reserve_divisor: 12 }
    }
}

/// What a write is for: how far it may use up the last room on the device. A delete does not ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Content: leaves the whole reserve free.
    Bulk,
    /// A row that a client adds: leaves half the reserve free.
    Row,
}

/// When a commit must be on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// When the call returns.
    Now,
    /// With the next commit that is [`Sync::Now`]; lost if the process or the disk fails before.
    Later,
}

/// One open database file. Cheap to clone; the file closes with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    config: StoreConfig,
    state: RwLock<State>,
    failure: watch::Sender<Option<StoreError>>,
}

#[derive(Debug, Clone)]
enum State {
    Open(Arc<Session>),
    Failed(StoreError),
}

/// The time between two openings of the file.
#[derive(Debug)]
struct Session {
    /// Present until drop.
    database: Option<Database>,
    backend: Backend,
    number: u64,
    /// Durable commits in this session: none yet means that an error would follow right on another.
    commits: AtomicU64,
}

impl Drop for Session {
    fn drop(&mut self) {
        let database = self.database.take();
        // Closing writes pages; on a damaged file that too can panic.
        let _ = guard::catch(guard::Role::Writer, move || drop(database));
    }
}

impl Session {
    fn new(database: Database, backend: Backend, number: u64) -> Self {
        Self { database: Some(database), backend, number, commits: AtomicU64::new(0) }
    }

    fn database(&self) -> Result<&Database, StoreError> {
        self.database.as_ref().ok_or(StoreError::Interrupted)
    }

    fn begin(&self, sync: Sync) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database()?.begin_write()?;
        transaction.set_quick_repair(true);
        if sync == Sync::Later {
            transaction.set_durability(redb::Durability::None)?;
        }
        Ok(transaction)
    }
}

impl Store {
    /// Opens the file at `path`, or makes it. `kind` and `format` say what it must hold.
    ///
    /// # Errors
    /// Another process has it, it is not a whole database of this kind and format, or I/O fails.
    /// In each case the file stays untouched.
    pub(crate) fn open(path: &Path, kind: &str, format: u32, config: StoreConfig) -> Result<Self, OpenError> {
        let disk = file::hold(path, kind, format)?;
        Self::open_on(Arc::new(disk), path, (kind, format), config)
    }

    /// Opens what is on any disk, if it is of the `wanted` kind and format.
    fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        wanted: (&str, u32),
        config: StoreConfig,
    ) -> Result<Self, OpenError> {
        let (database, backend) = file::open(&disk, path, wanted, config.cache_bytes)?;
        let session = Session::new(database, backend, 0);
        let inner = Inner {
            path: path.to_owned(),
            disk,
            config,
            state: RwLock::new(State::Open(Arc::new(session))),
            failure: watch::Sender::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Reads one snapshot. `work` runs again, once, if the file had to be reopened meanwhile.
    pub(crate) fn view<T, E: From<StoreError>>(
        &self,
        work: impl Fn(&ReadTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let session = self.session()?;
        let first = guard(|| work(&session.database()?.begin_read().map_err(StoreError::from)?));
        if first.is_ok() || session.backend.fault().is_none() {
            return first;
        }
        self.reopen(&session)?;
        let session = self.session()?;
        guard(|| work(&session.database()?.begin_read().map_err(StoreError::from)?))
    }

    /// A snapshot that outlives the call. What reads it runs inside [`guard`].
    pub(crate) fn read(&self) -> Result<ReadTransaction, StoreError> {
        let session = self.session()?;
        guard(|| Ok(session.database()?.begin_read()?))
    }

    /// Runs one write transaction. An error or a panic of `work` leaves nothing of it.
    ///
    /// # Errors
    /// `work`'s own, or [`StoreError`]. After an I/O error the file has been reopened: what was
    /// committed [`Sync::Later`] since the last [`Sync::Now`] is lost, see [`Store::session_number`].
    pub(crate) fn update<T, E: From<StoreError>>(
        &self,
        sync: Sync,
        work: impl FnOnce(&WriteTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let session = self.session()?;
        self.change(&session, sync, work)
    }

    /// Like [`Store::update`], but only in the session of this number.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`] if the file has been reopened; `work` did not run.
    pub(crate) fn update_within<T, E: From<StoreError>>(
        &self,
        number: u64,
        sync: Sync,
        work: impl FnOnce(&WriteTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let session = self.session()?;
        if session.number != number {
            return Err(StoreError::Interrupted.into());
        }
        self.change(&session, sync, work)
    }

    fn change<T, E: From<StoreError>>(
        &self,
        session: &Session,
        sync: Sync,
        work: impl FnOnce(&WriteTransaction) -> Result<T, E>,
    ) -> Result<T, E> {
        let outcome = guard::catch(guard::Role::Writer, || {
            let transaction = session.begin(sync)?;
            let value = work(&transaction)?;
            commit(session, transaction, sync)?;
            Ok(value)
        });
        let outcome = outcome.unwrap_or_else(|damage| {
            session.backend.mark(Fault::Damaged(damage.to_string().into()));
            Err(E::from(damage))
        });
        match session.backend.fault() {
            Some(fault) if outcome.is_err() => {
                self.reopen(session)?;
                Err(StoreError::from(fault).into())
            }
            _ => outcome,
        }
    }

    /// Counts the reopenings: a caller that sees another number than before has lost what it had
    /// committed [`Sync::Later`].
    pub(crate) fn session_number(&self) -> Result<u64, StoreError> {
        Ok(self.session()?.number)
    }

    /// Refuses if `bytes` more would leave too little room on the device.
    pub(crate) fn room(&self, purpose: Purpose, bytes: u64) -> Result<(), StoreError> {
        let space = self.space()?;
        let left = space.free.saturating_sub(bytes);
        if left < self.reserve(space, purpose) { Err(StoreError::Full) } else { Ok(()) }
    }

    /// The room that `purpose` must leave, in bytes.
    pub(crate) fn reserve(&self, space: Space, purpose: Purpose) -> u64 {
        let config = &self.inner.config;
        let whole = config.reserve_bytes_max.min(space.total / config.reserve_divisor.max(1));
        match purpose {
            Purpose::Bulk => whole,
            Purpose::Row => whole / 2,
        }
    }

    /// The room on the device.
    pub(crate) fn space(&self) -> Result<Space, StoreError> {
        self.inner.disk.space().map_err(|error| StoreError::Io(Arc::new(error)))
    }

    /// Turns to `Some` when the store gives up for good; the node should then stop and say why.
    pub(crate) fn failure(&self) -> watch::Receiver<Option<StoreError>> {
        self.inner.failure.subscribe()
    }

    /// The session to work in; a broken one is replaced first.
    fn session(&self) -> Result<Arc<Session>, StoreError> {
        let session = self.current()?;
        if session.backend.fault().is_none() {
            return Ok(session);
        }
        self.reopen(&session)?;
        self.current()
    }

    fn current(&self) -> Result<Arc<Session>, StoreError> {
        match &*self.inner.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(session) => Ok(Arc::clone(session)),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// Replaces a broken session, unless another thread did.
    fn reopen(&self, broken: &Session) -> Result<(), StoreError> {
        let mut state = self.inner.state.write().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Failed(error) => return Err(error.clone()),
            State::Open(session) if session.number != broken.number => return Ok(()),
            State::Open(_) => {}
        }
        broken.backend.shut();
        let path = &self.inner.path;
        let fault = broken.backend.fault();
        tracing::warn!(path = %path.display(), ?fault, "reopening the store after an error");
        let again = broken.number > 0 && broken.commits.load(Ordering::Acquire) == 0;
        let outcome = match fault {
            Some(Fault::Write(error)) if again => Err(StoreError::Io(Arc::clone(error))),
            _ => file::reopen(&self.inner.disk, self.inner.config.cache_bytes),
        };
        match outcome {
            Ok((database, backend)) => {
                *state = State::Open(Arc::new(Session::new(database, backend, broken.number + 1)));
                Ok(())
            }
            // The next call tries again.
            Err(StoreError::Full) => Err(StoreError::Full),
            Err(error) => {
                let error = StoreError::Failed { path: path.clone(), reason: error.to_string().into() };
                tracing::error!(%error, "the store stops");
                *state = State::Failed(error.clone());
                self.inner.failure.send_replace(Some(error.clone()));
                Err(error)
            }
        }
    }
}

fn commit(session: &Session, transaction: WriteTransaction, sync: Sync) -> Result<(), StoreError> {
    if let Err(error) = transaction.commit() {
        let error = StoreError::from(error);
        // The library takes no further writes after a failed commit, whatever the reason.
        session.backend.mark(Fault::Damaged(error.to_string().into()));
        return Err(error);
    }
    if sync == Sync::Now {
        session.commits.fetch_add(1, Ordering::AcqRel);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod crash_tests;
#[cfg(test)]
pub(crate) mod test_disk;
#[cfg(test)]
mod tests;
