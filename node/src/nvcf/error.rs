//! Why something was not done with an input asset.

use std::fmt;

use assetmesh_protocol::ids::NodeKey;
use uuid::Uuid;

use super::row::Key;
use crate::storage::StoreError;
use crate::{blobs, fetch};

/// Nodes that an error names; of more it tells the number.
const NAMED_MAX: usize = 4;

/// Why something was not done with an input asset.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The account has no such asset, or no longer.
    #[error("Asset '{0}' does not exist for this account")]
    NotFound(Uuid),
    /// No node that answered has it, and some did not say.
    #[error("Asset '{id}' was not found for this account; {silence}")]
    Unanswered {
        /// The asset.
        id: Uuid,
        /// Who did not say.
        silence: Silence,
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

/// Nodes whose word is trusted, and that did not say whether they have an asset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Silence {
    /// They gave no answer in time.
    pub silent: Vec<NodeKey>,
    /// They do not trust this node.
    pub distrusting: Vec<NodeKey>,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.silent.is_empty() {
            write!(f, "no answer came from {}", Named(&self.silent))?;
        }
        if !self.silent.is_empty() && !self.distrusting.is_empty() {
            f.write_str("; ")?;
        }
        if !self.distrusting.is_empty() {
            let distrusting = Named(&self.distrusting);
            write!(
                f,
                "not trusted, and so not told anything, by {distrusting}: add this node to trusted_issuers there"
            )?;
        }
        Ok(())
    }
}

/// Some nodes by their ids, and how many more there are.
struct Named<'a>(&'a [NodeKey]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "node " } else { "nodes " })?;
        let (named, rest) = self.0.split_at(self.0.len().min(NAMED_MAX));
        for (at, node) in named.iter().enumerate() {
            let before = if at == 0 { "" } else { ", " };
            write!(f, "{before}{}", node.assets_db_id())?;
        }
        if rest.is_empty() { Ok(()) } else { write!(f, " and {} more", rest.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_did_not_say_is_named_with_the_reason() {
        let node = |byte| NodeKey([byte; 32]);
        let id = |byte| node(byte).assets_db_id();
        let told = |silent: &[u8], distrusting: &[u8]| {
            let all = |bytes: &[u8]| bytes.iter().map(|byte| node(*byte)).collect();
            Silence { silent: all(silent), distrusting: all(distrusting) }.to_string()
        };
        assert_eq!(told(&[1], &[]), format!("no answer came from node {}", id(1)));
        let both = told(&[1, 2], &[3]);
        assert!(both.contains(&format!("nodes {}, {}; not trusted", id(1), id(2))), "{both}");
        assert!(both.contains(&format!("by node {}: add this node to trusted_issuers", id(3))), "{both}");
        assert!(told(&[1, 2, 3, 4, 5, 6], &[]).ends_with(&format!("{} and 2 more", id(4))));
    }
}
