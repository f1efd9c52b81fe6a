//! The page cursor of registry queries: where the last page ended, signed for the federation and bound to one filter
//! and order. It holds no state on the node, and any node takes it.

use assetmesh_protocol::codec;

use super::query::Place;

/// Longest sort key that a cursor can carry, in bytes: the cursor travels in a request line.
pub(super) const SORT_KEY_BYTES_MAX: usize = 2048;

/// Signs and checks cursors.
#[derive(Clone)]
pub(super) struct Cursors {
    secret: [u8; 32],
}

impl Cursors {
    pub(super) const fn new(secret: [u8; 32]) -> Self {
        Self { secret }
    }

    /// Names the question a cursor belongs to.
    pub(super) fn question(filter: &str, sort: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("assetmesh 2026 registry cursor question");
        hasher.update(&(filter.len() as u64).to_le_bytes());
        hasher.update(filter.as_bytes()).update(sort.as_bytes());
        hasher.finalize().into()
    }

    /// The text of a cursor. `None` when the sort key is too long to travel.
    pub(super) fn seal(&self, question: [u8; 32], place: &Place) -> Option<String> {
        if place.key.len() > SORT_KEY_BYTES_MAX {
            return None;
        }
        let body = codec::encode(&(question, &place.key, place.created_ms, &place.id)).ok()?;
        let mac = blake3::keyed_hash(&self.secret, &body);
        let hex = body.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        Some(format!("{}{hex}", mac.to_hex()))
    }

    /// The place in a cursor; `None` for a text that no node signed for this question.
    pub(super) fn open(&self, question: [u8; 32], text: &str) -> Option<Place> {
        if !text.is_ascii() || text.len() > 4 * SORT_KEY_BYTES_MAX {
            return None;
        }
        let (mac, body) = text.split_at_checked(2 * blake3::OUT_LEN)?;
        let mac = blake3::Hash::from_hex(mac).ok()?;
        let pairs = body.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
        let body: Option<Vec<u8>> = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
        let body = body?;
        // `blake3::Hash` compares in constant time.
        if blake3::keyed_hash(&self.secret, &body) != mac {
            return None;
        }
        let (asked, key, created_ms, id): ([u8; 32], _, _, _) = codec::decode(&body).ok()?;
        (asked == question).then_some(Place { key, created_ms, id })
    }
}

impl std::fmt::Debug for Cursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cursors")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { key: b"key".to_vec(), created_ms: 7, id: "own-1".to_owned() }
    }

    #[test]
    fn a_cursor_reads_back_for_its_own_question() {
        let cursors = Cursors::new([1; 32]);
        let question = Cursors::question("{}", "a");
        let text = cursors.seal(question, &place()).unwrap();
        assert_eq!(cursors.open(question, &text), Some(place()));
        assert_eq!(cursors.open(Cursors::question("{}", "b"), &text), None);
        assert_eq!(Cursors::new([2; 32]).open(question, &text), None);
        let long = Place { key: vec![0; SORT_KEY_BYTES_MAX + 1], ..place() };
        assert_eq!(cursors.seal(question, &long), None);
    }

    #[test]
    fn no_changed_cursor_is_accepted() {
        let cursors = Cursors::new([1; 32]);
        let question = Cursors::question("{}", "");
        let text = cursors.seal(question, &place()).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(cursors.open(question, std::str::from_utf8(&bytes).unwrap()), None, "at {at}");
        }
        for bad in ["", "0", "zz", "é", &text[..70], &format!("{text}0")] {
            assert_eq!(cursors.open(question, bad), None, "{bad}");
        }
    }
}
