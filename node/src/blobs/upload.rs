//! The way in: cuts a stream into chunks and hashes it, on the task that receives it, while the writer
//! thread stores what came before.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::actor::{ChunkWrite, FinishWrite, Message};
use super::backend::{BlobNumber, Content, PIECE_NODES, SMALL_BYTES_MAX};
use super::buffer::{Buffer, Slot};
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
    slot: Arc<Slot>,
    /// What does not fill a group yet.
    tail: Vec<u8>,
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
        let large = Box::new(Large::new(&self.shared, self.mailbox.clone(), number));
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
        if let Some(large) = &self.large {
            large.ticket.check()?;
        }
        let message = match self.large.take() {
            None => {
                let bytes = Bytes::from(std::mem::take(&mut self.small));
                Message::Small { id: AssetId::of(&bytes), bytes, reply }
            }
            Some(mut large) => {
                // From here on the writer clears up, whatever happens.
                self.shared.pool.forget(large.ticket.number);
                let write = large.finish(self.size)?.ok_or(Error::Stopped)?;
                Message::Finish { write, reply }
            }
        };
        room.send(message);
        answer.await.map_err(|_| Error::Stopped)?
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(large) = self.large.take() else { return };
        self.shared.pool.forget(large.ticket.number);
        if large.sent || large.slot.was_relieved() {
            // Chunks that are still on their way are not stored any more.
            large.ticket.fail(&Error::Stopped);
            self.shared.returns.push(Returned::Upload(large.ticket.number));
        }
    }
}

impl Large {
    fn new(shared: &Shared, mailbox: mpsc::Sender<Message>, number: BlobNumber) -> Self {
        let ticket = Ticket::new(number);
        Self {
            own: Arc::new(Semaphore::new(shared.config.chunks_per_upload)),
            slot: shared.pool.slot(Arc::clone(&ticket), mailbox),
            ticket,
            tail: Vec::new(),
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
        while self.tail.len() + bytes.len() >= GROUP_BYTES {
            self.ticket.check()?;
            let (first_group, mut buffer) = match self.slot.take() {
                Some(parked) => parked,
                None => (self.next_group()?, shared.pool.take(&self.own).await?),
            };
            bytes = self.fill(&mut buffer, bytes);
            if buffer.room() == 0 {
                self.send(mailbox, (first_group, Content::Buffer(buffer))).await?;
            } else {
                self.slot.park(first_group, buffer);
            }
        }
        self.tail.extend_from_slice(bytes);
        Ok(())
    }

    /// Moves whole groups into the buffer, which has room for one, and hashes them. Returns the rest.
    fn fill<'a>(&mut self, buffer: &mut Buffer, bytes: &'a [u8]) -> &'a [u8] {
        let mut bytes = bytes;
        if !self.tail.is_empty() {
            let (missing, rest) = bytes.split_at(GROUP_BYTES - self.tail.len());
            self.tail.extend_from_slice(missing);
            self.tree.push(&self.tail);
            buffer.add(&self.tail);
            self.tail.clear();
            bytes = rest;
        }
        let whole = (bytes.len() - bytes.len() % GROUP_BYTES).min(buffer.room());
        let (groups, rest) = bytes.split_at(whole);
        groups.chunks(GROUP_BYTES).for_each(|group| self.tree.push(group));
        buffer.add(groups);
        rest
    }

    /// The number of the group that comes next.
    fn next_group(&self) -> Result<u32, Error> {
        let too_large = |_| Error::Io(Arc::new(std::io::ErrorKind::FileTooLarge.into()));
        u32::try_from(self.tree.groups()).map_err(too_large)
    }

    async fn send(&mut self, mailbox: &mpsc::Sender<Message>, chunk: (u32, Content)) -> Result<(), Error> {
        let pieces = self.take_pieces(PIECE_NODES);
        self.sent = true;
        let write = ChunkWrite { ticket: Arc::clone(&self.ticket), chunk, pieces };
        mailbox.send(Message::Chunk(write)).await.map_err(|_| Error::Stopped)
    }

    /// The last message of the upload; nothing only if it holds less than two groups.
    fn finish(&mut self, size: u64) -> Result<Option<FinishWrite>, Error> {
        let next = self.next_group()?;
        let tail = std::mem::take(&mut self.tail);
        if !tail.is_empty() {
            self.tree.push(&tail);
        }
        let chunk = match self.slot.take() {
            Some((first_group, mut buffer)) => {
                // A buffer that is parked has room for a group.
                buffer.add(&tail);
                Some((first_group, Content::Buffer(buffer)))
            }
            None => (!tail.is_empty()).then_some((next, Content::Tail(tail))),
        };
        let Some(root) = self.tree.finish() else { return Ok(None) };
        let pieces = self.take_pieces(1);
        let ticket = Arc::clone(&self.ticket);
        Ok(Some(FinishWrite { ticket, id: root.into(), size, chunk, pieces }))
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
