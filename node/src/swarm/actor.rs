//! The task of the swarm: it builds what talks to peers, runs it, and builds it again when it panics. What must
//! outlive that (decisions, mailboxes, counters) is kept here. It decides nothing.

#[cfg(test)]
mod adversary_tests;
mod build;
mod connections;
mod events;
mod gossip;
mod requests;
mod running;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::NetworkId;
use futures_util::FutureExt;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::address::Address;
use super::behaviour::Names;
use super::metrics::Metrics;
use super::network_key::NetworkKey;
use super::peers::PeerCache;
use super::state::{Input, Remembered, State};
use super::streams::Opener;
use super::{Attached, Clock, Config, Error, LinkEvent, Links, Offence, Service, StartError, Swarm, limits};
use crate::actor::Tasks;
use crate::clock;
use crate::identity::Identity;
use build::{Blueprint, Generation};
use running::{Ended, Running};

/// Where a request's answer goes.
pub(super) type Reply = oneshot::Sender<Result<Vec<u8>, Error>>;

/// Who waits for a link learns here that it is there.
pub(super) type LinkReply = oneshot::Sender<Result<(), Error>>;

/// What the handle asks of the task.
#[derive(Debug)]
pub(super) enum Command {
    Publish { bytes: Vec<u8>, reply: oneshot::Sender<Result<(), Error>> },
    Request { peer: NodeKey, service: Service, body: Vec<u8>, reply: Reply },
    Link { peer: NodeKey, reply: LinkReply },
    Using(NodeKey),
    Know { peer: NodeKey, addresses: Vec<String> },
    Want(BTreeSet<NodeKey>),
    Block(BTreeSet<NodeKey>),
    Penalise { peer: NodeKey, offence: Offence },
}

/// Checks everything, binds the listeners and starts the task.
pub(super) fn start(tasks: &mut Tasks, identity: &Identity, config: Config) -> Result<Swarm, StartError> {
    let network_key = config.network_key.as_deref().map(NetworkKey::load).transpose()?;
    let network_id = NetworkId::new(&config.network, network_key.map(|key| key.hash()).as_ref());
    let bootstrap = config.bootstrap.iter().map(|text| {
        Address::to_dial(text).map_err(|error| StartError::BadAddress {
            address: text.clone(),
            purpose: "begin with",
            reason: error.to_string(),
        })
    });
    let bootstrap = bootstrap.collect::<Result<Vec<Address>, StartError>>()?;
    let metrics = Metrics::default();
    let attached = Arc::new(watch::Sender::new(Attached::default()));
    let mut blueprint = Blueprint {
        keypair: identity.keypair().clone(),
        names: Names::new(config.network.clone()),
        network_key,
        listen: build::to_listen(&config.listen)?,
        mdns: config.mdns,
        metrics: metrics.clone(),
        attached: Arc::clone(&attached),
    };
    let first = blueprint.build()?;
    let cache = PeerCache::new(&config.data_dir, network_id.to_string());
    let cached = cache.load(clock::now());
    let own = identity.node_key();
    let state = State::new(config.clock.now(), own, bootstrap, cached, seed(own));
    let (mailbox, inbox) = mpsc::channel(limits::MAILBOX);
    let (listening, listens) = watch::channel(first.listen_addrs());
    let (links, linked) = watch::channel(Links::default());
    let (opens, opener) = watch::channel(first.opener.clone());
    let shared = Shared {
        state,
        clock: config.clock,
        attached: Arc::clone(&attached),
        listening,
        links,
        opens,
        metrics: metrics.clone(),
        cache,
    };
    tasks.run("swarm", |stop| supervise(blueprint, first, inbox, shared, stop));
    Ok(Swarm { mailbox, attached, listening: listens, links: linked, opener, network_id, metrics })
}

/// Nodes differ in their keys, so their waits differ.
fn seed(key: NodeKey) -> u64 {
    let (first, _) = key.as_bytes().split_first_chunk().expect("a key has more than 8 bytes");
    u64::from_le_bytes(*first)
}

/// What outlives a rebuild.
struct Shared {
    state: State,
    clock: Clock,
    attached: Arc<watch::Sender<Attached>>,
    listening: watch::Sender<Vec<String>>,
    links: watch::Sender<Links>,
    opens: watch::Sender<Opener>,
    metrics: Metrics,
    cache: PeerCache,
}

impl Shared {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Tells those above, and drops mailboxes that nobody reads any more.
    fn tell(&self, event: LinkEvent) {
        match event {
            LinkEvent::Up { peer } => tracing::info!(assets_db_id = %peer.assets_db_id(), "peer linked"),
            LinkEvent::Down { peer } => {
                tracing::info!(assets_db_id = %peer.assets_db_id(), "peer no longer linked")
            }
            LinkEvent::Heard { .. } => {}
        }
        let mut gone = false;
        for to in &self.attached.borrow().links {
            match to.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(_)) => self.metrics.lost_event(),
                Err(TrySendError::Closed(_)) => gone = true,
            }
        }
        if gone {
            self.attached.send_modify(|attached| attached.links.retain(|to| !to.is_closed()));
        }
    }

    fn publish_links(&self) {
        let links = self.state.links();
        self.metrics.set_links(links.len());
        self.links.send_replace(Arc::new(links));
    }

    /// Writes the peer cache. Blocks on the disk.
    fn write_cache(cache: &PeerCache, peers: &[Remembered]) {
        if let Err(error) = cache.store(clock::now(), peers) {
            tracing::warn!(%error, "the peer cache cannot be written");
        }
    }
}

async fn supervise(
    mut blueprint: Blueprint,
    first: Generation,
    mut inbox: mpsc::Receiver<Command>,
    mut shared: Shared,
    stop: CancellationToken,
) {
    let mut generation = Some(first);
    let mut wait = limits::REBUILD_FIRST;
    let mut todo = Vec::new();
    loop {
        let Some(built) = generation.take().or_else(|| rebuild(&mut blueprint)) else {
            if !pause(&mut wait, &stop).await {
                return;
            }
            continue;
        };
        shared.opens.send_replace(built.opener.clone());
        let began = tokio::time::Instant::now();
        let running = Running::new(built, &mut blueprint, &mut shared);
        let run = Box::pin(running.run(&mut inbox, std::mem::take(&mut todo), &stop));
        match std::panic::AssertUnwindSafe(run).catch_unwind().await {
            Ok(Ended::Stopped) => return,
            Ok(Ended::Broken) => {
                tracing::error!("a connection of the peer network panicked; it is built again")
            }
            Err(_) => tracing::error!("the peer network panicked; it is built again"),
        }
        shared.metrics.restarted();
        shared.metrics.set_connections(0);
        let now = Instant::now();
        todo = shared.state.handle(now, Input::Rebuilt);
        shared.publish_links();
        if began.elapsed() >= limits::REBUILD_FORGOTTEN {
            wait = limits::REBUILD_FIRST;
        }
        if !pause(&mut wait, &stop).await {
            return;
        }
    }
}

fn rebuild(blueprint: &mut Blueprint) -> Option<Generation> {
    let built = blueprint.build();
    built.inspect_err(|error| tracing::error!(%error, "the peer network cannot be built again yet")).ok()
}

/// Waits, each time twice as long. False if the node stops.
async fn pause(wait: &mut Duration, stop: &CancellationToken) -> bool {
    let now = *wait;
    *wait = (now * 2).min(limits::REBUILD_MAX);
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(now) => true,
    }
}
