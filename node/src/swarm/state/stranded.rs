//! Tells when a node is alone because nobody answers at its bootstrap addresses: a wrong address should not look like a
//! federation of one.

use std::time::Instant;

use super::State;
use crate::swarm::limits::STRANDED_EVERY;

impl State {
    /// The bootstrap addresses, when none of them answers and no peer is linked; now and then.
    pub(in crate::swarm) fn stranded(&mut self, now: Instant) -> Option<Vec<String>> {
        let others: Vec<_> = self.bootstrap.iter().filter(|bootstrap| !bootstrap.own).collect();
        let is_alone = self.connected.linked().next().is_none();
        let all_failed = others.iter().all(|bootstrap| bootstrap.retry.failures() > 0);
        let is_soon = self.stranded.is_some_and(|told| now.saturating_duration_since(told) < STRANDED_EVERY);
        if others.is_empty() || !is_alone || !all_failed || is_soon {
            return None;
        }
        let addresses = others.iter().map(|bootstrap| bootstrap.address.at.to_string()).collect();
        self.stranded = Some(now);
        Some(addresses)
    }
}
