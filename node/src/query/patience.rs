//! Who is left alone for a while: a peer that fails again and again is asked less and less often, and after each pause
//! by one question only until it answers. Pure: the caller brings the time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;

/// Failures in a row that change nothing: a node that restarts loses a few questions.
const FORGIVEN: u32 = 3;
/// The first pause; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(250);
/// The longest pause: a node that is back is asked again within this.
const PAUSE_MAX: Duration = Duration::from_secs(4);
/// Peers that are remembered; a federation of 1 000 with room for those that went.
const PEERS_MAX: usize = 4096;

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The peer answered.
    Good,
    /// It failed.
    Bad,
    /// Neither can be said.
    None,
}

/// What is remembered of peers that failed.
#[derive(Debug, Default)]
pub(super) struct Patience {
    of: HashMap<NodeKey, Trouble>,
}

#[derive(Debug)]
struct Trouble {
    failures: u32,
    until: Instant,
    is_probed: bool,
}

impl Patience {
    /// Whether a peer may be asked now. If so, [`Patience::ended`] must follow.
    pub(super) fn may_ask(&mut self, peer: NodeKey, now: Instant) -> bool {
        match self.of.get_mut(&peer) {
            Some(trouble) if trouble.failures >= FORGIVEN => {
                let may = now >= trouble.until && !trouble.is_probed;
                trouble.is_probed |= may;
                may
            }
            _ => true,
        }
    }

    /// Notes how a question ended.
    pub(super) fn ended(&mut self, peer: NodeKey, verdict: Verdict, now: Instant) {
        match verdict {
            Verdict::Good => {
                self.of.remove(&peer);
            }
            Verdict::None => {
                if let Some(trouble) = self.of.get_mut(&peer) {
                    trouble.is_probed = false;
                }
            }
            Verdict::Bad => {
                if self.of.len() >= PEERS_MAX && !self.of.contains_key(&peer) {
                    self.of.retain(|_, trouble| now < trouble.until);
                    if self.of.len() >= PEERS_MAX {
                        return;
                    }
                }
                let trouble =
                    self.of.entry(peer).or_insert(Trouble { failures: 0, until: now, is_probed: false });
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.is_probed = false;
                let doublings = trouble.failures.saturating_sub(FORGIVEN).min(16);
                trouble.until = now + PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeKey = NodeKey([1; 32]);

    fn fail(patience: &mut Patience, times: u32, now: Instant) {
        for _ in 0..times {
            patience.ended(PEER, Verdict::Bad, now);
        }
    }

    #[test]
    fn a_peer_that_fails_now_and_then_is_asked_all_the_same() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        for _ in 0..100 {
            assert!(patience.may_ask(PEER, now));
            fail(&mut patience, FORGIVEN - 1, now);
            assert!(patience.may_ask(PEER, now));
            patience.ended(PEER, Verdict::Good, now);
        }
        assert!(patience.of.is_empty());
    }

    #[test]
    fn after_each_pause_one_question_probes_it() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        fail(&mut patience, FORGIVEN, now);
        assert!(!patience.may_ask(PEER, now));
        let later = now + PAUSE_FIRST;
        assert!(patience.may_ask(PEER, later));
        assert!(!patience.may_ask(PEER, later), "one at a time");
        patience.ended(PEER, Verdict::None, later);
        assert!(patience.may_ask(PEER, later), "a question that was given up says nothing");
        patience.ended(PEER, Verdict::Bad, later);
        assert!(!patience.may_ask(PEER, later + PAUSE_FIRST), "the pause has doubled");
        assert!(patience.may_ask(PEER, later + 2 * PAUSE_FIRST));
        patience.ended(PEER, Verdict::Good, later);
        assert!(patience.may_ask(PEER, later) && patience.may_ask(PEER, later));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        fail(&mut patience, 1000, now);
        assert!(patience.may_ask(PEER, now + PAUSE_MAX));
    }

    #[test]
    fn only_so_many_peers_are_remembered() {
        let (mut patience, now) = (Patience::default(), Instant::now());
        for n in 0..3 * PEERS_MAX as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            // First all pauses are running, then each is over when the next begins.
            let later = u32::try_from(n).unwrap().saturating_sub(2 * PEERS_MAX as u32);
            patience.ended(NodeKey(key), Verdict::Bad, now + PAUSE_MAX * later);
            assert!(patience.of.len() <= PEERS_MAX);
        }
    }
}
