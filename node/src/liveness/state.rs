//! The pure core: what is believed of every member, and what to do about it. No clock, no socket, no await; choices
//! come from a seed. Doubting is in `doubts.rs`, claims are in `claims.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Claim, Message, Signed, Standing};
use assetmesh_protocol::network::NetworkId;

use super::claims::Rumours;
use super::doubts::Doubts;
use super::health::Health;
use super::phi::Arrivals;
use super::random::Random;
use super::ring::{Ring, Slot};
use super::table::{Peer, Table};
use super::{Change, Config, Notary, PeerFact, PeerState, Why};

/// Monitors a node has in a big federation. Two of them must agree.
pub(super) const MONITORS: usize = 4;
/// This node's place in the ring.
const ME: Slot = 0;
/// A link that closed, to a peer that nobody watches, is forgotten after this.
const LINK_KEPT: Duration = Duration::from_secs(60);
/// A peer that has just become ours to watch must be dialled first.
const SETTLES: Duration = Duration::from_secs(3);
/// A link that gave no answer for this long counts as silent when the node asks whether it is itself at fault.
const SILENT: Duration = Duration::from_millis(3500);

/// What the state is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// The members of the federation, from the registry. Replaces the former set; this node may be among them.
    Members(Arc<BTreeSet<NodeKey>>),
    /// A peer is connected.
    LinkUp(NodeKey),
    /// The last connection to a peer has closed.
    LinkDown(NodeKey),
    /// A peer answered a ping.
    Heard {
        /// The peer.
        peer: NodeKey,
        /// How long the ping took.
        rtt: Duration,
    },
    /// A peer sent a message.
    Message {
        /// Who sent it, as the link proves.
        from: NodeKey,
        /// What it sent.
        message: Message,
    },
    /// Time has passed: expected every [`Config::tick`].
    Tick,
    /// The node stops in order. The state says so to its peers and does nothing afterwards.
    Leave,
}

/// What the state asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Keep links to these.
    Want(BTreeSet<NodeKey>),
    /// Send a message to a member, linked or not.
    Send {
        /// To whom.
        to: NodeKey,
        /// What.
        message: Message,
    },
    /// A peer's state has changed.
    Changed(Change),
    /// Others gave this node up, and it has said that it lives, with this incarnation.
    Refuted(u64),
    /// A peer sent a signature that does not fit.
    Forged(NodeKey),
}

/// Who the state belongs to.
#[derive(Debug)]
pub struct Start {
    /// This node.
    pub me: NodeKey,
    /// What signatures are bound to.
    pub network: NetworkId,
    /// This life of the node: milliseconds of the wall clock at its start.
    pub incarnation: u64,
    /// Makes its choices.
    pub seed: u64,
}

/// One connection, or what is left of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Link {
    pub(super) up: bool,
    changed: Duration,
    /// The last answered ping, or when it came up.
    last: Option<Duration>,
    rtt: Option<Duration>,
    arrivals: Arrivals,
    /// When its digest was last answered.
    pub(super) digested: Option<Duration>,
}

/// The pure state. See [`State::handle`].
#[derive(Debug)]
pub struct State {
    pub(super) me: NodeKey,
    pub(super) network: NetworkId,
    pub(super) config: Config,
    pub(super) notary: Box<dyn Notary>,
    pub(super) random: Random,
    pub(super) now: Duration,
    pub(super) table: Table,
    pub(super) ring: Ring,
    pub(super) links: BTreeMap<NodeKey, Link>,
    pub(super) health: Health,
    pub(super) doubts: Doubts,
    pub(super) rumours: Rumours,
    /// What this node says of itself.
    pub(super) own: Arc<Claim>,
    /// True while everybody watches everybody.
    pub(super) mesh: bool,
    /// Whom this node watches, and since when.
    watched: BTreeMap<Slot, Duration>,
    stale: bool,
    wanted: BTreeSet<NodeKey>,
    pub(super) out: Vec<Output>,
}

