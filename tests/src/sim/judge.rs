//! What must hold in a world: no live node is given up, promised times are kept, nobody honest is blamed, and in the
//! end all agree and nothing promised is missing.

use std::sync::Arc;

use assetmesh_node::liveness::{Change, PeerState};
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::Verified;

use super::node::Node;
use super::watch::Event as Awaited;
use super::world::World;

/// A node that was stopped for longer than this may be given up: so long can nobody tell it from a dead one within
/// the promised times. In a mesh, and with monitors.
const STOP_MS: (u64, u64) = (3_000, 10_000);
/// How long a start or stop excuses a judgement.
const RECENT_MS: u64 = 12_000;
/// Envelopes that die within this are not compared: nodes look at their clocks once a second.
const DYING_MS: u64 = 3_000;

impl World {
    pub(super) fn violate(&mut self, what: String) {
        self.note(|| format!("violation: {what}"));
        self.measures.violations.push(what);
    }

    /// A node sees another in another state.
    pub(super) fn judge_change(&mut self, at: usize, change: &Change) {
        let Some(&target) = self.index.get(&change.peer) else { return };
        self.note(|| {
            format!("node {at} sees {target} {} instead of {}: {}", change.to, change.from, change.why)
        });
        let event = if change.to == PeerState::Alive { Awaited::Join } else { Awaited::Crash };
        if change.to != PeerState::Suspect
            && let Some(ms) = self.watch.seen(at, target, event, self.now_ms)
            && !self.nodes[at].character.stalled
        {
            match event {
                Awaited::Join => self.measures.joins.push(ms),
                Awaited::Crash => self.measures.crashes.push(ms),
            }
        }
        let lives = self.nodes[target].runs();
        match change.to {
            PeerState::Down if lives && self.is_excused(at, target) => self.measures.excused_deaths += 1,
            PeerState::Down if lives => {
                self.measures.false_deaths += 1;
                self.violate(format!("node {at} gave up node {target}, which runs ({})", change.why));
            }
            PeerState::Suspect if lives && self.nodes[target].answers(self.now_ms) => {
                self.measures.suspicions += 1;
            }
            _ => {}
        }
    }

    /// True if nobody could have known that the target lives.
    fn is_excused(&self, at: usize, target: usize) -> bool {
        let now_ms = self.now_ms;
        let mesh = self.nodes.len() <= self.scenario.mesh_max;
        let (from_ms, to_ms) = self.nodes[target].stopped;
        let stopped_ms = to_ms.min(now_ms) - from_ms;
        let open = |one, other| self.network.was_open(one, other, now_ms);
        // Those beyond a cut may have suspected it long before it was stopped.
        let whole = (0..self.nodes.len()).all(|other| open(other, target));
        let most_ms = if mesh || !whole { STOP_MS.0 } else { STOP_MS.1 };
        // Who reaches it through others only has no fresh answer when it stops.
        let long = stopped_ms >= most_ms || (stopped_ms > 0 && !open(at, target));
        let young = |node: &Node| now_ms < node.started_ms + RECENT_MS;
        if (long && now_ms < to_ms + RECENT_MS) || young(&self.nodes[target]) || young(&self.nodes[at]) {
            return true;
        }
        let relays = |other: &usize| {
            let node = &self.nodes[*other];
            let awake = node.answers(now_ms) && now_ms >= node.stopped.1 + RECENT_MS;
            awake && !young(node) && open(at, *other) && open(*other, target)
        };
        !open(at, target) && !(0..self.nodes.len()).any(|other| relays(&other))
    }

    /// A node holds a forgery or an impossible time against another.
    pub(super) fn blamed(&mut self, at: usize, peer: NodeKey) {
        // Who passes on what a mad clock made may look like a liar to one whose own clock is off the other way.
        let mad = self.nodes.iter().any(|node| node.character.mad);
        if let Some(&peer) = self.index.get(&peer)
            && !self.nodes[peer].character.liar
            && !mad
        {
            self.violate(format!("node {at} blames node {peer}, which is honest"));
        }
    }

    /// The promised time is over.
    pub(super) fn check_deadline(&mut self, target: usize, event: Awaited, since_ms: u64) {
        let late = self.watch.late(target, event, since_ms);
        let late: Vec<usize> = late
            .into_iter()
            .flatten()
            .copied()
            .filter(|at| self.nodes[*at].runs() && !self.nodes[*at].character.stalled)
            .collect();
        if !late.is_empty() {
            let ms = self.now_ms - since_ms;
            let first = late[0];
            let count = late.len();
            self.violate(format!(
                "{ms} ms after the {event:?} of node {target} {count} nodes, as {first}, have not seen it"
            ));
        }
    }

