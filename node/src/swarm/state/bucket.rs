//! A token bucket: how often something may happen. Pure: the caller brings the time.

use std::time::Instant;

use crate::swarm::limits::Rate;

/// What something may still do at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) const fn full(now: Instant, rate: Rate) -> Self {
        Self { tokens: rate.burst, filled: now }
    }

    /// Takes what something costs, if it is there.
    pub(super) fn take(&mut self, now: Instant, rate: Rate, cost: f64) -> bool {
        self.tokens = self.tokens_at(now, rate);
        self.filled = now;
        let enough = self.tokens >= cost;
        if enough {
            self.tokens -= cost;
        }
        enough
    }

    /// Whether it is as if it had never been used.
    pub(super) fn is_full(&self, now: Instant, rate: Rate) -> bool {
        self.tokens_at(now, rate) >= rate.burst
    }

    fn tokens_at(&self, now: Instant, rate: Rate) -> f64 {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        (self.tokens + since * rate.per_second).min(rate.burst)
    }
}
