//! One world: the real cores of all nodes on one virtual clock. It carries their outputs to each other and lets time
//! pass; what goes wrong is decided in `faults.rs`, what must hold in `judge.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_node::registry::{Input as RegistryInput, Output as RegistryOutput, StateConfig, Taken, Way};
use assetmesh_node::{liveness, registry};
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{Verified, Verifier};

use super::controls::Control;
use super::faults::Fault;
use super::ledger::Ledger;
use super::network::{LINK_DIES_AFTER_MS, Network};
use super::node::{Cores, Mail, Node, Packet, Ticket, network};
use super::queue::Queue;
use super::scenario::Scenario;
use super::watch::{Event as Awaited, Measures, Watch};
use crate::random::Random;

/// Time between two ticks of a node; every second one is a second.
const TICK_MS: u64 = 500;
/// Links that a gossip message is passed on to: the most that the mesh of gossipsub has. Its later offers to others,
/// which make up for losses, are not modelled.
const GOSSIP_TO: usize = 12;
/// Seconds between two anti-entropy sessions of a node.
const SYNC_EVERY_S: u64 = 30;
/// Links below which a node tries members that it merely knows.
const LINKS_MIN: usize = 6;
/// How long after its start a node dials every second.
const YOUNG_MS: u64 = 5_000;
/// An unanswered anti-entropy session begins again after this.
const SESSION_MS: u64 = 2_000;
/// Mail that waits for a stopped node. More is dropped, as by full mailboxes and socket buffers.
const INBOX_MAX: usize = 4_096;

/// What can happen.
#[derive(Debug)]
pub(super) enum Event {
    Tick { at: usize, life: u32 },
    Mail { at: usize, life: u32, mail: Mail },
    Wake { at: usize, life: u32 },
    Fault(Fault),
    Back { at: usize, wiped: bool },
    Write,
    Lie { at: usize },
    Stall { at: usize },
    Deadline { target: usize, event: Awaited, since_ms: u64 },
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) now_ms: u64,
    pub(super) random: Random,
    pub(super) queue: Queue<Event>,
    pub(super) nodes: Vec<Node>,
    pub(super) index: BTreeMap<NodeKey, usize>,
    pub(super) network: Network,
    pub(super) ledger: Ledger,
    pub(super) watch: Watch,
    pub(super) measures: Measures,
    pub(super) registry_config: StateConfig,
    pub(super) liveness_config: liveness::Config,
    pub(super) verifier: Verifier,
    pub(super) tickets: u64,
    /// Envelopes that liars have overheard.
    pub(super) overheard: VecDeque<Packet>,
    /// Lines of what happened, if anybody wants them.
    pub(super) trace: Option<Vec<String>>,
    heard: Vec<usize>,
}

impl World {
    pub(super) fn new(scenario: Scenario, seed: u64, registry_config: StateConfig, control: Control) -> Self {
        let mut random = Random::seeded(seed);
        let loss = scenario.loss_percent.draw(&mut random);
        let delay = scenario.delay_ms.draw(&mut random);
        let jitter = scenario.jitter_ms.draw(&mut random);
        let liveness_config = liveness::Config { mesh_max: scenario.mesh_max, ..liveness::Config::default() };
        let liveness_config = control.liveness(liveness_config);
        Self {
            network: Network::new(loss, delay, jitter),
            scenario,
            now_ms: 0,
            random,
            queue: Queue::new(),
            nodes: Vec::new(),
            index: BTreeMap::new(),
            ledger: Ledger::default(),
            watch: Watch::default(),
            measures: Measures::default(),
            registry_config,
            liveness_config,
            verifier: Verifier::new(network()),
            tickets: 0,
            overheard: VecDeque::new(),
            trace: None,
            heard: Vec::new(),
        }
    }

