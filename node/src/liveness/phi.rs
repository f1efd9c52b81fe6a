//! How long a silence may last: a phi-accrual failure detector over the times between answered pings.
//! It keeps a mean and a deviation, not the samples, so that a node can watch many others. It has no clock.
//! Source: Hayashibara, Défago, Yared, Katayama, "The φ accrual failure detector" (2004).

use std::time::Duration;

/// Weight of a new sample: an average over about 30 pings, so that one late answer changes little.
const WEIGHT: f32 = 1.0 / 32.0;
/// A longer time between two answers counts as this: a peer that stalls now and then must not earn the right to
/// be silent for long.
const SAMPLE_S_MAX: f32 = 2.0;
/// No network is more regular than this.
const DEVIATION_S_MIN: f32 = 0.3;
/// What is believed of a peer that has just been met: an answer a second.
const MEAN_S: f32 = 1.0;

/// The times between the answers of one peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrivals {
    mean: f32,
    variance: f32,
    count: u32,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { mean: MEAN_S, variance: DEVIATION_S_MIN * DEVIATION_S_MIN, count: 0 }
    }
}

impl Arrivals {
    /// Learns one time between two answers.
    pub(super) fn learn(&mut self, between: Duration) {
        let off = between.as_secs_f32().min(SAMPLE_S_MAX) - self.mean;
        self.mean += WEIGHT * off;
        self.variance = (1.0 - WEIGHT) * (self.variance + WEIGHT * off * off);
        self.count = self.count.saturating_add(1);
    }

    /// How many times it has learnt.
    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    /// How surprising this silence is: 8 means that one in 10⁸ answers comes later. `pause` is forgiven on top.
    pub(super) fn phi(&self, silence: Duration, pause: Duration) -> f32 {
        let deviation = self.variance.sqrt().max(DEVIATION_S_MIN);
        let late = (silence.as_secs_f32() - self.mean - pause.as_secs_f32()) / deviation;
        // The upper tail of the normal distribution by a logistic curve (Bowling et al. 2009, error below 0.0002).
        let exponent = late * (1.5976 + 0.070_566 * late * late);
        if exponent > 0.0 {
            // log10(1 + e^x) without overflow.
            (exponent + (-exponent).exp().ln_1p()) / std::f32::consts::LN_10
        } else {
            exponent.exp().ln_1p() / std::f32::consts::LN_10
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(2);

    fn after(pings: &[u64]) -> Arrivals {
        let mut arrivals = Arrivals::default();
        for &ms in pings {
            arrivals.learn(Duration::from_millis(ms));
        }
        arrivals
    }

    /// The first silence, in tenths of a second, that is as surprising as 8.
    fn limit(arrivals: &Arrivals, pause: Duration) -> u64 {
        (0..1000).find(|&tenths| arrivals.phi(Duration::from_millis(tenths * 100), pause) > 8.0).unwrap()
    }

    #[test]
    fn phi_rises_with_silence_and_stays_a_number() {
        let arrivals = after(&[1000; 50]);
        let mut last = -1.0;
        for ms in (0..100_000).step_by(100) {
            let phi = arrivals.phi(Duration::from_millis(ms), PAUSE);
            assert!(phi.is_finite() && phi >= last, "{ms} ms: {phi} after {last}");
            last = phi;
        }
    }

    #[test]
    fn a_regular_peer_is_doubted_after_five_seconds_and_after_three_without_its_link() {
        let arrivals = after(&[1000; 100]);
        assert!((40..52).contains(&limit(&arrivals, PAUSE)), "{}", limit(&arrivals, PAUSE));
        assert!((20..32).contains(&limit(&arrivals, Duration::ZERO)));
    }

    #[test]
    fn an_irregular_peer_is_given_more_time_but_never_more_than_eight_seconds() {
        let regular = limit(&after(&[1000; 100]), PAUSE);
        let lossy = limit(&after(&[1000, 1000, 1000, 2000].repeat(25)), PAUSE);
        let stalling = limit(&after(&[500, 9000, 700, 6000].repeat(25)), PAUSE);
        assert!(regular < lossy && lossy < stalling, "{regular} {lossy} {stalling}");
        assert!(stalling <= 80, "{stalling}");
    }
}
