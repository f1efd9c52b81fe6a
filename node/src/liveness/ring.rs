//! Who monitors whom in a big federation: for every node the candidates with the highest rendezvous weights.
//! All nodes that know the same members find the same monitors without asking. It keeps no states.
//! Source: Thaler, Ravishankar, "Using name-based mappings to increase hit rates" (1998).

use assetmesh_protocol::ids::NodeKey;

use super::random::mix;

/// A member's place in the tables of one node.
pub(super) type Slot = u32;

/// Ranks kept a node: those that monitor it, and as many to step in for them.
pub(super) const RANKS: usize = 8;

const KEY_DOMAIN: &str = "assetmesh 2026 liveness rendezvous of a node key";

/// The ranks of all nodes. Slots are those of the peer table.
#[derive(Debug, Default)]
pub(super) struct Ring {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    short: u64,
    target: bool,
    candidate: bool,
    count: u8,
    first: [Slot; RANKS],
}

impl Node {
    fn ranks(&self) -> &[Slot] {
        &self.first[..usize::from(self.count)]
    }
}

/// The number that stands for a key in [`weight`].
fn short_of(key: &NodeKey) -> u64 {
    let hash = blake3::derive_key(KEY_DOMAIN, key.as_bytes());
    u64::from_le_bytes(hash[..8].try_into().expect("eight bytes"))
}

/// How well a candidate suits a target; equal weights go to the higher key number.
const fn weight(target: u64, candidate: u64) -> (u64, u64) {
    (mix(target ^ candidate.rotate_left(32)), candidate)
}

impl Ring {
    /// Adds a node as target and candidate.
    pub(super) fn insert(&mut self, slot: Slot, key: &NodeKey) {
        let at = slot as usize;
        if self.nodes.len() <= at {
            self.nodes.resize(at + 1, Node::default());
        }
        self.nodes[at] = Node { short: short_of(key), target: true, ..Node::default() };
        self.rank(at);
        self.set_candidate(slot, true);
    }

