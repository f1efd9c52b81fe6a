//! When something is dialled again: after a wait that doubles from failure to failure, up to a bound.

use std::time::{Duration, Instant};

use super::dice::Dice;
use crate::swarm::limits::REDIAL_FIRST;

/// The dials of one peer or one bootstrap address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retry {
    failures: u32,
    due: Instant,
    dialling: bool,
}

impl Retry {
    /// Due at some time, for the first time.
    pub(super) const fn at(due: Instant) -> Self {
        Self { failures: 0, due, dialling: false }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.dialling && self.due <= now
    }

    pub(super) const fn is_dialling(&self) -> bool {
        self.dialling
    }

    /// Failed dials in a row.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn begin(&mut self) {
        self.dialling = true;
    }

    /// The dial failed: the next is due after a wait of at most about `wait_max`.
    pub(super) fn failed(&mut self, now: Instant, wait_max: Duration, dice: &mut Dice) {
        self.dialling = false;
        // Beyond 2^10 every bound is reached.
        let doubled = REDIAL_FIRST * 2u32.pow(self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        self.postpone(now + dice.around(doubled.min(wait_max)));
    }

    /// The dial got through. Whether it was of any use is not known yet, so failures are not forgotten.
    pub(super) fn landed(&mut self) {
        self.dialling = false;
    }

    /// Not before this time.
    pub(super) fn postpone(&mut self, until: Instant) {
        self.due = self.due.max(until);
    }

    /// Failures are forgotten: it was of use, or there is news. Due at this time.
    pub(super) fn renew(&mut self, due: Instant) {
        self.failures = 0;
        self.due = due;
    }

    /// The dial that was under way is lost.
    pub(super) fn abandon(&mut self, due: Instant) {
        self.dialling = false;
        self.due = due;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_bound_and_begin_anew_after_renewal() {
        let mut now = Instant::now();
        let mut dice = Dice::new(7);
        let mut retry = Retry::at(now);
        let bound = Duration::from_secs(10);
        let mut waits = Vec::new();
        for _ in 0..40 {
            assert!(retry.is_due(now));
            retry.begin();
            assert!(!retry.is_due(now));
            retry.failed(now, bound, &mut dice);
            waits.push(retry.due - now);
            now = retry.due;
        }
        for (wait, about) in waits.iter().zip([500, 1000, 2000, 4000, 8000, 10_000, 10_000]) {
            let about = Duration::from_millis(about);
            assert!(*wait >= about * 3 / 4 && *wait <= about * 5 / 4, "{wait:?} is not about {about:?}");
        }
        assert!(waits.iter().all(|wait| *wait <= bound * 5 / 4));
        assert_eq!(retry.failures(), 40);
        retry.renew(now);
        retry.begin();
        retry.landed();
        retry.failed(now, bound, &mut dice);
        assert!(retry.due - now < Duration::from_secs(1));
    }
}
