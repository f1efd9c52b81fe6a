//! Leaves of tables whose owner proves each value by a hash of its own. One that does not match its checksum is used all
//! the same if its structure is whole: what is damaged in it is found by the owner and can be written over, and the
//! values beside it cost nothing. All other pages are used only as they were written.

use std::cell::Cell;
use std::cmp::Ordering;

/// What the library writes at the start of a leaf.
const LEAF: u8 = 1;
/// The kind of the page and the number of its rows.
const HEAD_BYTES: usize = 4;
/// The end of one value.
const END_BYTES: usize = 4;

thread_local! {
    static SHAPE: Cell<Option<Shape>> = const { Cell::new(None) };
}

/// How the leaves of a table look: keys of one length, values of any.
#[derive(Debug, Clone, Copy)]
struct Shape {
    key_bytes: usize,
    compare: fn(&[u8], &[u8]) -> Ordering,
}

/// Runs `work`, which touches only a table with keys `K` and values of any length that prove themselves.
pub(crate) fn self_proving<K: redb::Key + 'static, T>(work: impl FnOnce() -> T) -> T {
    let shape = K::fixed_width().map(|key_bytes| Shape { key_bytes, compare: K::compare });
    // A reader that meets something else is unwound through here.
    let _before = Restore(SHAPE.replace(shape));
    work()
}

struct Restore(Option<Shape>);

impl Drop for Restore {
    fn drop(&mut self) {
        SHAPE.set(self.0);
    }
}

/// Whether a page that does not match its checksum may be used by what runs on this thread.
pub(super) fn is_usable(page: &[u8]) -> bool {
    SHAPE.get().is_some_and(|shape| shape.fits(page))
}

impl Shape {
    /// Every key and every value lies within the page, in order.
    fn fits(self, page: &[u8]) -> bool {
        let [LEAF, _, low, high, ..] = *page else { return false };
        let rows = usize::from(u16::from_le_bytes([low, high]));
        let keys_start = HEAD_BYTES + rows * END_BYTES;
        let values_start = keys_start + rows * self.key_bytes;
        let (Some(ends), Some(keys)) = (page.get(HEAD_BYTES..keys_start), page.get(keys_start..values_start))
        else {
            return false;
        };
        let mut at = values_start;
        let in_order = ends.chunks_exact(END_BYTES).all(|end| {
            let end = end.iter().rev().fold(0, |end, byte| end << 8 | usize::from(*byte));
            let is_behind = end >= at;
            at = end;
            is_behind
        });
        let mut keys = keys.chunks_exact(self.key_bytes);
        let first = keys.next();
        let ascend = keys.try_fold(first, |before, key| {
            let ascends = before.is_some_and(|before| (self.compare)(before, key).is_lt());
            ascends.then_some(Some(key))
        });
        rows > 0 && in_order && at <= page.len() && ascend.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 3;
    const KEYS: usize = HEAD_BYTES + ROWS * END_BYTES;
    const VALUES: usize = KEYS + ROWS * 8;

    /// Three rows of keys of eight bytes.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 4096];
        (page[0], page[2]) = (LEAF, ROWS as u8);
        for row in 0..ROWS {
            let end = (VALUES + 1000 * (row + 1)) as u32;
            page[HEAD_BYTES + row * END_BYTES..][..END_BYTES].copy_from_slice(&end.to_le_bytes());
            page[KEYS + row * 8..][..8].copy_from_slice(&(row as u64 * 300).to_le_bytes());
        }
        page
    }

    fn usable(harm: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut page = leaf();
        harm(&mut page);
        self_proving::<u64, _>(|| is_usable(&page))
    }

    #[test]
    fn a_leaf_is_usable_as_long_as_its_structure_is_whole() {
        assert!(usable(|_| ()));
        assert!(usable(|page| page[VALUES..].fill(0xff)), "values prove themselves");
        assert!(!usable(|page| page[0] = 2), "a branch");
        assert!(!usable(|page| page[2] = 0), "no rows");
        assert!(!usable(|page| page[3] = 0xff), "more rows than fit");
        assert!(!usable(|page| page[HEAD_BYTES + 5] = 0), "a value that ends before it begins");
        assert!(!usable(|page| page[HEAD_BYTES + 2 * END_BYTES + 2] = 1), "a value behind the page");
        assert!(!usable(|page| page[KEYS + 1] = 9), "keys out of order");
        assert!(!usable(|page| page.copy_within(KEYS + 8..KEYS + 16, KEYS)), "a key twice");
        assert!(!usable(|page| page.truncate(3)), "no page");
    }

    #[test]
    fn only_what_says_so_may_use_one() {
        let page = leaf();
        assert!(!is_usable(&page));
        assert!(!self_proving::<&str, _>(|| is_usable(&page)), "keys of any length");
        let unwound =
            std::panic::catch_unwind(|| self_proving::<u64, ()>(|| std::panic::resume_unwind(Box::new(()))));
        assert!(unwound.is_err() && !is_usable(&page));
        self_proving::<u64, _>(|| {
            self_proving::<&[u8; 32], _>(|| assert!(!is_usable(&page)));
            assert!(is_usable(&page));
        });
    }
}
