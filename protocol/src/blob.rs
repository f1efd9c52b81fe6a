//! How content crosses between nodes: what is asked of a provider, and what stands before the content in its answer.
//! The content itself, and the tree that proves it, are put on the stream by the node.

use crate::asset::FileFacts;
use crate::codec::{self, CodecError, Decode, Encode};
use crate::ids::AssetId;
use crate::limits;

/// Longest [`BlobAsk`], in bytes.
pub const BLOB_ASK_BYTES_MAX: usize = 128;

/// Longest [`BlobHead`], in bytes: two file facts and what holds them.
pub const BLOB_HEAD_BYTES_MAX: usize = 2 * limits::FILE_FACT_BYTES_MAX + 64;

/// A question about one blob: all bytes that the asking side sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BlobAsk {
    hash: [u8; 32],
    /// What is wanted of it.
    pub want: BlobWant,
}

/// What is wanted of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum BlobWant {
    /// Whether it is there: its head, and its last group, which proves its size.
    Head,
    /// The bytes from `start` up to `end`: whole groups, but for the end of the blob.
    Range {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
    /// As [`BlobWant::Range`], of content that no public record need name: given only to a peer that may speak for
    /// the accounts of the asked node.
    Private {
        /// The first byte.
        start: u64,
        /// The byte after the last.
        end: u64,
    },
}

impl BlobAsk {
    /// Asks for something of the blob with this id.
    #[must_use]
    pub const fn new(id: &AssetId, want: BlobWant) -> Self {
        Self { hash: *id.as_bytes(), want }
    }

    /// Of which blob.
    #[must_use]
    pub const fn id(&self) -> AssetId {
        AssetId::from_bytes(self.hash)
    }

    /// Encodes it.
    ///
    /// # Errors
    /// When it is too long, which no value is.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self).map_err(|_| CodecError::TooLong(codec::ENCODED_BYTES_MAX))
    }

    /// Decodes it.
    ///
    /// # Errors
    /// When the bytes are too many, or not one whole value.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        match bytes.len() {
            0..=BLOB_ASK_BYTES_MAX => codec::decode(bytes),
            more => Err(CodecError::TooLong(more)),
        }
    }
}

/// The first byte of every answer. An end of the stream in its place means [`BlobStatus::Busy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobStatus {
    /// What was asked for follows.
    Here,
    /// Try again later; nothing follows.
    Busy,
    /// The question cannot be answered; nothing follows.
    Refused,
    /// The blob is not here; nothing follows.
    Absent,
}

impl BlobStatus {
    /// The byte for it.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Here => 0,
            Self::Busy => 1,
            Self::Refused => 2,
            Self::Absent => 3,
        }
    }

    /// The status that a byte stands for.
    #[must_use]
    pub const fn of(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Here),
            1 => Some(Self::Busy),
            2 => Some(Self::Refused),
            3 => Some(Self::Absent),
            _ => None,
        }
    }
}

/// What a provider says of a blob before it proves its size. The file facts cannot be proven: they are a label.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct BlobHead {
    /// Its size in bytes.
    pub size: u64,
    file_name: String,
    file_type: String,
}

impl BlobHead {
    /// Describes a blob. Facts that are longer than any client may give are left out.
    #[must_use]
    pub fn new(size: u64, facts: &FileFacts) -> Self {
        let short = |text: &str| match text.len() {
            0..=limits::FILE_FACT_BYTES_MAX => text.to_owned(),
            _ => String::new(),
        };
        Self { size, file_name: short(&facts.file_name), file_type: short(&facts.file_type) }
    }

    /// Name and type of the file, as the provider has them.
    #[must_use]
    pub fn facts(&self) -> FileFacts {
        FileFacts { file_name: self.file_name.clone(), file_type: self.file_type.clone() }
    }

