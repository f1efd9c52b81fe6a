//! Anti-entropy over the network: a session with each peer that links up, and one with a random linked peer every
//! 30 s. It decides nothing about envelopes; they go through the loop.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{Envelope, SyncAnswer, Verified};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::shared::{Bad, Shared};
use super::sync::{Ask, Session};
use crate::swarm::{Error, LinkEvent, Offence, Service, while_busy};

/// Sessions at one time. 4: a silent peer holds up no other, and a node that joins asks few at once.
const SESSIONS_MAX: usize = 4;
/// Peers that may wait for a session; the others have their turn by chance.
const WAITING_MAX: usize = 256;
/// How long one step may take.
const STEP_WITHIN: Duration = Duration::from_secs(10);
/// How long a session goes on at all.
const SESSION_WITHIN: Duration = Duration::from_secs(120);
/// Time before a busy peer is asked again.
const BUSY_WAIT: Duration = Duration::from_millis(300);
/// How often in a row it is asked again.
const BUSY_MAX: usize = 10;
/// Time before a session that broke off is begun again; it doubles. A link that has just come up may not carry
/// requests yet.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How often a session is begun again before the peer has its turn by chance.
const AGAIN_MAX: u32 = 6;

/// Who is to have a session, who has one, and who has it again later.
#[derive(Debug, Default)]
struct Turns {
    waiting: VecDeque<NodeKey>,
    busy: BTreeSet<NodeKey>,
    again: BTreeMap<NodeKey, Again>,
}

#[derive(Debug)]
struct Again {
    times: u32,
    at: Instant,
}

impl Turns {
    fn ask_for(&mut self, peer: NodeKey) {
        if self.waiting.len() < WAITING_MAX && !self.waiting.contains(&peer) {
            self.waiting.push_back(peer);
        }
    }

    /// The next peer to have a session with, which has none.
    fn take(&mut self) -> Option<NodeKey> {
        if self.busy.len() >= SESSIONS_MAX {
            return None;
        }
        let at = self.waiting.iter().position(|peer| !self.busy.contains(peer))?;
        let peer = self.waiting.remove(at)?;
        self.busy.insert(peer);
        Some(peer)
    }

    fn ended(&mut self, peer: NodeKey, is_done: bool, now: Instant) {
        self.busy.remove(&peer);
        let times = self.again.remove(&peer).map_or(0, |again| again.times);
        if !is_done && times < AGAIN_MAX && self.again.len() < WAITING_MAX {
            let at = now + AGAIN_AFTER * 2u32.pow(times);
            self.again.insert(peer, Again { times: times + 1, at });
        }
    }

    /// When the next of those who have it again later is due.
    fn next_again(&self) -> Option<Instant> {
        let free = self.again.iter().filter(|(peer, _)| !self.is_under_way(peer));
        free.map(|(_, again)| again.at).min()
    }

    fn ask_again(&mut self, now: Instant, linked: &[NodeKey]) {
        let due = self.again.iter().filter(|(_, again)| again.at <= now).map(|(peer, _)| *peer);
        for peer in due.collect::<Vec<_>>() {
            if !linked.contains(&peer) {
                // Its link comes up again, or it is gone.
                self.again.remove(&peer);
            } else if !self.is_under_way(&peer) {
                self.ask_for(peer);
            }
        }
    }

    fn is_under_way(&self, peer: &NodeKey) -> bool {
        self.busy.contains(peer) || self.waiting.contains(peer)
    }
}

