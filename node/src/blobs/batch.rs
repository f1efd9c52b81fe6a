//! One commit in the making: what changes, and who waits for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use assetmesh_protocol::ids::AssetId;
use tokio::sync::OwnedSemaphorePermit;

use super::backend::{BlobNumber, Change, Content, Found};
use super::shared::Ticket;
use super::state::Clearing;
use super::tree::GROUP_BYTES;
use super::{Error, StoredBlob};
use crate::actor::Reply;

/// An answer that waits for the commit.
#[derive(Debug)]
pub(crate) enum Answer {
    Stored { stored: StoredBlob, reply: Reply<Result<StoredBlob, Error>> },
    Held { stored: Option<StoredBlob>, reply: Reply<Result<Option<StoredBlob>, Error>> },
}

/// A blob that was asked to go. The answer waits for the commit even if the blob stays: another removal of
/// it may be part of the same commit.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) id: AssetId,
    /// What goes; nothing if the blob is needed or not there.
    pub(crate) found: Option<Found>,
    pub(crate) reply: Option<Reply<Result<bool, Error>>>,
}

/// One commit in the making.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) chunks: usize,
    pub(crate) bytes: u64,
    /// Whether a blob exists after the changes so far, where that differs from the store.
    pub(crate) exists: HashMap<AssetId, Option<Found>>,
    pub(crate) tickets: Vec<Arc<Ticket>>,
    pub(crate) answers: Vec<Answer>,
    /// Damaged copies that a new one replaces.
    pub(crate) replaced: Vec<Clearing>,
    pub(crate) removals: Vec<Removal>,
    pub(crate) settles: Vec<Reply<()>>,
    /// Of [`Batch::bytes`], those of other nodes' content, and what bounds them.
    pub(crate) kept_bytes: u64,
    pub(crate) permits: Vec<OwnedSemaphorePermit>,
    /// Contents of other nodes of which something changes.
    pub(crate) touched: HashSet<AssetId>,
    /// It writes over damage.
    pub(crate) mends: bool,
    /// Those who asked for something of other nodes' content.
    pub(crate) done: Vec<Reply<Result<(), Error>>>,
}

impl Batch {
    /// Adds chunks and pieces of an outboard.
    pub(crate) fn add_content(
        &mut self,
        number: BlobNumber,
        chunk: Option<(u32, Content)>,
        pieces: Vec<(u32, Vec<u8>)>,
    ) {
        let chunk = chunk.map(|(first_group, bytes)| Change::Chunk { number, first_group, bytes });
        let pieces = pieces.into_iter().map(|(index, bytes)| Change::Piece { number, index, bytes });
        for change in chunk.into_iter().chain(pieces) {
            self.chunks += usize::from(matches!(change, Change::Chunk { .. }));
            self.bytes += change.bytes();
            self.changes.push(change);
        }
    }

    /// Adds a whole chunk that takes the place of what is stored.
    pub(crate) fn add_overwrite(&mut self, number: BlobNumber, first_group: u32, bytes: Vec<u8>) {
        self.chunks += 1;
        self.changes.push(Change::Overwrite { number, first_group, bytes });
    }

    /// What a chunk that is overwritten already holds from a group on. A second copy of it from the store would bring
    /// back what the first has mended.
    pub(crate) fn overwritten(&mut self, number: BlobNumber, group: u32) -> Option<&mut [u8]> {
        self.changes.iter_mut().find_map(|change| match change {
            Change::Overwrite { number: other, first_group, bytes } if *other == number => {
                let at = group.checked_sub(*first_group)? as usize * GROUP_BYTES;
                bytes.get_mut(at..).filter(|rest| !rest.is_empty())
            }
            _ => None,
        })
    }
}

impl Answer {
    /// Gives it.
    pub(crate) fn give(self, outcome: &Result<(), Error>) {
        // Nobody waits any more: the lease goes back when the value is dropped.
        match self {
            Self::Stored { stored, reply } => drop(reply.send(outcome.clone().map(|()| stored))),
            Self::Held { stored, reply } => drop(reply.send(outcome.clone().map(|()| stored))),
        }
    }
}
