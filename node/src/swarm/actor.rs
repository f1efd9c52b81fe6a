//! The loop of the swarm. It decides nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use assetmesh_protocol::ids::NodeKey;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::{Attached, Config, Error, Links, Offence, Service, StartError, Swarm};
use crate::actor::Tasks;
use crate::identity::Identity;

/// Questions that may wait for the loop; each is a few hundred bytes but for bodies of at most 64 KiB.
const MAILBOX: usize = 256;

/// What the handle asks of the loop.
#[derive(Debug)]
pub(super) enum Command {
    Publish { bytes: Vec<u8>, reply: oneshot::Sender<Result<(), Error>> },
    Request { peer: NodeKey, service: Service, body: Vec<u8>, reply: oneshot::Sender<Result<Vec<u8>, Error>> },
    Know { peer: NodeKey, addresses: Vec<String> },
    Want(BTreeSet<NodeKey>),
    Block(BTreeSet<NodeKey>),
    Penalise { peer: NodeKey, offence: Offence },
}

/// Starts the swarm.
pub(super) fn start(tasks: &mut Tasks, _identity: &Identity, config: Config) -> Result<Swarm, StartError> {
    let (mailbox, inbox) = mpsc::channel(MAILBOX);
    let (_listening, listens) = watch::channel(config.listen);
    let (_links, links) = watch::channel(Links::default());
    let attached = Arc::new(watch::Sender::new(Attached::default()));
    tasks.run("swarm", |stop| run(inbox, stop));
    Ok(Swarm { mailbox, attached, listening: listens, links })
}

async fn run(mut inbox: mpsc::Receiver<Command>, stop: CancellationToken) {
    loop {
        let command = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            command = inbox.recv() => command,
        };
        match command {
            Some(Command::Publish { reply, .. }) => drop(reply.send(Ok(()))),
            Some(Command::Request { reply, .. }) => {
                drop(reply.send(Err(Error::Unreachable("no link".to_owned()))));
            }
            Some(_) => {}
            None => return,
        }
    }
}
