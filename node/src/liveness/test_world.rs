//! A few states on one clock, with links that can be cut and nodes that can be stopped. The simulator of the test crate
//! is the big one; this one shows single steps.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Claim, Message, Signature, Signed, Standing};
use assetmesh_protocol::network::{NetworkId, NetworkName};

use super::ring::Ring;
use super::{Change, Config, Input, Notary, Output, PeerState, Start, State};

/// A signature is a hash that only this module's worlds believe in.
#[derive(Debug)]
pub(super) struct Seals(pub(super) NodeKey);

impl Notary for Seals {
    fn sign(&self, statement: &[u8]) -> Signature {
        let half = blake3::keyed_hash(self.0.as_bytes(), statement);
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(half.as_bytes());
        Signature(signature)
    }

    fn verify(&self, signer: &NodeKey, statement: &[u8], signature: &Signature) -> bool {
        Self(*signer).sign(statement) == *signature
    }
}

pub(super) fn key(number: usize) -> NodeKey {
    NodeKey(blake3::hash(&number.to_le_bytes()).into())
}

pub(super) fn network() -> NetworkId {
    NetworkId::new(&NetworkName::default(), None)
}

/// A claim with real seals of `signers`.
pub(super) fn claim(target: usize, incarnation: u64, standing: Standing, signers: &[usize]) -> Claim {
    let statement = Claim::statement(&network(), &key(target), incarnation, standing);
    let signed = signers
        .iter()
        .map(|&signer| Signed { by: key(signer), signature: Seals(key(signer)).sign(&statement) })
        .collect();
    Claim { target: key(target), incarnation, standing, signed }
}

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    config: Config,
    cuts: BTreeSet<(usize, usize)>,
    /// Delivered one step after they were sent.
    mail: VecDeque<(usize, usize, Message)>,
    pub(super) changes: Vec<(Duration, usize, Change)>,
    pub(super) forged: Vec<(usize, NodeKey)>,
    nonces: Vec<(usize, u64)>,
    /// Messages so far.
    pub(super) sent: usize,
}

pub(super) struct Node {
    pub(super) state: State,
    pub(super) runs: bool,
    stopped: bool,
    linked: BTreeSet<usize>,
    wanted: BTreeSet<NodeKey>,
    unread: Vec<Input>,
}

/// One step of the world.
const STEP: Duration = Duration::from_millis(100);

fn fresh(at: usize, incarnation: u64, config: &Config) -> State {
    let start = Start { me: key(at), network: network(), incarnation, seed: at as u64 };
    State::new(start, Box::new(Seals(key(at))), config.clone())
}

impl World {
    /// All nodes know all, and start at once.
    pub(super) fn of(count: usize, config: Config) -> Self {
        let nodes = (0..count)
            .map(|at| Node {
                state: fresh(at, 1000, &config),
                runs: true,
                stopped: false,
                linked: BTreeSet::new(),
                wanted: BTreeSet::new(),
                unread: Vec::new(),
            })
            .collect();
        let mut world = Self {
            now: Duration::ZERO,
            nodes,
            config,
            cuts: BTreeSet::new(),
            mail: VecDeque::new(),
            changes: Vec::new(),
            forged: Vec::new(),
            nonces: Vec::new(),
            sent: 0,
        };
        for at in 0..count {
            world.meet(at);
        }
        world
    }

    fn meet(&mut self, at: usize) {
        let members: BTreeSet<NodeKey> = (0..self.nodes.len()).map(key).collect();
        self.give(at, Input::Members(Arc::new(members)));
    }

    pub(super) fn give(&mut self, at: usize, input: Input) {
        let node = &mut self.nodes[at];
        if !node.runs {
            return;
        }
        if node.stopped {
            node.unread.push(input);
            return;
        }
        let outputs = node.state.handle(self.now, input);
        for output in outputs {
            match output {
                Output::Want(wanted) => self.nodes[at].wanted = wanted,
                Output::Send { to, message } => {
                    let to = (0..self.nodes.len()).find(|other| key(*other) == to).unwrap();
                    self.sent += 1;
                    if let Message::Doubt { nonce, .. } = message {
                        self.nonces.push((to, nonce));
                    }
                    let bytes = message.to_bytes().unwrap();
                    self.mail.push_back((at, to, Message::from_bytes(&bytes).unwrap()));
                }
                Output::Changed(change) => self.changes.push((self.now, at, change)),
                Output::Forged(peer) => self.forged.push((at, peer)),
                Output::Refuted(_) => {}
            }
        }
    }