    /// Encodes it, behind its length: two bytes, little endian.
    ///
    /// # Errors
    /// When it is too long, which no value is.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        let too_long = |bytes| CodecError::TooLong(bytes);
        let frame = codec::encode(self).map_err(|_| too_long(codec::ENCODED_BYTES_MAX))?;
        let length = u16::try_from(frame.len()).map_err(|_| too_long(frame.len()))?;
        Ok([&length.to_le_bytes()[..], &frame].concat())
    }

    /// Decodes what follows the length.
    ///
    /// # Errors
    /// When the bytes are too many, or not one whole value, or a fact is too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > BLOB_HEAD_BYTES_MAX {
            return Err(CodecError::TooLong(bytes.len()));
        }
        let head: Self = codec::decode(bytes)?;
        match head.file_name.len().max(head.file_type.len()) {
            0..=limits::FILE_FACT_BYTES_MAX => Ok(head),
            more => Err(CodecError::TooLong(more)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> BlobHead {
        BlobHead::new(513, &FileFacts { file_name: "a.b".to_owned(), file_type: "x/y".to_owned() })
    }

    #[test]
    fn the_bytes_of_questions_and_heads_never_change() {
        let id = AssetId::from_bytes([7; 32]);
        let mut golden = vec![1];
        golden.extend_from_slice(&[7; 32]);
        golden.extend_from_slice(&[0, 0, 0, 0]);
        assert_eq!(BlobAsk::new(&id, BlobWant::Head).encode().unwrap(), golden);
        golden[33] = 1;
        golden.extend_from_slice(&[1, 2, 0, 0, 0, 0, 0, 0]);
        golden.extend_from_slice(&[3, 4, 0, 0, 0, 0, 0, 0]);
        let range = BlobWant::Range { start: 0x201, end: 0x403 };
        assert_eq!(BlobAsk::new(&id, range).encode().unwrap(), golden);
        golden[33] = 2;
        let private = BlobWant::Private { start: 0x201, end: 0x403 };
        assert_eq!(BlobAsk::new(&id, private).encode().unwrap(), golden);
        let mut golden = vec![31, 0, 1, 1, 2, 0, 0, 0, 0, 0, 0];
        golden.extend_from_slice(b"\x03\0\0\0\0\0\0\0a.b\x03\0\0\0\0\0\0\0x/y");
        assert_eq!(head().encode().unwrap(), golden);
        assert_eq!([0, 1, 2, 3].map(|byte| BlobStatus::of(byte).unwrap().byte()), [0, 1, 2, 3]);
        assert_eq!(BlobStatus::of(4), None);
    }

    #[test]
    fn what_was_encoded_reads_back_whole_or_not_at_all() {
        let id = AssetId::of(b"x");
        for want in [BlobWant::Head, BlobWant::Range { start: 0, end: u64::MAX }] {
            let ask = BlobAsk::new(&id, want);
            let bytes = ask.encode().unwrap();
            assert_eq!(BlobAsk::decode(&bytes).unwrap(), ask);
            assert_eq!(ask.id(), id);
            assert!((0..bytes.len()).all(|cut| BlobAsk::decode(&bytes[..cut]).is_err()));
            assert!(BlobAsk::decode(&[&bytes[..], &[0; 200]].concat()).is_err());
        }
        let bytes = head().encode().unwrap();
        assert_eq!(BlobHead::decode(&bytes[2..]).unwrap(), head());
        assert!((2..bytes.len()).all(|cut| BlobHead::decode(&bytes[2..cut]).is_err()));
    }

    #[test]
    fn facts_have_their_bound_on_both_sides() {
        let fits = "n".repeat(limits::FILE_FACT_BYTES_MAX);
        let facts = FileFacts { file_name: fits.clone(), file_type: fits.clone() };
        let bytes = BlobHead::new(1, &facts).encode().unwrap();
        assert!(bytes.len() - 2 <= BLOB_HEAD_BYTES_MAX);
        assert_eq!(BlobHead::decode(&bytes[2..]).unwrap().facts(), facts);
        let longer = format!("{fits}n");
        let facts = FileFacts { file_name: longer.clone(), file_type: String::new() };
        assert_eq!(BlobHead::new(1, &facts).facts(), FileFacts::default());
        let head = BlobHead { size: 1, file_name: longer, file_type: String::new() };
        assert!(BlobHead::decode(&head.encode().unwrap()[2..]).is_err());
    }
}
