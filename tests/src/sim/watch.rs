//! What is measured while a world runs: how soon joins and crashes are seen, and what must not happen.

use std::collections::{BTreeMap, BTreeSet};

/// A join must be seen by all within this, where times are promised.
pub(super) const JOIN_MS_MAX: u64 = 5_000;
/// A crash must be seen by all within this, where times are promised.
pub(super) const CRASH_MS_MAX: u64 = 30_000;

/// What a node waits for others to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Join,
    Crash,
}

#[derive(Debug)]
struct Awaited {
    event: Event,
    since_ms: u64,
    waiting: BTreeSet<usize>,
}

/// The measures of one world, or of many.
#[derive(Debug, Default)]
pub(super) struct Measures {
    /// Milliseconds until a join or return was seen, one for each observer.
    pub(super) joins: Vec<u32>,
    pub(super) crashes: Vec<u32>,
    /// Milliseconds from the last fault until all nodes agreed, one for each world.
    pub(super) agreed: Vec<u32>,
    pub(super) false_deaths: u64,
    /// Nodes that were called down while they were stopped, or cut off.
    pub(super) excused_deaths: u64,
    /// Nodes that were called suspect while they ran.
    pub(super) suspicions: u64,
    pub(super) refutations: u64,
    pub(super) messages: u64,
    pub(super) acknowledged: u64,
    pub(super) node_ms: u64,
    /// What was broken, and how often.
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) violations: Vec<String>,
}

impl Measures {
    pub(super) fn add(&mut self, other: Self) {
        self.joins.extend(other.joins);
        self.crashes.extend(other.crashes);
        self.agreed.extend(other.agreed);
        self.false_deaths += other.false_deaths;
        self.excused_deaths += other.excused_deaths;
        self.suspicions += other.suspicions;
        self.refutations += other.refutations;
        self.messages += other.messages;
        self.acknowledged += other.acknowledged;
        self.node_ms += other.node_ms;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.violations.extend(other.violations);
    }

    pub(super) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }
}

/// The `percent`-th of some times in seconds, for people.
pub(super) fn percentile(times_ms: &mut [u32], percent: usize) -> String {
    times_ms.sort_unstable();
    let at = (times_ms.len() * percent / 100).min(times_ms.len().saturating_sub(1));
    times_ms.get(at).map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", f64::from(*ms) / 1000.0))
}

/// Who still has to see what.
#[derive(Debug, Default)]
pub(super) struct Watch {
    awaited: BTreeMap<usize, Awaited>,
}

impl Watch {
    /// From now on these are to see it. Replaces what was awaited of the same node.
    pub(super) fn expect(&mut self, target: usize, event: Event, now_ms: u64, waiting: BTreeSet<usize>) {
        self.awaited.insert(target, Awaited { event, since_ms: now_ms, waiting });
    }

    /// A node that ended sees nothing.
    pub(super) fn ended(&mut self, observer: usize) {
        for awaited in self.awaited.values_mut() {
            awaited.waiting.remove(&observer);
        }
    }

    /// A node has seen it. Returns the event and how long that took, the first time.
    pub(super) fn seen(&mut self, observer: usize, target: usize, event: Event, now_ms: u64) -> Option<u32> {
        let awaited = self.awaited.get_mut(&target).filter(|awaited| awaited.event == event)?;
        let first = awaited.waiting.remove(&observer);
        first.then(|| u32::try_from(now_ms - awaited.since_ms).unwrap_or(u32::MAX))
    }

    /// Who has not seen it yet.
    pub(super) fn late(&self, target: usize, event: Event, since_ms: u64) -> Option<&BTreeSet<usize>> {
        let awaited = self.awaited.get(&target)?;
        ((awaited.event, awaited.since_ms) == (event, since_ms)).then_some(&awaited.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_timed_once() {
        let mut watch = Watch::default();
        watch.expect(3, Event::Crash, 1000, [1, 2].into());
        assert_eq!(watch.seen(1, 3, Event::Join, 1500), None);
        assert_eq!(watch.seen(1, 3, Event::Crash, 1500), Some(500));
        assert_eq!(watch.seen(1, 3, Event::Crash, 1600), None);
        assert_eq!(watch.late(3, Event::Crash, 1000), Some(&[2].into()));
        watch.ended(2);
        assert_eq!(watch.late(3, Event::Crash, 1000), Some(&BTreeSet::new()));
        watch.expect(3, Event::Join, 2000, [1].into());
        assert_eq!(watch.late(3, Event::Crash, 1000), None);
    }

    #[test]
    fn percentiles_are_those_of_the_times() {
        let mut times: Vec<u32> = (1..=100).rev().map(|tenths| tenths * 100).collect();
        assert_eq!((percentile(&mut times, 50), percentile(&mut times, 100)), ("5.1".into(), "10.0".into()));
        assert_eq!(percentile(&mut [], 50), "-");
    }
}
