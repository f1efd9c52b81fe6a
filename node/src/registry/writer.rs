//! The one writer of the registry's tables: a thread, because a commit blocks. It has its own small transactions in
//! the catalog's file, so that an asset row waits for one of them at most.

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::tables::{self, Rows};
use crate::actor::Tasks;
use crate::storage::{Purpose, Store, StoreError, Sync};

/// Rows to write, and where the outcome goes.
struct Request {
    rows: Rows,
    /// On a full disk, what only takes rows out or replaces them by shorter ones still goes through.
    grows: bool,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// Asks the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    sender: mpsc::Sender<Request>,
}

impl Writer {
    /// Starts the thread. It ends when the handle is gone or the node stops.
    pub(super) fn start(tasks: &mut Tasks, store: Store) -> Self {
        // Whoever asks waits for the answer before it asks again.
        let (sender, inbox) = mpsc::channel(1);
        let runtime = Handle::current();
        tasks.start_thread("registry-writer", move |stop| run(&store, inbox, &stop, &runtime));
        Self { sender }
    }

    /// Writes rows; the receiver hears when they are on the disk. One write at a time.
    pub(super) fn write(&self, rows: Rows, grows: bool) -> oneshot::Receiver<Result<(), StoreError>> {
        let (reply, outcome) = oneshot::channel();
        // A full or closed mailbox drops the reply, which the receiver sees.
        self.sender.try_send(Request { rows, grows, reply }).ok();
        outcome
    }
}

fn run(store: &Store, mut inbox: mpsc::Receiver<Request>, stop: &CancellationToken, runtime: &Handle) {
    loop {
        let next = runtime.block_on(async {
            tokio::select! {
                biased;
                next = inbox.recv() => next,
                () = stop.cancelled() => None,
            }
        });
        let Some(Request { rows, grows, reply }) = next else { return };
        let room = if grows { store.room(Purpose::Row, rows.growth()) } else { Ok(()) };
        let outcome =
            room.and_then(|()| store.update(Sync::Now, |transaction| tables::write(transaction, &rows)));
        // The asker may have gone with the node.
        reply.send(outcome).ok();
    }
}
