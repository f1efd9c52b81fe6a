//! How long a transfer may wait for the disk: what is kept must not make a client slow. Pure.

use std::time::{Duration, Instant};

/// Always granted, because a first wait comes before there is anything to measure it by.
const AT_FIRST: Duration = Duration::from_millis(100);
/// One part in so many of the time may be spent waiting: a transfer keeps more than 0.8 of its speed.
const SHARE: u32 = 6;

/// What one transfer has waited for the disk.
#[derive(Debug)]
pub(super) struct Allowance {
    begun: Instant,
    waited: Duration,
}

impl Allowance {
    pub(super) const fn new(now: Instant) -> Self {
        Self { begun: now, waited: Duration::ZERO }
    }

    /// How long it may wait now.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let share = now.saturating_duration_since(self.begun) / SHARE;
        (AT_FIRST + share).saturating_sub(self.waited)
    }

    /// Counts a wait.
    pub(super) fn spend(&mut self, waited: Duration) {
        self.waited += waited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_ever_too_slow_takes_a_sixth_of_the_time() {
        let begun = Instant::now();
        let (mut now, mut allowance, mut waited) = (begun, Allowance::new(begun), Duration::ZERO);
        while now < begun + Duration::from_secs(60) {
            let left = allowance.left(now);
            allowance.spend(left);
            waited += left;
            now += left + Duration::from_millis(10);
        }
        let share = waited.as_secs_f64() / (now - begun).as_secs_f64();
        assert!((0.15..0.18).contains(&share), "{share}");
        assert!(allowance.left(now) < Duration::from_millis(20));
    }

    #[test]
    fn a_short_wait_is_granted_at_once() {
        let now = Instant::now();
        assert_eq!(Allowance::new(now).left(now), AT_FIRST);
    }
}
