//! Removes the folders of invocations that are over, one after another, and gives their places back when they are gone.

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::folder::{Folder, warn_of_rest};

/// What an invocation leaves.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) folder: Folder,
    pub(super) place: Place,
    /// Told when the folder is gone.
    pub(super) done: oneshot::Sender<()>,
}

impl Leftover {
    /// Removes the folder, then gives the place back. Blocking.
    pub(super) fn remove(self) {
        let Self { folder, place, done } = self;
        let path = folder.path().to_owned();
        if let Err(error) = folder.remove() {
            warn_of_rest(&path, &error);
        }
        drop(place);
        // Most do not wait for it.
        let _ = done.send(());
    }
}

/// Works until the node stops, and then until nothing is left.
pub(super) async fn run(mut inbox: mpsc::Receiver<Leftover>, stop: CancellationToken) {
    loop {
        let next = tokio::select! {
            biased;
            leftover = inbox.recv() => leftover,
            () = stop.cancelled(), if !inbox.is_closed() => {
                inbox.close();
                continue;
            }
        };
        let Some(leftover) = next else { return };
        if let Err(error) = spawn_blocking(move || leftover.remove()).await {
            tracing::error!(%error, "the removal of a staged folder panicked");
        }
    }
}
