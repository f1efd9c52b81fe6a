//! One stored asset row: a checksum, a small header, the description. Pure; it never touches the store.

use std::time::Duration;

use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::ids::RecordId;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const CHECKSUM_BYTES: usize = 8;
const HEADER_BYTES: usize = 16 + 8 + 8;

/// What a row says beside the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) record: RecordId,
    pub(super) created: Duration,
    pub(super) updated: Duration,
}

/// A row whose checksum does not fit: its bytes, or the number it lies under, are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DamagedRow;

/// The stored bytes of a row. The checksum covers the row's number too, so that a row that turns up
/// under another key is as damaged as one whose bytes changed.
pub(super) fn encode(number: u64, header: &Header, document: &Document) -> Vec<u8> {
    let document = document.as_bytes();
    let mut bytes = Vec::with_capacity(CHECKSUM_BYTES + HEADER_BYTES + document.len());
    bytes.extend_from_slice(&[0; CHECKSUM_BYTES]);
    bytes.extend_from_slice(header.record.0.as_bytes());
    bytes.extend_from_slice(&millis(header.created).to_le_bytes());
    bytes.extend_from_slice(&millis(header.updated).to_le_bytes());
    bytes.extend_from_slice(document);
    let checksum = xxh3_64_with_seed(&bytes[CHECKSUM_BYTES..], number);
    bytes[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Checks a stored row and gives its header and description, both still in place.
pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<(Header, &[u8]), DamagedRow> {
    let (checksum, rest) = bytes.split_first_chunk::<CHECKSUM_BYTES>().ok_or(DamagedRow)?;
    if xxh3_64_with_seed(rest, number) != u64::from_le_bytes(*checksum) {
        return Err(DamagedRow);
    }
    let (record, rest) = rest.split_first_chunk::<16>().ok_or(DamagedRow)?;
    let (created, rest) = rest.split_first_chunk::<8>().ok_or(DamagedRow)?;
    let (updated, document) = rest.split_first_chunk::<8>().ok_or(DamagedRow)?;
    let header = Header {
        record: RecordId(Uuid::from_bytes(*record)),
        created: Duration::from_millis(u64::from_le_bytes(*created)),
        updated: Duration::from_millis(u64::from_le_bytes(*updated)),
    };
    Ok((header, document))
}

/// A string member of a description; empty if it is absent or no string.
pub(super) fn text<'a>(description: ValueRef<'a>, member: &str) -> &'a str {
    match description {
        ValueRef::Object(object) => object.get(member).and_then(|value| value.as_str()).unwrap_or_default(),
        _ => "",
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Header, Document) {
        let time = Duration::from_millis(1_700_000_000_123);
        let header = Header { record: RecordId(Uuid::from_u128(7)), created: time, updated: time };
        (header, Document::from_json(br#"{"asset_name":"a","n":1}"#).unwrap())
    }

    #[test]
    fn a_row_reads_back() {
        let (header, document) = sample();
        let bytes = encode(5, &header, &document);
        let (read, description) = decode(5, &bytes).unwrap();
        assert_eq!((read, description), (header, document.as_bytes()));
        assert_eq!(text(document.root(), "asset_name"), "a");
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let (header, document) = sample();
        let bytes = encode(5, &header, &document);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(5, &bad), Err(DamagedRow), "bit {bit}");
        }
        assert_eq!(decode(6, &bytes), Err(DamagedRow), "another key");
        for length in 0..bytes.len() {
            assert_eq!(decode(5, &bytes[..length]), Err(DamagedRow), "cut to {length}");
        }
    }
}
