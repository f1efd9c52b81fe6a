//! The writer's side of what is kept of other nodes' content, and of mending what this node holds itself.
//!
//! Nothing here may make an upload fail: what is kept goes first when the disk is full.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;

use super::Error;
use super::actor::Writer;
use super::backend::{BlobNumber, Change, Content, Found, Place, place_of_node};
use super::batch::Batch;
use super::cache::{Cache, ENTRIES_MAX};
use super::keep::{KeepWrite, now};
use super::shared::{Shared, lock};
use super::state::Clearing;
use super::tree::{GROUP_BYTES, Node, groups};

/// Room that stays for uploads, below which nothing more is kept.
const LEFT_TO_UPLOADS: u64 = 256 << 20;
/// What is kept and not yet on the medium: so much, or for so long, may be lost in a crash.
const UNSYNCED_BYTES_MAX: u64 = 64 << 20;
pub(crate) const UNSYNCED_FOR: Duration = Duration::from_secs(1);
/// What lacks something and was not used for so long is let go.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);
/// At least so much goes at once when the disk is full.
const SHRINK_BYTES_MIN: u64 = 16 << 20;

/// What the writer knows of what is kept.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub(crate) cache: Cache,
    unsynced: u64,
    synced: Instant,
    /// A transfer has ended: what it brought shall be on the medium soon.
    is_due: bool,
}

impl Keeping {
    pub(crate) fn load(shared: &Shared) -> Result<Self, Error> {
        let cache = Cache::new(shared.config.cache_bytes_max, shared.backend.cached()?);
        shared.shelves.publish_all(cache.iter());
        Ok(Self { cache, unsynced: 0, synced: Instant::now(), is_due: false })
    }

    /// Whether what is kept must be on the medium with the next commit.
    pub(crate) fn must_sync(&self) -> bool {
        let is_late = self.unsynced > 0 && self.synced.elapsed() >= UNSYNCED_FOR;
        is_late || self.unsynced >= UNSYNCED_BYTES_MAX || (self.is_due && self.unsynced > 0)
    }

    fn note_commit(&mut self, bytes: u64, is_durable: bool) {
        if self.unsynced == 0 {
            self.synced = Instant::now();
        }
        self.unsynced += bytes;
        if is_durable {
            (self.unsynced, self.is_due) = (0, false);
        }
    }

    /// Whether something waits for a commit that makes it durable.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.unsynced > 0
    }

    /// What came shall be durable soon.
    pub(crate) fn hurry(&mut self) {
        self.is_due = true;
    }
}

impl Writer {
    /// Keeps what has come, or mends with it what is damaged here.
    pub(crate) fn plan_keep(&mut self, write: KeepWrite, batch: &mut Batch) {
        let order = Arc::clone(&write.order);
        if order.is_refused() {
            return;
        }
        let is_taken = match self.lookup(&order.id, batch) {
            Ok(None) => self.plan_cached(write, batch),
            Ok(Some(found)) if lock(&self.shared.damaged).contains(&order.id) => {
                self.plan_mend(found, write, batch)
            }
            Ok(Some(_)) => None,
            Err(error) => {
                tracing::warn!(id = %order.id, %error, "nothing of a blob is kept");
                None
            }
        };
        if is_taken.is_none() {
            order.refuse();
        }
    }

    fn plan_cached(&mut self, write: KeepWrite, batch: &mut Batch) -> Option<()> {
        let KeepWrite { order, first_group, bytes, nodes, permit } = write;
        let (id, about, more) = (order.id, &order.about, bytes.len() as u64);
        let begun = order.number.get().copied();
        let is_lost = begun.is_some() && begun != self.keeping.cache.get(&id).map(|entry| entry.number);
        if is_lost || order.epoch != self.shared.shelves.epoch() {
            return None;
        }
        if self.shared.backend.room(batch.bytes + more + self.unsynced + LEFT_TO_UPLOADS).is_err() {
            self.plan_shrink(more.max(SHRINK_BYTES_MIN), batch);
            return None;
        }
        self.note_uses_if_crowded(more);
        let count = u32::try_from(groups(more)).ok()?;
        let wanted = first_group..first_group.checked_add(count)?;
        let fresh = BlobNumber(self.shared.numbers.fetch_add(1, Ordering::Relaxed));
        let readers = &self.shared.readers;
        let busy = |id: &AssetId| readers.is_read(id);
        let admitted = self.keeping.cache.admit((&id, about), wanted, (now(), fresh), busy)?;
        self.plan_evicted(admitted.evicted, batch);
        let number = *order.number.get_or_init(|| admitted.number);
        for part in admitted.parts {
            let start = (part.start - first_group) as usize * GROUP_BYTES;
            let end = ((part.end - first_group) as usize * GROUP_BYTES).min(bytes.len());
            let content = Content::Tail(bytes[start..end].to_vec());
            batch.add_content(number, Some((part.start, content)), Vec::new());
        }
        batch.changes.push(Change::Nodes { number, total: groups(about.size).saturating_sub(1), nodes });
        batch.kept_bytes += more;
        batch.touched.insert(id);
        batch.permits.push(permit);
        Some(())
    }

