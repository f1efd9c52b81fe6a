//! Chance from a seed: spreads waits, so that nodes that lost each other at once do not return at once.

use std::time::Duration;

/// A generator of numbers that nobody has to be unable to guess (`SplitMix64`; Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between three quarters and five quarters of a wait.
    pub(super) fn around(&mut self, wait: Duration) -> Duration {
        let permille = 750 + self.roll() % 501;
        wait * u32::try_from(permille).unwrap_or(1000) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_by_a_quarter_and_depend_on_the_seed_alone() {
        let wait = Duration::from_secs(4);
        let rolls = |seed| {
            let mut dice = Dice::new(seed);
            (0..1000).map(|_| dice.around(wait)).collect::<Vec<_>>()
        };
        let all = rolls(1);
        assert!(all.iter().all(|w| (Duration::from_secs(3)..=Duration::from_secs(5)).contains(w)));
        assert!(all.iter().max().unwrap().as_millis() > 4900 && all.iter().min().unwrap().as_millis() < 3100);
        assert_eq!(all, rolls(1));
        assert_ne!(all, rolls(2));
    }
}
