//! The one rule for what this node gives out as content, to clients and to peers: what a record of its catalog names,
//! and what it keeps of other nodes. Blobs that nothing but an account refers to are neither: they go to peers that may speak
//! for accounts, and no further.

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::AssetId;

use super::Error;
use crate::blobs::{Blob, Blobs, Cached};
use crate::catalog::Catalog;

/// Content that may be given out.
#[derive(Debug, Clone)]
pub enum Held {
    /// A record names it.
    Own(Blob, FileFacts),
    /// Kept of another node, in whole or in part.
    Cached(Cached),
}

impl Held {
    /// Looks it up.
    pub(super) fn find(blobs: &Blobs, catalog: &Catalog, id: &AssetId) -> Result<Option<Self>, Error> {
        if let Some(facts) = catalog.object(id)?
            && let Some(blob) = blobs.open(id)?
        {
            return Ok(Some(Self::Own(blob, facts)));
        }
        Ok(blobs.cached(id).map(Self::Cached))
    }

    /// Looks up what no public record need name, for a peer that may have it all the same.
    pub(super) fn private(blobs: &Blobs, id: &AssetId) -> Result<Option<Self>, Error> {
        Ok(blobs.open(id)?.map(|blob| Self::Own(blob, FileFacts::default())))
    }

    /// The content; of what is cached, only parts may be there.
    #[must_use]
    pub const fn blob(&self) -> &Blob {
        match self {
            Self::Own(blob, _) => blob,
            Self::Cached(cached) => cached.blob(),
        }
    }

    /// Name and type of the file.
    #[must_use]
    pub fn facts(&self) -> &FileFacts {
        match self {
            Self::Own(_, facts) => facts,
            Self::Cached(cached) => cached.facts(),
        }
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Own(..) => true,
            Self::Cached(cached) => cached.is_whole(),
        }
    }
}
