//! The loop of summaries: gives this node's to those who ask, tells them when it has changed, and pulls those of others
//! when they are wanted. While nothing is asked and nothing changes it rests.

use std::sync::Arc;
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::summary::{SummaryAnswer, SummaryAsk, Version};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use super::given::Given;
use super::held::{Pull, Pulled};
use super::{Shared, pull};
use crate::swarm::{Offence, Request};

/// What was under way and has ended.
enum Ended {
    Pull(Box<(Pull, Pulled)>),
    Told(NodeKey),
}

struct Actor {
    shared: Arc<Shared>,
    given: Given,
    under_way: JoinSet<Ended>,
}

/// Runs until it is dropped, or the node's summary has no keeper any more.
pub(super) async fn run(shared: Arc<Shared>, mut asks: mpsc::Receiver<Request>) {
    let mut changes = shared.own.changes();
    let given = Given::new(shared.config.subscribers_max, shared.config.fresh_for);
    let mut actor = Actor { shared, given, under_way: JoinSet::new() };
    loop {
        let due = actor.begin(*changes.borrow_and_update());
        let wanted = actor.shared.wanted.notified();
        tokio::select! {
            request = asks.recv() => match request {
                Some(request) => {
                    if let Some(liar) = actor.asked(request) {
                        actor.shared.peers.penalise(liar, Offence::Malformed).await;
                    }
                }
                None => return,
            },
            changed = changes.changed() => if changed.is_err() { return },
            () = wanted => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {}
            Some(ended) = actor.under_way.join_next() => actor.ended(ended),
        }
    }
}

impl Actor {
    /// Begins what is due. Returns when more will be.
    fn begin(&mut self, changes: u64) -> Option<Instant> {
        let now = Instant::now();
        for (peer, until) in self.given.due(now, changes) {
            let telling = pull::tell(Arc::clone(&self.shared), peer, until);
            self.under_way.spawn(async move { Ended::Told(telling.await) });
        }
        let mut held = self.shared.held();
        for pull in held.begin(now, crate::clock::now()) {
            let pulling = pull::pull(Arc::clone(&self.shared), pull);
            self.under_way.spawn(async move { Ended::Pull(Box::new(pulling.await)) });
        }
        held.due()
    }

    fn ended(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(Ended::Told(peer)) => self.given.told(peer),
            Ok(Ended::Pull(ended)) => {
                let (pull, pulled) = *ended;
                let mut held = self.shared.held();
                held.ended(Instant::now(), &pull, pulled);
                self.shared.metrics.held_bytes.set(held.bytes() as i64);
            }
            Err(error) => tracing::error!(%error, "a pull of a summary broke off"),
        }
    }

    /// Answers a peer. Names it if it asks what makes no sense.
    fn asked(&mut self, Request { from, body, answer, .. }: Request) -> Option<NodeKey> {
        let shared = Arc::clone(&self.shared);
        let answered = match SummaryAsk::decode(&body) {
            Ok(SummaryAsk::Pull { known }) => self.give(from, known),
            Ok(SummaryAsk::Part(want)) => {
                shared.own.part(want).map_or(SummaryAnswer::Gone, SummaryAnswer::Part)
            }
            Ok(SummaryAsk::Changed) => {
                shared.metrics.heard.inc();
                shared.held().changed(from);
                SummaryAnswer::Noted
            }
            Err(error) => {
                tracing::debug!(%from, %error, "a malformed question for a summary");
                return Some(from);
            }
        };
        if let Ok(bytes) = answered.encode() {
            shared.metrics.bytes_out.inc_by(bytes.len() as u64);
            // The asker may have gone.
            answer.send(bytes).ok();
        }
        None
    }

    /// This node's summary, for one who hears of its next change from now on.
    fn give(&mut self, to: NodeKey, known: Option<Version>) -> SummaryAnswer {
        let (now, own) = (Instant::now(), &self.shared.own);
        if let Some(version) = own.version().filter(|version| known == Some(*version)) {
            let is_given = self.given.give(now, to, version.changes);
            return if is_given { SummaryAnswer::Same } else { SummaryAnswer::None };
        }
        match own.first() {
            Some((version, shape, bits)) if self.given.give(now, to, version.changes) => {
                self.shared.metrics.given.inc();
                SummaryAnswer::First { version, shape, bits }
            }
            _ => SummaryAnswer::None,
        }
    }
}
