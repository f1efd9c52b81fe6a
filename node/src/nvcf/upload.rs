//! The content of an input asset on its way in. A first upload goes to the blob store; one that repeats what is there
//! is only compared with it. Few are under way at once, together no larger than their account may have, and none outlives
//! its asset, so that whoever has a URL cannot fill the disk with it.

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;

use super::accounts::Shared;
use super::row::{Content, Key, Row};
use super::writer::Change;
use super::{Error, InputAsset, Nvcf, Refusal};
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
}

/// One upload, counted as long as it is held.
#[derive(Debug)]
struct Turn {
    accounts: Shared,
    key: Key,
    place: usize,
    /// Bytes of its account that it holds.
    held: u64,
}

impl Turn {
    fn take(accounts: &Shared, key: Key) -> Result<Self, Error> {
        let place = accounts.with(|accounts| accounts.begin(key))?;
        Ok(Self { accounts: accounts.clone(), key, place, held: 0 })
    }

    /// Holds so many bytes of its account, if they still fit.
    fn hold(&mut self, bytes: u64) -> Result<(), Error> {
        if bytes > self.held {
            self.accounts.with(|accounts| accounts.may_upload(self.key, self.place, bytes))?;
            self.held = bytes;
        }
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.accounts.with(|accounts| accounts.end(self.key, self.place));
    }
}

/// Content on its way in. Dropped before [`Upload::finish`], nothing of it stays.
#[derive(Debug)]
pub struct Upload {
    nvcf: Nvcf,
    row: Row,
    size: u64,
    way: Way,
    turn: Turn,
}

#[derive(Debug)]
enum Way {
    Store(Box<blobs::Upload>),
    Compare(Box<blake3::Hasher>, Content),
}

impl Upload {
    pub(super) fn begin(nvcf: &Nvcf, Slot { key, row }: Slot, length: Option<u64>) -> Result<Self, Error> {
        if length.is_some_and(|length| length > row.bytes_max) {
            return Err(Error::TooLarge(row.bytes_max));
        }
        let mut turn = Turn::take(&nvcf.inner.accounts, key)?;
        let way = match row.content {
            None => {
                turn.hold(length.unwrap_or(0))?;
                Way::Store(Box::new(nvcf.blobs().begin()))
            }
            Some(content) => Way::Compare(Box::default(), content),
        };
        Ok(Self { nvcf: nvcf.clone(), row, size: 0, way, turn })
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They are too many for an asset or for the account, they are not what was uploaded before, the asset's time is over,
    /// or the blob store fails. Only dropping it is left then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        let written = self.take(bytes).await;
        written.map_err(|error| self.nvcf.refused(error))
    }

    async fn take(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        if self.size > self.row.bytes_max {
            return Err(Error::TooLarge(self.row.bytes_max));
        }
        if self.row.is_due(self.nvcf.now()) {
            return Err(Error::Refused(Refusal::TooLate));
        }
        match &mut self.way {
            Way::Store(upload) => {
                self.turn.hold(self.size)?;
                Ok(upload.write(bytes).await?)
            }
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
        let nvcf = self.nvcf.clone();
        self.end().await.map_err(|error| nvcf.refused(error))
    }

    async fn end(self) -> Result<InputAsset, Error> {
        let Self { nvcf, size, way, turn, .. } = self;
        let (content, lease) = match way {
            Way::Store(upload) => {
                let stored = upload.finish().await?;
                (Content { blob: stored.id, size: stored.size }, Some(stored.lease))
            }
            Way::Compare(hasher, _) => (Content { blob: AssetId::from(hasher.finalize()), size }, None),
        };
        let done = nvcf.change(Change::Finish { key: turn.key, content, lease }).await?;
        let row = done.row.ok_or(Error::Stopped)?;
        Ok(row.asset(turn.key.id()))
    }
}
