//! The registry's loop: turns what comes into inputs of the state, and does what the state decides. It waits for
//! nothing but inputs; what takes time is done by the writer thread and by tasks of their own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{
    EntryId, EnvelopeError, NodeRecord, Payload, RecordKey, Verified, Verifier,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::metrics::Metrics;
use super::outbox::{Outbox, Outgoing};
use super::state::{Asker, Change, Input, Origin, Output, State, Taken, Way, Write};
use super::tables::Rows;
use super::view::View;
use super::writer::Writer;
use crate::actor::Reply;
use crate::storage::StoreError;
use crate::swarm::{Gossip, Offence, Verdict};

/// Time between two ticks of the state.
const TICK: Duration = Duration::from_secs(1);
/// Rows of one transaction, so that an asset row never waits long for it.
const ROWS_MAX: usize = 1_000;
/// Time before rows of peers are written again after the store refused them.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Inputs handled before readers see what came of them.
const INPUTS_MAX: usize = 64;
/// At most one log line of this kind in this time, however many are met.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// What the loop is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// Change an entry.
    Write { entry: EntryId, change: Change, asker: Asker, reply: Reply<Result<Arc<Verified>, Error>> },
    /// Take these envelopes from a peer; how many were news?
    Merge { from: NodeKey, records: Vec<Arc<Verified>>, reply: Reply<usize> },
    /// Say this of the node from now on.
    Amend(Amendment),
}

/// A fact about this node that changes while it runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum Amendment {
    Incarnation(u64),
    SummaryVersion(u64),
}

/// What the loop listens to.
pub(super) struct Inbox {
    pub(super) asks: mpsc::Receiver<Ask>,
    pub(super) gossip: mpsc::Receiver<Gossip>,
    pub(super) listening: watch::Receiver<Vec<String>>,
}

/// What the loop works with.
pub(super) struct Parts {
    pub(super) state: State,
    /// Keys of rows that are on the disk and not in the state.
    pub(super) useless: Vec<RecordKey>,
    pub(super) verifier: Verifier,
    pub(super) writer: Writer,
    pub(super) outbox: Outbox,
    pub(super) view: watch::Sender<Arc<View>>,
    pub(super) about: NodeRecord,
    pub(super) metrics: Metrics,
    pub(super) flush_every: Duration,
}

pub(super) struct Actor {
    parts: Parts,
    waiting: HashMap<u64, Reply<Result<Arc<Verified>, Error>>>,
    tickets: u64,
    /// Own envelopes to be written next.
    own: Vec<(Arc<Verified>, Origin)>,
    /// Keys whose rows are behind the map; true if the row may be taken out.
    behind: BTreeMap<RecordKey, bool>,
    flush_at: Instant,
    flight: Option<Flight>,
    /// The disk was full at the last write: deletes go by themselves.
    is_full: bool,
    /// Members whose addresses the swarm has not been told.
    untold: BTreeSet<NodeKey>,
    is_changed: bool,
    answers: Vec<Answer>,
    logged: Option<Instant>,
}

/// A write that is under way.
struct Flight {
    own: Vec<(Arc<Verified>, Origin)>,
    behind: Vec<(RecordKey, bool)>,
    grows: bool,
    outcome: oneshot::Receiver<Result<(), StoreError>>,
}

/// An answer that goes out once readers see what it tells.
enum Answer {
    Write(Reply<Result<Arc<Verified>, Error>>, Result<Arc<Verified>, Error>),
    Merge(Reply<usize>, usize),
}

impl Actor {
    pub(super) fn new(mut parts: Parts) -> Self {
        let behind = parts.useless.drain(..).map(|key| (key, true)).collect();
        let untold = parts.state.members().keys().copied().collect();
        Self {
            parts,
            waiting: HashMap::new(),
            tickets: 0,
            own: Vec::new(),
            behind,
            flush_at: Instant::now(),
            flight: None,
            is_full: false,
            untold,
            is_changed: true,
            answers: Vec::new(),
            logged: None,
        }
    }

    pub(super) async fn run(mut self, mut inbox: Inbox, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.describe(&mut inbox.listening);
        let mut asks = Vec::with_capacity(INPUTS_MAX);
        let mut gossip = Vec::with_capacity(INPUTS_MAX);
        loop {
            self.settle();
            tokio::select! {
                () = stop.cancelled() => return,
                outcome = land(&mut self.flight) => self.landed(outcome),
                1.. = inbox.asks.recv_many(&mut asks, INPUTS_MAX) => asks.drain(..).for_each(|ask| self.ask(ask)),
                1.. = inbox.gossip.recv_many(&mut gossip, INPUTS_MAX) => {
                    gossip.drain(..).for_each(|gossip| self.gossip(gossip));
                }
                Ok(()) = inbox.listening.changed() => self.describe(&mut inbox.listening),
                _ = ticks.tick() => self.input(Input::Tick),
            }
        }
    }

