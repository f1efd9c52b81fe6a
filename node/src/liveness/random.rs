//! Seeded choices of the pure state: whom to tell, which nonce. The same seed makes the same choices.

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub(super) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Keeps `count` of the items, chosen evenly. Their order is not kept.
    pub(super) fn choose<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        for at in 0..count.min(items.len()) {
            let left = (items.len() - at) as u64;
            let other = at + usize::try_from(self.number() % left).expect("below a length");
            items.swap(at, other);
        }
        items.truncate(count);
        items
    }
}

/// The finaliser of `SplitMix64`: every bit of the number changes about half of the result's.
pub(super) const fn mix(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chosen_items_are_different_ones_and_every_item_is_chosen_at_times() {
        let mut random = Random::seeded(1);
        let mut seen = [0; 6];
        for _ in 0..300 {
            let mut chosen = random.choose((0..6).collect(), 2);
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), 2);
            chosen.into_iter().for_each(|at: usize| seen[at] += 1);
        }
        assert!(seen.iter().all(|&times| (60..140).contains(&times)), "{seen:?}");
        assert_eq!(random.choose(vec![1], 5), [1]);
    }
}
