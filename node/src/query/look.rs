//! Looks for one asset by its uri or record id: here first, then at every member that is up. If several nodes have it,
//! this node's is taken, else the oldest, and the others are named.

use std::time::{Duration, Instant};

use assetmesh_protocol::query::{QueryAnswer, QueryAsk, QueryRefusal};
use assetmesh_protocol::summary::Probe;
use futures_util::{FutureExt, StreamExt, stream};
use serde::Serialize;

use super::check::{self, Lie};
use super::pace::pauses;
use super::patience::Verdict;
use super::peers::Known;
use super::report::Outcome;
use super::spare::Parted;
use super::{Error, Queries, Report, Shared, question_id};
use crate::catalog::Asset;
use crate::swarm::{Service, while_busy};

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On every node.
    Anywhere,
    /// On this node alone.
    Here,
    /// On the node with this `assets_db_id` alone.
    At(String),
}

/// An asset, and what is known of others of its name.
#[derive(Debug)]
pub struct Found {
    /// The asset.
    pub asset: Asset,
    /// Who else has one of this name.
    pub also_at: Vec<Other>,
    /// Who answered and who did not.
    pub report: Report,
}

/// An asset of the same name on another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Other {
    /// That node.
    pub assets_db_id: String,
    /// Its content; empty for an asset that lies elsewhere.
    pub asset_id: String,
    /// Whether the content is that of the asset that was taken.
    pub same_content: bool,
}

/// An asset and the peer that has it; none for this node.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) asset: Asset,
    pub(super) peer: Option<Known>,
}

/// All that have an asset, the one to be taken first, and who did not answer.
#[derive(Debug)]
pub(super) struct Holders {
    pub(super) holders: Vec<Holder>,
    pub(super) report: Report,
}

impl Queries {
    /// The asset with this uri or record id.
    ///
    /// # Errors
    /// `NotFound`, and the catalog's own.
    pub async fn look(&self, key: &str, place: &Place) -> Result<Found, Error> {
        let little = self.shared.config.others_within;
        let Holders { holders, report } = self.shared.holders(key, place, little).await?;
        let also_at = others(&holders, 1);
        match holders.into_iter().next() {
            Some(Holder { asset, .. }) => Ok(Found { asset, also_at, report }),
            None => Err(Error::NotFound(Box::new(report))),
        }
    }
}

/// The holders from one on, as clients see them.
pub(super) fn others(holders: &[Holder], from: usize) -> Vec<Other> {
    let content = |holder: &Holder| text(&holder.asset, "asset_id");
    let taken = holders.first().map(content).unwrap_or_default();
    let other = |holder: &Holder| {
        let asset_id = content(holder);
        let same_content = !asset_id.is_empty() && asset_id == taken;
        Other { assets_db_id: text(&holder.asset, "assets_db_id"), asset_id, same_content }
    };
    holders.iter().skip(from).map(other).collect()
}

fn text(asset: &Asset, member: &str) -> String {
    let object = asset.document.root().as_object();
    let value = object.and_then(|object| object.get(member)?.as_str());
    value.unwrap_or_default().to_owned()
}

impl Shared {
    /// Who has an asset of this name: this node first, then the oldest. Once somebody has it, the rest is waited for
    /// only a `little`.
    pub(super) async fn holders(&self, key: &str, place: &Place, little: Duration) -> Result<Holders, Error> {
        let started = Instant::now();
        let is_own = |id: &str| self.own.id.to_string() == id;
        let here = match place {
            Place::At(id) if !is_own(id) => None,
            _ => self.catalog.find(key)?,
        };
        let others = match place {
            Place::Here => Vec::new(),
            Place::At(id) if is_own(id) => Vec::new(),
            Place::At(id) => {
                let others = self.peers.others().into_iter();
                others.filter(|peer| peer.id.to_string() == *id).collect()
            }
            Place::Anywhere => self.peers.others(),
        };
        let mut report = Report::begin(&self.own, &Outcome::Full);
        let until = if here.is_some() { little } else { self.config.lookup_within };
        let elsewhere = self.elsewhere(key, others, (until, little), &mut report).await;
        let own = here.map(|asset| Holder { asset, peer: None });
        let holders = own.into_iter().chain(elsewhere).collect();
        Ok(Holders { holders, report: report.after(started.elapsed()) })
    }

