//! One client's way through a range: what is here is read, what is not is fetched, and what turns out to be damaged is
//! fetched, too, so that the client gets the right bytes from wherever they are.

use std::fmt;
use std::ops::Range;
use std::pin::Pin;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use super::actor::Question;
use super::shelf::Consumer;
use super::{Error, Fetch, Found, Mended};
use crate::blobs::tree::GROUP_BYTES;
use crate::blobs::{self, Blob};

const GROUP: u64 = GROUP_BYTES as u64;
/// The most that is fetched at once in place of damage: one range of a transfer.
const MENDED_BYTES_MAX: u64 = 6 << 20;

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, blobs::Error>> + Send>>;

/// Where the next bytes come from.
enum Step {
    /// What is here.
    Here(Pieces),
    /// What others hold.
    There(Consumer),
}

/// One client's way through a range.
pub(super) struct Reading {
    fetch: Fetch,
    id: AssetId,
    /// If this node holds the content itself.
    own: Option<Blob>,
    found: Option<Found>,
    rest: Range<u64>,
    step: Option<Step>,
    damage: Damage,
    /// What is kept of another node was damaged: all of the rest is fetched, even if that could not be dropped.
    avoids_cache: bool,
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reading").field("id", &self.id).field("rest", &self.rest).finish_non_exhaustive()
    }
}

/// What was met of it.
#[derive(Debug, Default)]
struct Damage {
    /// The next place that cannot be read.
    at: Option<u64>,
    error: Option<blobs::Error>,
    /// How many times in a row there was nothing sound in between.
    in_a_row: u32,
    mended: Mended,
}

impl Reading {
    pub(super) fn of_own(fetch: &Fetch, blob: Blob, range: Range<u64>) -> Self {
        Self {
            own: Some(blob.clone()),
            ..Self::new(fetch, blob.id(), range.start..range.end.min(blob.size()))
        }
    }

    pub(super) fn of_found(fetch: &Fetch, found: Found, range: Range<u64>) -> Self {
        let range = range.start..range.end.min(found.size);
        Self { found: Some(found.clone()), ..Self::new(fetch, found.id, range) }
    }

    pub(super) fn new(fetch: &Fetch, id: AssetId, range: Range<u64>) -> Self {
        let (fetch, damage) = (fetch.clone(), Damage::default());
        Self { fetch, id, own: None, found: None, rest: range, step: None, damage, avoids_cache: false }
    }

    /// What came from others in place of damage.
    pub(super) fn into_mended(self) -> Mended {
        self.damage.mended
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.rest.is_empty() {
            let bytes = match &mut self.step {
                None => {
                    self.step = Some(self.enter().await?);
                    continue;
                }
                Some(Step::Here(pieces)) => match pieces.next().await.transpose() {
                    Ok(bytes) => bytes.inspect(|_| self.damage.in_a_row = 0),
                    Err(error) => {
                        self.step = None;
                        self.met(error).await?;
                        continue;
                    }
                },
                Some(Step::There(consumer)) => consumer.next().await.map_err(Error::Failed)?,
            };
            match bytes {
                Some(bytes) => {
                    self.rest.start += bytes.len() as u64;
                    self.passed(bytes.len() as u64).await;
                    return Ok(Some(bytes));
                }
                // The end of what is here, or it was too slow for the others.
                None => self.step = None,
            }
        }
        Ok(None)
    }

    /// Leaves the others' transfer at its end, and counts what came in place of damage.
    async fn passed(&mut self, bytes: u64) {
        let Some(Step::There(consumer)) = &mut self.step else { return };
        if self.own.is_some() {
            self.damage.mended.bytes += bytes;
        }
        if consumer.wants().is_empty() {
            if self.own.is_some() {
                // What is read next may need what was written over now.
                consumer.ended().await;
                let from = consumer.providers();
                let names: Vec<String> = from.iter().map(|key| key.assets_db_id().to_string()).collect();
                let (asset_id, mended_from) = (self.id, names.join(" "));
                tracing::warn!(%asset_id, to = self.rest.start, mended_from, "peers gave what is damaged here");
                self.damage.mended.from.extend(from);
            }
            self.step = None;
        }
    }

    async fn enter(&mut self) -> Result<Step, Error> {
        let Range { start, end } = self.rest;
        if let Some(blob) = &self.own {
            return match self.damage.at {
                Some(at) if at <= start => self.mend().await,
                at => Ok(Step::Here(Box::pin(blob.read(start..at.map_or(end, |at| at.min(end)))))),
            };
        }
        let cached = if self.avoids_cache { None } else { self.fetch.blobs.cached(&self.id) };
        if let Some(run) = cached.as_ref().and_then(|cached| cached.around(start))
            && let Some(cached) = &cached
        {
            return Ok(Step::Here(Box::pin(cached.blob().read(start..run.end.min(end)))));
        }
        let next = cached.and_then(|cached| cached.next_start(start));
        self.ask(start..next.map_or(end, |next| next.min(end))).await
    }

    /// Takes a place at a transfer of a range.
    async fn ask(&mut self, range: Range<u64>) -> Result<Step, Error> {
        let found = match &self.found {
            Some(found) => found.clone(),
            None => self.found.insert(self.fetch.find(self.id).await?).clone(),
        };
        let entered = self.fetch.mailbox.ask(|reply| Question::Enter { found, range, reply }).await;
        Ok(Step::There(entered.map_err(|_| Error::Stopped)??))
    }

    /// Has the damaged groups brought: first one, then twice as many as before while there is more damage.
    async fn mend(&mut self) -> Result<Step, Error> {
        let groups = 1 << self.damage.in_a_row.min(30);
        self.damage.in_a_row += 1;
        self.damage.at = None;
        let first = self.rest.start / GROUP * GROUP;
        let end = first.saturating_add((groups * GROUP).min(MENDED_BYTES_MAX));
        match self.ask(self.rest.start..end.min(self.rest.end)).await {
            Ok(step) => Ok(step),
            Err(reason) => Err(match self.damage.error.take() {
                Some(error) => self.beyond_help(error, &reason),
                None => reason,
            }),
        }
    }

    /// Nobody can help: what counts is that it is damaged.
    fn beyond_help(&self, error: blobs::Error, reason: &Error) -> Error {
        tracing::error!(asset_id = %self.id, %reason, "damaged content cannot be mended");
        Error::Blobs(error)
    }

    /// What cannot be read here is read elsewhere.
    async fn met(&mut self, error: blobs::Error) -> Result<(), Error> {
        match error {
            blobs::Error::Damaged { offset, .. } if self.own.is_some() => {
                tracing::error!(%error, "damaged content; peers are asked for it");
                self.damage.at = Some(offset);
                // Before anything more is given: what nobody can mend is refused while it can be.
                if self.found.is_none() {
                    match self.fetch.find(self.id).await {
                        Ok(found) => self.found = Some(found),
                        Err(reason) => return Err(self.beyond_help(error, &reason)),
                    }
                }
                self.damage.error = Some(error);
                Ok(())
            }
            blobs::Error::Damaged { .. } | blobs::Error::Corrupt(_) if self.own.is_none() => {
                tracing::warn!(%error, "damaged content of another node is dropped, and fetched again");
                self.avoids_cache = true;
                if let Err(error) = self.fetch.blobs.drop_cached(self.id).await {
                    tracing::warn!(%error, "damaged content of another node stays");
                }
                Ok(())
            }
            other => Err(Error::Blobs(other)),
        }
    }
}
