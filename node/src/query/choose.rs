//! Whom to ask when more members may hold something than one question goes to: those that gave the most in the least
//! time, and a few others, so that nobody is overlooked for ever. Pure.

use std::collections::HashMap;
use std::hash::Hasher;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use xxhash_rust::xxh3::Xxh3;

use super::DEADLINE_MAX;

/// Members that one question goes to.
pub(super) const ASKED_MAX: usize = 64;
/// Of which so many are taken without regard to what they gave.
const ANY: usize = 8;
/// Members that are remembered: a federation of 1 000 with room for those that went.
const PEERS_MAX: usize = 4096;
/// How much of the past the last answer leaves: seven eighths.
const KEPT: f64 = 0.875;
/// What is taken for the yield of a member that gave nothing, so that the quick ones come first among those.
const ROWS_MIN: f64 = 0.1;
/// What is added to each time, so that nobody wins by being very quick alone.
const SECONDS_MIN: f64 = 0.01;

/// What members gave, lately.
#[derive(Debug, Default)]
pub(super) struct Yields {
    of: HashMap<NodeKey, Yield>,
}

#[derive(Debug, Clone, Copy)]
struct Yield {
    rows: f64,
    seconds: f64,
}

impl Yields {
    /// Notes an answer.
    pub(super) fn gave(&mut self, peer: NodeKey, rows: usize, took: Duration) {
        let now = Yield { rows: rows as f64, seconds: took.as_secs_f64() };
        if let Some(known) = self.of.get_mut(&peer) {
            known.rows = known.rows * KEPT + now.rows * (1.0 - KEPT);
            known.seconds = known.seconds * KEPT + now.seconds * (1.0 - KEPT);
        } else if self.of.len() < PEERS_MAX {
            self.of.insert(peer, now);
        }
    }

    /// Notes that no acceptable answer came: as if it had given nothing in all the time there is, however soon it failed.
    pub(super) fn failed(&mut self, peer: NodeKey) {
        self.gave(peer, 0, DEADLINE_MAX);
    }

    /// Whether each of these is asked. `question` picks the few others: the same for all pages of one question.
    pub(super) fn choose(&self, peers: &[NodeKey], question: &str) -> Vec<bool> {
        if peers.len() <= ASKED_MAX {
            return vec![true; peers.len()];
        }
        let mut places: Vec<usize> = (0..peers.len()).collect();
        places.sort_by(|a, b| self.worth(&peers[*b]).total_cmp(&self.worth(&peers[*a])));
        places[ASKED_MAX - ANY..].sort_by_key(|at| lot(&peers[*at], question));
        let mut asked = vec![false; peers.len()];
        for at in &places[..ASKED_MAX] {
            asked[*at] = true;
        }
        asked
    }

    /// Rows a second. One that was never asked is worth as much as one that gave a row in a tenth of a second.
    fn worth(&self, peer: &NodeKey) -> f64 {
        let Yield { rows, seconds } = self.of.get(peer).copied().unwrap_or(Yield { rows: 1.0, seconds: 0.1 });
        rows.max(ROWS_MIN) / (seconds + SECONDS_MIN)
    }
}

fn lot(peer: &NodeKey, question: &str) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.write(&peer.0);
    hasher.write(question.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn peers(count: u16) -> Vec<NodeKey> {
        let key = |n: u16| {
            let mut key = [0; 32];
            key[..2].copy_from_slice(&n.to_le_bytes());
            NodeKey(key)
        };
        (0..count).map(key).collect()
    }

    fn asked(yields: &Yields, peers: &[NodeKey], question: &str) -> BTreeSet<usize> {
        let asked = yields.choose(peers, question).into_iter().enumerate();
        asked.filter(|(_, asked)| *asked).map(|(at, _)| at).collect()
    }

    #[test]
    fn few_members_are_all_asked() {
        let yields = Yields::default();
        for count in [0, 1, 64] {
            assert_eq!(asked(&yields, &peers(count), "q").len(), usize::from(count));
        }
    }

    #[test]
    fn those_that_give_the_most_in_the_least_time_come_first() {
        let (mut yields, peers) = (Yields::default(), peers(300));
        for (at, peer) in peers.iter().enumerate() {
            let (rows, millis) = match at {
                0..30 => (100, 50),
                30..56 => (10, 5),
                56..100 => (100, 5000),
                _ => (0, 1),
            };
            yields.gave(*peer, rows, Duration::from_millis(millis));
        }
        let asked = asked(&yields, &peers, "q");
        assert_eq!(asked.len(), ASKED_MAX);
        assert!((0..56).all(|at| asked.contains(&at)), "{asked:?}");
    }

    #[test]
    fn a_few_others_are_taken_for_each_question_and_stay_for_its_pages() {
        let (mut yields, peers) = (Yields::default(), peers(200));
        for peer in &peers[..60] {
            yields.gave(*peer, 1000, Duration::from_millis(1));
        }
        let mut met = BTreeSet::new();
        for question in 0..400 {
            let question = question.to_string();
            let asked = asked(&yields, &peers, &question);
            assert_eq!(asked, self::asked(&yields, &peers, &question));
            met.extend(asked);
        }
        assert_eq!(met.len(), 200, "everybody has a turn");
    }

    #[test]
    fn a_member_that_changes_is_soon_seen_as_it_is() {
        let (mut yields, peers) = (Yields::default(), peers(100));
        for peer in &peers[..57] {
            yields.gave(*peer, 50, Duration::from_millis(10));
        }
        for _ in 0..30 {
            yields.gave(peers[0], 0, Duration::from_secs(2));
        }
        assert!(yields.worth(&peers[0]) < yields.worth(&peers[99]));
    }
}
