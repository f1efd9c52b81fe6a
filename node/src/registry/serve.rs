//! Answers peers: steps of anti-entropy, and changes that they hand on to this node as the owner.

use std::sync::Arc;

use assetmesh_protocol::registry::{
    ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Patch, SyncAnswer, SyncAsk,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::state::{Asker, Change};
use super::{Error, sync};
use crate::swarm::{Offence, Request};

/// Requests answered at one time. More wait in the mailboxes, and what does not fit there is answered busy.
const AT_ONCE_MAX: usize = 32;

/// Runs until the node stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut syncs: mpsc::Receiver<Request>,
    mut forwards: mpsc::Receiver<Request>,
    stop: CancellationToken,
) {
    let mut answering = JoinSet::new();
    loop {
        let has_room = answering.len() < AT_ONCE_MAX;
        tokio::select! {
            () = stop.cancelled() => return,
            Some(request) = syncs.recv(), if has_room => {
                let shared = Arc::clone(&shared);
                answering.spawn(async move { sync_step(&shared, request).await });
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
async fn sync_step(shared: &Shared, Request { from, body, answer }: Request) {
    let ask = match SyncAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(%from, %error, "a malformed step of anti-entropy");
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
    let bytes = answered.encode().or_else(|_| SyncAnswer::Busy.encode());
    if let Ok(bytes) = bytes {
        // The asker may have gone.
        answer.send(bytes).ok();
    }
}

async fn forwarded(shared: &Shared, Request { from, body, answer }: Request) {
    let ask = match ForwardAsk::decode(&body) {
        Ok(ask) => ask,
        Err(error) => {
            tracing::debug!(%from, %error, "a malformed forwarded change");
            return shared.peers.penalise(from, Offence::Malformed).await;
        }
    };
    let answered = match apply(shared, ask).await {
        Ok(done) => done,
        Err(refusal) => ForwardAnswer::Refused(refusal),
    };
    if let Ok(bytes) = answered.encode() {
        answer.send(bytes).ok();
    }
}

async fn apply(shared: &Shared, ask: ForwardAsk) -> Result<ForwardAnswer, ForwardRefusal> {
    if !shared.config.accept_forwarded {
        return Err(ForwardRefusal::Forbidden);
    }
    let entry = ask.entry().ok_or(ForwardRefusal::NotFound)?;
    let change = match ask.change {
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
        Error::Busy | Error::Stopped => ForwardRefusal::Busy,
        _ => ForwardRefusal::Failed,
    }
}
