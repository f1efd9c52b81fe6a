//! Whom one reader of private content asks next, and when: the providers in their order, but for those that must rest
//! first. Pure.

use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;

use super::ask::Fault;
use super::state::busy_pause;

/// How often one provider may be lost between two groups before it is given up for others.
const LOST_TIMES_MAX: u32 = 3;
/// The same of the last one that is left: 6 s, as long as a link may take to be made anew.
const LAST_LOST_TIMES_MAX: u32 = 7;
/// The first wait after a provider was lost; it doubles.
const LOST_PAUSE: Duration = Duration::from_millis(100);

/// The providers that are not given up.
#[derive(Debug)]
pub(super) struct Turns(Vec<Provider>);

#[derive(Debug)]
struct Provider {
    key: NodeKey,
    rests_until: Instant,
    /// Since the last group that it gave.
    busy_times: u32,
    lost_times: u32,
}

impl Turns {
    pub(super) fn new(keys: Vec<NodeKey>, now: Instant) -> Self {
        let provider = |key| Provider { key, rests_until: now, busy_times: 0, lost_times: 0 };
        Self(keys.into_iter().map(provider).collect())
    }

    /// Who is asked next, and when; nobody if all were given up.
    pub(super) fn next(&self) -> Option<(NodeKey, Instant)> {
        // Of those that are equal, the first.
        let next = self.0.iter().min_by_key(|provider| provider.rests_until);
        next.map(|provider| (provider.key, provider.rests_until))
    }

    /// A provider has given something.
    pub(super) fn gave(&mut self, key: NodeKey) {
        for provider in self.0.iter_mut().filter(|provider| provider.key == key) {
            (provider.busy_times, provider.lost_times) = (0, 0);
        }
    }

    /// A provider gave no more. True if it was given up.
    pub(super) fn failed(&mut self, key: NodeKey, now: Instant, fault: &Fault) -> bool {
        let Some(at) = self.0.iter().position(|provider| provider.key == key) else { return false };
        let is_last = self.0.len() == 1;
        match self.0[at].pause(fault, is_last) {
            Some(pause) => self.0[at].rests_until = now + pause,
            None => drop(self.0.remove(at)),
        }
        self.0.iter().all(|provider| provider.key != key)
    }
}

impl Provider {
    /// How long it rests; `None` if it is given up.
    fn pause(&mut self, fault: &Fault, is_last: bool) -> Option<Duration> {
        let lost_times_max = if is_last { LAST_LOST_TIMES_MAX } else { LOST_TIMES_MAX };
        match fault {
            Fault::Busy => {
                self.busy_times += 1;
                busy_pause(self.busy_times - 1)
            }
            // There is nobody better.
            Fault::Stalled(_) if !is_last => None,
            Fault::Lost(_) | Fault::Stalled(_) => {
                self.lost_times += 1;
                let doubled = LOST_PAUSE * 2_u32.pow(self.lost_times - 1);
                (self.lost_times < lost_times_max).then_some(doubled)
            }
            Fault::Absent | Fault::Refused | Fault::False(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: NodeKey = NodeKey([1; 32]);
    const TWO: NodeKey = NodeKey([2; 32]);

    /// How long it is asked while it fails in one way.
    fn patience(fault: &Fault) -> (u32, Duration) {
        let start = Instant::now();
        let (mut turns, mut now, mut times) = (Turns::new(vec![ONE], start), start, 0);
        while let Some((key, at)) = turns.next() {
            (now, times) = (at, times + 1);
            turns.failed(key, now, fault);
        }
        (times, now - start)
    }

    #[test]
    fn the_last_provider_is_asked_again_for_seconds_unless_it_does_not_give_or_lies() {
        let (times, waited) = patience(&Fault::Busy);
        assert_eq!(times, 16);
        assert!((20..25).contains(&waited.as_secs()), "{waited:?}");
        for fault in [Fault::Lost(String::new()), Fault::Stalled(Duration::ZERO)] {
            assert_eq!(patience(&fault), (7, Duration::from_millis(6300)));
        }
        for fault in [Fault::False(0), Fault::Absent, Fault::Refused] {
            assert_eq!(patience(&fault), (1, Duration::ZERO), "{fault}");
        }
    }

    #[test]
    fn while_one_rests_the_next_is_asked_and_goes_on() {
        let now = Instant::now();
        let mut turns = Turns::new(vec![ONE, TWO], now);
        assert_eq!(turns.next(), Some((ONE, now)));
        assert!(!turns.failed(ONE, now, &Fault::Busy));
        assert_eq!(turns.next(), Some((TWO, now)));
        turns.gave(TWO);
        assert_eq!(turns.next(), Some((TWO, now)));
        assert!(turns.failed(TWO, now, &Fault::False(0)));
        assert_eq!(turns.next(), Some((ONE, now + Duration::from_millis(50))));
        assert!(turns.failed(ONE, now, &Fault::Absent));
        assert_eq!(turns.next(), None);
    }

    #[test]
    fn one_that_stalls_is_given_up_for_another_and_one_that_is_lost_soon() {
        let now = Instant::now();
        let mut turns = Turns::new(vec![ONE, TWO], now);
        assert!(turns.failed(ONE, now, &Fault::Stalled(Duration::ZERO)));
        let mut turns = Turns::new(vec![ONE, TWO], now);
        let given_up: Vec<_> =
            (0..LOST_TIMES_MAX).map(|_| turns.failed(ONE, now, &Fault::Lost(String::new()))).collect();
        assert_eq!(given_up, [false, false, true]);
    }

    #[test]
    fn what_a_provider_gives_makes_good_for_earlier_failures() {
        let now = Instant::now();
        let mut turns = Turns::new(vec![ONE], now);
        for _ in 0..10 * LOST_TIMES_MAX {
            assert!(!turns.failed(ONE, now, &Fault::Lost(String::new())));
            turns.gave(ONE);
        }
    }
}
