//! Runs the tasks of connections, so that they end with the swarm they belong to and a panic in one is seen.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;

use futures_util::FutureExt;
use libp2p::swarm::Executor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Starts the tasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    tracker: TaskTracker,
    stop: CancellationToken,
    broken: CancellationToken,
}

impl Connections {
    /// Ends all tasks when it is dropped.
    pub(super) fn guard(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Waits until a task has panicked. The library would keep its connection for ever.
    pub(super) fn broken(&self) -> CancellationToken {
        self.broken.clone()
    }
}

impl Executor for Connections {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        let (stop, broken) = (self.stop.clone(), self.broken.clone());
        self.tracker.spawn(async move {
            let task = stop.run_until_cancelled(task);
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                broken.cancel();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_end_with_their_guard() {
        let connections = Connections::default();
        let guard = connections.guard();
        connections.exec(Box::pin(std::future::pending()));
        connections.tracker.close();
        drop(guard);
        connections.tracker.wait().await;
        assert!(!connections.broken().is_cancelled());
    }

    #[tokio::test]
    async fn a_panic_in_a_task_is_seen() {
        let connections = Connections::default();
        connections.exec(Box::pin(async { panic!("on purpose") }));
        let deadline = std::time::Duration::from_secs(30);
        tokio::time::timeout(deadline, connections.broken().cancelled()).await.unwrap();
    }
}