    /// Asks all that are up.
    async fn elsewhere(
        &self,
        key: &str,
        others: Vec<Known>,
        (until, little): (Duration, Duration),
        report: &mut Report,
    ) -> Vec<Holder> {
        let within = self.config.lookup_within;
        let mut deadline = Instant::now() + until;
        let Parted { up, rest, .. } = self.parted(others, &Probe::of_name(key));
        for (peer, outcome) in &rest {
            report.add(peer, outcome);
        }
        let body = QueryAsk::Look { id: question_id(), key: key.to_owned() }.encode();
        let body = body.map_err(|_| Outcome::Failed("the question is too long to send"));
        let mut silent: Vec<Option<&Known>> = up.iter().map(Some).collect();
        let asked = up.iter().enumerate().map(|(at, peer)| {
            let body = body.clone();
            let looked = async move { self.look_patiently(key, peer, &body?, within).await };
            looked.map(move |looked| (at, looked)).boxed()
        });
        let asked: Vec<_> = asked.collect();
        let mut answers = stream::iter(asked).buffer_unordered(self.config.asked_at_once);
        let mut found = Vec::new();
        while let Ok(Some((at, looked))) = tokio::time::timeout_at(deadline.into(), answers.next()).await {
            silent[at] = None;
            let outcome = match looked {
                Ok(None) => Outcome::Full,
                Ok(Some(asset)) => {
                    found.push(Holder { asset, peer: Some(up[at].clone()) });
                    deadline = deadline.min(Instant::now() + little);
                    Outcome::Full
                }
                Err(outcome) => outcome,
            };
            report.add(&up[at], &outcome);
        }
        for peer in silent.into_iter().flatten() {
            report.add(peer, &Outcome::TimedOut);
        }
        found.sort_by_key(|holder| (holder.asset.record, holder.peer.as_ref().map(|peer| peer.id)));
        found
    }

    async fn look_patiently(
        &self,
        key: &str,
        peer: &Known,
        body: &[u8],
        within: Duration,
    ) -> Result<Option<Asset>, Outcome> {
        let until = Instant::now() + within;
        let ask = || async {
            let left = until.saturating_duration_since(Instant::now());
            let looked = self.look_at(key, peer, body.to_vec(), left).await;
            (!matches!(looked, Err(Outcome::Busy | Outcome::NotSent))).then_some(looked)
        };
        while_busy(pauses(until, body.len()), ask).await.unwrap_or(Err(Outcome::Busy))
    }

    async fn look_at(
        &self,
        key: &str,
        peer: &Known,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Option<Asset>, Outcome> {
        let (answer, attempt) = self.ask(peer, Service::Query, body, within).await?;
        let checked = match QueryAnswer::decode(&answer) {
            Ok(QueryAnswer::Looked(None)) => Ok(None),
            Ok(QueryAnswer::Looked(Some(row))) => check::named(peer.id, key, row).map(Some),
            Ok(QueryAnswer::Refused(refusal)) => {
                return Err(match refusal {
                    QueryRefusal::Busy => Outcome::Busy,
                    QueryRefusal::BadQuestion(_) => Outcome::Failed("refused"),
                    QueryRefusal::Failed => Outcome::Failed("failed"),
                });
            }
            Ok(QueryAnswer::Rows { .. }) | Err(_) => Err(Lie::OffTopic),
        };
        match checked {
            Ok(asset) => {
                attempt.end(Verdict::Good);
                Ok(asset)
            }
            Err(lie) => {
                attempt.end(Verdict::Bad);
                Err(self.blame(peer, lie).await)
            }
        }
    }
}
