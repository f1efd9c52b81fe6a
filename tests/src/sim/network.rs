//! The simulated network: who is linked with whom, what is cut, what is lost, how long a message takes.
//! It knows nothing of what messages say.

use std::collections::{BTreeMap, BTreeSet};

use crate::random::Random;

/// A silent connection is given up after this, as the swarm does with half-open ones.
pub(super) const LINK_DIES_AFTER_MS: u64 = 20_000;
/// How long a cut counts as recent when a judgement is judged.
const RECENT_MS: u64 = 12_000;

/// One cut, while it lasts and a while longer.
#[derive(Debug)]
struct Cut {
    kind: CutKind,
    until_ms: u64,
}

#[derive(Debug)]
enum CutKind {
    /// Between these and all others.
    Partition(BTreeSet<usize>),
    /// From the first to the second.
    OneWay(usize, usize),
    /// Between the two.
    Pair(usize, usize),
}

impl Cut {
    fn stops(&self, from: usize, to: usize) -> bool {
        match &self.kind {
            CutKind::Partition(part) => part.contains(&from) != part.contains(&to),
            CutKind::OneWay(one, other) => (*one, *other) == (from, to),
            CutKind::Pair(one, other) => (*one, *other) == (from, to) || (*one, *other) == (to, from),
        }
    }
}

/// The network of one world.
#[derive(Debug)]
pub(super) struct Network {
    loss_percent: u64,
    delay_ms: u64,
    jitter_ms: u64,
    cuts: Vec<Cut>,
    /// For each node its links, and when each last carried an answer.
    links: Vec<BTreeMap<usize, u64>>,
}

impl Network {
    pub(super) const fn new(loss_percent: u64, delay_ms: u64, jitter_ms: u64) -> Self {
        Self { loss_percent, delay_ms, jitter_ms, cuts: Vec::new(), links: Vec::new() }
    }

    pub(super) fn add_node(&mut self) {
        self.links.push(BTreeMap::new());
    }

    /// How long one message takes.
    pub(super) fn delay(&self, random: &mut Random) -> u64 {
        self.delay_ms + random.within(0..self.jitter_ms + 1)
    }

    /// True if one message gets through, as far as chance goes.
    pub(super) fn carries(&self, random: &mut Random) -> bool {
        !random.chance(self.loss_percent)
    }

    /// True if an answer comes back.
    pub(super) fn answers(&self, random: &mut Random) -> bool {
        self.carries(random) && self.carries(random)
    }

    pub(super) fn partition(&mut self, part: BTreeSet<usize>, until_ms: u64) {
        self.cuts.push(Cut { kind: CutKind::Partition(part), until_ms });
    }

    pub(super) fn cut(&mut self, (from, to): (usize, usize), both_ways: bool, until_ms: u64) {
        let kind = if both_ways { CutKind::Pair(from, to) } else { CutKind::OneWay(from, to) };
        self.cuts.push(Cut { kind, until_ms });
    }

    /// True if nothing stands between the two in this direction.
    pub(super) fn is_open(&self, from: usize, to: usize, now_ms: u64) -> bool {
        !self.cuts.iter().any(|cut| now_ms < cut.until_ms && cut.stops(from, to))
    }

    /// True if nothing stands or stood lately between the two, in either direction.
    pub(super) fn was_open(&self, one: usize, other: usize, now_ms: u64) -> bool {
        let recent = |cut: &&Cut| now_ms < cut.until_ms + RECENT_MS;
        !self.cuts.iter().filter(recent).any(|cut| cut.stops(one, other) || cut.stops(other, one))
    }

    pub(super) fn forget_old_cuts(&mut self, now_ms: u64) {
        self.cuts.retain(|cut| now_ms < cut.until_ms + RECENT_MS);
    }

    /// True if the two can talk now.
    pub(super) fn both_open(&self, one: usize, other: usize, now_ms: u64) -> bool {
        self.cuts.is_empty() || (self.is_open(one, other, now_ms) && self.is_open(other, one, now_ms))
    }

    pub(super) fn is_linked(&self, one: usize, other: usize) -> bool {
        self.links[one].contains_key(&other)
    }

    pub(super) fn links(&self, at: usize) -> impl Iterator<Item = usize> {
        self.links[at].keys().copied()
    }

    /// The links of a node, and when each last carried an answer.
    pub(super) fn answered(&mut self, at: usize) -> impl Iterator<Item = (usize, &mut u64)> {
        self.links[at].iter_mut().map(|(other, last)| (*other, last))
    }

    pub(super) fn link(&mut self, one: usize, other: usize, now_ms: u64) {
        self.links[one].insert(other, now_ms);
        self.links[other].insert(one, now_ms);
    }

    pub(super) fn unlink(&mut self, one: usize, other: usize) -> bool {
        self.links[other].remove(&one);
        self.links[one].remove(&other).is_some()
    }

    /// Some links of a node but `except`, chosen evenly.
    pub(super) fn some_links(
        &self,
        at: usize,
        except: Option<usize>,
        count: usize,
        random: &mut Random,
    ) -> Vec<usize> {
        let mut others: Vec<usize> = self.links(at).filter(|other| Some(*other) != except).collect();
        while others.len() > count {
            let gone = random.below(others.len());
            others.swap_remove(gone);
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_stop_what_they_say_while_they_last() {
        let mut network = Network::new(0, 1, 0);
        network.partition([0, 1].into(), 10_000);
        network.cut((3, 4), false, 10_000);
        assert!(network.is_open(0, 1, 0) && network.is_open(2, 3, 0));
        assert!(!network.is_open(0, 2, 0) && !network.is_open(2, 0, 0));
        assert!(!network.is_open(3, 4, 0) && network.is_open(4, 3, 0));
        assert!(network.is_open(0, 2, 10_000) && !network.was_open(0, 2, 10_000));
        assert!(network.was_open(0, 2, 30_000));
    }

    #[test]
    fn as_much_is_lost_as_was_asked_for() {
        let network = Network::new(20, 1, 0);
        let mut random = Random::seeded(3);
        let carried = (0..10_000).filter(|_| network.carries(&mut random)).count();
        assert!((7_800..8_200).contains(&carried), "{carried}");
    }
}
