//! Decides whom to dial and when, which connections make a link, and who is refused. Pure: no clock, no socket, no
//! await, and no chance but the seed it is given.

mod book;
mod borrow;
mod bucket;
mod conduct;
mod dial;
mod dice;
mod links;
mod pace;
mod retry;
mod stranded;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

pub(super) use book::Remembered;
pub(super) use borrow::Borrow;

use super::address::Address;
use super::{Link, LinkEvent, Offence, Service, limits};
use book::{Book, Source};
use borrow::Borrowed;
use conduct::Conduct;
use dice::Dice;
use links::{Connected, Remedy};
use pace::Pace;
use retry::Retry;

/// What a dial is meant to reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// A node that is known by its key.
    Peer(NodeKey),
    /// Whoever listens at the bootstrap address of this number.
    Bootstrap(usize),
}

/// Why a dial led nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missed {
    /// Nobody answered, or the connection was refused on either side.
    Nobody,
    /// This node itself is there.
    Own,
    /// Another node is at this address.
    Other { peer: NodeKey, at: Multiaddr },
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// Time has passed.
    Tick,
    /// Where this node listens.
    Listening(BTreeSet<Multiaddr>),
    /// A member says where it listens.
    Know { peer: NodeKey, addresses: Vec<Multiaddr> },
    /// Somebody says where a peer may be.
    Hint { peer: NodeKey, addresses: Vec<Multiaddr> },
    /// Those above want links to these, and no longer to others.
    Want(BTreeSet<NodeKey>),
    /// These are to be cut off, and no longer others.
    Block(BTreeSet<NodeKey>),
    /// A connection is open. `dialled`: this node began it, for this target if it was its own decision.
    Opened { peer: NodeKey, connection: ConnectionId, at: Multiaddr, dialled: Option<Option<Target>> },
    /// A peer has shown which federation it belongs to, and says where it listens.
    Identified { peer: NodeKey, ours: bool, addresses: Vec<Multiaddr> },
    /// A connection is closed.
    Closed { peer: NodeKey, connection: ConnectionId },
    /// A dial has failed.
    Missed { target: Target, missed: Missed },
    /// A ping came back.
    Heard { peer: NodeKey, connection: ConnectionId, rtt: Duration },
    /// A peer did something wrong.
    Offended { peer: NodeKey, offence: Offence },
    /// All connections are gone, because the swarm was built again.
    Rebuilt,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Dial these addresses.
    Dial { target: Target, addresses: Vec<Multiaddr> },
    /// Close one connection.
    Close(ConnectionId),
    /// Close all connections of a peer.
    Cut(NodeKey),
    /// Close all connections of a peer and let none in.
    Refuse(NodeKey),
    /// Let a peer in again.
    Admit(NodeKey),
    /// The peer has been banned.
    Banned(NodeKey),
    /// Ask the DHT where a peer is.
    LookUp(NodeKey),
    /// Tell those above.
    Tell(LinkEvent),
    /// Write the peer cache.
    Remember(Vec<Remembered>),
}

#[derive(Debug)]
struct Bootstrap {
    address: Address,
    retry: Retry,
    /// Who was found there, or is expected there.
    leads_to: Option<NodeKey>,
    /// This node itself is there.
    own: bool,
}

/// What the swarm knows.
#[derive(Debug)]
pub(super) struct State {
    own: NodeKey,
    listening: BTreeSet<Multiaddr>,
    wanted: BTreeSet<NodeKey>,
    blocked: BTreeSet<NodeKey>,
    bootstrap: Vec<Bootstrap>,
    book: Book,
    connected: Connected,
    borrowed: Borrowed,
    conduct: Conduct,
    pace: Pace,
    /// When it was last told that nobody answers.
    stranded: Option<Instant>,
    dice: Dice,
    cache_due: Option<Instant>,
    cache_written: Option<Instant>,
}

