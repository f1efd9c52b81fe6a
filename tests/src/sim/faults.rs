//! What goes wrong in a world: drawn from the scenario before it begins, done to whoever is there at the time.

use std::collections::BTreeSet;

use assetmesh_node::liveness;

use super::node::{Character, Mail, Node};
use super::watch::{CRASH_MS_MAX, Event as Awaited, JOIN_MS_MAX};
use super::world::{Event, World};

/// Before this the first nodes find each other, in milliseconds.
const CALM_MS: u64 = 15_000;
/// Nodes that a newcomer is told to begin with.
const BOOTSTRAP: usize = 3;
/// Clocks of the mad are wrong by this at least.
const MAD_MS: u64 = 60 * 60 * 1000;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Join,
    Kill,
    PowerCut,
    Leave,
    Pause,
    Partition,
    Cut,
    OneWayCut,
    ClockJump,
}

impl World {
    /// Makes the first nodes, all known to each other, and draws what will go wrong.
    pub(super) fn populate(&mut self) {
        let count = usize::try_from(self.scenario.nodes.draw(&mut self.random)).expect("a small number");
        let faults = self.scenario.faults.clone();
        let mad = usize::try_from(faults.mad_clocks.draw(&mut self.random)).expect("a small number");
        let liars = usize::try_from(faults.liars.draw(&mut self.random)).expect("a small number");
        for at in 0..count {
            let mut character = self.draw_character();
            character.mad = at < mad;
            character.liar = !character.mad && at < mad + liars;
            if character.mad {
                let hours = i64::try_from(self.random.within(1..30)).expect("a small number");
                let ahead = if self.random.chance(50) { 1 } else { -1 };
                character.skew_ms = ahead * hours * i64::try_from(MAD_MS).expect("a small number");
                self.measures.fault("mad clocks");
            }
            self.add_node(character);
        }
        for at in 0..count {
            self.start(at);
        }
        for at in 0..count {
            self.nodes[at].bootstrap = self.some_running(at);
            if self.nodes[at].character.liar {
                self.queue.push(CALM_MS, Event::Lie { at });
            }
        }
        let own =
            |node: &Node| node.cores.iter().flat_map(|cores| cores.registry.map().iter().cloned()).collect();
        let records: Vec<Vec<_>> = self.nodes.iter().map(own).collect();
        for at in 0..count {
            for (from, records) in records.iter().enumerate().filter(|(from, _)| *from != at) {
                self.merge(at, from, records.clone());
            }
        }
        self.draw_faults();
    }

    fn draw_character(&mut self) -> Character {
        let faults = self.scenario.faults.clone();
        let mut character = Character::default();
        if self.random.chance(faults.stalled_percent) {
            character.stalled = true;
        }
        if self.random.chance(faults.skewed_percent) {
            character.skew_ms = self.draw_skew();
            self.measures.fault("wrong clocks");
        }
        character
    }

    fn draw_skew(&mut self) -> i64 {
        let ms = i64::try_from(self.scenario.faults.skew_seconds.draw(&mut self.random) * 1000);
        let ms = ms.expect("a small number");
        if self.random.chance(50) { ms } else { -ms }
    }

    fn draw_faults(&mut self) {
        let faults = self.scenario.faults.clone();
        let kinds = [
            (faults.joins, Fault::Join),
            (faults.kills, Fault::Kill),
            (faults.power_cuts, Fault::PowerCut),
            (faults.leaves, Fault::Leave),
            (faults.pauses, Fault::Pause),
            (faults.partitions, Fault::Partition),
            (faults.cuts, Fault::Cut),
            (faults.one_way_cuts, Fault::OneWayCut),
            (faults.clock_jumps, Fault::ClockJump),
        ];
        let end_ms = self.scenario.seconds * 1000;
        for (count, fault) in kinds {
            for _ in 0..count.draw(&mut self.random) {
                let at_ms = self.random.within(CALM_MS..end_ms.max(CALM_MS + 1));
                self.queue.push(at_ms, Event::Fault(fault));
            }
        }
        for _ in 0..self.scenario.writes.draw(&mut self.random) {
            let at_ms = self.random.within(CALM_MS / 3..end_ms);
            self.queue.push(at_ms, Event::Write);
        }
    }

