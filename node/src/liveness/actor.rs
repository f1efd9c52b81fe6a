//! The loop of liveness: turns link events, requests and time into inputs of the state, and performs what it asks for.
//! It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{Message, MessageError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::notary::NodeNotary;
use super::{Change, Input, Liveness, Output, PeerState, Peers, Setup, Start, State};
use crate::actor::{Reply, Tasks};
use crate::clock;
use crate::identity::Identity;
use crate::swarm::{LinkEvent, Links, Offence, Request, Service, Swarm};

/// Questions that may wait. Only a stopping node asks.
const QUESTIONS: usize = 4;
/// Link events that may wait: a second's pings of the most links there can be. What is lost is made up for at the
/// next tick.
const EVENTS: usize = 256;
/// Requests of peers that may wait. More are answered "busy", and their senders ask again.
const REQUESTS: usize = 256;
/// Messages under way at once. More are dropped: every one of them is sent again in some way if it matters.
const UNDER_WAY: usize = 1024;
/// How long a message may take, the dial of a peer that is not linked included.
const SENT_WITHIN: Duration = Duration::from_secs(3);
/// How long a stopping node waits until its peers know.
const LEAVES_WITHIN: Duration = Duration::from_secs(1);

/// What the handle asks of the loop.
#[derive(Debug)]
pub(super) enum Question {
    Leave { reply: Reply<()> },
}

/// What wakes the loop.
enum Wake {
    Question(Option<Question>),
    Link(LinkEvent),
    Request(Request),
    Members,
    Sent(&'static str),
    Tick,
}

struct Actor {
    state: State,
    swarm: Swarm,
    links: watch::Receiver<Links>,
    linked: BTreeSet<NodeKey>,
    sending: JoinSet<&'static str>,
    peers: watch::Sender<Peers>,
    metrics: Metrics,
    /// The wall clock at the start, and when that was: time goes on evenly from there.
    began: (Duration, Instant),
    ticks: u64,
}

/// What the loop listens to.
struct Inlets {
    questions: mpsc::Receiver<Question>,
    events: mpsc::Receiver<LinkEvent>,
    requests: mpsc::Receiver<Request>,
    members: watch::Receiver<Arc<BTreeSet<NodeKey>>>,
    tick: Duration,
}

/// Starts liveness.
pub(super) fn start(tasks: &mut Tasks, identity: &Identity, swarm: &Swarm, setup: Setup) -> Liveness {
    let Setup { network, mut members, config } = setup;
    let (to_events, events) = mpsc::channel(EVENTS);
    let (to_requests, requests) = mpsc::channel(REQUESTS);
    swarm.attach_links(to_events);
    swarm.attach_service(Service::Liveness, to_requests);
    // The first look at the members counts as a change.
    members.mark_changed();
    let (peers, seen) = watch::channel(Peers::default());
    let metrics = Metrics::default();
    let began = (clock::now(), Instant::now());
    let tick = config.tick;
    let me = identity.node_key();
    let seed = identity.secret("assetmesh 2026 liveness choices");
    let start = Start {
        me,
        network,
        incarnation: u64::try_from(began.0.as_millis()).unwrap_or_default(),
        seed: u64::from_le_bytes(seed[..8].try_into().expect("eight bytes")),
    };
    let actor = Actor {
        state: State::new(start, Box::new(NodeNotary(identity.clone())), config),
        swarm: swarm.clone(),
        links: swarm.links(),
        linked: BTreeSet::new(),
        sending: JoinSet::new(),
        peers,
        metrics: metrics.clone(),
        began,
        ticks: 0,
    };
    let mailbox = tasks.start("liveness", QUESTIONS, |questions, stop| {
        actor.run(Inlets { questions, events, requests, members, tick }, stop)
    });
    Liveness { mailbox, peers: seen, metrics }
}

impl Actor {
    async fn run(mut self, mut inlets: Inlets, stop: CancellationToken) {
        let mut timer = tokio::time::interval(inlets.tick);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut members_end = false;
        loop {
            let wake = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                question = inlets.questions.recv() => Wake::Question(question),
                Some(sent) = self.sending.join_next() => Wake::Sent(sent.unwrap_or("failed")),
                Some(event) = inlets.events.recv() => Wake::Link(event),
                Some(request) = inlets.requests.recv() => Wake::Request(request),
                changed = inlets.members.changed(), if !members_end => {
                    members_end = changed.is_err();
                    Wake::Members
                }
                _ = timer.tick() => Wake::Tick,
            };
            match wake {
                Wake::Question(None) => return,
                Wake::Question(Some(Question::Leave { reply })) => {
                    self.leave().await;
                    // The node stops in any case.
                    reply.send(()).ok();
                }
                Wake::Link(event) => self.link(event).await,
                Wake::Request(request) => self.take(request).await,
                Wake::Members => {
                    let members = inlets.members.borrow_and_update().clone();
                    self.give(Input::Members(members)).await;
                }
                Wake::Sent(outcome) => self.metrics.sent(outcome),
                Wake::Tick => self.tick().await,
            }
        }
    }

