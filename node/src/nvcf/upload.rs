//! The content of an input asset on its way in. A first upload goes to the blob store; one that repeats what is there
//! is only compared with it, so that whoever has a URL cannot fill the disk with it.

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;

use super::row::{Content, Key, Row};
use super::writer::Change;
use super::{Error, InputAsset, Nvcf};
use crate::blobs;

/// What a ticket gives the right to.
#[derive(Debug)]
pub struct Slot {
    pub(super) key: Key,
    pub(super) row: Row,
}

impl Slot {
    /// The media type that the upload must declare.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.row.content_type
    }

    /// The description that it must repeat.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.row.description
    }

    /// The most bytes that it may have.
    #[must_use]
    pub const fn bytes_max(&self) -> u64 {
        self.row.bytes_max
    }
}

/// Content on its way in. Dropped before [`Upload::finish`], nothing of it stays.
#[derive(Debug)]
pub struct Upload {
    nvcf: Nvcf,
    key: Key,
    size: u64,
    bytes_max: u64,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Store(Box<blobs::Upload>),
    Compare(Box<blake3::Hasher>, Content),
}

impl Upload {
    pub(super) fn begin(nvcf: Nvcf, slot: Slot) -> Self {
        let way = match slot.row.content {
            None => Way::Store(Box::new(nvcf.blobs().begin())),
            Some(content) => Way::Compare(Box::default(), content),
        };
        Self { nvcf, key: slot.key, size: 0, bytes_max: slot.row.bytes_max, way }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are too many, they are not what was uploaded before, or the blob store fails. Only dropping it is left then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        if self.size > self.bytes_max {
            return Err(Error::TooLarge(self.bytes_max));
        }
        match &mut self.way {
            Way::Store(upload) => Ok(upload.write(bytes).await?),
            Way::Compare(_, content) if self.size > content.size => Err(Error::OtherContent),
            Way::Compare(hasher, _) => {
                hasher.update(&bytes);
                Ok(())
            }
        }
    }

    /// Ends it. When this returns, content and asset are on the medium.
    ///
    /// # Errors
    /// The asset is gone, or has other content meanwhile, or a store fails. Nothing of it stays then.
    pub async fn finish(self) -> Result<InputAsset, Error> {
        let (content, lease) = match self.way {
            Way::Store(upload) => {
                let stored = upload.finish().await?;
                (Content { blob: stored.id, size: stored.size }, Some(stored.lease))
            }
            Way::Compare(hasher, _) => {
                (Content { blob: AssetId::from(hasher.finalize()), size: self.size }, None)
            }
        };
        let done = self.nvcf.change(Change::Finish { key: self.key, content, lease }).await?;
        let row = done.row.ok_or(Error::Stopped)?;
        Ok(row.asset(self.key.id()))
    }
}
