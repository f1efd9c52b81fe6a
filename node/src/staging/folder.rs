//! The folders on disk. Every name is a uuid, every file is made anew and never through a link, and the lock on a folder
//! says that its process lives.

use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{Content, Error, OpenError};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PRIVATE_FOLDER: Mode = Mode::from_raw_mode(0o700);
/// Containers of other users must find their way through it, and only its owner may add to it.
const ROOT_FOLDER: Mode = Mode::from_raw_mode(0o755);
const OPEN_FOLDER: Mode = Mode::from_raw_mode(0o777);
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);
const OPEN_FILE: Mode = Mode::from_raw_mode(0o644);
/// A container that still writes can make a removal fail; it loses its connection before, so it soon ends.
const REMOVALS: usize = 5;

/// The folder of the folders.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source: io::Error| OpenError::Io { path: path.to_owned(), source };
        let absolute = std::path::absolute(path).map_err(failed)?;
        let is_new = fs::symlink_metadata(&absolute).is_err();
        if is_new {
            fs::create_dir_all(&absolute).map_err(failed)?;
        }
        let folder = rustix::fs::open(&absolute, FOLDER, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => OpenError::NotAFolder(path.to_owned()),
            other => failed(other.into()),
        })?;
        if is_new {
            rustix::fs::fchmod(&folder, ROOT_FOLDER).map_err(|error| failed(error.into()))?;
        }
        let root = Self { path: absolute, folder };
        let trial = root.make(Uuid::new_v4()).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => failed(source),
            _ => OpenError::NoLocks { path: path.to_owned(), source },
        })?;
        trial.remove().map_err(failed)?;
        Ok(root)
    }

    /// Makes a folder that only this process may enter, and locks it.
    pub(super) fn make(&self, id: Uuid) -> io::Result<Folder> {
        let name = id.to_string();
        // A sweep waits while a folder is there that is not locked yet.
        let _turn = self.turn(FlockOperation::LockShared)?;
        rustix::fs::mkdirat(&self.folder, &name, PRIVATE_FOLDER)?;
        match self.lock(&name) {
            Ok(Some(folder)) => Ok(Folder::new(self.path.join(name), folder)),
            failed => {
                // Where locks do not work, nothing is left.
                let _ = rustix::fs::unlinkat(&self.folder, &name, AtFlags::REMOVEDIR);
                failed.and_then(|_| Err(io::ErrorKind::ResourceBusy.into()))
            }
        }
    }

    /// A lock on the root itself, of its own for each who asks.
    fn turn(&self, operation: FlockOperation) -> io::Result<OwnedFd> {
        let root = rustix::fs::openat(&self.folder, ".", FOLDER, Mode::empty())?;
        rustix::fs::flock(&root, operation)?;
        Ok(root)
    }

    /// The folder of that name, locked; `None` if a live process holds it or it is gone.
    fn lock(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        let folder = match rustix::fs::openat(&self.folder, name, FOLDER, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(folder)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder of that name, if its process is gone.
    fn left_behind(&self, name: &str) -> io::Result<Option<OwnedFd>> {
        let _turn = self.turn(FlockOperation::LockExclusive)?;
        self.lock(name)
    }

    /// Removes the folders of processes that are gone. What is not named like an invocation stays.
    pub(super) fn sweep(&self) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(invocation) else { continue };
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let path = entry.path();
            match self.left_behind(&id.to_string()) {
                Ok(Some(folder)) => match Folder::new(path.clone(), folder).remove() {
                    Ok(()) => removed += 1,
                    Err(error) => warn_of_rest(&path, &error),
                },
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, folder = %path.display(), "a staged folder cannot be opened");
                }
            }
        }
        Ok(removed)
    }
}

/// A folder's name, exactly as it is given to invocations.
fn invocation(name: &str) -> Option<Uuid> {
    Uuid::try_parse(name).ok().filter(|id| id.to_string() == name)
}

/// The folder of one invocation. Whoever holds it holds its lock.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    folder: OwnedFd,
    is_removed: bool,
}

impl Folder {
    fn new(path: PathBuf, folder: OwnedFd) -> Self {
        Self { path, folder, is_removed: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file of an asset.
    pub(super) fn file(&self, content: Content) -> Result<StagedFile, Error> {
        let name = content.asset.to_string();
        let file = rustix::fs::openat(&self.folder, name, NEW_FILE, PRIVATE_FILE).map_err(io::Error::from)?;
        Ok(StagedFile { content, file: File::from(file), hasher: blake3::Hasher::new(), left: content.size })
    }

    /// Lets everybody in.
    pub(super) fn publish(&self) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.folder, OPEN_FOLDER)?)
    }

    /// Removes it with all that is in it. Links are removed, not followed. What may not be removed keeps nothing else.
    pub(super) fn remove(mut self) -> io::Result<()> {
        self.is_removed = true;
        self.remove_now()
    }

    fn remove_now(&self) -> io::Result<()> {
        // What stays is for nobody to read. If another user left the folder there, only that user may close it.
        let _ = rustix::fs::fchmod(&self.folder, PRIVATE_FOLDER);
        let mut outcome = Ok(());
        for _ in 0..REMOVALS {
            outcome = self.empty().and_then(|()| fs::remove_dir(&self.path));
            match &outcome {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                _ => break,
            }
        }
        unless_gone(outcome)
    }

    /// Removes each entry that may be removed. The first error counts.
    fn empty(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) => return unless_gone(Err(error)),
        };
        let mut outcome = Ok(());
        for entry in entries {
            outcome = outcome.and(remove_entry(entry));
        }
        outcome
    }
}

fn remove_entry(entry: io::Result<DirEntry>) -> io::Result<()> {
    let entry = entry?;
    let path = entry.path();
    unless_gone(if entry.file_type()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })
}

fn unless_gone(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Tells the operator of a folder that could not be removed.
pub(super) fn warn_of_rest(path: &Path, error: &io::Error) {
    let folder = path.display();
    if error.kind() == io::ErrorKind::PermissionDenied {
        tracing::warn!(
            %error, %folder,
            "a staged folder stays, closed to others: what a container made there belongs to another user; \
             remove it by hand, or run this as a user who may"
        );
    } else {
        tracing::warn!(%error, %folder, "a staged folder stays, closed to others, until the next start");
    }
}

impl Drop for Folder {
    /// For one whose invocation was given up while it was being made.
    fn drop(&mut self) {
        if !self.is_removed
            && let Err(error) = self.remove_now()
        {
            warn_of_rest(&self.path, &error);
        }
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct StagedFile {
    content: Content,
    file: File,
    hasher: blake3::Hasher,
    left: u64,
}

impl StagedFile {
    /// Writes all that comes, never more than its size, and checks it. Blocking.
    pub(super) fn write_all(mut self, mut pieces: mpsc::Receiver<Bytes>) -> Result<(), Error> {
        while let Some(piece) = pieces.blocking_recv() {
            let damaged = Error::Damaged(self.content.asset);
            self.left = self.left.checked_sub(piece.len() as u64).ok_or(damaged)?;
            self.hasher.update(&piece);
            self.file.write_all(&piece)?;
        }
        self.finish()
    }

    /// Checks the whole, and lets everybody read it.
    fn finish(self) -> Result<(), Error> {
        let is_whole = self.left == 0 && AssetId::from(self.hasher.finalize()) == self.content.hash;
        if !is_whole {
            return Err(Error::Damaged(self.content.asset));
        }
        rustix::fs::fchmod(&self.file, OPEN_FILE).map_err(io::Error::from)?;
        Ok(())
    }
}
