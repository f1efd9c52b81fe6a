//! The page cursor: where the last page ended, signed for the federation and bound to one filter and order.
//! It holds no state on the node, and any node takes it.

use assetmesh_protocol::codec;
use assetmesh_protocol::ids::{AssetsDbId, RecordId};
use bytes::Bytes;
use uuid::Uuid;

/// Longest sort key that a cursor can carry, in bytes: the cursor travels in a request line.
pub(super) const SORT_KEY_BYTES_MAX: usize = 2048;

const MAC_BYTES: usize = 16;

/// Signs and checks cursors.
#[derive(Clone)]
pub(super) struct Cursors {
    secret: [u8; 32],
}

/// The place of a row in an answer of the whole federation, and so where a page ended. Places of one question are
/// ordered by their members, in turn; no two rows have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Sort key of the row; empty without a sort.
    pub key: Bytes,
    /// The row.
    pub record: RecordId,
    /// The node that holds it.
    pub owner: AssetsDbId,
}

impl Cursors {
    pub(super) const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// Names the question a cursor belongs to.
    pub(super) fn question(filter: &str, sort: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("assetmesh 2026 cursor question");
        hasher.update(&(filter.len() as u64).to_le_bytes());
        hasher.update(filter.as_bytes()).update(sort.as_bytes());
        first_16(hasher.finalize().as_bytes())
    }

    /// The text of a cursor. `None` when the sort key is too long to travel.
    pub(super) fn seal(&self, question: [u8; 16], position: &Position) -> Option<String> {
        if position.key.len() > SORT_KEY_BYTES_MAX {
            return None;
        }
        let (record, owner) = (position.record.0.into_bytes(), position.owner.0.into_bytes());
        let body = codec::encode(&(question, record, owner, position.key.to_vec())).ok()?;
        let mac = first_16(blake3::keyed_hash(&self.secret, &body).as_bytes());
        Some(hex(&mac) + &hex(&body))
    }

    /// The position in a cursor; `None` for a text that no node signed for this question.
    pub(super) fn open(&self, question: [u8; 16], text: &str) -> Option<Position> {
        let bytes = unhex(text)?;
        let (mac, body) = bytes.split_first_chunk::<MAC_BYTES>()?;
        // `blake3::Hash` compares in constant time; the unsent half of the tag is filled in from our own.
        let expected = blake3::keyed_hash(&self.secret, body);
        let mut given = *expected.as_bytes();
        given[..MAC_BYTES].copy_from_slice(mac);
        if blake3::Hash::from_bytes(given) != expected {
            return None;
        }
        let (asked, record, owner, key): ([u8; 16], [u8; 16], [u8; 16], Vec<u8>) =
            codec::decode(body).ok()?;
        let (record, owner) = (RecordId(Uuid::from_bytes(record)), AssetsDbId(Uuid::from_bytes(owner)));
        (asked == question).then(|| Position { key: key.into(), record, owner })
    }
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursors")
    }
}

fn first_16(hash: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash[..16]);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() > 4 * SORT_KEY_BYTES_MAX {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        let (record, owner) = (RecordId(Uuid::from_u128(9)), AssetsDbId(Uuid::from_u128(3)));
        Position { key: Bytes::from_static(b"key"), record, owner }
    }

    #[test]
    fn a_cursor_reads_back_for_its_own_question() {
        let cursors = Cursors::new([1; 32]);
        let question = Cursors::question("{}", "a");
        let text = cursors.seal(question, &position()).unwrap();
        assert_eq!(cursors.open(question, &text), Some(position()));
        assert_eq!(cursors.open(Cursors::question("{}", "b"), &text), None);
        assert_eq!(Cursors::new([2; 32]).open(question, &text), None);
    }

    #[test]
    fn no_changed_cursor_is_accepted() {
        let cursors = Cursors::new([1; 32]);
        let question = Cursors::question("{}", "");
        let text = cursors.seal(question, &position()).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(cursors.open(question, std::str::from_utf8(&bytes).unwrap()), None, "at {at}");
        }
        for bad in ["", "0", "zz", "é", &text[..40], &format!("{text}00")] {
            assert_eq!(cursors.open(question, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_sort_key_too_long_to_travel_has_no_cursor() {
        let cursors = Cursors::new([1; 32]);
        let long = Position { key: vec![0; SORT_KEY_BYTES_MAX + 1].into(), ..position() };
        assert_eq!(cursors.seal([0; 16], &long), None);
    }
}
