//! What the loop sends to the swarm: a bounded queue and the task that empties it, so that the loop never waits.
//! What finds the queue full is dropped and counted: anti-entropy brings an envelope later.

use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::Verified;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::peers::Peers;
use crate::actor::Tasks;
use crate::swarm::Offence;

/// Messages that may wait. 1 024 of at most 9 KiB.
const WAITING_MAX: usize = 1_024;

/// Something for the swarm.
#[derive(Debug)]
pub(super) enum Outgoing {
    Publish(Arc<Verified>),
    Know(NodeKey, Vec<String>),
    Penalise(NodeKey, Offence),
}

/// Where to put what goes to the swarm.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    sender: mpsc::Sender<Outgoing>,
    unsent: Counter,
}

impl Outbox {
    /// Starts the task that empties the queue.
    pub(super) fn start(tasks: &mut Tasks, peers: Arc<dyn Peers>, unsent: Counter) -> Self {
        let (sender, inbox) = mpsc::channel(WAITING_MAX);
        tasks.run("registry-outbox", |stop| run(peers, inbox, stop));
        Self { sender, unsent }
    }

    /// Sends, or drops and counts.
    pub(super) fn send(&self, outgoing: Outgoing) {
        if !self.try_send(outgoing) {
            self.unsent.inc();
        }
    }

    /// Sends if there is room.
    pub(super) fn try_send(&self, outgoing: Outgoing) -> bool {
        self.sender.try_send(outgoing).is_ok()
    }
}

async fn run(peers: Arc<dyn Peers>, mut inbox: mpsc::Receiver<Outgoing>, stop: CancellationToken) {
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = inbox.recv() => next,
        };
        match next {
            None => return stop.cancelled().await,
            Some(Outgoing::Know(peer, addresses)) => peers.know(peer, addresses).await,
            Some(Outgoing::Penalise(peer, offence)) => peers.penalise(peer, offence).await,
            Some(Outgoing::Publish(record)) => {
                if let Err(error) = peers.publish(record.envelope().encode()).await {
                    tracing::debug!(entry = %record.entry(), %error, "not gossiped; anti-entropy will bring it");
                }
            }
        }
    }
}