    /// Learns when blobs were used last, if some must go.
    fn note_uses_if_crowded(&mut self, more: u64) {
        let cache = &self.keeping.cache;
        let is_crowded =
            cache.room() + 2 * more + (1 << 20) > cache.room_max() || cache.iter().count() >= ENTRIES_MAX;
        if is_crowded {
            self.note_uses();
        }
    }

    /// Learns when blobs were used last. Those that were.
    pub(crate) fn note_uses(&mut self) -> Vec<AssetId> {
        let uses = self.shared.shelves.uses();
        let cache = &mut self.keeping.cache;
        uses.into_iter().filter(|(id, used)| cache.note_use(id, *used)).map(|(id, _)| id).collect()
    }

    /// Writes true groups over damaged ones. What cannot even be read cannot be written over either.
    fn plan_mend(&mut self, found: Found, write: KeepWrite, batch: &mut Batch) -> Option<()> {
        let KeepWrite { order, first_group, bytes, nodes, permit } = write;
        let id = order.id;
        if order.about.size != found.size {
            return None;
        }
        let count = groups(bytes.len() as u64);
        let planned = match found.place {
            Place::Small => {
                batch.changes.push(Change::Forget { id });
                batch.changes.push(Change::Small { id, bytes: Bytes::from(bytes) });
                Ok(())
            }
            Place::Large(number) => {
                let total = groups(found.size).saturating_sub(1);
                plan_overwrite(&self.shared, number, (first_group, &bytes), (total, nodes), batch)
            }
            Place::Single(_) => return None,
        };
        match planned {
            Ok(()) => {
                self.shared.metrics.mended(count);
                batch.mends = true;
                batch.permits.push(permit);
                Some(())
            }
            Err(error) => {
                tracing::warn!(%id, %error, "damaged content cannot be written over");
                None
            }
        }
    }

    /// Lets a blob go that was found damaged, is held by a record now, or expired.
    pub(crate) fn plan_drop(&mut self, id: &AssetId, batch: &mut Batch) {
        if let Some(entry) = self.keeping.cache.forget(id) {
            self.plan_evicted(vec![(*id, entry.number)], batch);
        }
    }

    fn plan_evicted(&mut self, evicted: Vec<(AssetId, BlobNumber)>, batch: &mut Batch) {
        for (id, number) in evicted {
            self.shared.metrics.evicted();
            batch.changes.push(Change::Drop { id, number });
            batch.touched.insert(id);
            batch.replaced.push(Clearing { number, id: Some(id) });
        }
    }

    fn plan_shrink(&mut self, bytes: u64, batch: &mut Batch) {
        let readers = &self.shared.readers;
        let evicted = self.keeping.cache.shrink(bytes, |id| readers.is_read(id));
        self.plan_evicted(evicted, batch);
    }

    /// What is over the bound, as after a change of the settings, and what nobody has asked for again.
    pub(crate) fn plan_tidy(&mut self, batch: &mut Batch) {
        // The rows remember the uses.
        batch.touched.extend(self.note_uses());
        let cache = &self.keeping.cache;
        let over = cache.room().saturating_sub(cache.room_max());
        let since = now().saturating_sub(u64::try_from(STALE_AFTER.as_millis()).unwrap_or(u64::MAX));
        for id in cache.stale(since) {
            self.plan_drop(&id, batch);
        }
        if over > 0 {
            self.plan_shrink(over, batch);
        }
    }

