//! The writer thread: gathers what all uploads sent meanwhile into one commit, so that many
//! acknowledgements share one sync. It alone changes the store, so what it has checked stays true.

use std::collections::HashMap;
use std::sync::Arc;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backend::{BlobNumber, Change, Content, Found, Place};
use super::batch::{Answer, Batch, Removal};
use super::keep::KeepWrite;
use super::keeping::{Keeping, UNSYNCED_FOR};
use super::shared::{Returned, Shared, Ticket, lock};
use super::state::{Clearing, State};
use super::{Error, Lease, StoredBlob};
use crate::actor::Reply;

/// Chunks removed in one commit while nobody waits, and while uploads do.
const CLEARED_IDLE: usize = 64;
const CLEARED_BUSY: usize = 16;
/// While uploads run, clearing waits as long as there is room for this many bytes more: to remove a chunk is to
/// read it, which would halve the speed of an upload that follows a delete.
const PLENTY_BYTES: u64 = 8 << 30;

/// What the writer is asked.
#[derive(Debug)]
pub(crate) enum Message {
    /// A chunk of an upload.
    Chunk(ChunkWrite),
    /// The rest of an upload.
    Finish { write: FinishWrite, reply: Reply<Result<StoredBlob, Error>> },
    /// A small upload.
    Small { id: AssetId, bytes: Bytes, reply: Reply<Result<StoredBlob, Error>> },
    /// Keep a blob that is there.
    Hold { id: AssetId, reply: Reply<Result<Option<StoredBlob>, Error>> },
    /// Remove a blob unless somebody needs it; answers whether it went.
    Remove { id: AssetId, reply: Reply<Result<bool, Error>> },
    /// Proven groups of another node's content, or of a damaged blob.
    Keep(KeepWrite),
    /// Answer when all that came before can be read.
    Kept { reply: Reply<Result<(), Error>> },
    /// Keep nothing of this content of another node any more.
    Drop { id: AssetId, reply: Reply<Result<(), Error>> },
    /// Let go what is over the bound or stale of other nodes' content.
    Tidy { reply: Reply<Result<(), Error>> },
    /// Answer when no chunk is left to clear, but for those that are being read.
    Settle { reply: Reply<()> },
    /// Look at what was let go.
    Wake,
}

/// A chunk, and the pieces of outboard that are complete.
#[derive(Debug)]
pub(crate) struct ChunkWrite {
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) chunk: (u32, Content),
    pub(crate) pieces: Vec<(u32, Vec<u8>)>,
}

/// The rest of an upload, and what it is.
#[derive(Debug)]
pub(crate) struct FinishWrite {
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) id: AssetId,
    pub(crate) size: u64,
    pub(crate) chunk: Option<(u32, Content)>,
    pub(crate) pieces: Vec<(u32, Vec<u8>)>,
}

/// The thread's own data.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    state: State,
    pub(crate) keeping: Keeping,
    /// Uploads with something in the store.
    uploads: HashMap<BlobNumber, Arc<Ticket>>,
    pub(crate) session: u64,
    settles: Vec<Reply<()>>,
    /// Bytes of commits since the last durable one. Some may still be in memory, where the device does not see them.
    pub(crate) unsynced: u64,
}

impl Writer {
    /// A writer that has `unfinished` numbers to clear.
    pub(crate) fn new(
        shared: Arc<Shared>,
        keeping: Keeping,
        unfinished: Vec<BlobNumber>,
        session: u64,
    ) -> Self {
        let mut state = State::default();
        unfinished.into_iter().for_each(|number| state.clear_later(Clearing { number, id: None }));
        let (uploads, settles) = (HashMap::new(), Vec::new());
        Self { shared, state, keeping, uploads, session, settles, unsynced: 0 }
    }