    /// Lets everything happen that happens before `end_ms`.
    pub(super) fn run_until(&mut self, end_ms: u64) {
        while let Some((at_ms, event)) = self.queue.pop_before(end_ms) {
            self.now_ms = at_ms;
            self.happen(event);
        }
        self.now_ms = end_ms;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick { at, life } if self.nodes[at].life == life => self.tick(at),
            Event::Mail { at, life, mail } if self.nodes[at].life == life => self.receive(at, mail),
            Event::Wake { at, life } if self.nodes[at].life == life => self.wake(at),
            Event::Tick { .. } | Event::Mail { .. } | Event::Wake { .. } => {}
            Event::Fault(fault) => self.break_something(fault),
            Event::Back { at, wiped } => self.come_back(at, wiped),
            Event::Write => self.write(),
            Event::Lie { at } => self.lie(at),
            Event::Stall { at } => self.stall(at),
            Event::Deadline { target, event, since_ms } => self.check_deadline(target, event, since_ms),
        }
    }

    pub(super) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:9.3} {}", self.now_ms as f64 / 1000.0, line()));
        }
    }

    /// Starts the cores of a node that does not run.
    pub(super) fn start(&mut self, at: usize) {
        let (liveness, registry) = (&self.liveness_config, &self.registry_config);
        let description = self.nodes[at].start(self.now_ms, liveness, registry);
        self.note(|| format!("node {at} starts"));
        self.registry(at, RegistryInput::Describe(description));
        let phase = self.random.within(0..TICK_MS);
        let life = self.nodes[at].life;
        self.queue.push(self.now_ms + phase, Event::Tick { at, life });
    }

    fn tick(&mut self, at: usize) {
        let node = &self.nodes[at];
        let life = node.life;
        if node.is_stopped(self.now_ms) {
            let late = self.random.within(0..2);
            self.queue.push(node.stopped.1 + late, Event::Tick { at, life });
            return;
        }
        self.queue.push(self.now_ms + TICK_MS, Event::Tick { at, life });
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        cores.ticks += 1;
        let ticks = cores.ticks;
        if std::mem::take(&mut cores.members_changed) {
            let members: BTreeSet<NodeKey> = cores.registry.members().keys().copied().collect();
            self.liveness(at, liveness::Input::Members(Arc::new(members)));
        }
        // The first second begins at the start.
        if !ticks.is_multiple_of(2) {
            self.second(at, ticks / 2);
        }
        self.liveness(at, liveness::Input::Tick);
    }

    fn second(&mut self, at: usize, seconds: u64) {
        self.measures.node_ms += 1000;
        self.ping(at);
        self.dial(at);
        self.registry(at, RegistryInput::Tick);
        let now_ms = self.now_ms;
        let mut again = Vec::new();
        let Node { cores: Some(cores), disk, .. } = &mut self.nodes[at] else { return };
        for record in cores.unsaved.drain(..) {
            disk.records.insert(record.key(), record);
        }
        let broken = cores.sessions.iter().filter(|(_, running)| now_ms >= running.until_ms);
        for with in broken.map(|(with, _)| *with).collect::<Vec<_>>() {
            cores.sessions.remove(&with);
            again.push(with);
        }
        again.retain(|with| self.network.is_linked(at, *with));
        if seconds % SYNC_EVERY_S == at as u64 % SYNC_EVERY_S {
            again.extend(self.network.some_links(at, None, 1, &mut self.random));
        }
        again.into_iter().for_each(|with| self.sync(at, with));
    }

    /// One ping over every link: an answer is heard, and a link without answers dies in the end.
    fn ping(&mut self, at: usize) {
        let now_ms = self.now_ms;
        let mut heard = std::mem::take(&mut self.heard);
        let links: Vec<(usize, u64)> =
            self.network.answered(at).map(|(other, last)| (other, *last)).collect();
        for (other, last_ms) in links {
            let open = self.nodes[other].answers(now_ms) && self.network.both_open(at, other, now_ms);
            if open && self.network.answers(&mut self.random) {
                heard.push(other);
            } else if now_ms > last_ms + LINK_DIES_AFTER_MS && self.network.unlink(at, other) {
                self.deliver(at, Mail::Down(other));
                self.post_mail(other, Mail::Down(at));
            }
        }
        for (other, last) in self.network.answered(at) {
            if heard.binary_search(&other).is_ok() {
                *last = now_ms;
            }
        }
        let rtt = Duration::from_millis(self.network.delay(&mut self.random) * 2);
        for other in heard.drain(..) {
            let peer = self.nodes[other].key;
            self.liveness(at, liveness::Input::Heard { peer, rtt });
        }
        self.heard = heard;
    }

    /// Tries to reach whom the node wants to be linked with, and those it was told to begin with.
    fn dial(&mut self, at: usize) {
        let node = &self.nodes[at];
        let missing: Vec<usize> = node
            .wanted
            .iter()
            .chain(&node.bootstrap)
            .copied()
            .filter(|other| *other != at && !self.network.is_linked(at, *other))
            .collect();
        for other in missing.into_iter().chain(self.hint(at)) {
            let open =
                self.nodes[other].answers(self.now_ms) && self.network.both_open(at, other, self.now_ms);
            // Redials back off: not every second sees one. A node that has just started has not failed often.
            let young = self.now_ms < self.nodes[at].started_ms + YOUNG_MS;
            if open && (young || self.random.chance(60)) && self.network.answers(&mut self.random) {
                self.connect(at, other);
            }
        }
    }

    /// A member that a node with few links tries, though nobody asked for it.
    fn hint(&mut self, at: usize) -> Option<usize> {
        if self.network.links(at).take(LINKS_MIN).count() == LINKS_MIN {
            return None;
        }
        let cores = self.nodes[at].cores.as_ref()?;
        let known = cores.registry.members().keys().filter_map(|key| self.index.get(key)).copied();
        let known: Vec<usize> =
            known.filter(|other| *other != at && !self.network.is_linked(at, *other)).collect();
        (!known.is_empty()).then(|| *self.random.pick(&known))
    }

    pub(super) fn connect(&mut self, one: usize, other: usize) {
        if !self.network.is_linked(one, other) {
            self.network.link(one, other, self.now_ms);
            self.deliver(one, Mail::Up(other));
            self.deliver(other, Mail::Up(one));
            self.sync(one.min(other), one.max(other));
        }
    }

    /// Puts something on its way that no cut or loss stops.
    pub(super) fn post_mail(&mut self, at: usize, mail: Mail) {
        let delay = self.network.delay(&mut self.random);
        let life = self.nodes[at].life;
        self.queue.push(self.now_ms + delay, Event::Mail { at, life, mail });
    }

    /// Sends a packet, which may be lost.
    pub(super) fn post(&mut self, from: usize, to: usize, packet: Packet) {
        self.measures.messages += 1;
        let dials = if self.network.is_linked(from, to) { 0 } else { 2 };
        let open = self.nodes[to].runs() && self.network.is_open(from, to, self.now_ms);
        let carried = (0..=dials).all(|_| self.network.carries(&mut self.random));
        if !open || !carried || (dials > 0 && !self.network.both_open(from, to, self.now_ms)) {
            return;
        }
        let delay = (0..=dials).map(|_| self.network.delay(&mut self.random)).sum::<u64>();
        let life = self.nodes[to].life;
        let mail = Mail::Packet(from, packet);
        self.queue.push(self.now_ms + delay, Event::Mail { at: to, life, mail });
    }

    fn receive(&mut self, at: usize, mail: Mail) {
        if self.nodes[at].is_stopped(self.now_ms) {
            let inbox = &mut self.nodes[at].inbox;
            if inbox.len() < INBOX_MAX {
                inbox.push(mail);
            }
            return;
        }
        self.deliver(at, mail);
    }

    fn wake(&mut self, at: usize) {
        if self.nodes[at].is_stopped(self.now_ms) {
            return;
        }
        for mail in std::mem::take(&mut self.nodes[at].inbox) {
            self.deliver(at, mail);
        }
    }

    pub(super) fn deliver(&mut self, at: usize, mail: Mail) {
        match mail {
            Mail::Up(peer) => self.liveness(at, liveness::Input::LinkUp(self.nodes[peer].key)),
            Mail::Down(peer) => self.liveness(at, liveness::Input::LinkDown(self.nodes[peer].key)),
            Mail::Packet(from, packet) => self.take(at, from, packet),
        }
    }

    fn take(&mut self, at: usize, from: usize, packet: Packet) {
        let sender = self.nodes[from].key;
        match packet {
            Packet::Liveness(message) => {
                self.liveness(at, liveness::Input::Message { from: sender, message });
            }
            Packet::Gossip(record) => {
                let heard = RegistryInput::Heard { from: sender, record: record.clone(), way: Way::Gossip };
                if self.registry(at, heard) {
                    self.gossip(at, &record, Some(from));
                }
            }
            Packet::Raw(envelope) => {
                if self.verifier.verify(envelope).is_ok() {
                    self.violate(format!("node {at} believed a forged envelope of node {from}"));
                }
            }
            Packet::Ask { session, ask } => self.answer(at, from, session, ask),
            Packet::Answer { session, answer } => self.answered(at, from, session, answer),
            Packet::Forward { ticket, entry, change } => self.forwarded(at, (from, ticket), entry, change),
            Packet::Forwarded { ticket, record } => self.forward_done(at, from, ticket, record),
        }
    }

    pub(super) fn gossip(&mut self, at: usize, record: &Arc<Verified>, except: Option<usize>) {
        for to in self.network.some_links(at, except, GOSSIP_TO, &mut self.random) {
            self.post(at, to, Packet::Gossip(record.clone()));
        }
    }

    /// Gives an input to a node's liveness and does what it asks for.
    pub(super) fn liveness(&mut self, at: usize, input: liveness::Input) {
        let now = Duration::from_millis(self.now_ms);
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        for output in cores.liveness.handle(now, input) {
            match output {
                liveness::Output::Want(peers) => {
                    let wanted = peers.iter().filter_map(|peer| self.index.get(peer)).copied().collect();
                    self.nodes[at].wanted = wanted;
                }
                liveness::Output::Send { to, message } => {
                    if let Some(&to) = self.index.get(&to) {
                        self.post(at, to, Packet::Liveness(message));
                    }
                }
                liveness::Output::Changed(change) => self.judge_change(at, &change),
                liveness::Output::Refuted(_) => self.measures.refutations += 1,
                liveness::Output::Forged(peer) => self.blamed(at, peer),
            }
        }
    }

    /// Gives an input to a node's registry and does what it asks for. True if an envelope was news.
    pub(super) fn registry(&mut self, at: usize, input: RegistryInput) -> bool {
        let wall_ms = self.nodes[at].wall_ms(self.now_ms);
        let mut news = false;
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(cores) = self.nodes[at].cores.as_mut() else { return news };
            for output in cores.registry.handle(wall_ms, input) {
                match output {
                    RegistryOutput::Heard(taken) => news |= taken == Taken::New,
                    other => inputs.extend(self.perform(at, other)),
                }
            }
        }
        news
    }

    /// Does one thing for a registry. What follows from it is another input.
    fn perform(&mut self, at: usize, output: RegistryOutput) -> Option<RegistryInput> {
        let Node { cores: Some(cores), disk, .. } = &mut self.nodes[at] else { return None };
        match output {
            RegistryOutput::Persist(record, origin) => {
                keep_tombstone(cores, &record);
                self.ledger.made(&record);
                disk.records.insert(record.key(), record.clone());
                disk.mark = cores.registry.mark();
                return Some(RegistryInput::Persisted(record, origin));
            }
            RegistryOutput::Keep(record) => {
                keep_tombstone(cores, &record);
                cores.unsaved.push(record);
            }
            RegistryOutput::Drop(key) => {
                cores.unsaved.retain(|record| record.key() != key);
                disk.records.remove(&key);
            }
            RegistryOutput::Publish(record) => self.gossip(at, &record, None),
            RegistryOutput::Answer { ticket, result } => {
                let ticket = cores.tickets.remove(&ticket);
                self.answer_change(at, ticket, result.ok());
            }
            RegistryOutput::Penalise(peer, _) => self.blamed(at, peer),
            RegistryOutput::Member(..) => cores.members_changed = true,
            RegistryOutput::Heard(_) | RegistryOutput::Equivocation { .. } => {}
        }
        None
    }

    fn answer_change(&mut self, at: usize, ticket: Option<Ticket>, record: Option<Arc<Verified>>) {
        match (ticket, record) {
            (Some(Ticket::Client), Some(record)) => self.ledger.acknowledge(record),
            (Some(Ticket::Peer(peer, ticket)), record) => {
                self.post(at, peer, Packet::Forwarded { ticket, record });
            }
            _ => {}
        }
    }

    pub(super) fn sync(&mut self, at: usize, with: usize) {
        self.tickets += 1;
        let id = self.tickets;
        let until_ms = self.now_ms + SESSION_MS;
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        let session = registry::sync::Session::default();
        cores.sessions.entry(with).or_insert(super::node::Running { id, session, until_ms });
        self.sync_on(at, with);
    }

    fn sync_on(&mut self, at: usize, with: usize) {
        let until_ms = self.now_ms + SESSION_MS;
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        let Some(running) = cores.sessions.get_mut(&with) else { return };
        match running.session.next(cores.registry.map()) {
            Some(ask) => {
                running.until_ms = until_ms;
                let session = running.id;
                self.post(at, with, Packet::Ask { session, ask });
            }
            None => drop(cores.sessions.remove(&with)),
        }
    }

    fn answer(&mut self, at: usize, from: usize, session: u64, ask: registry::sync::Ask) {
        let (question, given) = registry::sync::part(ask);
        let taken = self.merge(at, from, given);
        let Some(cores) = self.nodes[at].cores.as_ref() else { return };
        let answer = registry::sync::answer(cores.registry.map(), &question, taken);
        self.post(at, from, Packet::Answer { session, answer });
    }

    fn answered(&mut self, at: usize, from: usize, session: u64, answer: registry::sync::Answer) {
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        let running = cores.sessions.get_mut(&from).filter(|running| running.id == session);
        let Some(running) = running else { return };
        let envelopes = running.session.answered(cores.registry.map(), answer);
        let news = self.merge(at, from, envelopes);
        let Some(cores) = self.nodes[at].cores.as_mut() else { return };
        if let Some(running) = cores.sessions.get_mut(&from) {
            running.session.merged(news);
            self.sync_on(at, from);
        }
    }

    pub(super) fn merge(&mut self, at: usize, from: usize, envelopes: Vec<Arc<Verified>>) -> usize {
        let from = self.nodes[from].key;
        let mut news = 0;
        for record in envelopes {
            let heard = RegistryInput::Heard { from, record, way: Way::Sync };
            news += usize::from(self.registry(at, heard));
        }
        news
    }
}

fn keep_tombstone(cores: &mut Cores, record: &Verified) {
    if record.is_deleted() {
        cores.tombstones.insert(record.key(), record.version());
    }
}