impl State {
    /// A node that has just started. `cached` is what it remembers of its last life.
    pub(super) fn new(
        now: Instant,
        own: NodeKey,
        bootstrap: Vec<Address>,
        cached: Vec<Remembered>,
        seed: u64,
    ) -> Self {
        let bootstrap = bootstrap.into_iter().map(|address| Bootstrap {
            own: address.peer == Some(own),
            leads_to: address.peer,
            address,
            retry: Retry::at(now),
        });
        let mut book = Book::default();
        for row in cached.into_iter().filter(|row| row.peer != own) {
            if let Some(entry) = book.entry(now, row.peer, now, |_| false) {
                entry.learn(Source::Cached, row.addresses);
                entry.linked(now, row.age);
            }
        }
        Self {
            own,
            listening: BTreeSet::new(),
            wanted: BTreeSet::new(),
            blocked: BTreeSet::new(),
            bootstrap: bootstrap.collect(),
            book,
            connected: Connected::default(),
            borrowed: Borrowed::default(),
            conduct: Conduct::default(),
            pace: Pace::default(),
            stranded: None,
            dice: Dice::new(seed),
            cache_due: None,
            cache_written: None,
        }
    }

    /// Decides what to do about one thing that happened.
    pub(super) fn handle(&mut self, now: Instant, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => self.tick(now, &mut out),
            Input::Listening(addresses) => self.listening = addresses,
            Input::Know { peer, addresses } => self.know(now, peer, addresses),
            Input::Hint { peer, addresses } => self.hint(now, peer, addresses),
            Input::Want(peers) => self.want(now, peers),
            Input::Block(peers) => self.block(peers, &mut out),
            Input::Opened { peer, connection, at, dialled } => {
                self.opened(now, (peer, connection, at), dialled, &mut out);
            }
            Input::Identified { peer, ours: true, addresses } => {
                self.belongs(now, peer, addresses, &mut out);
            }
            Input::Identified { peer, ours: false, .. } => self.foreign(now, peer, &mut out),
            Input::Closed { peer, connection } => self.closed(now, peer, connection, &mut out),
            Input::Missed { target, missed } => self.missed(now, target, missed),
            Input::Heard { peer, connection, rtt } => {
                if self.connected.heard(now, &peer, connection, rtt) {
                    out.push(Output::Tell(LinkEvent::Heard { peer, rtt }));
                }
            }
            Input::Offended { peer, offence } => self.offended(now, peer, offence, &mut out),
            Input::Rebuilt => self.rebuilt(now, &mut out),
        }
        out
    }

    /// All links, for those above.
    pub(super) fn links(&self) -> BTreeMap<NodeKey, Link> {
        self.connected.links()
    }

    /// What to write to the peer cache now.
    pub(super) fn remembered(&mut self, now: Instant) -> Vec<Remembered> {
        let linked: Vec<NodeKey> = self.connected.linked().collect();
        for peer in linked {
            if let Some(entry) = self.book.get_mut(&peer) {
                entry.linked(now, Duration::ZERO);
            }
        }
        self.book.remembered(now)
    }

    /// Where a peer may be dialled for a request; none if it is refused.
    pub(super) fn addresses(&self, peer: &NodeKey) -> Vec<Multiaddr> {
        match self.book.get(peer) {
            Some(entry) if !self.is_refused(peer) => entry.addresses(),
            _ => Vec::new(),
        }
    }

    /// Whether there is a connection to the peer.
    pub(super) fn is_connected(&self, peer: &NodeKey) -> bool {
        self.connected.is_connected(peer)
    }

    /// Whether a gossip message of this peer is within its rate.
    pub(super) fn may_gossip(&mut self, now: Instant, peer: NodeKey, bytes: usize) -> bool {
        self.conduct.may_gossip(now, peer, bytes)
    }

    /// Whether this peer may say again who it is.
    pub(super) fn may_introduce(&mut self, now: Instant, peer: NodeKey) -> bool {
        self.conduct.may_introduce(now, peer)
    }

    /// Whether a request of this peer is within its rate.
    pub(super) fn may_ask(&mut self, now: Instant, peer: NodeKey, service: Service) -> bool {
        self.conduct.may_ask(now, peer, service)
    }

    /// Whether this node may send a request to a peer, which would otherwise take it for a flood.
    pub(super) fn may_send(&mut self, now: Instant, peer: NodeKey, service: Service) -> bool {
        self.pace.may_send(now, peer, service)
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.pace.tidy(now);
        for peer in self.conduct.tidy(now) {
            if !self.is_refused(&peer) {
                out.push(Output::Admit(peer));
            }
        }
        for remedy in self.connected.remedies(now, self.own) {
            out.push(match remedy {
                Remedy::Close(connection) => Output::Close(connection),
                Remedy::Cut(peer) => {
                    self.postpone(now + limits::OTHER_NETWORK_PAUSE, peer);
                    Output::Cut(peer)
                }
            });
        }
        self.give_back(now, out);
        self.dial(now, out);
        if self.cache_due.is_some_and(|due| due <= now) {
            self.cache_due = None;
            self.cache_written = Some(now);
            out.push(Output::Remember(self.remembered(now)));
        }
    }

    fn know(&mut self, now: Instant, peer: NodeKey, addresses: Vec<Multiaddr>) {
        let due = self.first_due(now, peer);
        let addresses = self.foreign_addresses(addresses);
        let Some(entry) = self.entry(now, peer, due) else { return };
        if entry.declare(addresses) && !entry.retry.is_dialling() {
            entry.retry.renew(due);
        }
        self.cache_soon(now);
    }

    fn hint(&mut self, now: Instant, peer: NodeKey, addresses: Vec<Multiaddr>) {
        let due = self.first_due(now, peer);
        let addresses = self.foreign_addresses(addresses);
        if addresses.is_empty() || self.is_refused(&peer) {
            return;
        }
        if let Some(entry) = self.entry(now, peer, due) {
            entry.learn(Source::Hint, addresses);
        }
    }

    fn want(&mut self, now: Instant, mut peers: BTreeSet<NodeKey>) {
        peers.remove(&self.own);
        let added: Vec<NodeKey> = peers.difference(&self.wanted).copied().collect();
        self.wanted = peers;
        for peer in added {
            let due = self.first_due(now, peer);
            if let Some(entry) = self.entry(now, peer, due)
                && !entry.retry.is_dialling()
                && entry.retry.failures() > 0
            {
                entry.retry.renew(due);
            }
        }
    }

    fn block(&mut self, mut peers: BTreeSet<NodeKey>, out: &mut Vec<Output>) {
        peers.remove(&self.own);
        let former = std::mem::replace(&mut self.blocked, peers);
        let refused =
            self.blocked.iter().filter(|peer| !former.contains(*peer) && !self.conduct.is_banned(peer));
        out.extend(refused.map(|peer| Output::Refuse(*peer)));
        let admitted = former.iter().filter(|peer| !self.is_refused(peer));
        out.extend(admitted.map(|peer| Output::Admit(*peer)));
    }

    fn opened(
        &mut self,
        now: Instant,
        (peer, connection, at): (NodeKey, ConnectionId, Multiaddr),
        dialled: Option<Option<Target>>,
        out: &mut Vec<Output>,
    ) {
        if let Some(Some(Target::Bootstrap(number))) = dialled
            && let Some(bootstrap) = self.bootstrap.get_mut(number)
        {
            bootstrap.retry.landed();
            bootstrap.leads_to = Some(peer);
        }
        if self.is_refused(&peer) || peer == self.own {
            out.push(Output::Close(connection));
            return;
        }
        self.connected.opened(now, peer, connection, at.clone());
        if let Some(target) = dialled
            && let Some(entry) = self.entry(now, peer, now)
        {
            entry.worked(at);
            if matches!(target, Some(Target::Peer(_))) {
                entry.retry.landed();
            }
        }
    }

    fn belongs(&mut self, now: Instant, peer: NodeKey, addresses: Vec<Multiaddr>, out: &mut Vec<Output>) {
        self.hint(now, peer, addresses);
        if !self.connected.belongs(now, &peer) {
            return;
        }
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.leads_to == Some(peer)) {
            bootstrap.retry.renew(now);
        }
        if let Some(entry) = self.book.get_mut(&peer) {
            entry.retry.renew(now);
            entry.linked(now, Duration::ZERO);
        }
        self.cache_soon(now);
        out.push(Output::Tell(LinkEvent::Up { peer }));
    }

    fn foreign(&mut self, now: Instant, peer: NodeKey, out: &mut Vec<Output>) {
        self.postpone(now + limits::OTHER_NETWORK_PAUSE, peer);
        out.push(Output::Cut(peer));
    }

    fn closed(&mut self, now: Instant, peer: NodeKey, connection: ConnectionId, out: &mut Vec<Output>) {
        if !self.connected.closed(&peer, connection) {
            self.useless(now, peer);
            return;
        }
        let soon = now + self.dice.around(limits::REDIAL_FIRST);
        let due = self.first_due(soon, peer);
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.leads_to == Some(peer)) {
            bootstrap.retry.postpone(due);
        }
        if let Some(entry) = self.book.get_mut(&peer) {
            entry.linked(now, Duration::ZERO);
            entry.retry.postpone(due);
        }
        self.cache_soon(now);
        out.push(Output::Tell(LinkEvent::Down { peer }));
    }

    /// A connection has closed that never made a link: the other side refuses this node, or has no room. That is no
    /// better than a dial that failed.
    fn useless(&mut self, now: Instant, peer: NodeKey) {
        if self.connected.is_connected(&peer) {
            return;
        }
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.leads_to == Some(peer)) {
            bootstrap.retry.failed(now, limits::REDIAL_BOOTSTRAP_MAX, &mut self.dice);
        }
        self.failed(now, peer);
    }

    fn missed(&mut self, now: Instant, target: Target, missed: Missed) {
        match target {
            Target::Bootstrap(number) => {
                let Some(bootstrap) = self.bootstrap.get_mut(number) else { return };
                bootstrap.retry.failed(now, limits::REDIAL_BOOTSTRAP_MAX, &mut self.dice);
                bootstrap.own |= missed == Missed::Own;
            }
            Target::Peer(peer) => {
                if let (Missed::Other { at, .. }, Some(entry)) = (&missed, self.book.get_mut(&peer)) {
                    entry.forget(at);
                }
                self.failed(now, peer);
            }
        }
        if let Missed::Other { peer, at } = missed
            && peer != self.own
        {
            self.hint(now, peer, vec![at]);
        }
    }

    /// A peer was not reached.
    fn failed(&mut self, now: Instant, peer: NodeKey) {
        let wanted = self.wanted.contains(&peer);
        let Some(entry) = self.book.get_mut(&peer) else { return };
        let often = wanted && entry.retry.failures() < limits::REDIAL_WANTED_TIMES;
        let wait_max = if often { limits::REDIAL_WANTED_MAX } else { limits::REDIAL_HINTED_MAX };
        entry.retry.failed(now, wait_max, &mut self.dice);
        entry.missed();
        if !wanted && entry.is_hopeless() {
            self.book.remove(&peer);
        }
    }

    fn offended(&mut self, now: Instant, peer: NodeKey, offence: Offence, out: &mut Vec<Output>) {
        let blocked = self.blocked.contains(&peer);
        if peer == self.own || !self.conduct.offended(now, peer, offence) {
            return;
        }
        out.push(Output::Banned(peer));
        if !blocked {
            out.push(Output::Refuse(peer));
        }
    }

    fn rebuilt(&mut self, now: Instant, out: &mut Vec<Output>) {
        let linked = self.connected.clear();
        out.extend(linked.into_iter().map(|peer| Output::Tell(LinkEvent::Down { peer })));
        let refused: BTreeSet<NodeKey> = self.blocked.iter().copied().chain(self.conduct.banned()).collect();
        out.extend(refused.into_iter().map(Output::Refuse));
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.retry.is_dialling()) {
            bootstrap.retry.abandon(now);
        }
        for (_, retry) in self.book.retries().filter(|(_, retry)| retry.is_dialling()) {
            retry.abandon(now);
        }
    }

    fn entry(&mut self, now: Instant, peer: NodeKey, due: Instant) -> Option<&mut book::Entry> {
        if peer == self.own {
            return None;
        }
        let (wanted, connected) = (&self.wanted, &self.connected);
        self.book.entry(now, peer, due, |peer| wanted.contains(peer) || connected.is_connected(peer))
    }

    fn postpone(&mut self, until: Instant, peer: NodeKey) {
        for bootstrap in self.bootstrap.iter_mut().filter(|bootstrap| bootstrap.leads_to == Some(peer)) {
            bootstrap.retry.postpone(until);
        }
        if let Some(entry) = self.book.get_mut(&peer) {
            entry.retry.postpone(until);
        }
    }

    fn foreign_addresses(&self, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        addresses.into_iter().filter(|at| !self.listening.contains(at)).collect()
    }

    fn is_refused(&self, peer: &NodeKey) -> bool {
        self.blocked.contains(peer) || self.conduct.is_banned(peer)
    }

    fn cache_soon(&mut self, now: Instant) {
        let soon = now + limits::CACHE_AFTER;
        let due = self.cache_written.map_or(soon, |written| soon.max(written + limits::CACHE_EVERY));
        self.cache_due.get_or_insert(due);
    }
}

#[cfg(test)]
mod tests;
