//! Reads all content that this node holds while it runs, and has what is damaged mended with what other nodes hold.
//! It decides nothing about bytes: the blob store finds damage, and what a peer sends has been proven before it counts.

mod scrub;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::AssetId;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blobs::{self, Blob, Blobs};
use crate::fetch::{Fetch, Mended, Through};

pub use scrub::Config;
pub(crate) use scrub::start;

/// Blobs listed at once.
const LISTED_AT_ONCE: usize = 256;
/// How often a check says how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What a check has gone over so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Contents.
    pub blobs: u64,
    /// Bytes of them that were sound, or are now.
    pub bytes: u64,
    /// Contents that were damaged and are whole again.
    pub mended: u64,
    /// Contents that stay damaged.
    pub damaged: u64,
}

/// Content that was found damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which.
    pub asset_id: String,
    /// What has become of it.
    pub state: Outcome,
    /// Bytes that came from other nodes in its place.
    pub mended_bytes: u64,
    /// The nodes that they came from, by `assets_db_id`.
    pub mended_from: Vec<String>,
    /// Why it stays damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What has become of damaged content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is whole again, on the medium.
    Mended,
    /// It stays as it is.
    Damaged,
}

/// What a check tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// How far it is.
    Progress(Summary),
    /// Something was damaged.
    Found(Finding),
}

/// Where a node's checks begin. One runs at a time.
#[derive(Debug, Clone)]
pub(crate) struct Mending {
    blobs: Blobs,
    fetch: Fetch,
    turn: Arc<Semaphore>,
}

impl Mending {
    pub(crate) fn new(blobs: &Blobs, fetch: &Fetch) -> Self {
        Self { blobs: blobs.clone(), fetch: fetch.clone(), turn: Arc::new(Semaphore::new(1)) }
    }

    /// Begins a check of all content. `None` if one is under way.
    pub(crate) fn begin(&self) -> Option<Check> {
        let turn = Arc::clone(&self.turn).try_acquire_owned().ok()?;
        Some(Check {
            blobs: self.blobs.clone(),
            fetch: self.fetch.clone(),
            after: None,
            listed: VecDeque::new(),
            reading: None,
            summary: Summary::default(),
            told: Instant::now(),
            _turn: turn,
        })
    }
}

/// A check under way. It works only while it is asked for what is next, and ends when it is dropped.
#[derive(Debug)]
pub struct Check {
    blobs: Blobs,
    fetch: Fetch,
    after: Option<AssetId>,
    listed: VecDeque<AssetId>,
    reading: Option<(Blob, Through)>,
    summary: Summary,
    told: Instant,
    _turn: OwnedSemaphorePermit,
}

impl Check {
    /// What it has gone over so far.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Goes on until there is something to tell; `None` at the end.
    ///
    /// # Errors
    /// The store cannot be read at all.
    pub async fn next(&mut self) -> Result<Option<Told>, blobs::Error> {
        self.next_within(u64::MAX, Instant::now()).await
    }

    /// As [`Check::next`], but with no more than so many bytes a second since it began.
    async fn next_within(
        &mut self,
        bytes_per_second: u64,
        begun: Instant,
    ) -> Result<Option<Told>, blobs::Error> {
        loop {
            tokio::time::sleep(scrub::due(self.summary.bytes, bytes_per_second, begun.elapsed())).await;
            if self.told.elapsed() >= TOLD_EVERY {
                self.told = Instant::now();
                return Ok(Some(Told::Progress(self.summary)));
            }
            if self.reading.is_none() && !self.open().await? {
                return Ok(None);
            }
            let Some((_, through)) = &mut self.reading else { continue };
            match through.next().await {
                Ok(Some(bytes)) => self.summary.bytes += bytes.len() as u64,
                Ok(None) => {
                    let Some((blob, through)) = self.reading.take() else { continue };
                    let mended = through.into_mended();
                    if mended.bytes > 0 {
                        return Ok(Some(Told::Found(self.judge(&blob, mended).await)));
                    }
                }
                Err(error) => {
                    let Some((blob, through)) = self.reading.take() else { continue };
                    let found = self.found(blob.id(), through.into_mended(), Some(error.to_string()));
                    return Ok(Some(Told::Found(found)));
                }
            }
        }
    }

    /// Opens the next blob. False if there is none.
    async fn open(&mut self) -> Result<bool, blobs::Error> {
        loop {
            let Some(id) = self.listed.pop_front() else {
                self.listed = self.blobs.list(self.after, LISTED_AT_ONCE).await?.into();
                match self.listed.back() {
                    Some(last) => self.after = Some(*last),
                    None => return Ok(false),
                }
                continue;
            };
            // One that was removed meanwhile is no damage.
            if let Some(blob) = self.blobs.open(&id)? {
                self.summary.blobs += 1;
                self.reading = Some((blob.clone(), self.fetch.through(&blob)));
                return Ok(true);
            }
        }
    }

    /// Says whether what was damaged is whole now; if it could not be written over, all of it is written anew.
    async fn judge(&mut self, blob: &Blob, mended: Mended) -> Finding {
        let mut checked = self.blobs.check(blob.id()).await.map_err(|error| error.to_string());
        if checked.is_err() {
            checked = write_anew(&self.blobs, &self.fetch, blob).await;
        }
        self.found(blob.id(), mended, checked.err())
    }

    fn found(&mut self, id: AssetId, mended: Mended, reason: Option<String>) -> Finding {
        let state = if reason.is_none() { Outcome::Mended } else { Outcome::Damaged };
        match state {
            Outcome::Mended => self.summary.mended += 1,
            Outcome::Damaged => self.summary.damaged += 1,
        }
        let mended_from = mended.from.iter().map(|key| key.assets_db_id().to_string()).collect();
        let mended_bytes = mended.bytes;
        Finding { asset_id: id.to_string(), state, mended_bytes, mended_from, reason }
    }
}

/// Stores the content again as an upload would. It takes the place of the damaged copy.
async fn write_anew(blobs: &Blobs, fetch: &Fetch, blob: &Blob) -> Result<(), String> {
    let mut upload = blobs.begin();
    let mut through = fetch.through(blob);
    while let Some(bytes) = through.next().await.map_err(|error| error.to_string())? {
        upload.write(bytes).await.map_err(|error| error.to_string())?;
    }
    upload.finish().await.map_err(|error| error.to_string())?;
    blobs.check(blob.id()).await.map_err(|error| error.to_string())
}