    /// Adds the rows of what has changed to a batch.
    pub(crate) fn write_rows(&self, batch: &mut Batch) {
        for id in &batch.touched {
            if let Some(entry) = self.keeping.cache.get(id) {
                batch.changes.push(Change::Keep { id: *id, entry: Box::new(entry.clone()) });
            }
        }
    }

    /// Shows what a commit has made of it; after one that failed, what the store says.
    pub(crate) fn publish(&mut self, batch: &Batch, outcome: &Result<(), Error>, is_durable: bool) {
        if outcome.is_ok() {
            self.keeping.note_commit(batch.kept_bytes, is_durable);
            for id in &batch.touched {
                self.shared.shelves.publish(id, self.keeping.cache.get(id));
            }
            self.shared.metrics.kept(self.shared.shelves.bytes(), self.keeping.unsynced);
        } else if !batch.touched.is_empty() || self.keeping.unsynced > 0 {
            self.reload();
        }
        // A row whose pages cannot be changed must not stand in the way of others again.
        if matches!(outcome, Err(Error::Corrupt(_))) {
            let mut apology = Batch::default();
            batch.touched.iter().for_each(|id| self.plan_drop(id, &mut apology));
            if let Err(error) = self.shared.backend.apply(self.session, &apology.changes, true) {
                tracing::warn!(%error, "damaged rows of kept content stay");
            }
            apology.touched.iter().for_each(|id| self.shared.shelves.publish(id, None));
        }
    }

    pub(crate) fn reload(&mut self) {
        match Keeping::load(&self.shared) {
            Ok(keeping) => self.keeping = keeping,
            Err(error) => tracing::warn!(%error, "what is kept of other nodes cannot be listed"),
        }
    }

    /// Gives room back at once for an upload that finds the disk full. False if nothing could go.
    pub(crate) fn give_way(&mut self, bytes: u64, waiting: &Batch) -> Result<bool, Error> {
        let mut batch = Batch::default();
        let readers = &self.shared.readers;
        let is_busy = |id: &AssetId| readers.is_read(id) || waiting.touched.contains(id);
        let wanted = bytes.saturating_mul(2).max(SHRINK_BYTES_MIN);
        let evicted = self.keeping.cache.shrink(wanted, is_busy);
        self.plan_evicted(evicted, &mut batch);
        if batch.changes.is_empty() {
            return Ok(false);
        }
        let outcome = self.shared.backend.apply(self.session, &batch.changes, true);
        self.publish(&batch, &outcome, true);
        if let Err(error) = outcome {
            self.fail(&[], &error);
            return Err(error);
        }
        self.unsynced = 0;
        tracing::info!(blobs = batch.replaced.len(), "kept content makes way on a full disk");
        // Somebody may have begun to read one of them meanwhile.
        self.clear_now(batch.replaced)?;
        Ok(true)
    }
}

/// Puts groups in place of what their chunks hold, and the nodes that lead to them.
pub(crate) fn plan_overwrite(
    shared: &Shared,
    number: BlobNumber,
    (first_group, bytes): (u32, &[u8]),
    (total, nodes): (u64, Vec<Node>),
    batch: &mut Batch,
) -> Result<(), Error> {
    // A change must not meet a page that cannot be read.
    for (piece, _) in nodes.iter().filter_map(|(node, _)| place_of_node(*node)) {
        shared.backend.piece(number, piece)?;
    }
    let mut done = 0;
    while done < bytes.len() {
        let group = first_group + (done / GROUP_BYTES) as u32;
        let into = match batch.overwritten(number, group) {
            Some(into) => into,
            None => {
                let absent = || Error::Corrupt(format!("the chunk of group {group} is absent").into());
                let found = shared.backend.chunk(number, group)?;
                let holds =
                    |(start, chunk): &(u32, Bytes)| (group - start) as usize * GROUP_BYTES < chunk.len();
                let (start, chunk) = found.filter(holds).ok_or_else(absent)?;
                batch.add_overwrite(number, start, chunk.to_vec());
                batch.overwritten(number, group).ok_or_else(absent)?
            }
        };
        let length = into.len().min(bytes.len() - done);
        into[..length].copy_from_slice(&bytes[done..done + length]);
        done += length;
    }
    batch.changes.push(Change::Nodes { number, total, nodes });
    Ok(())
}
