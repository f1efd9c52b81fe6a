//! Answers peers: steps of anti-entropy, and changes that they hand on to this node as the owner.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use assetmesh_protocol::codec::TooLong;
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{
    ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Patch, SyncAnswer, SyncAsk,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::state::{Asker, Change};
use super::{Error, sync};
use crate::swarm::{Offence, Request};

/// Requests answered at one time. More wait in the mailboxes, and what does not fit there is answered busy.
const AT_ONCE_MAX: usize = 32;

/// Bytes that a peer may ask with at once. 2 MiB: a new node's whole first session, or some thousand envelopes given.
const BYTES_BURST: u64 = 2 * 1024 * 1024;
/// Bytes that a peer may ask with in a second. 256 KiB: to verify that many costs a tenth of a core.
const BYTES_PER_SECOND: u64 = 256 * 1024;
/// Peers whose bytes are counted. Who was quiet for long enough is forgotten first.
const COUNTED_MAX: usize = 1_024;

/// What each peer may still ask with.
#[derive(Debug, Default)]
struct Budgets {
    of: HashMap<NodeKey, (u64, Instant)>,
}

impl Budgets {
    /// Whether a peer may ask with so many bytes; if so, they are counted.
    fn take(&mut self, peer: NodeKey, bytes: usize, now: Instant) -> bool {
        if self.of.len() >= COUNTED_MAX && !self.of.contains_key(&peer) {
            self.of.retain(|_, budget| filled(*budget, now) < BYTES_BURST);
        }
        let left = filled(*self.of.get(&peer).unwrap_or(&(BYTES_BURST, now)), now);
        let after = left.checked_sub(bytes as u64);
        self.of.insert(peer, (after.unwrap_or(left), now));
        after.is_some()
    }
}

fn filled((left, counted): (u64, Instant), now: Instant) -> u64 {
    let gained = now.saturating_duration_since(counted).as_millis() as u64 * BYTES_PER_SECOND / 1000;
    left.saturating_add(gained).min(BYTES_BURST)
}

/// Runs until the node stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut syncs: mpsc::Receiver<Request>,
    mut forwards: mpsc::Receiver<Request>,
    stop: CancellationToken,
) {
    let mut answering = JoinSet::new();
    let mut budgets = Budgets::default();
    loop {
        let has_room = answering.len() < AT_ONCE_MAX;
        tokio::select! {
            () = stop.cancelled() => return,
            Some(request) = syncs.recv(), if has_room => {
                if budgets.take(request.from, request.body.len(), Instant::now()) {
                    let shared = Arc::clone(&shared);
                    answering.spawn(async move { sync_step(&shared, request).await });
                } else {
                    reply(request.answer, SyncAnswer::Busy.encode());
                }
            }
            Some(request) = forwards.recv(), if has_room => {
                let shared = Arc::clone(&shared);
                answering.spawn(async move { forwarded(&shared, request).await });
            }
            Some(ended) = answering.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "an answer to a peer broke off");
                }
            }
        }
    }
}

/// A bad message has no answer: its sender sees that it was refused.
async fn sync_step(shared: &Shared, Request { from, body, answer, .. }: Request) {
    let ask = match SyncAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a malformed step of anti-entropy");
            return shared.peers.penalise(from, Offence::Malformed).await;
        }
    };
    let (question, given) = sync::part(ask);
    let given = match shared.verify(given).await {
        Ok(given) => given,
        Err(bad) => return shared.blame(from, &bad.error).await,
    };
    let Some(taken) = shared.merge(from, given).await else { return };
    let answered = sync::answer(&shared.view().map, &question, taken);
    let answered = answered.map(|record| record.envelope().clone());
    reply(answer, answered.encode().or_else(|_| SyncAnswer::Busy.encode()));
}

fn reply(answer: oneshot::Sender<Vec<u8>>, bytes: Result<Vec<u8>, TooLong>) {
    if let Ok(bytes) = bytes {
        // The asker may have gone.
        answer.send(bytes).ok();
    }
}

async fn forwarded(shared: &Shared, Request { from, body, answer, .. }: Request) {
    let ask = match ForwardAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a malformed forwarded change");
            return shared.peers.penalise(from, Offence::Malformed).await;
        }
    };
    let answered = match apply(shared, from, ask).await {
        Ok(done) => done,
        Err(refusal) => ForwardAnswer::Refused(refusal),
    };
    reply(answer, answered.encode());
}

async fn apply(shared: &Shared, from: NodeKey, ask: ForwardAsk) -> Result<ForwardAnswer, ForwardRefusal> {
    if !shared.config.accept_forwarded {
        return Err(ForwardRefusal::Forbidden);
    }
    let now = Instant::now();
    let may = shared.permits.holds(&from, &ask.permit, now);
    let entry = ask.entry().ok_or(ForwardRefusal::NotFound)?;
    let change = match ask.change {
        ForwardedChange::Permit => return Ok(ForwardAnswer::Permit(shared.permits.give(&from, now))),
        _ if !may => return Err(ForwardRefusal::Late),
        ForwardedChange::Delete => Change::Delete,
        ForwardedChange::Update(patch) => Change::Update(Patch::from_json(&patch).map_err(|error| {
            ForwardRefusal::Invalid { code: error.code().to_owned(), message: error.to_string() }
        })?),
    };
    let record = shared.write(entry, change, Asker::Peer).await.map_err(refusal)?;
    Ok(ForwardAnswer::Done(record.envelope().clone()))
}

fn refusal(error: Error) -> ForwardRefusal {
    match error {
        Error::NotFound(_) => ForwardRefusal::NotFound,
        Error::Forbidden(_) => ForwardRefusal::Forbidden,
        Error::Invalid(error) => {
            ForwardRefusal::Invalid { code: error.code().to_owned(), message: error.to_string() }
        }
        Error::TooFast { .. } => ForwardRefusal::TooFast,
        Error::Full => ForwardRefusal::Full,
        error @ Error::Conflict(_) => ForwardRefusal::Conflict { message: error.to_string() },
        error @ Error::TooMany(_) => ForwardRefusal::TooMany { message: error.to_string() },
        Error::Busy => ForwardRefusal::Busy,
        _ => ForwardRefusal::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::registry::test_kit::node;

    #[test]
    fn a_peer_asks_only_so_much_and_holds_up_no_other() {
        let (mut budgets, now) = (Budgets::default(), Instant::now());
        let asks = |budgets: &mut Budgets, seed, now| {
            (0..1_000).filter(|_| budgets.take(node(seed), 65_536, now)).count()
        };
        assert_eq!(asks(&mut budgets, 1, now), 32);
        assert_eq!(asks(&mut budgets, 1, now + Duration::from_secs(1)), 4);
        assert_eq!(asks(&mut budgets, 2, now), 32);
        assert_eq!(asks(&mut budgets, 1, now + Duration::from_secs(60)), 32);
    }

    #[test]
    fn only_so_many_peers_are_counted() {
        let (mut budgets, now) = (Budgets::default(), Instant::now());
        for n in 0..3 * COUNTED_MAX as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_le_bytes());
            assert!(budgets.take(NodeKey(key), 1, now + Duration::from_millis(n)));
        }
        assert!(budgets.of.len() <= COUNTED_MAX, "{}", budgets.of.len());
    }
}
