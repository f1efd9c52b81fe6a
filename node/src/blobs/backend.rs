//! What a blob store needs of the place where bytes lie. Only the writer thread calls what changes it.

use std::fmt::Debug;
use std::ops::Deref;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;

use super::buffer::Buffer;
use super::cache::Entry;
use super::{Error, Stats, tree};

/// Bytes of a full chunk: 63 groups. Just below 1 MiB, because the database rounds a value and its key up to
/// a power of two.
pub(crate) const CHUNK_BYTES: usize = 63 * tree::GROUP_BYTES;
/// Content up to this size is one small value: it is one group and needs no outboard.
pub(crate) const SMALL_BYTES_MAX: usize = tree::GROUP_BYTES;
/// Nodes in one piece of an outboard: just below 16 KiB, for the same reason as [`CHUNK_BYTES`].
pub(crate) const PIECE_NODES: usize = 255;

/// Names the chunks of one upload. Never used twice while anything of it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BlobNumber(pub(crate) u64);

/// Where the content of a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// One value under its id.
    Small,
    /// Chunks and an outboard under a number.
    Large(BlobNumber),
    /// One chunk of one group under a number: small content of another node, kept.
    Single(BlobNumber),
}

/// A stored blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Where it is.
    pub(crate) place: Place,
}

/// The bytes of a chunk on their way.
#[derive(Debug)]
pub(crate) enum Content {
    /// Whole groups, and at the end of a blob what is left.
    Buffer(Buffer),
    /// Less than a group at the end of a blob, or what came from a peer.
    Tail(Vec<u8>),
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Tail(bytes) => bytes,
        }
    }
}

/// One step of a commit.
#[derive(Debug)]
pub(crate) enum Change {
    /// An upload begins: its number is marked as unfinished.
    Begin { number: BlobNumber },
    /// A chunk of an upload, named by its first group.
    Chunk { number: BlobNumber, first_group: u32, bytes: Content },
    /// A piece of the outboard of an upload.
    Piece { number: BlobNumber, index: u32, bytes: Vec<u8> },
    /// All of an upload is there: the blob begins to exist.
    Finish { number: BlobNumber, id: AssetId, size: u64 },
    /// A small blob.
    Small { id: AssetId, bytes: Bytes },
    /// The blob ceases to exist; chunks stay behind an unfinished mark until [`Backend::clear`].
    Forget { id: AssetId },
    /// Nodes of an outboard that has `total` of them, by their places; what was there of others stays.
    Nodes { number: BlobNumber, total: u64, nodes: Vec<tree::Node> },
    /// A chunk that takes the place of one of the same length.
    Overwrite { number: BlobNumber, first_group: u32, bytes: Vec<u8> },
    /// The row of content that is kept of another node.
    Keep { id: AssetId, entry: Box<Entry> },
    /// Nothing of the content is kept any more; chunks stay behind an unfinished mark.
    Drop { id: AssetId, number: BlobNumber },
}

/// The piece that holds a node, and where.
pub(crate) fn place_of_node(node: u64) -> Option<(u32, usize)> {
    let piece = u32::try_from(node / PIECE_NODES as u64).ok()?;
    Some((piece, (node % PIECE_NODES as u64) as usize * tree::NODE_BYTES))
}

/// The length of a piece of an outboard of `total` nodes.
pub(crate) fn piece_bytes(piece: u32, total: u64) -> usize {
    let before = u64::from(piece) * PIECE_NODES as u64;
    total.saturating_sub(before).min(PIECE_NODES as u64) as usize * tree::NODE_BYTES
}

impl Change {
    /// About how many bytes it adds.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Chunk { bytes, .. } => bytes.len() as u64,
            Self::Piece { bytes, .. } => bytes.len() as u64,
            Self::Small { bytes, .. } => bytes.len() as u64,
            Self::Overwrite { bytes, .. } => bytes.len() as u64,
            Self::Nodes { nodes, .. } => (nodes.len() * tree::NODE_BYTES) as u64,
            Self::Begin { .. }
            | Self::Finish { .. }
            | Self::Forget { .. }
            | Self::Keep { .. }
            | Self::Drop { .. } => 0,
        }
    }
}

/// A store of blobs: changes come from one thread, reads from any.
pub(crate) trait Backend: Debug + Send + Sync + 'static {
    /// Commits all changes or none. If `durable`, they and all earlier ones are on the medium then;
    /// else they may be lost with the session.
    ///
    /// # Errors
    /// [`Error::Busy`] if `session` is over, else what went wrong; nothing was changed.
    fn apply(&self, session: u64, changes: &[Change], durable: bool) -> Result<(), Error>;
    /// Removes up to `limit` chunks of an unfinished number, then its mark. True when none is left.
    fn clear(&self, number: BlobNumber, limit: usize) -> Result<bool, Error>;
    /// The number of the session: another one means that what was not durable is lost.
    fn session(&self) -> Result<u64, Error>;
    /// Refuses if there is no room for `bytes` of content.
    fn room(&self, bytes: u64) -> Result<(), Error>;

    /// Finds a blob.
    fn find(&self, id: &AssetId) -> Result<Option<Found>, Error>;
    /// The content of a small blob.
    fn small(&self, id: &AssetId) -> Result<Option<Bytes>, Error>;
    /// The last chunk that begins at or before a group, with its first group.
    fn chunk(&self, number: BlobNumber, group: u32) -> Result<Option<(u32, Bytes)>, Error>;
    /// One piece of an outboard.
    fn piece(&self, number: BlobNumber, index: u32) -> Result<Option<Bytes>, Error>;
    /// The totals that are kept with each commit.
    fn stats(&self) -> Result<Stats, Error>;
    /// Blobs in order of id, after `after`, at most `limit`.
    fn list(&self, after: Option<&AssetId>, limit: usize) -> Result<Vec<(AssetId, Found)>, Error>;
    /// Numbers that have chunks but no blob, by their marks.
    fn unfinished(&self) -> Result<Vec<BlobNumber>, Error>;
    /// The first number at or after `from` under which anything is stored.
    fn next_used(&self, from: BlobNumber) -> Result<Option<BlobNumber>, Error>;
    /// What is kept of other nodes' content.
    fn cached(&self) -> Result<Vec<(AssetId, Entry)>, Error>;
    /// The lowest number above all that are used.
    fn free_number(&self) -> Result<BlobNumber, Error>;
}
