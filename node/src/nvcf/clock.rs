//! The time that input assets live by: that of the wall clock, but it never goes back, and a wall clock that leaps by
//! months must stand there for an hour before anything is destroyed for it. Pure: readings come in as arguments.

use std::time::Duration;

/// A leap of the wall clock up to this far is believed at once: the node was off, or the machine slept.
const BELIEVED: Duration = Duration::from_secs(31 * 24 * 3600);
/// A longer one must last this long, by the time that the node runs.
const CONFIRMED_AFTER: Duration = Duration::from_secs(3600);

/// What both clocks say at one moment, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// The wall clock: since 1970.
    pub(super) wall: u64,
    /// The monotonic clock: since any fixed moment of this run.
    pub(super) running: u64,
}

/// One moment as assets see it, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Times {
    /// What clients are shown. What is expired by it is hidden, and comes back if the wall clock does.
    pub(super) shown: u64,
    /// What has passed for certain; never goes back. What is expired by it is destroyed.
    pub(super) sure: u64,
}

/// Follows both clocks.
#[derive(Debug)]
pub(super) struct Clock {
    sure: u64,
    read_at: u64,
    /// Since when the wall clock has been implausibly far ahead.
    ahead_since: Option<u64>,
}

impl Clock {
    /// Goes on from what an earlier run had for certain.
    pub(super) fn resume(sure: Option<u64>, now: Reading) -> Self {
        Self { sure: sure.unwrap_or(now.wall), read_at: now.running, ahead_since: None }
    }

    /// Takes note of what the clocks say.
    pub(super) fn observe(&mut self, now: Reading) -> Times {
        self.sure = self.sure.saturating_add(now.running.saturating_sub(self.read_at));
        self.read_at = self.read_at.max(now.running);
        let ahead = now.wall.saturating_sub(self.sure);
        if ahead <= millis(BELIEVED) {
            self.sure += ahead;
            self.ahead_since = None;
        } else {
            let since = *self.ahead_since.get_or_insert(self.read_at);
            if self.read_at - since >= millis(CONFIRMED_AFTER) {
                self.sure = now.wall;
                self.ahead_since = None;
            }
        }
        Times { shown: now.wall.max(self.sure), sure: self.sure }
    }
}

/// A duration in milliseconds.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;

    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;
    const START: u64 = 20_000 * DAY;
    const YEARS: u64 = 3 * 365 * DAY;

    fn at(wall: u64, running: u64) -> Reading {
        Reading { wall, running }
    }

    #[test]
    fn both_times_follow_a_good_clock() {
        let mut clock = Clock::resume(None, at(START, 5));
        for hour in 1..100 {
            let now = START + hour * HOUR;
            assert_eq!(clock.observe(at(now, 5 + hour * HOUR)), Times { shown: now, sure: now });
        }
    }

    #[test]
    fn a_clock_that_goes_back_prolongs_nothing() {
        let mut clock = Clock::resume(None, at(START, 0));
        let times = clock.observe(at(START - YEARS, DAY));
        assert_eq!(times, Times { shown: START + DAY, sure: START + DAY });
    }

    #[test]
    fn a_restart_with_a_clock_that_went_back_goes_on_where_it_was() {
        let mut clock = Clock::resume(Some(START), at(START - YEARS, 0));
        assert_eq!(clock.observe(at(START - YEARS, HOUR)).shown, START + HOUR);
    }

    #[test]
    fn the_time_that_a_node_was_off_counts_at_once() {
        let mut clock = Clock::resume(Some(START), at(START + 2 * DAY, 0));
        assert_eq!(clock.observe(at(START + 2 * DAY, 0)).sure, START + 2 * DAY);
    }

    #[test]
    fn a_leap_of_years_and_back_hides_and_destroys_nothing() {
        let mut clock = Clock::resume(None, at(START, 0));
        let leapt = clock.observe(at(START + YEARS, HOUR / 2));
        assert_eq!(leapt, Times { shown: START + YEARS, sure: START + HOUR / 2 });
        let back = clock.observe(at(START + HOUR, HOUR));
        assert_eq!(back, Times { shown: START + HOUR, sure: START + HOUR });
        // The hour begins anew with the next leap.
        clock.observe(at(START + YEARS, 2 * HOUR));
        assert_eq!(clock.observe(at(START + YEARS, 2 * HOUR + HOUR / 2)).sure, START + 2 * HOUR + HOUR / 2);
    }

    #[test]
    fn a_leap_of_years_that_lasts_is_believed_in_the_end() {
        let mut clock = Clock::resume(Some(START), at(START + YEARS, 0));
        assert_eq!(clock.observe(at(START + YEARS, 0)).sure, START);
        let now = START + YEARS + HOUR;
        assert_eq!(clock.observe(at(now, HOUR)), Times { shown: now, sure: now });
    }

    proptest! {
        #[test]
        fn certain_time_never_goes_back_nor_stands_still(
            steps in proptest::collection::vec((0..4 * YEARS, 0..DAY), 1..50)
        ) {
            let mut clock = Clock::resume(None, at(START, 0));
            let (mut running, mut last) = (0, START);
            for (wall, step) in steps {
                running += step;
                let times = clock.observe(at(START - YEARS + wall, running));
                prop_assert!(times.sure >= last + step && times.shown >= times.sure);
                last = times.sure;
            }
        }
    }
}
