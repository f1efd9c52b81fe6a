//! The way in: cuts a stream into chunks and hashes it, on the task that receives it, while the writer
//! thread stores what came before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::actor::{ChunkWrite, FinishWrite, Message};
use super::backend::{BlobNumber, CHUNK_BYTES, PIECE_NODES, SMALL_BYTES_MAX};
use super::buffer::Buffer;
use super::shared::{Returned, Shared, Ticket};
use super::tree::{Builder, GROUP_BYTES, NODE_BYTES};
use super::{Error, StoredBlob};

/// Content on its way in. Dropped before [`Upload::finish`], nothing of it stays.
#[derive(Debug)]
pub struct Upload {
    shared: Arc<Shared>,
    mailbox: mpsc::Sender<Message>,
    size: u64,
    /// The whole content, while it fits.
    small: Vec<u8>,
    large: Option<Box<Large>>,
}

/// An upload that has outgrown one group.
#[derive(Debug)]
struct Large {
    ticket: Arc<Ticket>,
    own: Arc<Semaphore>,
    buffer: Option<Buffer>,
    /// How much of the buffer is hashed.
    hashed: usize,
    chunks: u32,
    tree: Builder,
    pieces: u32,
    /// Something may be stored that must be cleared if the upload does not finish.
    sent: bool,
}

impl Upload {
    pub(super) fn new(shared: Arc<Shared>, mailbox: mpsc::Sender<Message>) -> Self {
        Self { shared, mailbox, size: 0, small: Vec::new(), large: None }
    }

    /// Takes the next bytes. Waits while the store has too much in hand. Dropped while it waits, it has
    /// taken an unknown part: only dropping the upload is left then.
    ///
    /// # Errors
    /// The upload has failed, and will not recover.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.size += bytes.len() as u64;
        if let Some(large) = &mut self.large {
            return large.write(&self.shared, &self.mailbox, &bytes).await;
        }
        if self.small.len() + bytes.len() <= SMALL_BYTES_MAX {
            self.small.extend_from_slice(&bytes);
            return Ok(());
        }
        let number = BlobNumber(self.shared.numbers.fetch_add(1, Ordering::Relaxed));
        let large = Box::new(Large::new(number, self.shared.config.chunks_per_upload));
        let small = std::mem::take(&mut self.small);
        let large = self.large.insert(large);
        large.write(&self.shared, &self.mailbox, &small).await?;
        large.write(&self.shared, &self.mailbox, &bytes).await
    }

    /// Stores what was written. When this returns, it is on the medium.
    ///
    /// # Errors
    /// Nothing is stored then.
    pub async fn finish(mut self) -> Result<StoredBlob, Error> {
        let room = self.mailbox.clone().reserve_owned().await.map_err(|_| Error::Stopped)?;
        let (reply, answer) = oneshot::channel();
        let message = match self.large.take() {
            None => {
                let bytes = Bytes::from(std::mem::take(&mut self.small));
                Message::Small { id: AssetId::of(&bytes), bytes, reply }
            }
            Some(mut large) => {
                large.ticket.check()?;
                let write = large.finish(self.size).ok_or(Error::Stopped)?;
                // From here on the writer clears up, whatever happens.
                large.sent = false;
                Message::Finish { write, reply }
            }
        };
        room.send(message);
        answer.await.map_err(|_| Error::Stopped)?
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(large) = self.large.take().filter(|large| large.sent) {
            // Chunks that are still on their way are not stored any more.
            large.ticket.fail(&Error::Stopped);
            self.shared.returns.push(Returned::Upload(large.ticket.number));
        }
    }
}

impl Large {
    fn new(number: BlobNumber, chunks_in_hand: usize) -> Self {
        Self {
            ticket: Ticket::new(number),
            own: Arc::new(Semaphore::new(chunks_in_hand)),
            buffer: None,
            hashed: 0,
            chunks: 0,
            tree: Builder::default(),
            pieces: 0,
            sent: false,
        }
    }

    async fn write(
        &mut self,
        shared: &Arc<Shared>,
        mailbox: &mpsc::Sender<Message>,
        mut bytes: &[u8],
    ) -> Result<(), Error> {
        while !bytes.is_empty() {
            self.ticket.check()?;
            if self.buffer.is_none() {
                self.buffer = Some(shared.pool.take(&self.own).await?);
            }
            let Some(buffer) = &mut self.buffer else { continue };
            let taken = buffer.fill(bytes);
            bytes = &bytes[taken..];
            while buffer.len() - self.hashed >= GROUP_BYTES {
                self.tree.push(&buffer[self.hashed..self.hashed + GROUP_BYTES]);
                self.hashed += GROUP_BYTES;
            }
            if buffer.len() == CHUNK_BYTES {
                self.send(mailbox).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, mailbox: &mpsc::Sender<Message>) -> Result<(), Error> {
        let Some(chunk) = self.take_chunk() else { return Ok(()) };
        let pieces = self.take_pieces(PIECE_NODES);
        let write = ChunkWrite { ticket: Arc::clone(&self.ticket), chunk, pieces };
        self.sent = true;
        mailbox.send(Message::Chunk(write)).await.map_err(|_| Error::Stopped)
    }

    /// The last message of the upload; nothing only if it holds less than two groups.
    fn finish(&mut self, size: u64) -> Option<FinishWrite> {
        if let Some(buffer) = &self.buffer
            && buffer.len() > self.hashed
        {
            self.tree.push(&buffer[self.hashed..]);
        }
        let root = self.tree.finish()?;
        let chunk = self.take_chunk();
        let pieces = self.take_pieces(1);
        Some(FinishWrite { ticket: Arc::clone(&self.ticket), id: root.into(), size, chunk, pieces })
    }

    fn take_chunk(&mut self) -> Option<(u32, Buffer)> {
        let buffer = self.buffer.take()?;
        self.hashed = 0;
        let index = self.chunks;
        self.chunks += 1;
        Some((index, buffer))
    }

    /// Cuts off pieces of the outboard while at least `least` nodes are there.
    fn take_pieces(&mut self, least: usize) -> Vec<(u32, Vec<u8>)> {
        let mut pieces = Vec::new();
        while self.tree.nodes() >= least {
            let bytes = self.tree.take_nodes(self.tree.nodes().min(PIECE_NODES));
            debug_assert!(bytes.len() <= PIECE_NODES * NODE_BYTES);
            pieces.push((self.pieces, bytes));
            self.pieces += 1;
        }
        pieces
    }
}
