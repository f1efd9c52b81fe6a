//! Hands a change to the owner of an entry, and waits until the owner has it on its disk and this node has the new
//! envelope. An owner that gives no permit is told nothing; one whose answer is lost may have done it, and that is said.

use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::{
    EntryId, ForwardAnswer, ForwardAsk, ForwardRefusal, ForwardedChange, Verified,
};

use super::Error;
use super::shared::Shared;
use super::state::Change;
use crate::swarm::{self, Offence, Service};

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
        Err(Error::Unconfirmed { .. }) => "unconfirmed",
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
    let unconfirmed = |reason: String| Error::Unconfirmed { owner, reason };
    let too_long = |_| Error::ChangeTooLong;
    // The change as it will be, so that one that is too long asks for nothing.
    ForwardAsk::new(entry, change.clone(), [0; 16]).encode().map_err(too_long)?;
    let permit = permit(shared, owner, entry).await?;
    let body = ForwardAsk::new(entry, change, permit).encode().map_err(too_long)?;
    let within = shared.config.forward_within;
    let answer = shared.peers.request(owner, Service::Forward, body, within).await;
    let answer = answer.map_err(|error| match error {
        swarm::Error::NotSent => Error::Busy,
        error => unconfirmed(error.to_string()),
    })?;
    match ForwardAnswer::decode(&answer) {
        Ok(ForwardAnswer::Done(envelope)) => {
            let record = match shared.verifier.verify(envelope) {
                Ok(record) if record.owner() == owner && record.entry() == entry => Arc::new(record),
                Ok(_) => {
                    shared.peers.penalise(owner, Offence::Malformed).await;
                    return Err(unconfirmed("it answered with another entry".to_owned()));
                }
                Err(error) => {
                    shared.blame(owner, &error).await;
                    return Err(unconfirmed(error.to_string()));
                }
            };
            shared.merge(owner, vec![Arc::clone(&record)]).await.ok_or(Error::Stopped)?;
            Ok(record)
        }
        Ok(ForwardAnswer::Refused(refusal)) => Err(refused(shared, owner, entry, refusal)),
        Ok(ForwardAnswer::Permit(_)) => Err(unconfirmed("it answers something else".to_owned())),
        Err(error) => {
            shared.peers.penalise(owner, Offence::Malformed).await;
            Err(unconfirmed(error.to_string()))
        }
    }
}

/// Asks the owner whether it is there. Until it has answered nothing can change.
async fn permit(shared: &Shared, owner: NodeKey, entry: &EntryId) -> Result<[u8; 16], Error> {
    let unreachable = |reason: String| Error::OwnerUnreachable { owner, reason };
    let ask = ForwardAsk::new(entry, ForwardedChange::Permit, [0; 16]).encode();
    let ask = ask.map_err(|_| Error::ChangeTooLong)?;
    let answer = shared.peers.request(owner, Service::Forward, ask, shared.config.forward_within).await;
    let answer = answer.map_err(|error| match error {
        swarm::Error::Busy | swarm::Error::NotSent => Error::Busy,
        error => unreachable(error.to_string()),
    })?;
    match ForwardAnswer::decode(&answer) {
        Ok(ForwardAnswer::Permit(permit)) => Ok(permit),
        Ok(ForwardAnswer::Refused(refusal)) => Err(refused(shared, owner, entry, refusal)),
        Ok(ForwardAnswer::Done(_)) | Err(_) => Err(unreachable("it answers something else".to_owned())),
    }
}

fn refused(shared: &Shared, owner: NodeKey, entry: &EntryId, refusal: ForwardRefusal) -> Error {
    let unreachable = |reason: &str| Error::OwnerUnreachable { owner, reason: reason.to_owned() };
    match refusal {
        ForwardRefusal::NotFound => Error::NotFound(entry.clone()),
        ForwardRefusal::Forbidden => Error::Forbidden(entry.clone()),
        ForwardRefusal::Invalid { code, message } => Error::OwnerRefused { code, message },
        ForwardRefusal::TooFast => {
            Error::TooFast { per_minute: shared.config.state.bounds.updates_per_minute }
        }
        ForwardRefusal::Busy => Error::Busy,
        ForwardRefusal::Late => unreachable("it took the change for one that had been given up"),
        ForwardRefusal::Full => unreachable("its disk is full"),
        ForwardRefusal::Conflict { message } => Error::OwnerConflict(message),
        ForwardRefusal::TooMany { message } => Error::OwnerFull(message),
        ForwardRefusal::Failed => Error::Unconfirmed { owner, reason: "it failed".to_owned() },
    }
}
