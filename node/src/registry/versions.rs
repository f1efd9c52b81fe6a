//! The owner's hybrid logical clock: versions that only grow, whatever the wall clock does. Pure.

use assetmesh_protocol::registry::Version;

/// Gives out versions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Versions {
    last: Version,
}

impl Versions {
    /// The next version. If the clock went back by more than `drift_ms`, a new epoch begins: else every later
    /// version would be a count without relation to time.
    pub(super) fn next(&mut self, now_ms: u64, drift_ms: u64) -> Version {
        let Version { epoch, seq } = self.last;
        let went_back = seq > now_ms.saturating_add(drift_ms);
        self.last = match seq.checked_add(1) {
            Some(after) if !went_back => Version { epoch, seq: after.max(now_ms) },
            _ => Version { epoch: epoch.saturating_add(1), seq: now_ms },
        };
        self.last
    }

    /// Goes on above a version that was once given out, even if this node has forgotten it.
    pub(super) fn observe(&mut self, version: Version) {
        self.last = self.last.max(version);
    }

    /// The largest version so far.
    pub(super) const fn last(&self) -> Version {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRIFT: u64 = 600_000;

    #[test]
    fn versions_follow_the_clock_and_never_repeat() {
        let mut versions = Versions::default();
        assert_eq!(versions.next(1000, DRIFT), Version { epoch: 0, seq: 1000 });
        assert_eq!(versions.next(1000, DRIFT), Version { epoch: 0, seq: 1001 });
        assert_eq!(versions.next(990, DRIFT), Version { epoch: 0, seq: 1002 });
        assert_eq!(versions.next(5000, DRIFT), Version { epoch: 0, seq: 5000 });
    }

    #[test]
    fn a_clock_that_went_far_back_begins_an_epoch() {
        let mut versions = Versions::default();
        let before = versions.next(10 * DRIFT, DRIFT);
        let after = versions.next(8 * DRIFT, DRIFT);
        assert_eq!(after, Version { epoch: 1, seq: 8 * DRIFT });
        assert!(after > before);
    }

    #[test]
    fn a_forgotten_version_is_never_given_out_again() {
        let mut versions = Versions::default();
        versions.observe(Version { epoch: 3, seq: 700 });
        versions.observe(Version { epoch: 2, seq: 900 });
        assert_eq!(versions.next(100, DRIFT), Version { epoch: 3, seq: 701 });
        versions.observe(Version { epoch: 3, seq: u64::MAX });
        assert_eq!(versions.next(100, DRIFT), Version { epoch: 4, seq: 100 });
    }
}
