//! Hands a change to the owner of an entry, and waits until the owner has it on its disk and this node has the new
//! envelope. If the owner does not answer, nothing has been changed here.

use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{
    EntryId, ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Verified,
};

use super::Error;
use super::shared::Shared;
use super::state::Change;
use crate::swarm::{Offence, Service};

/// Has the owner change its entry.
pub(super) async fn forward(
    shared: &Shared,
    owner: NodeKey,
    entry: &EntryId,
    change: &Change,
) -> Result<Arc<Verified>, Error> {
    let result = ask(shared, owner, entry, change).await;
    shared.metrics.forward(match &result {
        Ok(_) => "done",
        Err(Error::OwnerUnreachable { .. }) => "unreachable",
        Err(_) => "refused",
    });
    result
}

async fn ask(
    shared: &Shared,
    owner: NodeKey,
    entry: &EntryId,
    change: &Change,
) -> Result<Arc<Verified>, Error> {
    let change = match change {
        Change::Update(patch) => ForwardedChange::Update(patch.to_json()),
        Change::Delete => ForwardedChange::Delete,
        // Whoever creates an entry owns it.
        Change::Create(_) => return Err(Error::Busy),
    };
    let unreachable = |reason: String| Error::OwnerUnreachable { owner, reason };
    let too_long = |_| Error::ChangeTooLong;
    let body = ForwardAsk::new(entry, change).encode().map_err(too_long)?;
    let within = shared.config.forward_within;
    let answer = shared.peers.request(owner, Service::Forward, body, within).await;
    let answer = answer.map_err(|error| unreachable(error.to_string()))?;
    match ForwardAnswer::decode(&answer) {
        Ok(ForwardAnswer::Done(envelope)) => {
            let record = match shared.verifier.verify(envelope) {
                Ok(record) if record.owner() == owner && record.entry() == entry => Arc::new(record),
                Ok(_) => {
                    shared.peers.penalise(owner, Offence::Malformed).await;
                    return Err(unreachable("it answered with another entry".to_owned()));
                }
                Err(error) => {
                    shared.blame(owner, &error).await;
                    return Err(unreachable(error.to_string()));
                }
            };
            shared.merge(owner, vec![Arc::clone(&record)]).await.ok_or(Error::Stopped)?;
            Ok(record)
        }
        Ok(ForwardAnswer::Refused(refusal)) => Err(refused(owner, entry, refusal)),
        Err(error) => {
            shared.peers.penalise(owner, Offence::Malformed).await;
            Err(unreachable(error.to_string()))
        }
    }
}

fn refused(owner: NodeKey, entry: &EntryId, refusal: ForwardRefusal) -> Error {
    let unreachable = |reason: &str| Error::OwnerUnreachable { owner, reason: reason.to_owned() };
    match refusal {
        ForwardRefusal::NotFound => Error::NotFound(entry.clone()),
        ForwardRefusal::Forbidden => Error::Forbidden(entry.clone()),
        ForwardRefusal::Invalid { code, message } => Error::OwnerRefused { code, message },
        ForwardRefusal::TooFast | ForwardRefusal::Busy => Error::Busy,
        ForwardRefusal::Full => unreachable("its disk is full"),
        ForwardRefusal::Failed => unreachable("it failed"),
    }
}
