//! Who has a copy of this node's summary and is to be told when it knows more. Pure.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;

/// How much longer than a copy is fresh its holder is told of changes: the holder counts from when it asked.
const MARGIN: Duration = Duration::from_secs(5);

/// The holders of copies.
#[derive(Debug)]
pub(super) struct Given {
    of: HashMap<NodeKey, Copy>,
    /// Those that are being told.
    telling: HashSet<NodeKey>,
    most: usize,
    fresh_for: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Copy {
    /// How often the summary had changed when it was copied.
    changes: u64,
    until: Instant,
}

impl Given {
    pub(super) fn new(most: usize, fresh_for: Duration) -> Self {
        Self { of: HashMap::new(), telling: HashSet::new(), most, fresh_for }
    }

    /// Notes that a peer gets a copy. False if there are too many: then it must get none.
    pub(super) fn give(&mut self, now: Instant, peer: NodeKey, changes: u64) -> bool {
        if self.of.len() >= self.most && !self.of.contains_key(&peer) {
            self.of.retain(|_, copy| copy.until > now);
        }
        let has_room = self.of.len() < self.most || self.of.contains_key(&peer);
        if has_room {
            self.of.insert(peer, Copy { changes, until: now + self.fresh_for + MARGIN });
        }
        has_room
    }

    /// Those whose copies know less than there is now, and until when that matters to each. Each is named once; while
    /// it is being told it is not named again.
    pub(super) fn due(&mut self, now: Instant, changes: u64) -> Vec<(NodeKey, Instant)> {
        let telling = &mut self.telling;
        let due = self.of.iter().filter(|(peer, copy)| copy.changes < changes && !telling.contains(peer));
        let due: Vec<_> = due.map(|(peer, copy)| (*peer, copy.until)).collect();
        for (peer, _) in &due {
            self.of.remove(peer);
            telling.insert(*peer);
        }
        self.of.retain(|_, copy| copy.until > now);
        due
    }

    /// A peer has been told, or it does not matter to it any more.
    pub(super) fn told(&mut self, peer: NodeKey) {
        self.telling.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_secs(30);

    fn peer(seed: u8) -> NodeKey {
        NodeKey([seed; 32])
    }

    fn given() -> (Given, Instant) {
        (Given::new(2, FRESH), Instant::now())
    }

    #[test]
    fn the_first_change_after_a_copy_is_told_once() {
        let (mut given, now) = given();
        assert!(given.give(now, peer(1), 5));
        assert_eq!(given.due(now, 5), []);
        assert_eq!(given.due(now, 6), [(peer(1), now + FRESH + MARGIN)]);
        assert_eq!(given.due(now, 7), []);
    }

    #[test]
    fn a_copy_made_while_an_older_change_is_being_told_is_told_of_the_next() {
        let (mut given, now) = given();
        given.give(now, peer(1), 5);
        assert_eq!(given.due(now, 6).len(), 1);
        given.give(now, peer(1), 6);
        assert_eq!(given.due(now, 7), [], "one message at a time");
        given.told(peer(1));
        assert_eq!(given.due(now, 7).len(), 1);
    }

    #[test]
    fn who_never_gets_the_message_is_given_up_when_the_copy_is_old() {
        let (mut given, now) = given();
        given.give(now, peer(1), 5);
        assert_eq!(given.due(now + FRESH + MARGIN, 5), []);
        assert!(given.of.is_empty());
    }

    #[test]
    fn more_than_can_be_told_get_no_copy_until_old_ones_are_over() {
        let (mut given, now) = given();
        assert!(given.give(now, peer(1), 1) && given.give(now, peer(2), 1));
        assert!(!given.give(now, peer(3), 1) && given.give(now, peer(1), 2));
        assert!(given.give(now + FRESH + MARGIN, peer(3), 1));
    }
}