    /// Runs on after the last fault until all agree and hold what was promised.
    pub(super) fn settle(&mut self) {
        let faults_end = self.scenario.seconds * 1000;
        for second in 0..=self.scenario.settle_seconds {
            self.run_until(faults_end + second * 1000);
            if self.disagreement().is_none() && self.broken_promises().next().is_none() {
                self.measures.agreed.push(u32::try_from(second * 1000).unwrap_or(u32::MAX));
                break;
            }
        }
        let seconds = self.scenario.settle_seconds;
        let wrong: Vec<String> = self.disagreement().into_iter().chain(self.broken_promises()).collect();
        for wrong in wrong {
            self.violate(format!("{seconds} s after the last fault {wrong}"));
        }
        self.measures.acknowledged += self.ledger.count;
    }

    fn broken_promises(&self) -> impl Iterator<Item = String> {
        let sane = self.nodes.iter().filter(|node| node.runs() && node.is_sane());
        sane.flat_map(|node| self.ledger.check(node, &self.nodes, self.now_ms + DYING_MS))
    }

    /// The first thing on which two sane nodes that run do not agree.
    fn disagreement(&self) -> Option<String> {
        let sane: Vec<usize> =
            (0..self.nodes.len()).filter(|at| self.nodes[*at].runs() && self.nodes[*at].is_sane()).collect();
        for &at in &sane {
            for (other, node) in self.nodes.iter().enumerate().filter(|(other, _)| *other != at) {
                let state = self.nodes[at].cores.as_ref()?.liveness.state_of(&node.key);
                let alive = state == Some(PeerState::Alive);
                if node.is_sane() && alive != node.runs() {
                    return Some(format!("node {at} sees node {other} as {state:?}"));
                }
            }
        }
        let digests = sane.iter().map(|at| (*at, self.digest(*at)));
        let mut digests = digests.collect::<Vec<_>>().into_iter();
        let (first, digest) = digests.next()?;
        let (other, _) = digests.find(|(_, other)| *other != digest)?;
        Some(format!("the registries of nodes {first} and {other} differ: {}", self.difference(first, other)))
    }

    /// The first key that two nodes hold differently.
    fn difference(&self, one: usize, other: usize) -> String {
        let (Some(here), Some(there)) = (&self.nodes[one].cores, &self.nodes[other].cores) else {
            return String::new();
        };
        let (here, there) = (here.registry.map(), there.registry.map());
        let text = |record: Option<&Arc<Verified>>| {
            record.map_or("nothing".to_owned(), |record| {
                let word = if record.is_deleted() { "a tombstone" } else { "an entry" };
                let owner = self.index.get(&record.owner());
                format!("{word} {} of node {owner:?}, version {:?}", record.entry(), record.version())
            })
        };
        let keys = here.iter().chain(there.iter()).map(|record| record.key());
        let hash = |record: Option<&Arc<Verified>>| record.map(|record| *record.hash());
        let mut differing = keys.filter(|key| hash(here.get(key)) != hash(there.get(key)));
        differing
            .next()
            .map_or_else(String::new, |key| format!("{} and {}", text(here.get(&key)), text(there.get(&key))))
    }

    /// A number that two nodes have in common if they hold the same of all sane owners.
    fn digest(&self, at: usize) -> u128 {
        let node = &self.nodes[at];
        let wall_ms = node.wall_ms(self.now_ms);
        let short_lives = self.scenario.lifetime_seconds.is_some();
        let Some(cores) = &node.cores else { return 0 };
        let mut sum: u128 = 0;
        for record in cores.registry.map().iter() {
            let mad = self.index.get(&record.owner()).is_some_and(|owner| self.nodes[*owner].character.mad);
            let dying = record.expires_ms() < wall_ms + DYING_MS;
            if mad || dying {
                continue;
            }
            // Where entries are signed anew every few seconds, somebody always holds the last one but one.
            let content = if short_lives { [u8::from(record.is_deleted()); 32] } else { *record.hash() };
            let hash = blake3::keyed_hash(&content, &record.key().0);
            sum = sum.wrapping_add(u128::from_le_bytes(hash.as_bytes()[..16].try_into().expect("16 bytes")));
        }
        sum
    }
}
