//! How far a node trusts its own judgement (after Dadgar, Phillips, Currey, "Lifeguard", 2017): one that was stopped,
//! or that hears nearly nobody, is more likely to be at fault than all the others. It judges no peer.

use std::time::Duration;

/// Time between two calls after which a node takes itself for having been stopped. Three ticks.
const STOPPED_AFTER: Duration = Duration::from_millis(1500);
/// How long a node that was stopped judges nobody: what the others sent meanwhile is read first.
const GRACE: Duration = Duration::from_secs(3);
/// How long it takes to read that.
const MAIL: Duration = Duration::from_millis(400);
/// How long its timeouts are doubled when it was stopped, or when most of its peers fell silent at once.
const UNWELL: Duration = Duration::from_secs(10);
/// With fewer links "most of them" says nothing.
const LINKS_MIN: usize = 3;

/// What a node thinks of itself.
#[derive(Debug, Default)]
pub(super) struct Health {
    last_call: Option<Duration>,
    judges_from: Duration,
    unwell_until: Duration,
}

impl Health {
    /// Notes that the node runs. True if it was stopped for a while before.
    pub(super) fn runs(&mut self, now: Duration) -> bool {
        let stopped = self.last_call.is_some_and(|last| now.saturating_sub(last) > STOPPED_AFTER);
        self.last_call = Some(now);
        if stopped {
            self.judges_from = now + GRACE;
            self.unwell_until = now + UNWELL;
        }
        stopped
    }

    /// Notes how many of its links have fallen silent.
    pub(super) fn hears(&mut self, now: Duration, links: usize, silent: usize) {
        if links >= LINKS_MIN && silent * 2 > links {
            self.unwell_until = now + UNWELL;
        }
    }

    /// Since when silence counts.
    pub(super) const fn judges_from(&self) -> Duration {
        self.judges_from
    }

    /// True while the node judges nobody.
    pub(super) fn is_suspended(&self, now: Duration) -> bool {
        now < self.judges_from
    }

    /// True if it has run for long enough since it was last stopped to have read what came meanwhile.
    pub(super) fn has_read_its_mail(&self, now: Duration) -> bool {
        now + GRACE >= self.judges_from + MAIL
    }

    /// What timeouts are multiplied by.
    pub(super) fn factor(&self, now: Duration) -> u32 {
        if now < self.unwell_until { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_node_that_was_stopped_judges_nobody_for_a_while_and_then_slowly() {
        let mut health = Health::default();
        assert!(!health.runs(s(100)));
        assert!(!health.runs(s(101)));
        assert!(!health.is_suspended(s(101)) && health.factor(s(101)) == 1);
        assert!(health.runs(s(110)));
        assert!(health.is_suspended(s(112)) && !health.is_suspended(s(113)));
        assert!(!health.has_read_its_mail(s(110)) && health.has_read_its_mail(s(111)));
        assert_eq!((health.factor(s(113)), health.factor(s(120))), (2, 1));
        assert_eq!(health.judges_from(), s(113));
    }

    #[test]
    fn a_node_that_hears_nearly_nobody_doubles_its_timeouts() {
        for (links, silent, factor) in [(4, 2, 1), (4, 3, 2), (2, 2, 1), (8, 5, 2), (0, 0, 1)] {
            let mut health = Health::default();
            health.hears(s(1), links, silent);
            assert_eq!(health.factor(s(2)), factor, "{silent} of {links}");
            assert!(!health.is_suspended(s(2)));
        }
    }
}