/// Runs until the node stops.
pub(super) async fn run(shared: Arc<Shared>, mut links: mpsc::Receiver<LinkEvent>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(shared.config.sync_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sessions: JoinSet<(NodeKey, bool)> = JoinSet::new();
    let mut turns = Turns::default();
    loop {
        while let Some(peer) = turns.take() {
            let shared = Arc::clone(&shared);
            sessions.spawn(async move { (peer, mend(&shared, peer).await) });
        }
        let again = turns.next_again();
        tokio::select! {
            () = stop.cancelled() => return,
            event = links.recv() => match event {
                None => return stop.cancelled().await,
                Some(LinkEvent::Up { peer }) => {
                    turns.again.remove(&peer);
                    turns.ask_for(peer);
                }
                Some(LinkEvent::Down { .. } | LinkEvent::Heard { .. }) => {}
            },
            _ = ticks.tick() => any(&shared.peers.linked()).into_iter().for_each(|peer| turns.ask_for(peer)),
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {
                turns.ask_again(Instant::now(), &shared.peers.linked());
            }
            Some(ended) = sessions.join_next() => match ended {
                Ok((peer, is_done)) => turns.ended(peer, is_done, Instant::now()),
                // Which peer it was is not known any more; all may be asked again.
                Err(error) => {
                    tracing::error!(%error, "an anti-entropy session broke");
                    turns.busy.clear();
                }
            }
        }
    }
}

/// A peer by chance.
fn any(peers: &[NodeKey]) -> Option<NodeKey> {
    let dice = uuid::Uuid::new_v4().as_u128() % peers.len().max(1) as u128;
    peers.get(usize::try_from(dice).ok()?).copied()
}

/// One session, from the first comparison until nothing differs. False if it broke off.
async fn mend(shared: &Shared, peer: NodeKey) -> bool {
    let began = Instant::now();
    let outcome = tokio::time::timeout(SESSION_WITHIN, session(shared, peer)).await;
    let (outcome, news) = match outcome {
        Ok(Ok(news)) => ("done", news),
        Ok(Err(error)) => {
            tracing::debug!(assets_db_id = %peer.assets_db_id(), %error, "an anti-entropy session broke off");
            ("broke", 0)
        }
        Err(_) => ("late", 0),
    };
    shared.metrics.session(outcome);
    if news > 0 {
        tracing::debug!(assets_db_id = %peer.assets_db_id(), news, took = ?began.elapsed(), "took over what a peer knew");
    }
    outcome == "done"
}

/// Returns how many envelopes were news here.
async fn session(shared: &Shared, peer: NodeKey) -> Result<usize, Error> {
    let (mut session, mut all) = (Session::default(), 0);
    while let Some(ask) = session.next(&shared.view().map) {
        let answer = step(shared, peer, ask).await?;
        let answer = match answer {
            SyncAnswer::Envelopes { envelopes, taken } => {
                let envelopes = verified(shared, peer, envelopes).await?;
                SyncAnswer::Envelopes { envelopes, taken }
            }
            SyncAnswer::Stamps { buckets, next } => SyncAnswer::Stamps { buckets, next },
            SyncAnswer::Busy => SyncAnswer::Busy,
        };
        let envelopes = session.answered(&shared.view().map, answer);
        if !envelopes.is_empty() {
            let news = shared.merge(peer, envelopes).await.ok_or(Error::Stopped)?;
            session.merged(news);
            all += news;
        }
    }
    Ok(all)
}

async fn step(shared: &Shared, peer: NodeKey, ask: Ask) -> Result<SyncAnswer<Envelope>, Error> {
    let ask = ask.map(|record: Arc<Verified>| record.envelope().clone());
    let body = ask.encode().map_err(|error| Error::BadAnswer(error.to_string()))?;
    let ask = || async {
        let answer = shared.peers.request(peer, Service::Registry, body.clone(), STEP_WITHIN).await;
        let answer = match answer {
            Ok(answer) => SyncAnswer::decode(&answer),
            Err(Error::Busy | Error::NotSent) => return None,
            Err(error) => return Some(Err(error)),
        };
        match answer {
            Ok(SyncAnswer::Busy) => None,
            Ok(answer) => Some(Ok(answer)),
            Err(error) => {
                shared.peers.penalise(peer, Offence::Malformed).await;
                Some(Err(Error::BadAnswer(error.to_string())))
            }
        }
    };
    while_busy(std::iter::repeat_n(BUSY_WAIT, BUSY_MAX), ask).await.unwrap_or(Err(Error::Busy))
}

async fn verified(
    shared: &Shared,
    peer: NodeKey,
    envelopes: Vec<Envelope>,
) -> Result<Vec<Arc<Verified>>, Error> {
    match shared.verify(envelopes).await {
        Ok(records) => Ok(records),
        Err(Bad { error }) => {
            shared.blame(peer, &error).await;
            Err(Error::BadAnswer(error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::test_kit::node;

    #[test]
    fn each_peer_has_one_session_at_a_time_and_few_have_one_at_once() {
        let mut turns = Turns::default();
        for _ in 0..2 {
            (1..=6).for_each(|seed| turns.ask_for(node(seed)));
        }
        let first: Vec<_> = std::iter::from_fn(|| turns.take()).collect();
        assert_eq!(first, [1, 2, 3, 4].map(node));
        turns.ask_for(node(1));
        turns.ended(node(2), true, Instant::now());
        assert_eq!(std::iter::from_fn(|| turns.take()).collect::<Vec<_>>(), [node(5)]);
        turns.ended(node(1), true, Instant::now());
        turns.ended(node(3), true, Instant::now());
        assert_eq!(std::iter::from_fn(|| turns.take()).collect::<Vec<_>>(), [6, 1].map(node));
    }

    #[test]
    fn a_session_that_breaks_off_is_begun_again_later_and_not_for_ever() {
        let (mut turns, peer) = (Turns::default(), node(1));
        let (began, mut times) = (Instant::now(), 0);
        let mut now = began;
        turns.ask_for(peer);
        while turns.take().is_some() {
            times += 1;
            turns.ended(peer, false, now);
            if let Some(at) = turns.next_again() {
                now = at;
                turns.ask_again(now, &[peer]);
            }
        }
        assert_eq!(times, 1 + AGAIN_MAX);
        assert_eq!(now - began, AGAIN_AFTER * 63);
        assert!(turns.next_again().is_none());
    }

    #[test]
    fn who_is_not_linked_is_not_asked_again() {
        let (mut turns, peer) = (Turns::default(), node(1));
        turns.ask_for(peer);
        turns.take().unwrap();
        turns.ended(peer, false, Instant::now());
        let now = turns.next_again().unwrap();
        turns.ask_again(now, &[]);
        assert_eq!((turns.take(), turns.next_again()), (None, None));
    }
}
