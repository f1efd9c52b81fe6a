//! One flipped bit can be found again: of all pages that differ from a damaged one in a single bit, only
//! the right one fits its checksum (any other with a chance of 2^-64). It only computes.

/// Flips bits of `data` one at a time until it `fits`. Leaves it as it was if no single bit helps.
pub(super) fn one_bit(data: &mut [u8], fits: impl Fn(&[u8]) -> bool) -> bool {
    for at in 0..data.len() {
        for bit in 0..8 {
            data[at] ^= 1 << bit;
            if fits(data) {
                return true;
            }
            data[at] ^= 1 << bit;
        }
    }
    false
}

/// Whether two checksums differ as one flipped bit of one of them makes them differ.
pub(super) const fn one_bit_apart(a: u64, b: u64) -> bool {
    (a ^ b).count_ones() == 1
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;

    #[test]
    fn any_one_bit_is_found_and_two_are_not() {
        let page: Vec<u8> = (0..512u32).map(|at| (at * 7) as u8).collect();
        let sum = xxh3_64(&page);
        for bit in [0, 1, 8, 2047, 4095] {
            let mut damaged = page.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(one_bit(&mut damaged, |data| xxh3_64(data) == sum), "bit {bit}");
            assert_eq!(damaged, page);
        }
        let mut damaged = page;
        damaged[3] ^= 0b101;
        let before = damaged.clone();
        assert!(!one_bit(&mut damaged, |data| xxh3_64(data) == sum));
        assert_eq!(damaged, before);
    }

    #[test]
    fn a_damaged_checksum_is_told_from_a_damaged_page() {
        assert!(one_bit_apart(0b1000, 0b1010));
        assert!(!one_bit_apart(5, 5));
        assert!(!one_bit_apart(0b11, 0));
    }
}