    /// Works until the mailbox closes or the node stops, then does what is left in the mailbox.
    pub(crate) fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        stop: &CancellationToken,
        runtime: &Handle,
    ) {
        let mut stopping = false;
        loop {
            let first = match inbox.try_recv() {
                Ok(message) => Some(message),
                Err(mpsc::error::TryRecvError::Disconnected) => return self.remember(),
                Err(mpsc::error::TryRecvError::Empty) if stopping => return self.remember(),
                Err(mpsc::error::TryRecvError::Empty) if self.shared.returns.any() => None,
                Err(mpsc::error::TryRecvError::Empty)
                    if !self.clearing_waits() && self.clear(CLEARED_IDLE) =>
                {
                    None
                }
                Err(mpsc::error::TryRecvError::Empty) => {
                    if !self.clearing_waits() {
                        self.settle();
                    }
                    let (next, ends) = runtime.block_on(self.next(&mut inbox, stop));
                    stopping = ends;
                    next
                }
            };
            if stopping {
                inbox.close();
            }
            self.round(first, &mut inbox);
        }
    }

    /// Waits for a message, or the end, or until something must be made durable.
    async fn next(
        &self,
        inbox: &mut mpsc::Receiver<Message>,
        stop: &CancellationToken,
    ) -> (Option<Message>, bool) {
        tokio::select! {
            message = inbox.recv() => { let ends = message.is_none(); (message, ends) }
            () = stop.cancelled() => (None, true),
            () = tokio::time::sleep(UNSYNCED_FOR), if self.keeping.is_unsynced() => (None, false),
        }
    }

    fn round(&mut self, first: Option<Message>, inbox: &mut mpsc::Receiver<Message>) {
        let mut batch = Batch::default();
        self.take_returned(&mut batch);
        if let Some(message) = first {
            self.plan(message, &mut batch);
            let config = &self.shared.config;
            let (chunks_max, answers_max) = (config.chunks_per_commit, config.answers_per_commit);
            while batch.chunks < chunks_max && batch.answers.len() + batch.removals.len() < answers_max {
                let Ok(message) = inbox.try_recv() else { break };
                self.plan(message, &mut batch);
            }
        }
        self.commit(batch);
        if !inbox.is_empty() && !self.clearing_waits() {
            self.clear(CLEARED_BUSY);
        }
    }

    fn plan(&mut self, message: Message, batch: &mut Batch) {
        match message {
            Message::Chunk(write) => self.plan_chunk(write, batch),
            Message::Finish { write, reply } => match self.plan_finish(write, batch) {
                Ok(stored) => batch.answers.push(Answer::Stored { stored, reply }),
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::Small { id, bytes, reply } => match self.plan_small(id, bytes, batch) {
                Ok(stored) => batch.answers.push(Answer::Stored { stored, reply }),
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::Hold { id, reply } => match self.lookup(&id, batch) {
                Ok(found) => {
                    let stored = found.map(|found| self.stored(id, found.size, true));
                    batch.answers.push(Answer::Held { stored, reply });
                }
                Err(error) => drop(reply.send(Err(error))),
            },
            Message::Remove { id, reply } => self.plan_removal(id, Some(reply), batch),
            Message::Keep(write) => self.plan_keep(write, batch),
            Message::Kept { reply } => batch.done.push(reply),
            Message::Drop { id, reply } => {
                self.plan_drop(&id, batch);
                batch.done.push(reply);
            }
            Message::Tidy { reply } => {
                self.plan_tidy(batch);
                batch.done.push(reply);
            }
            Message::Settle { reply } => batch.settles.push(reply),
            Message::Wake => {}
        }
    }

    /// Notes what was let go since the last look.
    fn take_returned(&mut self, batch: &mut Batch) {
        for returned in self.shared.returns.take() {
            match returned {
                Returned::Lease(id) => {
                    if self.state.give_back(&id) {
                        self.plan_removal(id, None, batch);
                    }
                }
                Returned::Upload(number) => {
                    self.uploads.remove(&number);
                    self.state.clear_later(Clearing { number, id: None });
                }
                Returned::Reader => {}
                Returned::Keeper => self.keeping.hurry(),
            }
        }
    }

    fn plan_chunk(&mut self, write: ChunkWrite, batch: &mut Batch) {
        if write.ticket.check().is_err() {
            return;
        }
        let number = write.ticket.number;
        if self.uploads.insert(number, Arc::clone(&write.ticket)).is_none() {
            batch.changes.push(Change::Begin { number });
        }
        batch.add_content(write.ticket.number, Some(write.chunk), write.pieces);
        batch.tickets.push(write.ticket);
    }

    fn plan_finish(&mut self, write: FinishWrite, batch: &mut Batch) -> Result<StoredBlob, Error> {
        let FinishWrite { ticket, id, size, chunk, pieces } = write;
        let number = ticket.number;
        let started = self.uploads.remove(&number).is_some();
        let planned = ticket.check().and_then(|()| self.make_way(&id, batch));
        match planned {
            Ok(None) => {
                batch.add_content(number, chunk, pieces);
                batch.changes.push(Change::Finish { number, id, size });
                batch.exists.insert(id, Some(Found { size, place: Place::Large(number) }));
                batch.tickets.push(ticket);
                self.plan_drop(&id, batch);
                Ok(self.stored(id, size, false))
            }
            other => {
                if started {
                    self.state.clear_later(Clearing { number, id: None });
                }
                other.map(|_| self.stored(id, size, true))
            }
        }
    }

    fn plan_small(&mut self, id: AssetId, bytes: Bytes, batch: &mut Batch) -> Result<StoredBlob, Error> {
        let size = bytes.len() as u64;
        let was_present = self.make_way(&id, batch)?.is_some();
        if !was_present {
            batch.exists.insert(id, Some(Found { size, place: Place::Small }));
            batch.bytes += size;
            batch.changes.push(Change::Small { id, bytes });
            self.plan_drop(&id, batch);
        }
        Ok(self.stored(id, size, was_present))
    }

    /// Looks whether the content is here already. A copy that was found damaged makes way for the new.
    fn make_way(&mut self, id: &AssetId, batch: &mut Batch) -> Result<Option<Found>, Error> {
        let Some(found) = self.lookup(id, batch)? else { return Ok(None) };
        if !lock(&self.shared.damaged).remove(id) {
            return Ok(Some(found));
        }
        batch.changes.push(Change::Forget { id: *id });
        if let Place::Large(number) = found.place {
            batch.replaced.push(Clearing { number, id: Some(*id) });
        }
        Ok(None)
    }

    fn plan_removal(&mut self, id: AssetId, reply: Option<Reply<Result<bool, Error>>>, batch: &mut Batch) {
        let outcome = if self.state.is_leased(&id) {
            Ok(None)
        } else {
            self.shared.referenced.ask(&id).and_then(|needed| match needed {
                true => Ok(None),
                false => self.lookup(&id, batch),
            })
        };
        match outcome {
            Ok(found) => {
                if found.is_some() {
                    batch.changes.push(Change::Forget { id });
                    batch.exists.insert(id, None);
                }
                batch.removals.push(Removal { id, found, reply });
            }
            Err(error) => {
                tracing::warn!(%id, %error, "a blob stays because nobody can say whether it is needed");
                if let Some(reply) = reply {
                    let _ = reply.send(Err(error));
                }
            }
        }
    }

    pub(crate) fn lookup(&self, id: &AssetId, batch: &Batch) -> Result<Option<Found>, Error> {
        batch.exists.get(id).map_or_else(|| self.shared.backend.find(id), |found| Ok(*found))
    }

    fn stored(&mut self, id: AssetId, size: u64, was_present: bool) -> StoredBlob {
        self.state.lease(id);
        StoredBlob { id, size, lease: Lease::new(id, Arc::clone(&self.shared)), was_present }
    }

    fn commit(&mut self, mut batch: Batch) {
        self.write_rows(&mut batch);
        let removes = batch.removals.iter().any(|removal| removal.found.is_some());
        let is_asked = removes || !batch.answers.is_empty() || batch.mends;
        // What changes nothing syncs nothing.
        let is_durable = (is_asked && !batch.changes.is_empty()) || self.keeping.must_sync();
        let outcome = self.apply(&batch, is_durable);
        match &outcome {
            Ok(()) => {
                self.shared.metrics.wrote(batch.bytes);
                batch.replaced.iter().for_each(|entry| self.state.clear_later(*entry));
            }
            Err(error) => self.fail(&batch.tickets, error),
        }
        self.publish(&batch, &outcome, is_durable);
        let Batch { answers, removals, settles, changes, permits, done, .. } = batch;
        // Gives the buffers back before anyone who waits for them runs.
        drop((changes, permits));
        // Whoever asked may have gone.
        done.into_iter().for_each(|reply| {
            let _ = reply.send(outcome.clone());
        });
        for answer in answers {
            answer.give(&outcome);
        }
        self.finish_removals(removals, outcome);
        self.settles.extend(settles);
    }

    fn apply(&mut self, batch: &Batch, is_durable: bool) -> Result<(), Error> {
        if batch.changes.is_empty() && !is_durable {
            return Ok(());
        }
        while batch.bytes > 0
            && let Err(error) = self.shared.backend.room(self.wanted(batch))
        {
            if !self.give_way(self.wanted(batch), batch)? {
                return Err(error);
            }
        }
        self.shared.backend.apply(self.session, &batch.changes, is_durable)?;
        self.unsynced = if is_durable { 0 } else { self.unsynced + batch.bytes };
        Ok(())
    }

    /// The room that a batch needs, with what is on its way to the device.
    fn wanted(&self, batch: &Batch) -> u64 {
        // No more than the cache can be waiting there.
        batch.bytes + self.unsynced.min(self.shared.config.store.cache_bytes as u64)
    }

    /// Tells uploads that they are lost: those of the batch, and after a reopening all that had begun.
    pub(crate) fn fail(&mut self, tickets: &[Arc<Ticket>], error: &Error) {
        tracing::warn!(%error, "a commit of blobs failed");
        let session = self.shared.backend.session().unwrap_or(self.session);
        let mut lost: Vec<Arc<Ticket>> = tickets.to_vec();
        if session != self.session {
            self.session = session;
            self.reload();
            lost.extend(self.uploads.drain().map(|(_, ticket)| ticket));
        }
        for ticket in lost {
            ticket.fail(error);
            self.uploads.remove(&ticket.number);
            self.state.clear_later(Clearing { number: ticket.number, id: None });
        }
    }

    /// A delete needs next to no room: what failed for the sake of uploads is tried alone.
    fn finish_removals(&mut self, removals: Vec<Removal>, outcome: Result<(), Error>) {
        let mut outcome = outcome;
        let going = removals.iter().filter(|removal| removal.found.is_some());
        let changes: Vec<_> = going.map(|removal| Change::Forget { id: removal.id }).collect();
        if outcome.is_err() && !changes.is_empty() {
            outcome = self.shared.backend.apply(self.session, &changes, true);
            if let Err(error) = &outcome {
                self.fail(&[], error);
            }
        }
        for Removal { id, found, reply } in removals {
            if outcome.is_ok()
                && let Some(Found { place: Place::Large(number), .. }) = found
            {
                self.state.clear_later(Clearing { number, id: Some(id) });
            }
            if let Some(reply) = reply {
                let _ = reply.send(outcome.clone().map(|()| found.is_some()));
            }
        }
    }

    /// The last commit: what is kept of other nodes, and when it was used.
    fn remember(&mut self) {
        let mut batch = Batch::default();
        batch.touched.extend(self.note_uses());
        self.keeping.hurry();
        self.commit(batch);
    }

    fn clearing_waits(&self) -> bool {
        !self.uploads.is_empty() && self.settles.is_empty() && self.shared.backend.room(PLENTY_BYTES).is_ok()
    }

    /// Clears some chunks. False if there is nothing to clear.
    fn clear(&mut self, limit: usize) -> bool {
        let readers = &self.shared.readers;
        let Some(next) = self.state.next_to_clear(|id| readers.is_read(id)) else { return false };
        if let Ok(false) = self.clear_some(next.number, limit) {
            self.state.clear_later(next);
        }
        true
    }

    /// Clears some chunks of a number that nobody reads. True if none is left.
    fn clear_some(&mut self, number: BlobNumber, limit: usize) -> Result<bool, Error> {
        let cleared = self.shared.backend.clear(number, limit);
        if let Err(error) = &cleared {
            // The mark stays, so the next start tries again.
            self.fail(&[], error);
            tracing::warn!(number = number.0, %error, "chunks of a removed blob stay");
        }
        cleared
    }

    /// Clears these at once, but for those that are being read: they wait until nobody does.
    pub(crate) fn clear_now(&mut self, entries: Vec<Clearing>) -> Result<(), Error> {
        let mut outcome = Ok(());
        for entry in entries {
            let is_read = entry.id.is_some_and(|id| self.shared.readers.is_read(&id));
            if is_read || outcome.is_err() {
                self.state.clear_later(entry);
                continue;
            }
            outcome = loop {
                match self.clear_some(entry.number, CLEARED_IDLE) {
                    Ok(false) => {}
                    done => break done.map(drop),
                }
            };
        }
        outcome
    }

    fn settle(&mut self) {
        for reply in self.settles.drain(..) {
            let _ = reply.send(());
        }
    }
}
