//! Has an asset changed by the node that owns it, whichever node was asked. The owner is looked for first: a node that
//! does not answer that is sent nothing, so that nothing is done later behind the client's back.

use assetmesh_protocol::asset::Patch;
use assetmesh_protocol::ids::RecordId;
use assetmesh_protocol::limits::ASSET_URI_BYTES_MAX;
use assetmesh_protocol::query::{AssetChange, WriteAnswer, WriteAsk, WriteRefusal};

use super::check::Lie;
use super::look::{Holders, Place, others};
use super::peers::Known;
use super::{Error, Queries, Shared, Verdict, question_id};
use crate::catalog;
use crate::swarm::Service;

/// An asset that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Its record.
    pub record: RecordId,
    /// Its uri: after an update, before a delete.
    pub uri: String,
}

impl Queries {
    /// Changes an asset, wherever its owner is. The owner has it on its disk when this returns.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, `OwnerUnreachable`, what the owner says, and the catalog's own.
    pub async fn update(&self, key: &str, place: &Place, patch: Patch) -> Result<Changed, Error> {
        self.shared.change(key, place, Change::Update(patch)).await
    }

    /// Deletes an asset, wherever its owner is.
    ///
    /// # Errors
    /// As [`Queries::update`].
    pub async fn delete(&self, key: &str, place: &Place) -> Result<Changed, Error> {
        self.shared.change(key, place, Change::Delete).await
    }
}

#[derive(Debug, Clone)]
enum Change {
    Update(Patch),
    Delete,
}

impl Shared {
    async fn change(&self, key: &str, place: &Place, change: Change) -> Result<Changed, Error> {
        let is_elsewhere = matches!(place, Place::At(id) if *id != self.own.id.to_string());
        if !is_elsewhere {
            match self.change_here(key, &change).await {
                Err(catalog::Error::NotFound(_)) => {}
                here => return Ok(here?),
            }
        }
        let Holders { holders, report } = self.holders(key, place).await?;
        let report = Box::new(report);
        if holders.len() > 1 {
            return Err(Error::Ambiguous(others(&holders, 0)));
        }
        match holders.into_iter().next() {
            None if report.complete => Err(Error::NotFound(report)),
            None => {
                let reason = format!("no full answer from {}", report.missing_line());
                Err(Error::OwnerUnreachable { reason, report })
            }
            Some(holder) => match holder.peer {
                // It has come here meanwhile.
                None => Ok(self.change_here(&holder.asset.record.to_string(), &change).await?),
                Some(owner) => self.change_there(&owner, holder.asset.record, &change).await,
            },
        }
    }

    async fn change_here(&self, key: &str, change: &Change) -> Result<Changed, catalog::Error> {
        let asset = match change {
            Change::Update(patch) => self.catalog.update(key, patch.clone()).await?,
            Change::Delete => self.catalog.delete(key).await?,
        };
        Ok(Changed { record: asset.record, uri: asset.uri().to_owned() })
    }

    async fn change_there(&self, owner: &Known, record: RecordId, change: &Change) -> Result<Changed, Error> {
        let result = self.hand_over(owner, record, change).await;
        self.metrics.wrote(match &result {
            Ok(_) => "done",
            Err(Error::Unconfirmed(_)) => "unconfirmed",
            Err(_) => "refused",
        });
        result
    }

    async fn hand_over(&self, owner: &Known, record: RecordId, change: &Change) -> Result<Changed, Error> {
        let change = match change {
            Change::Update(patch) => AssetChange::Update(patch.to_json()),
            Change::Delete => AssetChange::Delete,
        };
        let body = WriteAsk::new(question_id(), record, change).encode();
        let body = body.map_err(|_| Error::ChangeTooLong)?;
        let unconfirmed = |why: &str| Error::Unconfirmed(format!("{} ({why})", owner.name));
        let asked = self.ask(owner, Service::Write, body, self.config.write_within).await;
        let (answer, attempt) = asked.map_err(|outcome| unconfirmed(outcome.name()))?;
        match WriteAnswer::decode(&answer) {
            Ok(WriteAnswer::Done { uri }) if uri.len() <= ASSET_URI_BYTES_MAX => {
                attempt.end(Verdict::Good);
                Ok(Changed { record, uri })
            }
            Ok(WriteAnswer::Refused(refusal)) => {
                attempt.end(Verdict::Good);
                Err(refused(record, refusal))
            }
            Ok(WriteAnswer::Done { .. }) | Err(_) => {
                attempt.end(Verdict::Bad);
                Err(unconfirmed(self.blame(owner, Lie::OffTopic).await.name()))
            }
        }
    }
}

fn refused(record: RecordId, refusal: WriteRefusal) -> Error {
    match refusal {
        WriteRefusal::NotFound => catalog::Error::NotFound(record.to_string()).into(),
        WriteRefusal::Forbidden => Error::Forbidden,
        WriteRefusal::Conflict { uri } => catalog::Error::Conflict { uri }.into(),
        WriteRefusal::Invalid { code, message } => Error::OwnerRefused { code, message },
        WriteRefusal::Full => catalog::Error::Full.into(),
        WriteRefusal::Busy => catalog::Error::Busy.into(),
        WriteRefusal::Failed => Error::Unconfirmed("it failed".to_owned()),
    }
}