    /// After inputs: starts the next write, lets readers see, then answers.
    fn settle(&mut self) {
        self.launch();
        let Parts { state, view, metrics, .. } = &self.parts;
        if std::mem::take(&mut self.is_changed) || view.borrow().map.len() != state.map().len() {
            metrics.records.set(state.map().len() as i64);
            metrics.bytes.set(state.map().bytes() as i64);
            metrics.members.set(state.members().len() as i64);
            let next = View { map: state.map().clone(), members: Arc::clone(state.members()) };
            view.send_replace(Arc::new(next));
        }
        for answer in self.answers.drain(..) {
            // Whoever asked may have gone; what was done stands.
            match answer {
                Answer::Write(reply, result) => drop(reply.send(result)),
                Answer::Merge(reply, news) => drop(reply.send(news)),
            }
        }
        self.tell_addresses();
    }

    fn input(&mut self, input: Input) {
        let outputs = self.parts.state.handle(now_ms(), input);
        self.perform(outputs);
    }

    fn perform(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Persist(record, origin) => self.own.push((record, origin)),
                Output::Keep(record) => self.fall_behind(record.key(), false),
                Output::Drop(key) => self.fall_behind(key, true),
                Output::Publish(record) => {
                    self.is_changed = true;
                    self.parts.metrics.published.inc();
                    self.parts.outbox.send(Outgoing::Publish(record));
                }
                Output::Answer { ticket, result } => self.answer(ticket, result.map_err(Error::from)),
                Output::Heard(taken) => self.parts.metrics.heard(taken),
                Output::Penalise(peer, offence) => {
                    self.parts.outbox.send(Outgoing::Penalise(peer, offence));
                }
                Output::Member(key, record) => {
                    self.is_changed = true;
                    if record.is_some() && key != self.parts.state.node_key() {
                        self.untold.insert(key);
                    }
                }
                Output::Equivocation { stands, falls } => self.report(&stands, &falls),
            }
        }
    }

    fn fall_behind(&mut self, key: RecordKey, may_go: bool) {
        self.is_changed = true;
        if self.behind.is_empty() {
            self.flush_at = self.flush_at.max(Instant::now() + self.parts.flush_every);
        }
        self.behind.insert(key, may_go);
        self.parts.metrics.waiting_rows.set(self.behind.len() as i64);
    }

    fn answer(&mut self, ticket: u64, result: Result<Arc<Verified>, Error>) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            self.answers.push(Answer::Write(reply, result));
        }
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Write { entry, change, asker, reply } => {
                self.tickets += 1;
                let ticket = self.tickets;
                self.waiting.insert(ticket, reply);
                self.input(Input::Write(Write { ticket, entry, change, asker }));
            }
            Ask::Merge { from, records, reply } => {
                let heard = |record| Input::Heard { from, record, way: Way::Sync };
                let taken = records.into_iter().map(|record| self.hear(heard(record)));
                let news = taken.filter(|taken| *taken == Taken::New).count();
                self.answers.push(Answer::Merge(reply, news));
            }
            Ask::Amend(amendment) => {
                let about = &mut self.parts.about;
                match amendment {
                    Amendment::Incarnation(incarnation) => about.incarnation = incarnation,
                    Amendment::SummaryVersion(version) => about.summary_version = version,
                }
                let about = about.clone();
                self.input(Input::Describe(about));
            }
        }
    }

    /// Takes an envelope that was heard, and says what came of it.
    fn hear(&mut self, heard: Input) -> Taken {
        let outputs = self.parts.state.handle(now_ms(), heard);
        let taken = outputs.iter().find_map(|output| match output {
            Output::Heard(taken) => Some(*taken),
            _ => None,
        });
        self.perform(outputs);
        taken.unwrap_or(Taken::Known)
    }

    fn gossip(&mut self, Gossip { from, bytes, verdict }: Gossip) {
        let judged = match self.parts.verifier.verify_bytes(&bytes) {
            Ok(record) => {
                self.hear(Input::Heard { from, record: Arc::new(record), way: Way::Gossip }).verdict()
            }
            Err(error) => {
                self.parts.metrics.bad(&error);
                tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a bad envelope by gossip");
                self.parts.outbox.send(Outgoing::Penalise(from, offence(&error)));
                Verdict::Reject
            }
        };
        // The swarm may have stopped waiting.
        verdict.send(judged).ok();
    }

    fn describe(&mut self, listening: &mut watch::Receiver<Vec<String>>) {
        let addresses = listening.borrow_and_update().clone();
        self.parts.about.addresses = addresses;
        self.input(Input::Describe(self.parts.about.clone()));
    }

    /// Tells the swarm where members listen, as far as it takes that now.
    fn tell_addresses(&mut self) {
        while let Some(key) = self.untold.first().copied() {
            if let Some(Payload::Node(node)) = self.parts.state.members().get(&key).map(|r| r.payload())
                && !self.parts.outbox.try_send(Outgoing::Know(key, node.addresses))
            {
                return;
            }
            self.untold.pop_first();
        }
    }

    /// Starts the next write, if there is something to write and no other is under way. Own envelopes go at once.
    fn launch(&mut self) {
        let due = !self.behind.is_empty() && self.flush_at <= Instant::now();
        if self.flight.is_some() || (self.own.is_empty() && !due) {
            return;
        }
        // A delete never overtakes what it deletes.
        let grows: BTreeSet<_> =
            self.own.iter().filter(|(r, _)| !r.is_deleted()).map(|(r, _)| r.key()).collect();
        let deletes = |record: &Verified| record.is_deleted() && !grows.contains(&record.key());
        let deletes_only = self.is_full && self.own.iter().any(|(record, _)| deletes(record));
        let own: Vec<_> = self.own.extract_if(.., |(own, _)| !deletes_only || deletes(own)).collect();
        let mut rows = Rows { mark: self.parts.state.mark(), ..Rows::default() };
        let mut behind = Vec::new();
        while !deletes_only
            && behind.len() < ROWS_MAX
            && let Some((key, may_go)) = self.behind.pop_first()
        {
            match self.parts.state.map().get(&key) {
                Some(record) => rows.puts.push(Arc::clone(record)),
                None if may_go => rows.drops.push(key),
                None => continue,
            }
            behind.push((key, may_go));
        }
        rows.puts.extend(own.iter().map(|(record, _)| Arc::clone(record)));
        let outcome = self.parts.writer.write(rows, !deletes_only);
        self.flight = Some(Flight { own, behind, grows: !deletes_only, outcome });
    }

    fn landed(&mut self, outcome: Result<(), StoreError>) {
        let Some(Flight { own, behind, grows, .. }) = self.flight.take() else { return };
        match outcome {
            Ok(()) => {
                self.is_full &= !grows;
                for (record, origin) in own {
                    self.input(Input::Persisted(record, origin));
                }
            }
            Err(error) => self.not_written(own, behind, &error),
        }
        self.parts.metrics.waiting_rows.set(self.behind.len() as i64);
    }

    fn not_written(
        &mut self,
        own: Vec<(Arc<Verified>, Origin)>,
        behind: Vec<(RecordKey, bool)>,
        error: &StoreError,
    ) {
        tracing::warn!(%error, own = own.len(), others = behind.len(), "registry entries were not written");
        self.flush_at = Instant::now() + RETRY_AFTER;
        for (key, may_go) in behind {
            self.behind.entry(key).or_insert(may_go);
        }
        let was_full = std::mem::replace(&mut self.is_full, matches!(error, StoreError::Full));
        for (record, origin) in own {
            // A delete that only shared a write with what did not fit is tried by itself.
            if record.is_deleted() && self.is_full && !was_full {
                self.own.push((record, origin));
                continue;
            }
            self.parts.state.handle(now_ms(), Input::NotPersisted(record));
            if let Origin::Write(ticket) = origin {
                self.answer(ticket, Err(error.clone().into()));
            }
        }
    }

    fn report(&mut self, stands: &Verified, falls: &Verified) {
        self.parts.metrics.equivocations.inc();
        let now = Instant::now();
        if self.logged.is_some_and(|logged| now.duration_since(logged) < LOG_EVERY) {
            return;
        }
        self.logged = Some(now);
        let (entry, owner, version) = (stands.entry(), stands.owner(), stands.version());
        let hash = |record: &Verified| blake3::Hash::from_bytes(*record.hash()).to_hex();
        let (stands, falls) = (hash(stands), hash(falls));
        tracing::warn!(?entry, assets_db_id = %owner.assets_db_id(), ?version, %stands, %falls, "an owner signed two bodies with one version");
    }
}

/// The outcome of the write that is under way; never, if none is.
async fn land(flight: &mut Option<Flight>) -> Result<(), StoreError> {
    match flight {
        // The writer thread has ended.
        Some(flight) => (&mut flight.outcome).await.unwrap_or(Err(StoreError::Interrupted)),
        None => std::future::pending().await,
    }
}

/// What kind of offence a bad envelope is.
pub(super) const fn offence(error: &EnvelopeError) -> Offence {
    match error {
        EnvelopeError::TooLong(_) => Offence::Oversized,
        EnvelopeError::Malformed(_) | EnvelopeError::Payload(_) | EnvelopeError::Ttl(_) => Offence::Malformed,
        EnvelopeError::NotAKey
        | EnvelopeError::Signature
        | EnvelopeError::EntryId(_)
        | EnvelopeError::Misplaced => Offence::Forged,
    }
}

/// The wall clock in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    u64::try_from(crate::clock::now().as_millis()).unwrap_or(u64::MAX)
}