    fn add_node(&mut self, character: Character) -> usize {
        let at = self.nodes.len();
        let mut secret = [0; 32];
        secret.chunks_exact_mut(8).for_each(|part| part.copy_from_slice(&self.random.number().to_le_bytes()));
        let number = at as u64;
        let mut node = Node::new(secret, character, number);
        node.bootstrap = self.some_running(at);
        self.index.insert(node.key, at);
        self.nodes.push(node);
        self.network.add_node();
        if character.stalled {
            let first = self.random.within(1000..10_000);
            self.queue.push(self.now_ms + first, Event::Stall { at });
        }
        at
    }

    /// Whom a node is told to begin with.
    fn some_running(&mut self, at: usize) -> Vec<usize> {
        let mut running: Vec<usize> =
            (0..self.nodes.len()).filter(|other| *other != at && self.nodes[*other].runs()).collect();
        while running.len() > BOOTSTRAP {
            let gone = self.random.below(running.len());
            running.swap_remove(gone);
        }
        running
    }

    /// Does it, if there is anybody to do it to.
    pub(super) fn break_something(&mut self, fault: Fault) {
        let running: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].runs() && !self.nodes[*at].character.mad)
            .collect();
        if running.len() < 3 {
            return;
        }
        let target = *self.random.pick(&running);
        match fault {
            Fault::Join => self.join(),
            Fault::Kill => self.stop_node(target, "kills", true),
            Fault::PowerCut => self.stop_node(target, "power cuts", false),
            Fault::Leave => {
                self.liveness(target, liveness::Input::Leave);
                self.stop_node(target, "leaves", true);
            }
            Fault::Pause => {
                let ms = self.scenario.faults.pause_ms.draw(&mut self.random);
                self.measures.fault("pauses");
                self.pause(target, ms);
            }
            Fault::Partition => self.partition(&running),
            Fault::Cut | Fault::OneWayCut => {
                let other = *self.random.pick(&running);
                if other != target {
                    let both_ways = matches!(fault, Fault::Cut);
                    self.measures.fault(if both_ways { "cuts" } else { "one-way cuts" });
                    let until_ms = self.cut_until();
                    self.note(|| format!("cut {target} {other}, both ways {both_ways}, until {until_ms}"));
                    self.network.cut((target, other), both_ways, until_ms);
                }
            }
            Fault::ClockJump => {
                let jump = self.draw_skew();
                self.measures.fault("clock jumps");
                self.note(|| format!("the clock of node {target} jumps to {jump} ms"));
                self.nodes[target].character.skew_ms = jump;
            }
        }
    }

    fn cut_until(&mut self) -> u64 {
        self.network.forget_old_cuts(self.now_ms);
        let ms = self.scenario.faults.cut_seconds.draw(&mut self.random) * 1000;
        (self.now_ms + ms).min(self.scenario.seconds * 1000)
    }

    fn partition(&mut self, running: &[usize]) {
        let until_ms = self.cut_until();
        let part: BTreeSet<usize> = running.iter().copied().filter(|_| self.random.chance(50)).collect();
        if part.is_empty() || part.len() == running.len() {
            return;
        }
        self.measures.fault("partitions");
        self.note(|| format!("partition of {part:?} until {until_ms}"));
        self.network.partition(part, until_ms);
    }

    fn join(&mut self) {
        let character = self.draw_character();
        self.measures.fault("joins");
        let at = self.add_node(character);
        let bootstrap = self.nodes[at].bootstrap.clone();
        self.note(|| format!("node {at} joins through {bootstrap:?}"));
        self.start(at);
        self.expect(at, Awaited::Join);
    }

    /// Ends a node. `closes` says whether its peers are told by their own systems.
    fn stop_node(&mut self, at: usize, name: &'static str, closes: bool) {
        self.measures.fault(name);
        self.note(|| format!("node {at} ends: {name}"));
        if closes {
            for peer in self.network.links(at).collect::<Vec<_>>() {
                self.network.unlink(at, peer);
                if self.network.is_open(at, peer, self.now_ms) {
                    self.post_mail(peer, Mail::Down(at));
                }
            }
        }
        self.nodes[at].end();
        self.watch.ended(at);
        self.expect(at, Awaited::Crash);
        let faults = self.scenario.faults.clone();
        if self.random.chance(faults.never_back_percent) {
            self.nodes[at].gone_for_good = true;
            return;
        }
        let away_ms = faults.away_seconds.draw(&mut self.random) * 1000;
        let wiped = self.random.chance(faults.wiped_percent);
        let back_ms = (self.now_ms + away_ms).min(self.scenario.seconds * 1000 - 1).max(self.now_ms + 1);
        self.queue.push(back_ms, Event::Back { at, wiped });
    }

    /// A node starts again; without its disk it is another node.
    pub(super) fn come_back(&mut self, at: usize, wiped: bool) {
        for peer in self.network.links(at).collect::<Vec<_>>() {
            self.network.unlink(at, peer);
            self.post_mail(peer, Mail::Down(at));
        }
        if wiped {
            self.measures.fault("wiped disks");
            self.nodes[at].gone_for_good = true;
            self.join();
            return;
        }
        self.start(at);
        self.expect(at, Awaited::Join);
    }

    pub(super) fn pause(&mut self, at: usize, ms: u64) {
        let until_ms = (self.now_ms + ms).min(self.scenario.seconds * 1000);
        if until_ms <= self.now_ms || !self.nodes[at].answers(self.now_ms) {
            return;
        }
        self.nodes[at].stopped = (self.now_ms, until_ms);
        let life = self.nodes[at].life;
        self.queue.push(until_ms, Event::Wake { at, life });
        self.note(|| format!("node {at} is stopped until {until_ms}"));
    }

    /// A node that is short of processor time is stopped once more.
    pub(super) fn stall(&mut self, at: usize) {
        let faults = self.scenario.faults.clone();
        let stall_ms = faults.stall_ms.draw(&mut self.random);
        let run_ms = faults.run_ms.draw(&mut self.random);
        if self.nodes[at].runs() {
            self.measures.fault("stalls");
            self.pause(at, stall_ms);
        }
        let next = self.now_ms + stall_ms + run_ms;
        if next < self.scenario.seconds * 1000 && !self.nodes[at].gone_for_good {
            self.queue.push(next, Event::Stall { at });
        }
    }

    /// From now on all others are to see it.
    fn expect(&mut self, target: usize, event: Awaited) {
        let alive = event == Awaited::Crash;
        let key = self.nodes[target].key;
        let sees = |node: &Node| {
            let state = node.cores.as_ref().and_then(|cores| cores.liveness.state_of(&key));
            matches!(state, Some(liveness::PeerState::Alive | liveness::PeerState::Suspect))
        };
        let waiting: BTreeSet<usize> = (0..self.nodes.len())
            .filter(|at| *at != target && self.nodes[*at].runs() && sees(&self.nodes[*at]) == alive)
            .collect();
        self.watch.expect(target, event, self.now_ms, waiting);
        // One that is itself short of processor time cannot promise to arrive in time.
        if self.scenario.strict && (alive || !self.nodes[target].character.stalled) {
            let most_ms = if alive { CRASH_MS_MAX } else { JOIN_MS_MAX };
            let deadline = Event::Deadline { target, event, since_ms: self.now_ms };
            self.queue.push(self.now_ms + most_ms + 1, deadline);
        }
    }
}