    /// Forgets a node.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.set_candidate(slot, false);
        self.nodes[slot as usize] = Node::default();
    }

    /// Says whether a node can monitor others.
    pub(super) fn set_candidate(&mut self, slot: Slot, candidate: bool) {
        let node = &mut self.nodes[slot as usize];
        if node.candidate == candidate {
            return;
        }
        node.candidate = candidate;
        for at in 0..self.nodes.len() {
            if !self.nodes[at].target || at == slot as usize {
                continue;
            }
            if candidate {
                self.offer(at, slot);
            } else if self.nodes[at].ranks().contains(&slot) {
                self.rank(at);
            }
        }
    }

    /// The candidates for one node, best first.
    pub(super) fn of(&self, slot: Slot) -> &[Slot] {
        self.nodes.get(slot as usize).map_or(&[], Node::ranks)
    }

    /// The nodes that have `slot` among their first `count` candidates.
    pub(super) fn targets_of(&self, slot: Slot, count: usize) -> impl Iterator<Item = Slot> {
        (0..).zip(&self.nodes).filter_map(move |(target, node): (Slot, _)| {
            let ranks = node.ranks();
            ranks[..count.min(ranks.len())].contains(&slot).then_some(target)
        })
    }

    fn rank(&mut self, target: usize) {
        self.nodes[target].count = 0;
        for slot in (0..).take(self.nodes.len()) {
            if self.nodes[slot as usize].candidate && slot as usize != target {
                self.offer(target, slot);
            }
        }
    }

    /// Puts a candidate where its weight belongs, if that is among the first.
    fn offer(&mut self, target: usize, slot: Slot) {
        let short = self.nodes[target].short;
        let own = weight(short, self.nodes[slot as usize].short);
        let ranks = self.nodes[target].ranks();
        let better = |other: &&Slot| weight(short, self.nodes[**other as usize].short) > own;
        let full = ranks.len() == RANKS;
        if full && ranks.last().as_ref().is_some_and(better) {
            return;
        }
        let at = ranks.iter().take_while(better).count();
        let node = &mut self.nodes[target];
        let end = if full { RANKS - 1 } else { usize::from(node.count) };
        node.first.copy_within(at..end, at + 1);
        node.first[at] = slot;
        node.count = u8::try_from(end + 1).expect("at most eight");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};
    use proptest::test_runner::Config;
    use proptest::{collection, prop_assert_eq};

    use super::*;

    fn key(number: u32) -> NodeKey {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_le_bytes());
        NodeKey(key)
    }

    fn ring(keys: &[u32]) -> Ring {
        let mut ring = Ring::default();
        for (slot, &number) in (0..).zip(keys) {
            ring.insert(slot, &key(number));
        }
        ring
    }

    /// The ranks by the definition.
    fn plain(keys: &[u32], target: u32, without: &[u32]) -> Vec<u32> {
        let short = short_of(&key(target));
        let mut others: Vec<u32> =
            keys.iter().copied().filter(|other| *other != target && !without.contains(other)).collect();
        others.sort_by_key(|&other| std::cmp::Reverse(weight(short, short_of(&key(other)))));
        others.truncate(RANKS);
        others
    }

    #[test]
    fn all_nodes_find_the_same_monitors_in_whatever_order_they_met() {
        let keys: Vec<u32> = (0..100).collect();
        let turned: Vec<u32> = keys.iter().rev().copied().collect();
        let (one, other) = (ring(&keys), ring(&turned));
        for target in 0..100 {
            let there: Vec<u32> = other.of(99 - target).iter().map(|slot| 99 - slot).collect();
            assert_eq!(one.of(target), there);
        }
    }

    #[test]
    fn everybody_monitors_about_four_others() {
        let keys: Vec<u32> = (0..400).collect();
        let ring = ring(&keys);
        let loads: Vec<usize> = (0..400).map(|slot| ring.targets_of(slot, 4).count()).collect();
        assert_eq!(loads.iter().sum::<usize>(), 1600);
        assert!(loads.iter().all(|&load| load <= 16), "{loads:?}");
        assert!(loads.iter().filter(|&&load| load == 0).count() < 30);
    }

    #[test]
    fn the_ranks_never_change_between_versions() {
        let ring = ring(&(0..12).collect::<Vec<_>>());
        let found: Vec<&[Slot]> = (0..3).map(|slot| ring.of(slot)).collect();
        let expected = "[[11, 9, 8, 5, 3, 1, 2, 6], [4, 10, 11, 3, 9, 2, 8, 0], [1, 6, 7, 3, 0, 8, 11, 5]]";
        assert_eq!(format!("{found:?}"), expected);
    }

    proptest! {
        #![proptest_config(Config { cases: 64, ..Config::default() })]

        #[test]
        fn ranks_follow_the_definition_after_any_changes(
            keys in collection::btree_set(0u32..1000, 1..40),
            changes in collection::vec((any::<usize>(), any::<bool>()), 0..40),
            gone in any::<usize>(),
        ) {
            let keys: Vec<u32> = keys.into_iter().collect();
            let mut ring = ring(&keys);
            let mut without = Vec::new();
            for (at, candidate) in changes {
                let at = at % keys.len();
                ring.set_candidate(u32::try_from(at).unwrap(), candidate);
                without.retain(|&other| other != keys[at]);
                if !candidate {
                    without.push(keys[at]);
                }
            }
            let gone = gone % keys.len();
            ring.remove(u32::try_from(gone).unwrap());
            without.push(keys[gone]);
            for (at, &target) in keys.iter().enumerate().filter(|(at, _)| *at != gone) {
                let slots = ring.of(u32::try_from(at).unwrap());
                let found: Vec<u32> = slots.iter().map(|&slot| keys[slot as usize]).collect();
                prop_assert_eq!(found, plain(&keys, target, &without));
            }
        }
    }
}