    async fn tick(&mut self) {
        self.catch_up().await;
        self.give(Input::Tick).await;
        self.ticks += 1;
        if self.ticks.is_multiple_of(2) {
            self.show();
        }
    }

    /// Link events can be lost when the mailbox is full; the list of links cannot.
    async fn catch_up(&mut self) {
        let links = self.links.borrow_and_update().clone();
        let lost: Vec<NodeKey> = self.linked.iter().filter(|key| !links.contains_key(key)).copied().collect();
        let new: Vec<NodeKey> = links.keys().filter(|key| !self.linked.contains(key)).copied().collect();
        for peer in lost {
            self.link(LinkEvent::Down { peer }).await;
        }
        for peer in new {
            self.link(LinkEvent::Up { peer }).await;
        }
    }

    async fn link(&mut self, event: LinkEvent) {
        let input = match event {
            LinkEvent::Up { peer } => self.linked.insert(peer).then_some(Input::LinkUp(peer)),
            LinkEvent::Down { peer } => self.linked.remove(&peer).then_some(Input::LinkDown(peer)),
            // An answer that arrives after the end of its link is none.
            LinkEvent::Heard { peer, rtt } => {
                self.linked.contains(&peer).then_some(Input::Heard { peer, rtt })
            }
        };
        if let Some(input) = input {
            self.give(input).await;
        }
    }

    async fn take(&mut self, request: Request) {
        match Message::from_bytes(&request.body) {
            Ok(message) => {
                self.metrics.received("taken");
                // The answer only says that it arrived.
                request.answer.send(Vec::new()).ok();
                self.give(Input::Message { from: request.from, message }).await;
            }
            Err(MessageError::UnknownKind(_)) => {
                self.metrics.received("ignored");
                request.answer.send(Vec::new()).ok();
            }
            Err(error) => {
                self.metrics.received("refused");
                let node = request.from.assets_db_id();
                tracing::debug!(%node, %error, "a peer sent a liveness message that no node sends");
                self.swarm.penalise(request.from, Offence::Malformed).await;
            }
        }
    }

    async fn give(&mut self, input: Input) {
        let now = self.began.0 + self.began.1.elapsed();
        let outputs = self.state.handle(now, input);
        let mut changed = false;
        for output in outputs {
            changed |= matches!(output, Output::Changed(_));
            self.perform(output).await;
        }
        if changed {
            self.show();
        }
    }

    async fn perform(&mut self, output: Output) {
        match output {
            Output::Want(peers) => self.swarm.want(peers).await,
            Output::Send { to, message } => self.send(to, &message),
            Output::Changed(change) => self.tell(&change),
            Output::Refuted(incarnation) => {
                self.metrics.refuted();
                tracing::warn!(incarnation, "others gave this node up; it told them that it lives");
            }
            Output::Forged(peer) => {
                self.metrics.received("forged");
                self.swarm.penalise(peer, Offence::Forged).await;
            }
        }
    }

    fn send(&mut self, to: NodeKey, message: &Message) {
        let body = match message.to_bytes() {
            Ok(body) if self.sending.len() < UNDER_WAY => body,
            Ok(_) => return self.metrics.sent("dropped"),
            Err(error) => {
                tracing::error!(%error, "a liveness message is too long");
                return self.metrics.sent("dropped");
            }
        };
        let swarm = self.swarm.clone();
        self.sending.spawn(async move {
            match swarm.request(to, Service::Liveness, body, SENT_WITHIN).await {
                Ok(_) => "answered",
                Err(_) => "failed",
            }
        });
    }

    /// One line a change.
    fn tell(&self, change: &Change) {
        self.metrics.changed(change);
        let Change { peer, from, to, why } = change;
        let node = peer.assets_db_id();
        match to {
            PeerState::Alive | PeerState::Left => {
                tracing::info!(assets_db_id = %node, %from, %to, %why, "peer is {to}")
            }
            PeerState::Suspect | PeerState::Down => {
                tracing::warn!(assets_db_id = %node, %from, %to, %why, "peer is {to}")
            }
        }
    }

    /// Renews what the handle shows.
    fn show(&self) {
        let facts: BTreeMap<_, _> = self.state.peers().map(|fact| (fact.key, fact)).collect();
        self.metrics.sees(facts.values().copied());
        self.peers.send_replace(Arc::new(facts));
    }

    async fn leave(&mut self) {
        self.sending.abort_all();
        while self.sending.join_next().await.is_some() {}
        self.give(Input::Leave).await;
        let told = async { while self.sending.join_next().await.is_some() {} };
        if tokio::time::timeout(LEAVES_WITHIN, told).await.is_err() {
            tracing::debug!("not every peer has heard in time that this node leaves");
        }
    }
}