    fn open(&self, one: usize, other: usize) -> bool {
        self.nodes[one].runs
            && self.nodes[other].runs
            && !self.cuts.contains(&(one.min(other), one.max(other)))
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while self.now < until {
            self.now += STEP;
            for (from, to, message) in std::mem::take(&mut self.mail) {
                if self.open(from, to) {
                    self.give(to, Input::Message { from: key(from), message });
                }
            }
            let ms = self.now.as_millis();
            for at in 0..self.nodes.len() {
                if ms.is_multiple_of(500) {
                    self.link(at);
                    self.give(at, Input::Tick);
                }
                if ms.is_multiple_of(1000) {
                    self.ping(at);
                }
            }
        }
    }

    fn link(&mut self, at: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let linked = self.nodes[at].linked.contains(&other);
            let wanted = self.nodes[at].wanted.contains(&key(other));
            if linked && !self.open(at, other) {
                self.unlink(at, other);
            } else if !linked && wanted && self.open(at, other) {
                for (one, two) in [(at, other), (other, at)] {
                    self.nodes[one].linked.insert(two);
                    self.give(one, Input::LinkUp(key(two)));
                }
            }
        }
    }

    fn unlink(&mut self, one: usize, other: usize) {
        for (one, two) in [(one, other), (other, one)] {
            self.nodes[one].linked.remove(&two);
            self.give(one, Input::LinkDown(key(two)));
        }
    }

    fn ping(&mut self, at: usize) {
        let answering: Vec<usize> =
            self.nodes[at].linked.iter().copied().filter(|&other| !self.nodes[other].stopped).collect();
        for other in answering {
            self.give(at, Input::Heard { peer: key(other), rtt: Duration::from_millis(3) });
        }
    }

    /// SIGSTOP and SIGCONT.
    pub(super) fn stop(&mut self, at: usize, stopped: bool) {
        self.nodes[at].stopped = stopped;
        if !stopped {
            for input in std::mem::take(&mut self.nodes[at].unread) {
                self.give(at, input);
            }
        }
    }

    pub(super) fn crash(&mut self, at: usize) {
        self.nodes[at].runs = false;
    }

    pub(super) fn start(&mut self, at: usize, incarnation: u64) {
        let node = &mut self.nodes[at];
        node.state = fresh(at, incarnation, &self.config);
        node.runs = true;
        node.linked.clear();
        self.meet(at);
    }

    pub(super) fn cut(&mut self, one: usize, other: usize, cut: bool) {
        let pair = (one.min(other), one.max(other));
        if cut {
            self.cuts.insert(pair)
        } else {
            self.cuts.remove(&pair)
        };
    }

    pub(super) fn sees(&self, at: usize, other: usize) -> PeerState {
        self.nodes[at].state.state_of(&key(other)).unwrap()
    }

    /// True if all running nodes think so of `target`.
    pub(super) fn all_see(&self, target: usize, state: PeerState) -> bool {
        let others = (0..self.nodes.len()).filter(|at| *at != target && self.nodes[*at].runs);
        others.into_iter().all(|at| self.sees(at, target) == state)
    }

    /// Seconds until all running nodes think so, at most `most`.
    pub(super) fn until_all_see(&mut self, target: usize, state: PeerState, most: u64) -> u64 {
        (0..=most)
            .find(|_| {
                let seen = self.all_see(target, state);
                if !seen {
                    self.run(1);
                }
                seen
            })
            .unwrap_or_else(|| panic!("{target} is not {state} for all after {most} s: {:?}", self.changes))
    }

    /// The four nodes that watch another.
    pub(super) fn monitors_of(&self, target: usize) -> Vec<usize> {
        let mut ring = Ring::default();
        (0u32..).zip(0..self.nodes.len()).for_each(|(slot, at)| ring.insert(slot, &key(at)));
        let slot = u32::try_from(target).unwrap();
        ring.of(slot)[..4].iter().map(|slot| *slot as usize).collect()
    }

    /// The last message on its way to a node.
    pub(super) fn sent_to(&self, at: usize) -> Option<Message> {
        self.mail.iter().rev().find(|(_, to, _)| *to == at).map(|(_, _, message)| message.clone())
    }

    /// The nonce that a node was asked to bring a proof for.
    pub(super) fn asked_nonce(&self, at: usize) -> Option<u64> {
        self.nonces.iter().find(|(to, _)| *to == at).map(|(_, nonce)| *nonce)
    }

    /// True if nothing changed but what others think of `targets`, and what those think at their start.
    pub(super) fn only_about(&self, targets: &[usize]) -> bool {
        self.changes
            .iter()
            .all(|(_, at, change)| targets.iter().any(|target| key(*target) == change.peer || target == at))
    }

    /// Changes of which a test wants none.
    pub(super) fn changes_to(&self, state: PeerState) -> Vec<&(Duration, usize, Change)> {
        self.changes.iter().filter(|(_, _, change)| change.to == state).collect()
    }
}
