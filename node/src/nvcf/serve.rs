//! Tells peers which input assets of an account are here. Only a peer that may speak for accounts gets an answer.

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::nvcf::{HeldAsset, NVCF_IDS_MAX, NvcfAnswer, NvcfAsk, NvcfRefusal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Error, Nvcf};
use crate::swarm::{Offence, Request};

/// Runs until the node stops. An answer is some reads, so one follows the other.
pub(super) async fn run(nvcf: Nvcf, mut asked: mpsc::Receiver<Request>, stop: CancellationToken) {
    loop {
        let request = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            request = asked.recv() => request,
        };
        match request {
            Some(request) => told(&nvcf, request).await,
            None => return,
        }
    }
}

async fn told(nvcf: &Nvcf, Request { from, body, answer, .. }: Request) {
    match NvcfAsk::decode(&body) {
        Ok(ask) => {
            if let Ok(bytes) = nvcf.answer(from, &ask).encode() {
                // The asker may have gone.
                answer.send(bytes).ok();
            }
        }
        // A bad message has no answer: its sender sees that it was refused.
        Err(error) => {
            tracing::debug!(%from, %error, "a malformed question for input assets");
            nvcf.inner.swarm.penalise(from, Offence::Malformed).await;
        }
    }
}

impl Nvcf {
    pub(super) fn answer(&self, from: NodeKey, ask: &NvcfAsk) -> NvcfAnswer {
        if !self.inner.setup.trust.has(&from) {
            return NvcfAnswer::Refused(NvcfRefusal::Forbidden);
        }
        if ask.count() > NVCF_IDS_MAX {
            return NvcfAnswer::Refused(NvcfRefusal::TooMany);
        }
        let mut held = Vec::new();
        for id in ask.ids() {
            match self.get(&ask.account, id) {
                Ok(asset) => {
                    let Some((blob, size)) = asset.content else { continue };
                    held.push(HeldAsset::new(id, &blob, size, asset.content_type));
                }
                Err(Error::NotFound(_)) => {}
                Err(error) => {
                    tracing::warn!(%from, %error, "a peer's question for input assets failed here");
                    return NvcfAnswer::Refused(NvcfRefusal::Failed);
                }
            }
        }
        NvcfAnswer::Held(held)
    }
}
