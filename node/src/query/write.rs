//! Has an asset changed by the node that owns it, whichever node was asked. The owner is looked for first, and gives a
//! permit for the change: one that does not answer is sent nothing, and one that was stopped on the way does nothing
//! later, behind the client's back. Only an answer that was lost leaves open what was done, and that is said.

use assetmesh_protocol::asset::Patch;
use assetmesh_protocol::ids::RecordId;
use assetmesh_protocol::limits::ASSET_URI_BYTES_MAX;
use assetmesh_protocol::query::{AssetChange, WriteAnswer, WriteAsk, WriteRefusal};
use uuid::Uuid;

use super::check::Lie;
use super::look::{Holder, Holders, Place, others};
use super::peers::Known;
use super::report::Outcome;
use super::{Config, Error, Queries, Report, Shared, Verdict, question_id};
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
        // One record has one owner; of a uri, whoever is up and has not said that it has none may be another.
        let is_of_one = Uuid::try_parse(key).is_ok();
        let Config { lookup_within, others_within, .. } = self.config;
        let little = if is_of_one { others_within } else { lookup_within };
        let Holders { holders, report } = self.holders(key, place, little).await?;
        let report = Box::new(report);
        let nobody_answers = |report: Box<Report>| {
            let reason = format!("no full answer from {}", report.missing_line());
            Error::OwnerUnreachable { reason, report }
        };
        if holders.len() > 1 {
            return Err(Error::Ambiguous(others(&holders, 0)));
        }
        match holders.into_iter().next() {
            None if report.complete => Err(Error::NotFound(report)),
            None => Err(nobody_answers(report)),
            Some(Holder { peer: Some(_), .. }) if !is_of_one && !report.all_up_told() => {
                Err(nobody_answers(report))
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
            Err(Error::OwnerUnreachable { .. }) => "unreachable",
            Err(_) => "refused",
        });
        result
    }

    async fn hand_over(&self, owner: &Known, record: RecordId, change: &Change) -> Result<Changed, Error> {
        let change = match change {
            Change::Update(patch) => AssetChange::Update(patch.to_json()),
            Change::Delete => AssetChange::Delete,
        };
        // The change as it will be, so that one that is too long asks for nothing.
        let told = |change, permit| WriteAsk::new(question_id(), record, change, permit).encode();
        told(change.clone(), [0; 16]).map_err(|_| Error::ChangeTooLong)?;
        let ask = told(AssetChange::Permit, [0; 16]).map_err(|_| Error::ChangeTooLong)?;
        let asked = self.write_answer(owner, ask).await;
        let permit = match asked.map_err(|lost| self.nothing_done(owner, &lost))? {
            WriteAnswer::Permit(permit) => permit,
            WriteAnswer::Refused(refusal) => return Err(self.refused(owner, record, refusal)),
            WriteAnswer::Done { .. } => {
                let lost = self.blame(owner, Lie::OffTopic).await;
                return Err(self.nothing_done(owner, &lost));
            }
        };
        let ask = told(change, permit).map_err(|_| Error::ChangeTooLong)?;
        let answer = match self.write_answer(owner, ask).await {
            Ok(answer) => answer,
            // It was not told of the change.
            Err(lost @ (Outcome::NotSent | Outcome::LeftAlone)) => {
                return Err(self.nothing_done(owner, &lost));
            }
            Err(lost) => return Err(unconfirmed(owner, lost.name())),
        };
        match answer {
            WriteAnswer::Done { uri } if uri.len() <= ASSET_URI_BYTES_MAX => Ok(Changed { record, uri }),
            WriteAnswer::Refused(refusal) => Err(self.refused(owner, record, refusal)),
            WriteAnswer::Done { .. } | WriteAnswer::Permit(_) => {
                Err(unconfirmed(owner, self.blame(owner, Lie::OffTopic).await.name()))
            }
        }
    }

    /// What the owner says.
    async fn write_answer(&self, owner: &Known, ask: Vec<u8>) -> Result<WriteAnswer, Outcome> {
        let (answer, attempt) = self.ask(owner, Service::Write, ask, self.config.write_within).await?;
        match WriteAnswer::decode(&answer) {
            Ok(answer) => {
                attempt.end(Verdict::Good);
                Ok(answer)
            }
            Err(_) => {
                attempt.end(Verdict::Bad);
                Err(self.blame(owner, Lie::OffTopic).await)
            }
        }
    }

    /// An owner that was not told of the change, or does not take it.
    fn nothing_done(&self, owner: &Known, outcome: &Outcome) -> Error {
        if matches!(outcome, Outcome::Busy | Outcome::NotSent) {
            return catalog::Error::Busy.into();
        }
        let mut report = Report::begin(&self.own, &Outcome::Full);
        report.add(owner, outcome);
        let reason = format!("{} ({})", owner.name, outcome.name());
        Error::OwnerUnreachable { reason, report: Box::new(report) }
    }

    fn refused(&self, owner: &Known, record: RecordId, refusal: WriteRefusal) -> Error {
        match refusal {
            WriteRefusal::NotFound => catalog::Error::NotFound(record.to_string()).into(),
            WriteRefusal::Forbidden => Error::Forbidden,
            WriteRefusal::Conflict { uri } => catalog::Error::Conflict { uri }.into(),
            WriteRefusal::Invalid { code, message } => Error::OwnerRefused { code, message },
            WriteRefusal::Full => catalog::Error::Full.into(),
            WriteRefusal::Busy => catalog::Error::Busy.into(),
            WriteRefusal::Failed => unconfirmed(owner, "it failed"),
            WriteRefusal::Late => self.nothing_done(owner, &Outcome::Failed("it got the change too late")),
        }
    }
}

fn unconfirmed(owner: &Known, why: &str) -> Error {
    Error::Unconfirmed(format!("{} ({why})", owner.name))
}
