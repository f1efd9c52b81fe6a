//! Anti-entropy over the network: a session with each peer that links up, and one with a random linked peer every
//! 30 s. It decides nothing about envelopes; they go through the loop.

use std::collections::{BTreeSet, VecDeque};
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
use crate::swarm::{Error, LinkEvent, Offence, Service};

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
/// How often in a row a peer may be busy.
const BUSY_MAX: u32 = 10;

/// Runs until the node stops.
pub(super) async fn run(shared: Arc<Shared>, mut links: mpsc::Receiver<LinkEvent>, stop: CancellationToken) {
    let mut turns = tokio::time::interval(shared.config.sync_every);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sessions: JoinSet<NodeKey> = JoinSet::new();
    let (mut waiting, mut busy) = (VecDeque::new(), BTreeSet::new());
    loop {
        while sessions.len() < SESSIONS_MAX
            && let Some(at) = waiting.iter().position(|peer| !busy.contains(peer))
            && let Some(peer) = waiting.remove(at)
        {
            busy.insert(peer);
            let shared = Arc::clone(&shared);
            sessions.spawn(async move {
                mend(&shared, peer).await;
                peer
            });
        }
        let next = tokio::select! {
            () = stop.cancelled() => return,
            event = links.recv() => match event {
                None => return stop.cancelled().await,
                Some(LinkEvent::Up { peer }) => Some(peer),
                Some(LinkEvent::Down { .. } | LinkEvent::Heard { .. }) => None,
            },
            _ = turns.tick() => any(&shared.peers.linked()),
            Some(ended) = sessions.join_next() => {
                match ended {
                    Ok(peer) => drop(busy.remove(&peer)),
                    // The peer is not known any more; all may be asked again.
                    Err(error) => {
                        tracing::error!(%error, "an anti-entropy session broke");
                        busy.clear();
                    }
                }
                None
            }
        };
        if let Some(peer) = next
            && waiting.len() < WAITING_MAX
            && !waiting.contains(&peer)
        {
            waiting.push_back(peer);
        }
    }
}

/// A peer by chance.
fn any(peers: &[NodeKey]) -> Option<NodeKey> {
    let dice = uuid::Uuid::new_v4().as_u128() % peers.len().max(1) as u128;
    peers.get(usize::try_from(dice).ok()?).copied()
}

/// One session, from the first comparison until nothing differs.
async fn mend(shared: &Shared, peer: NodeKey) {
    let began = Instant::now();
    let outcome = tokio::time::timeout(SESSION_WITHIN, session(shared, peer)).await;
    let (outcome, news) = match outcome {
        Ok(Ok(news)) => ("done", news),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "an anti-entropy session broke off");
            ("broke", 0)
        }
        Err(_) => ("late", 0),
    };
    shared.metrics.session(outcome);
    if news > 0 {
        tracing::debug!(%peer, news, took = ?began.elapsed(), "took over what a peer knew");
    }
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
    for _ in 0..BUSY_MAX {
        let answer = shared.peers.request(peer, Service::Registry, body.clone(), STEP_WITHIN).await;
        let answer = match answer {
            Err(Error::Busy) => None,
            answer => Some(SyncAnswer::decode(&answer?)),
        };
        match answer {
            None | Some(Ok(SyncAnswer::Busy)) => tokio::time::sleep(BUSY_WAIT).await,
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(error)) => {
                shared.peers.penalise(peer, Offence::Malformed).await;
                return Err(Error::BadAnswer(error.to_string()));
            }
        }
    }
    Err(Error::Busy)
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
