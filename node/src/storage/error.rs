//! What can go wrong with a store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::backend::Fault;

/// Why a file was not opened. It has not been touched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system said no.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file or its folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A second process, or a second store in this one.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file is no database, or not a whole one.
    #[error("{} is damaged or not a database: {reason}; it was left untouched", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file holds something else.
    #[error("{} holds \"{found}\", not \"{wanted}\"; it was left untouched", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it says it holds.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// The file was written by another version.
    #[error("{} has format {found}, this version knows only format {known}; it was left untouched", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The one that can be read.
        known: u32,
    },
}

/// Why a read or write of an open store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No room on the device, or too little to take more than deletes.
    #[error("the disk is full")]
    Full,
    /// Stored pages do not make sense.
    #[error("the database is damaged: {0}")]
    Damaged(Arc<str>),
    /// The file was reopened after an error, under this snapshot: ask again.
    #[error("the store was reopened after an error")]
    Interrupted,
    /// The operating system said no; the store works on.
    #[error("input or output failed: {0}")]
    Io(Arc<io::Error>),
    /// The store has given up: a second error followed right on the first.
    #[error("the store {} has failed and must be restarted: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// The last error.
        reason: Arc<str>,
    },
}

impl From<&Fault> for StoreError {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::Full => Self::Full,
            Fault::Write(error) | Fault::Read(error) => Self::Io(Arc::clone(error)),
            Fault::Damaged(reason) => Self::Damaged(Arc::clone(reason)),
        }
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> Self {
        use redb::StorageError as E;
        match error {
            E::PreviousIo | E::DatabaseClosed => Self::Interrupted,
            E::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            E::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => Self::Full,
            E::Io(error) => Self::Io(Arc::new(error)),
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Damaged(other.to_string().into()),
        }
    }
}

impl From<redb::SetDurabilityError> for StoreError {
    fn from(error: redb::SetDurabilityError) -> Self {
        Self::Damaged(error.to_string().into())
    }
}
