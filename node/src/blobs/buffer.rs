//! Chunk buffers: used again and again, and never more than a fixed number at once.
//!
//! An upload that stalls must not keep others waiting for its buffer. So a buffer holds whole groups only,
//! and between two writes it lies in a slot from which an upload that waits may have it stored as it is.

use std::collections::HashMap;
use std::ops::Deref;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Error;
use super::actor::{ChunkWrite, Message};
use super::backend::{BlobNumber, CHUNK_BYTES, Content};
use super::shared::{Ticket, lock};

/// Buffers that are kept for the next upload when nobody uses them: 4 MiB.
const KEPT_MAX: usize = 4;

/// All buffers of a store.
#[derive(Debug)]
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    kept: Mutex<Vec<Vec<u8>>>,
    slots: Mutex<HashMap<BlobNumber, Weak<Slot>>>,
    /// An upload that has not written for so long gives its buffer up to one that waits.
    patience: Duration,
}

impl Pool {
    /// A pool that gives out at most `limit` buffers at once.
    pub(crate) fn new(limit: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(limit)),
            kept: Mutex::default(),
            slots: Mutex::default(),
            patience,
        })
    }

    /// Waits for a buffer. `own` bounds what one upload may hold.
    pub(crate) async fn take(self: &Arc<Self>, own: &Arc<Semaphore>) -> Result<Buffer, Error> {
        let own = Arc::clone(own).acquire_owned().await.map_err(|_| Error::Stopped)?;
        // Kept while waiting: its place in the queue must not be lost.
        let mut shared = pin!(Arc::clone(&self.permits).acquire_owned());
        let shared = loop {
            tokio::select! {
                biased;
                permit = &mut shared => break permit.map_err(|_| Error::Stopped)?,
                () = tokio::time::sleep(self.patience / 4) => self.relieve(),
            }
        };
        let bytes = lock(&self.kept).pop().unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
        Ok(Buffer { bytes, pool: Arc::clone(self), _permits: (own, shared) })
    }

    /// A slot for the buffer of one upload.
    pub(crate) fn slot(&self, ticket: Arc<Ticket>, mailbox: mpsc::Sender<Message>) -> Arc<Slot> {
        let slot =
            Arc::new(Slot { ticket, mailbox, parked: Mutex::default(), relieved: AtomicBool::new(false) });
        lock(&self.slots).insert(slot.ticket.number, Arc::downgrade(&slot));
        slot
    }

    /// Forgets the slot of an upload that has ended.
    pub(crate) fn forget(&self, number: BlobNumber) {
        lock(&self.slots).remove(&number);
    }

    /// Has what stalled uploads hold stored as it is.
    fn relieve(&self) {
        let slots: Vec<_> = lock(&self.slots).values().filter_map(Weak::upgrade).collect();
        slots.iter().for_each(|slot| slot.relieve(self.patience));
    }
}

/// Room for one chunk. Goes back to the pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
    _permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

impl Buffer {
    /// How many bytes still fit.
    pub(crate) fn room(&self) -> usize {
        CHUNK_BYTES - self.bytes.len()
    }

    /// Adds bytes, for which there must be room.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut kept = lock(&self.pool.kept);
        if kept.len() < KEPT_MAX {
            kept.push(bytes);
        }
    }
}

/// Where the buffer of an upload lies between two writes.
#[derive(Debug)]
pub(crate) struct Slot {
    ticket: Arc<Ticket>,
    mailbox: mpsc::Sender<Message>,
    parked: Mutex<Option<Parked>>,
    relieved: AtomicBool,
}

#[derive(Debug)]
struct Parked {
    first_group: u32,
    buffer: Buffer,
    since: Instant,
}

impl Slot {
    /// Leaves a buffer until the next write.
    pub(crate) fn park(&self, first_group: u32, buffer: Buffer) {
        *lock(&self.parked) = Some(Parked { first_group, buffer, since: Instant::now() });
    }

    /// Takes the buffer back, if it is still there.
    pub(crate) fn take(&self) -> Option<(u32, Buffer)> {
        lock(&self.parked).take().map(|parked| (parked.first_group, parked.buffer))
    }

    /// Whether a buffer was stored on behalf of another upload.
    pub(crate) fn was_relieved(&self) -> bool {
        self.relieved.load(Ordering::Acquire)
    }

    /// Sends the buffer to the writer if its upload has stalled. Under the lock, so that it is on its way
    /// before anything that the upload sends later.
    fn relieve(&self, patience: Duration) {
        let mut parked = lock(&self.parked);
        if parked.as_ref().is_none_or(|parked| parked.since.elapsed() < patience) {
            return;
        }
        let Ok(room) = self.mailbox.try_reserve() else { return };
        if let Some(Parked { first_group, buffer, .. }) = parked.take() {
            self.relieved.store(true, Ordering::Release);
            let chunk = (first_group, Content::Buffer(buffer));
            room.send(Message::Chunk(ChunkWrite {
                ticket: Arc::clone(&self.ticket),
                chunk,
                pieces: Vec::new(),
            }));
        }
    }
}
