//! `assetmesh verify`: reads the stores of a stopped node and lists what is damaged. It changes nothing.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use assetmesh_protocol::ids::AssetId;

use crate::blobs::{self, BlobFinding, BlobSummary};
use crate::catalog::{self, CatalogFinding, CatalogSummary};
use crate::storage::{self, Store, StoreConfig};

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub enum Finding {
    /// A page of a store file does not fit its checksum.
    Pages {
        /// The file.
        file: &'static str,
        /// What was found.
        reason: String,
    },
    /// In the catalog.
    Catalog(CatalogFinding),
    /// In the blob store.
    Blob(BlobFinding),
    /// A record names content that is not there.
    ContentMissing(AssetId),
    /// Content that no record names. Not damage: the next sweep of the running node removes it.
    Orphan(AssetId),
}

impl Finding {
    /// Whether something is lost or wrong, and not only left over.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        !matches!(self, Self::Orphan(_))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pages { file, reason } => write!(f, "{file}: {reason}"),
            Self::Catalog(finding) => finding.fmt(f),
            Self::Blob(finding) => finding.fmt(f),
            Self::ContentMissing(id) => write!(f, "blobs: {id} is missing, and a record names it"),
            Self::Orphan(id) => write!(f, "blobs: {id} is named by no record (the next sweep removes it)"),
        }
    }
}
