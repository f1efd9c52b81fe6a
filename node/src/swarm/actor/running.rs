//! One life of the swarm: waits for what happens, asks the state what to do about it, and does it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use libp2p::Multiaddr;
use libp2p::kad::QueryId;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::build::{Blueprint, Generation};
use super::gossip::Judging;
use super::requests::{Answering, Asking};
use super::waiting::Waiting;
use super::{Command, Shared};
use crate::swarm::address::{Address, peer_id};
use crate::swarm::state::{Input, Missed, Output, Remembered, Target};
use crate::swarm::{LinkEvent, limits};

/// How a life ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The node stops.
    Stopped,
    /// A part of it has panicked.
    Broken,
}

/// The running swarm.
pub(super) struct Running<'a> {
    pub(super) generation: Generation,
    pub(super) blueprint: &'a mut Blueprint,
    pub(super) shared: &'a mut Shared,
    /// Dials that the state asked for.
    pub(super) dials: HashMap<ConnectionId, Target>,
    /// Lookups that the state asked for, and bounded by it.
    pub(super) lookups: HashMap<QueryId, NodeKey>,
    pub(super) asking: Asking,
    pub(super) waiting: Waiting,
    pub(super) answering: FuturesUnordered<Answering>,
    /// How many requests of each peer are being answered.
    pub(super) answering_for: BTreeMap<NodeKey, usize>,
    pub(super) judging: FuturesUnordered<Judging>,
    writing: Option<JoinHandle<()>>,
    links_shown: Instant,
}

impl<'a> Running<'a> {
    pub(super) fn new(generation: Generation, blueprint: &'a mut Blueprint, shared: &'a mut Shared) -> Self {
        let links_shown = shared.now();
        Self {
            generation,
            blueprint,
            shared,
            dials: HashMap::new(),
            lookups: HashMap::new(),
            asking: Asking::default(),
            waiting: Waiting::default(),
            answering: FuturesUnordered::new(),
            answering_for: BTreeMap::new(),
            judging: FuturesUnordered::new(),
            writing: None,
            links_shown,
        }
    }

    /// Runs until the node stops or something breaks. `todo` is done first.
    pub(super) async fn run(
        mut self,
        inbox: &mut mpsc::Receiver<Command>,
        todo: Vec<Output>,
        stop: &CancellationToken,
    ) -> Ended {
        self.listens();
        self.perform(todo);
        let broken = self.generation.broken.clone();
        let mut ticks = tokio::time::interval(limits::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let farewell = async {
            stop.cancelled().await;
            tokio::time::sleep(limits::FAREWELL).await;
        };
        tokio::pin!(farewell);
        loop {
            tokio::select! {
                () = &mut farewell => break,
                () = broken.cancelled() => return Ended::Broken,
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => break,
                },
                event = self.generation.swarm.select_next_some() => self.event(event),
                Some(judged) = self.judging.next() => self.judged(judged),
                Some(answered) = self.answering.next() => self.answered(answered),
                _ = ticks.tick() => self.tick(),
            }
        }
        self.finish().await;
        Ended::Stopped
    }