impl State {
    /// A node that has just started and knows nobody.
    #[must_use]
    pub fn new(start: Start, notary: Box<dyn Notary>, config: Config) -> Self {
        let mut ring = Ring::default();
        ring.insert(ME, &start.me);
        let own = own_claim(&*notary, &start.network, start.me, (start.incarnation, Standing::Alive));
        let mut table = Table::new(ME + 1);
        table.note(&own);
        Self {
            me: start.me,
            network: start.network,
            config,
            notary,
            random: Random::seeded(start.seed),
            now: Duration::ZERO,
            table,
            ring,
            links: BTreeMap::new(),
            health: Health::default(),
            doubts: Doubts::default(),
            rumours: Rumours::default(),
            own: Arc::new(own),
            mesh: true,
            watched: BTreeMap::new(),
            stale: false,
            wanted: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    /// Takes one input at a time that never goes back, and says what to do.
    pub fn handle(&mut self, now: Duration, input: Input) -> Vec<Output> {
        if self.own.standing == Standing::Left {
            return Vec::new();
        }
        self.now = self.now.max(now);
        if self.health.runs(self.now) {
            self.forget_doubts();
        }
        match input {
            Input::Members(members) => self.learn_members(&members),
            Input::LinkUp(peer) => self.link_up(peer),
            Input::LinkDown(peer) => self.link_down(peer),
            Input::Heard { peer, rtt } => self.heard(peer, rtt),
            Input::Message { from, message } => self.receive(from, message),
            Input::Tick => self.tick(),
            Input::Leave => self.leave(),
        }
        std::mem::take(&mut self.out)
    }

    /// What is known of every member.
    pub fn peers(&self) -> impl Iterator<Item = PeerFact> {
        self.table.iter().map(|(_, peer)| self.fact(peer))
    }

    /// What is thought of one member. `None` for a stranger, and for this node itself.
    #[must_use]
    pub fn state_of(&self, key: &NodeKey) -> Option<PeerState> {
        self.table.find(key).and_then(|slot| self.table.get(slot)).map(|peer| peer.state)
    }

    /// The present life of this node.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.own.incarnation
    }

    fn fact(&self, peer: &Peer) -> PeerFact {
        let rtt = self.links.get(&peer.key).filter(|link| link.up).and_then(|link| link.rtt);
        PeerFact { key: peer.key, state: peer.state, since: peer.since, rtt, last_heard: peer.heard }
    }

    fn learn_members(&mut self, members: &BTreeSet<NodeKey>) {
        let gone: Vec<Slot> = self
            .table
            .iter()
            .filter(|(_, peer)| !members.contains(&peer.key))
            .map(|(slot, _)| slot)
            .collect();
        let new: Vec<NodeKey> = members
            .iter()
            .filter(|key| **key != self.me && self.table.find(key).is_none())
            .copied()
            .collect();
        self.stale |= !gone.is_empty() || !new.is_empty();
        for slot in gone {
            self.doubts.forget(slot);
            self.watched.remove(&slot);
            self.ring.remove(slot);
            self.table.remove(slot);
        }
        let room = self.config.members_max.saturating_sub(self.table.len());
        let new = &new[..room.min(new.len())];
        for &key in new {
            let slot = self.table.insert(key, self.now);
            self.ring.insert(slot, &key);
        }
        self.choose_mode();
        for &key in new {
            if self.links.get(&key).is_some_and(|link| link.up) {
                self.evidence_of(key, Why::Heard);
                self.greet(key);
            }
            self.recall(key);
        }
        self.watch();
    }

    /// A small federation is a mesh, a big one has monitors. When it has grown, everybody announces itself anew: in a
    /// mesh each has its own opinion, with monitors all follow one.
    fn choose_mode(&mut self) {
        let mesh = self.table.len() < self.config.mesh_max;
        let grown = self.mesh && !mesh;
        self.mesh = mesh;
        if grown {
            self.announce(self.own.incarnation.saturating_add(1));
            self.believe_known();
        }
    }

    fn link_up(&mut self, peer: NodeKey) {
        let link = self.links.entry(peer).or_default();
        link.up = true;
        link.changed = self.now;
        link.last = Some(self.now);
        self.evidence_of(peer, Why::Heard);
        self.greet(peer);
    }

    fn link_down(&mut self, peer: NodeKey) {
        if let Some(link) = self.links.get_mut(&peer).filter(|link| link.up) {
            link.up = false;
            link.changed = self.now;
        }
    }

    fn heard(&mut self, peer: NodeKey, rtt: Duration) {
        let link = self.links.entry(peer).or_default();
        link.up = true;
        link.rtt = Some(rtt);
        if let Some(last) = link.last.replace(self.now).filter(|last| *last >= link.changed) {
            link.arrivals.learn(self.now.saturating_sub(last));
        }
        self.evidence_of(peer, Why::Heard);
    }

    fn receive(&mut self, from: NodeKey, message: Message) {
        if from == self.me {
            return;
        }
        self.evidence_of(from, Why::Heard);
        match message {
            Message::Claims(claims) => self.take_claims(from, claims),
            Message::Digest { buckets, answer } => self.compare(from, &buckets, answer),
            Message::Doubt { target, incarnation, standing, nonce } => {
                self.help(from, &Claim { target, incarnation, standing, signed: Vec::new() }, nonce);
            }
            Message::Ballot(claim) => self.count_ballot(from, &claim),
            Message::Challenge { nonce } => self.prove(from, nonce),
            Message::Proof(proof) => self.take_proof(from, proof),
        }
    }

    fn tick(&mut self) {
        self.watch();
        let now = self.now;
        let heard_once = self.links.values().filter(|link| link.arrivals.count() > 0);
        let (mut known, mut silent) = (0, 0);
        for link in heard_once.filter(|link| link.up || now < link.changed + SILENT * 4) {
            known += 1;
            silent += usize::from(link.last.is_none_or(|last| now.saturating_sub(last) > SILENT));
        }
        self.health.hears(now, known, silent);
        let looked_at: BTreeSet<Slot> = self.watched.keys().copied().chain(self.doubted()).collect();
        for slot in looked_at {
            self.judge(slot);
        }
        self.step_in();
        self.cast_ballots();
        self.end_holds();
        self.spread_again();
        self.digest_now();
        let links = &self.links;
        let kept = |link: &Link, key| link.up || now < link.changed + LINK_KEPT || self.wanted.contains(key);
        if links.iter().any(|(key, link)| !kept(link, key)) {
            self.links =
                links.iter().filter(|(key, link)| kept(link, key)).map(|(k, l)| (*k, l.clone())).collect();
        }
    }

    fn leave(&mut self) {
        let incarnation = self.own.incarnation;
        self.own = Arc::new(own_claim(&*self.notary, &self.network, self.me, (incarnation, Standing::Left)));
        let farewell = Message::Claims(vec![self.own.clone()]);
        let linked: Vec<NodeKey> = self.linked().collect();
        for to in linked {
            self.send(to, farewell.clone());
        }
    }

    /// Finds out whom to watch and whom to be linked with, if members or their states have changed.
    fn watch(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let present = |slot: &Slot| self.table.get(*slot).is_some_and(|peer| peer.state != PeerState::Left);
        let watched: Vec<Slot> = if self.mesh {
            self.table.iter().map(|(slot, _)| slot).filter(present).collect()
        } else {
            self.ring.targets_of(ME, MONITORS).filter(present).collect()
        };
        let former = std::mem::take(&mut self.watched);
        self.watched =
            watched.into_iter().map(|slot| (slot, former.get(&slot).copied().unwrap_or(self.now))).collect();
        for slot in former.into_keys().filter(|slot| !self.watched.contains_key(slot)) {
            self.doubts.drop_doubt(slot);
        }
        let monitors = self.ring.of(ME).iter().take(MONITORS);
        let wanted: BTreeSet<NodeKey> =
            self.watched.keys().chain(monitors).filter_map(|slot| Some(self.table.get(*slot)?.key)).collect();
        if wanted != self.wanted {
            self.wanted.clone_from(&wanted);
            self.out.push(Output::Want(wanted));
        }
    }

    /// The linked members.
    pub(super) fn linked(&self) -> impl Iterator<Item = NodeKey> {
        self.links.iter().filter(|(_, link)| link.up).map(|(key, _)| *key)
    }

    pub(super) fn send(&mut self, to: NodeKey, message: Message) {
        self.out.push(Output::Send { to, message });
    }

    fn evidence_of(&mut self, key: NodeKey, why: Why) {
        if let Some(slot) = self.table.find(&key) {
            self.evidence(slot, why);
        }
    }

    /// The peer is alive now, whatever others say. In a big federation they are told by the peer itself.
    pub(super) fn evidence(&mut self, slot: Slot, why: Why) {
        self.doubts.drop_doubt(slot);
        let Some(peer) = self.table.get_mut(slot) else { return };
        peer.heard = Some(self.now);
        peer.relayed = why == Why::Proved;
        if peer.state == PeerState::Alive {
            return;
        }
        match peer.standing() {
            // What left may still answer for a moment. Only a new life of it is news.
            Some(Standing::Left) => {}
            Some(Standing::Suspect | Standing::Down) if !self.mesh => {
                self.contradict(slot);
                self.set_state(slot, PeerState::Alive, why);
            }
            _ => self.set_state(slot, PeerState::Alive, why),
        }
    }

    /// How long a watched peer has been silent, as far as this node may judge.
    pub(super) fn silence(&self, slot: Slot) -> Option<Duration> {
        let peer = self.table.get(slot)?;
        let from = self.watched.get(&slot)?;
        let last = match peer.heard {
            Some(heard) if heard >= *from => heard,
            // One that is alive by its own word only has been silent since then.
            heard => heard.unwrap_or(peer.since).max(*from + SETTLES),
        };
        let last = last.max(self.health.judges_from());
        Some(self.now.saturating_sub(last))
    }

    /// True if a silence of a peer is longer than its habits explain.
    pub(super) fn is_silent(&self, slot: Slot) -> bool {
        let (Some(silence), Some(peer)) = (self.silence(slot), self.table.get(slot)) else { return false };
        let link = self.links.get(&peer.key);
        // A closed link is evidence, though no proof: a connection can be reset while both ends live.
        let closed = link.is_some_and(|link| !link.up);
        let pause = match (closed, self.mesh) {
            (true, _) => Duration::ZERO,
            (false, true) => self.config.pause,
            (false, false) => self.config.monitors_pause,
        };
        let arrivals = link.map(|link| link.arrivals).unwrap_or_default();
        arrivals.phi(silence / self.health.factor(self.now), pause) > self.config.phi
    }

    pub(super) fn set_state(&mut self, slot: Slot, to: PeerState, why: Why) {
        let Some(peer) = self.table.get_mut(slot).filter(|peer| peer.state != to) else { return };
        let change = Change { peer: peer.key, from: peer.state, to, why };
        peer.state = to;
        peer.since = self.now;
        self.ring.set_candidate(slot, matches!(to, PeerState::Alive | PeerState::Suspect));
        self.stale = true;
        self.out.push(Output::Changed(change));
    }

    /// Signs a new claim of this node about itself.
    pub(super) fn announce(&mut self, incarnation: u64) {
        self.table.note(&self.own);
        let claim = own_claim(&*self.notary, &self.network, self.me, (incarnation, Standing::Alive));
        self.own = Arc::new(claim);
        self.table.note(&self.own);
        self.spread(self.own.clone(), None);
    }
}

fn own_claim(notary: &dyn Notary, network: &NetworkId, me: NodeKey, life: (u64, Standing)) -> Claim {
    let (incarnation, standing) = life;
    let signature = notary.sign(&Claim::statement(network, &me, incarnation, standing));
    Claim { target: me, incarnation, standing, signed: vec![Signed { by: me, signature }] }
}
