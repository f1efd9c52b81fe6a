//! Why something was not done with an input asset.

use assetmesh_protocol::ids::NodeKey;
use uuid::Uuid;

use super::row::Key;
use crate::storage::StoreError;
use crate::{blobs, fetch};

/// Why something was not done with an input asset.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The account has no such asset, or no longer.
    #[error("Asset '{0}' does not exist for this account")]
    NotFound(Uuid),
    /// No node that answered has it, and some did not answer.
    #[error("Asset '{id}' was not found for this account, and {} node(s) that may hold it did not answer", silent.len())]
    Unanswered {
        /// The asset.
        id: Uuid,
        /// Who did not answer.
        silent: Vec<NodeKey>,
    },
    /// Not a media type.
    #[error("contentType must match ^\\w+/[-+.\\w]+$ and have at most 255 characters")]
    ContentType,
    /// Not a description that a header can carry.
    #[error("description must have at most 1024 bytes and no control characters")]
    Description,
    /// The account has created too many assets without uploading them.
    #[error(
        "{0} assets of this account wait for their upload already: upload or delete some, or wait until their URLs expire"
    )]
    TooManyWaiting(u64),
    /// The content is too large.
    #[error("the content is larger than {0} bytes")]
    TooLarge(u64),
    /// The account has too many assets.
    #[error("this account has {0} input assets already: delete some, or wait until some have expired")]
    TooManyAssets(u64),
    /// The account has too many bytes.
    #[error(
        "the input assets of this account may have {0} bytes together: delete some, or wait until some have expired"
    )]
    TooManyBytes(u64),
    /// The upload URL gives no right, or no longer.
    #[error("{0}")]
    Refused(Refusal),
    /// The asset has other content already.
    #[error("the asset has been uploaded already, with other content")]
    OtherContent,
    /// The disk is full. Nothing was changed.
    #[error("no space left on the disk")]
    Full,
    /// Too much is waiting already. Nothing was changed.
    #[error("too much is waiting already")]
    Busy,
    /// A row is damaged. It is not served.
    #[error("the input assets are damaged: {0}")]
    Damaged(String),
    /// The store gave an error. Whether a change is there is not known.
    #[error("the input assets cannot be reached: {0}")]
    Failed(String),
    /// The blob store could not do its part.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The content did not come from the node that has it.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// The node is stopping.
    #[error("input assets have stopped")]
    Stopped,
}

impl Error {
    /// An error in the middle of a change: what was done of it must not be kept.
    pub(super) fn torn(self) -> Self {
        match self {
            Self::Damaged(what) => Self::Failed(what),
            other => other,
        }
    }

    /// The word for what was wrong with an upload, in metrics.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::Signature) => "signature",
            Self::Refused(Refusal::Expired | Refusal::TooLate) => "expired",
            Self::Refused(Refusal::Gone) => "gone",
            Self::OtherContent => "other_content",
            Self::TooLarge(_) => "too_large",
            Self::TooManyBytes(_) => "quota",
            Self::Busy | Self::Blobs(blobs::Error::Busy) => "busy",
            Self::Full | Self::Blobs(blobs::Error::Full) => "disk_full",
            _ => "failed",
        }
    }

    /// Whether the store itself failed, so that nothing of the same transaction may be kept.
    pub(super) const fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Full | Self::Failed(_) | Self::Busy)
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

/// The row of a key is not as it was written.
pub(super) fn damaged(key: &Key) -> Error {
    Error::Damaged(format!("the row of asset {}", key.id()))
}

/// Why an upload URL gives no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is forged or altered, or of another node.
    #[error("the signature does not match")]
    Signature,
    /// Its time is over.
    #[error("the upload URL has expired")]
    Expired,
    /// The upload began in time, and was not done when the asset's own time was over.
    #[error("the upload took too long: the asset has expired")]
    TooLate,
    /// The asset was deleted, or has expired.
    #[error("the asset is gone")]
    Gone,
}