    /// Asks the state what to do, and does it.
    pub(super) fn happened(&mut self, input: Input) {
        let now = self.shared.now();
        let outputs = self.shared.state.handle(now, input);
        self.perform(outputs);
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Publish { bytes, reply } => {
                // The asker may have given up.
                reply.send(self.publish(bytes)).ok();
            }
            Command::Request { peer, service, body, reply } => self.ask(peer, service, body, reply),
            Command::Link { peer, reply } => self.link(peer, reply),
            Command::Using(peer) => {
                let now = self.shared.now();
                self.shared.state.used(now, peer);
            }
            Command::Know { peer, addresses } => {
                self.happened(Input::Know { peer, addresses: declared(peer, &addresses) });
            }
            Command::Want(peers) => self.happened(Input::Want(peers)),
            Command::Block(peers) => self.happened(Input::Block(peers)),
            Command::Penalise { peer, offence } => self.offended(peer, offence),
        }
    }

    fn tick(&mut self) {
        self.happened(Input::Tick);
        self.asking.tidy();
        self.waiting.tidy();
        let now = self.shared.now();
        if let Some(addresses) = self.shared.state.stranded(now) {
            tracing::warn!("no bootstrap address answers, and no peer is linked: {}", addresses.join(" "));
        }
        if now.saturating_duration_since(self.links_shown) >= limits::LINKS_EVERY {
            self.links_shown = now;
            self.shared.publish_links();
        }
        let counters = self.generation.swarm.network_info();
        self.shared.metrics.set_connections(counters.connection_counters().num_established());
    }

    /// The addresses that this node listens on have changed.
    pub(super) fn listens(&mut self) {
        let listening: BTreeSet<Multiaddr> = self.generation.swarm.listeners().cloned().collect();
        self.happened(Input::Listening(listening));
        let texts = self.generation.listen_addrs();
        self.shared.listening.send_if_modified(|known| {
            let changed = *known != texts;
            *known = texts;
            changed
        });
    }

    pub(super) fn perform(&mut self, outputs: Vec<Output>) {
        let mut changed = false;
        for output in outputs {
            let swarm = &mut self.generation.swarm;
            match output {
                Output::Dial { target, addresses } => self.dial(target, addresses),
                Output::Close(connection) => {
                    swarm.close_connection(connection);
                }
                Output::Cut(peer) => {
                    // It may be gone already.
                    swarm.disconnect_peer_id(peer_id(peer)).ok();
                }
                Output::Refuse(peer) => {
                    swarm.behaviour_mut().refused.block_peer(peer_id(peer));
                }
                Output::Admit(peer) => {
                    swarm.behaviour_mut().refused.unblock_peer(peer_id(peer));
                }
                Output::Banned(peer) => {
                    tracing::warn!(assets_db_id = %peer.assets_db_id(), "peer banned for {:?}: it kept offending", limits::BAN);
                    self.shared.metrics.banned();
                }
                Output::LookUp(_) if self.lookups.len() >= limits::DHT_LOOKUPS_MAX => {}
                Output::LookUp(peer) => {
                    let query = swarm.behaviour_mut().dht.get_closest_peers(peer_id(peer));
                    self.lookups.insert(query, peer);
                }
                Output::Tell(event) => {
                    changed |= !matches!(event, LinkEvent::Heard { .. });
                    self.shared.tell(event);
                    match event {
                        LinkEvent::Up { peer } => self.waiting.linked(&peer),
                        LinkEvent::Down { peer } => self.waiting.lost(&peer),
                        LinkEvent::Heard { .. } => {}
                    }
                }
                Output::Remember(peers) => self.remember(peers),
            }
        }
        if changed {
            self.shared.publish_links();
        }
    }

    fn dial(&mut self, target: Target, addresses: Vec<Multiaddr>) {
        let options = match (target, addresses.as_slice()) {
            (Target::Bootstrap(_), [only]) => DialOpts::unknown_peer_id().address(only.clone()).build(),
            (Target::Peer(peer), _) => DialOpts::peer_id(peer_id(peer))
                .condition(PeerCondition::NotDialing)
                .addresses(addresses)
                .build(),
            (Target::Bootstrap(_), _) => return,
        };
        let connection = options.connection_id();
        match self.generation.swarm.dial(options) {
            Ok(()) => {
                self.dials.insert(connection, target);
            }
            Err(error) => {
                tracing::debug!(?target, %error, "not dialled");
                self.missed(target, Missed::Nobody);
            }
        }
    }

    fn remember(&mut self, peers: Vec<Remembered>) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let cache = self.shared.cache.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || Shared::write_cache(&cache, &peers)));
    }

    /// Leaves in order: what is known of peers is on disk.
    async fn finish(&mut self) {
        if let Some(writing) = self.writing.take() {
            writing.await.ok();
        }
        let now = self.shared.now();
        let peers = self.shared.state.remembered(now);
        self.remember(peers);
        if let Some(writing) = self.writing.take() {
            writing.await.ok();
        }
    }
}

/// What of a member's addresses can be dialled. One that names another node is none of its own.
fn declared(peer: NodeKey, texts: &[String]) -> Vec<Multiaddr> {
    let texts = texts.iter().take(limits::ADDRESSES_PER_PEER_MAX);
    let addresses = texts.filter_map(|text| Address::to_dial(text).ok());
    let own = addresses.filter(|address| address.peer.is_none_or(|named| named == peer));
    own.map(|address| address.at).collect()
}
