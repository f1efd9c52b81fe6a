//! The payloads of an envelope and their bytes.

use super::PAYLOAD_BYTES_MAX;
use super::entry::RegistryEntry;
use super::node_record::NodeRecord;
use crate::codec::{self, CodecError};
use crate::document::JsonError;

const NODE: u16 = 1;
const ENTRY: u16 = 2;

/// What an envelope holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// A node about itself.
    Node(NodeRecord),
    /// An entry that a user created.
    Entry(RegistryEntry),
    /// Nothing: the entry is deleted.
    Tombstone,
    /// Something of a later version: kept and handed on, never shown.
    Unknown {
        /// Its kind.
        kind: u16,
        /// Its bytes.
        bytes: Vec<u8>,
    },
}

/// Why a payload is refused.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("the payload has {0} bytes, at most {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
    /// A deleted entry says something.
    #[error("a deleted entry has a payload")]
    DeletedWithPayload,
    /// Bytes that are not a payload of their kind.
    #[error("the payload is malformed: {0}")]
    Malformed(#[from] CodecError),
    /// The metadata of an entry is not JSON.
    #[error("the metadata is not JSON: {0}")]
    Metadata(#[from] JsonError),
}

impl Payload {
    /// Whether this is a tombstone.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        matches!(self, Self::Tombstone)
    }

    /// How many bytes it takes in an envelope.
    ///
    /// # Errors
    /// [`PayloadError::TooLong`].
    pub fn bytes(&self) -> Result<usize, PayloadError> {
        self.encode().map(|(_, bytes)| bytes.len())
    }

    /// Its kind and bytes.
    pub(super) fn encode(&self) -> Result<(u16, Vec<u8>), PayloadError> {
        let (kind, bytes) = match self {
            Self::Node(node) => (NODE, codec::encode(node).ok()),
            Self::Entry(entry) => (ENTRY, entry.encode()),
            Self::Tombstone => (0, Some(Vec::new())),
            Self::Unknown { kind, bytes } => (*kind, Some(bytes.clone())),
        };
        let bytes = bytes.ok_or(PayloadError::TooLong(codec::ENCODED_BYTES_MAX))?;
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLong(bytes.len()));
        }
        Ok((kind, bytes))
    }

    pub(super) fn decode(deleted: bool, kind: u16, bytes: &[u8]) -> Result<Self, PayloadError> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLong(bytes.len()));
        }
        match (deleted, kind) {
            (true, _) if bytes.is_empty() => Ok(Self::Tombstone),
            (true, _) => Err(PayloadError::DeletedWithPayload),
            (false, NODE) => Ok(Self::Node(codec::decode_open(bytes)?)),
            (false, ENTRY) => Ok(Self::Entry(RegistryEntry::decode(bytes)?)),
            (false, kind) => Ok(Self::Unknown { kind, bytes: bytes.to_vec() }),
        }
    }
}
