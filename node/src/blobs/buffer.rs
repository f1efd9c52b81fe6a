//! Chunk buffers: used again and again, and never more than a fixed number at once.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Error;
use super::backend::CHUNK_BYTES;

/// Buffers that are kept for the next upload when nobody uses them: 4 MiB.
const KEPT_MAX: usize = 4;

/// All buffers of a store.
#[derive(Debug)]
pub(crate) struct Pool {
    permits: Arc<Semaphore>,
    kept: Mutex<Vec<Vec<u8>>>,
}

impl Pool {
    /// A pool that gives out at most `limit` buffers at once.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { permits: Arc::new(Semaphore::new(limit)), kept: Mutex::new(Vec::new()) })
    }

    /// Waits for a buffer. `own` bounds what one upload may hold.
    pub(crate) async fn take(self: &Arc<Self>, own: &Arc<Semaphore>) -> Result<Buffer, Error> {
        let own = Arc::clone(own).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let shared = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Error::Stopped)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = kept.unwrap_or_else(|| Vec::with_capacity(CHUNK_BYTES));
        Ok(Buffer { bytes, pool: Arc::clone(self), _permits: (own, shared) })
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
    /// Takes as much of `bytes` as fits, and says how much that was.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(CHUNK_BYTES - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..taken]);
        taken
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
        let mut kept = self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(bytes);
        }
    }
}
