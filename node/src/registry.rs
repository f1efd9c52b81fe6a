//! The registry: who the members are and what their users registered, the same on every node. Each envelope is
//! signed by its owner and only its owner changes it; no node decides for another.

mod actor;
mod bounds;
mod cursor;
mod exchange;
mod forward;
mod map;
mod metrics;
mod outbox;
mod peers;
mod query;
mod rules;
mod serve;
mod shared;
mod state;
pub mod sync;
mod tables;
mod versions;
mod view;
mod writer;

pub use bounds::{Bound, Bounds};
pub use map::Map;
pub use query::{Page, Query};
pub use rules::{Lifetime, Rules};
pub use state::{
    Asker, Change, Input, Origin, Output, Refusal, State, StateConfig, Taken, Timing, Way, Write, WriteError,
};
pub use view::{Entry, Member};

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::filter::{EvalError, SortError};
use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::network::NetworkId;
use assetmesh_protocol::registry::{
    Draft, EntryError, EntryId, NodeRecord, OwnerKey, PAYLOAD_BYTES_MAX, Patch, Payload, RecordKey, Verified,
    Verifier,
};
use tokio::sync::{mpsc, watch};

use crate::actor::Tasks;
use crate::blocking::{NotRead, Readers};
use crate::catalog::Catalog;
use crate::identity::Identity;
use crate::permits::Permits;
use crate::storage::{Store, StoreError, Sync};
use crate::swarm::Swarm;
use actor::{Actor, Amendment, Ask, Inbox, Parts};
use cursor::Cursors;
use metrics::Metrics;
use outbox::Outbox;
use peers::{Inlets, Peers};
use shared::Shared;
use tables::Stored;
use view::View;
use writer::Writer;

/// How the registry behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which federation it belongs to. Envelopes of another never verify.
    pub network: NetworkId,
    /// What this node says of itself. Addresses are filled in by where it really listens.
    pub about: NodeRecord,
    /// How envelopes live and how much is held.
    pub state: StateConfig,
    /// Time between two sessions of anti-entropy with some peer. 30 s: what gossip lost is there within a minute,
    /// and an idle node sends 4 KiB for it.
    pub sync_every: Duration,
    /// How soon envelopes of peers are on the disk. 1 s: peers can give them again, and one commit serves all.
    pub flush_every: Duration,
    /// How long the owner of an entry may take to change it for a client of this node. 5 s.
    pub forward_within: Duration,
    /// Whether peers may hand on changes of this node's entries. Yes: any node takes any request.
    pub accept_forwarded: bool,
    /// Questions that may wait for the loop. 1 024: more are answered `Busy`.
    pub mailbox: usize,
    /// Gossip messages that may wait. 256: more are not passed on, and anti-entropy brings them.
    pub gossip_waiting: usize,
    /// Queries that may read at once. 4: each needs a core.
    pub queries_at_once: usize,
}

impl Config {
    /// The defaults for a federation.
    #[must_use]
    pub fn new(network: NetworkId, about: NodeRecord) -> Self {
        Self {
            network,
            about,
            state: StateConfig::default(),
            sync_every: Duration::from_secs(30),
            flush_every: Duration::from_secs(1),
            forward_within: Duration::from_secs(5),
            accept_forwarded: true,
            mailbox: 1_024,
            gossip_waiting: 256,
            queries_at_once: 4,
        }
    }
}

/// Why the registry did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its tables cannot be made or read.
    #[error("the registry cannot be read: {0}")]
    Store(#[from] StoreError),
    /// What the node says of itself does not fit its record.
    #[error("name, labels and public URL of this node are too long: at most {bytes_max} bytes together")]
    AboutTooLong {
        /// How long they may be.
        bytes_max: usize,
    },
}

/// How long what a node says of itself may be, in bytes; the rest of its record is for addresses.
const ABOUT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX / 2;

/// Why the registry did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No entry has this id.
    #[error("no registry entry has the id `{0}`")]
    NotFound(EntryId),
    /// The id is taken, or several nodes own an entry under it.
    #[error(transparent)]
    Conflict(WriteError),
    /// A node's own record, which only that node writes; or an owner that takes no changes from others.
    #[error("`{0}` cannot be changed from here: only the node that it belongs to changes it")]
    Forbidden(EntryId),
    /// The description or change is not acceptable.
    #[error(transparent)]
    Invalid(#[from] EntryError),
    /// Another node owns the entry.
    #[error("the registry entry belongs to the node {}", .0.assets_db_id())]
    Elsewhere(NodeKey),
    /// The owner does not accept the change.
    #[error("{message}")]
    OwnerRefused {
        /// The machine-readable word.
        code: String,
        /// The sentence.
        message: String,
    },
    /// Several nodes own the entry, as its owner says.
    #[error("{0}")]
    OwnerConflict(String),
    /// The owner has as many entries as it may have, as it says.
    #[error("{0}")]
    OwnerFull(String),
    /// The change does not fit a message to the owner.
    #[error("the change is too long to be handed to the owner of the entry")]
    ChangeTooLong,
    /// The owner did not do it, and nothing was changed.
    #[error("the owner of the entry, {}, cannot be reached, nothing was changed: {reason}", owner.assets_db_id())]
    OwnerUnreachable {
        /// Who owns the entry.
        owner: NodeKey,
        /// What is known of why.
        reason: String,
    },
    /// The owner was told to change it and its answer is lacking. Whether it did is not known.
    #[error("the owner of the entry, {}, has not confirmed the change: {reason}", owner.assets_db_id())]
    Unconfirmed {
        /// Who owns the entry.
        owner: NodeKey,
        /// What is known of why.
        reason: String,
    },
    /// Too many changes in a short time.
    #[error("too many registry changes: at most {per_minute} a minute")]
    TooFast {
        /// How many there may be.
        per_minute: u32,
    },
    /// This node has as many entries as it may have.
    #[error(transparent)]
    TooMany(WriteError),
    /// The cursor was not made by a node of this federation for this filter and sort.
    #[error("this cursor does not belong to this filter and sort in this federation")]
    BadCursor,
    /// The filter failed on some entry.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The sort cannot order some entry.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The page ends at an entry whose sort key is too long for a cursor.
    #[error("the sort keys are too long to page through: at most {bytes_max} bytes")]
    SortKeyTooLong {
        /// How long a sort key may be.
        bytes_max: usize,
    },
    /// The disk is full. Nothing was changed.
    #[error("no space left on the disk")]
    Full,
    /// Too much is waiting, or the entry is being changed at the same time. Nothing was changed.
    #[error("the registry is busy")]
    Busy,
    /// The store gave an error. Whether the change is there is not known.
    #[error("the registry cannot be written: {0}")]
    Failed(String),
    /// The node is stopping.
    #[error("the registry has stopped")]
    Stopped,
}

impl From<WriteError> for Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotFound(entry) => Self::NotFound(entry),
            WriteError::Conflict { .. } => Self::Conflict(error),
            WriteError::Elsewhere(owner) => Self::Elsewhere(owner),
            WriteError::Forbidden(entry) => Self::Forbidden(entry),
            WriteError::Invalid(error) => Self::Invalid(error),
            WriteError::TooFast { per_minute } => Self::TooFast { per_minute },
            WriteError::TooMany { .. } => Self::TooMany(error),
            WriteError::Overtaken(_) => Self::Busy,
        }
    }
}

impl From<NotRead> for Error {
    fn from(why: NotRead) -> Self {
        match why {
            NotRead::Busy => Self::Busy,
            NotRead::Stopped => Self::Stopped,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Interrupted => Self::Busy,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// Asks the registry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    cursors: Cursors,
    readers: Readers,
}

/// What a registry stands on.
struct Ground {
    store: Store,
    key: OwnerKey,
    peers: Arc<dyn Peers>,
    cursor_secret: [u8; 32],
}

impl Registry {
    /// Reads what is stored, then joins in: takes gossip and requests, registers this node.
    ///
    /// # Errors
    /// When the tables cannot be made. Damaged envelopes are no error: peers give them again.
    pub fn start(
        tasks: &mut Tasks,
        catalog: &Catalog,
        identity: &Identity,
        swarm: &Swarm,
        config: Config,
    ) -> Result<Self, StartError> {
        let ground = Ground {
            store: catalog.store(),
            key: identity.owner_key(config.network),
            peers: Arc::new(swarm.clone()),
            cursor_secret: blake3::derive_key("assetmesh 2026 registry cursor", config.network.as_bytes()),
        };
        Self::start_on(tasks, ground, config)
    }

    fn start_on(tasks: &mut Tasks, ground: Ground, config: Config) -> Result<Self, StartError> {
        let about = Payload::Node(config.about.clone()).bytes();
        if !about.is_ok_and(|bytes| bytes <= ABOUT_BYTES_MAX) {
            return Err(StartError::AboutTooLong { bytes_max: ABOUT_BYTES_MAX });
        }
        let Ground { store, key, peers, cursor_secret } = ground;
        let (verifier, metrics) = (Verifier::new(config.network), Metrics::default());
        let mut state = State::new(key, config.state.clone());
        let useless = load(&store, &verifier, &mut state, &metrics)?;
        let me = state.node_key();
        let (view_sender, view) = watch::channel(Arc::default());
        let (asks, ask_inbox) = mpsc::channel(config.mailbox);
        let (gossip, gossip_inbox) = mpsc::channel(config.gossip_waiting);
        let (links, link_inbox) = mpsc::channel(256);
        let (syncs, sync_inbox) = mpsc::channel(64);
        let (forwards, forward_inbox) = mpsc::channel(64);
        let inbox = Inbox { asks: ask_inbox, gossip: gossip_inbox, listening: peers.listening() };
        let actor = Actor::new(Parts {
            state,
            useless,
            verifier: verifier.clone(),
            writer: Writer::start(tasks, store),
            outbox: Outbox::start(tasks, Arc::clone(&peers), metrics.unsent.clone()),
            view: view_sender,
            about: config.about.clone(),
            metrics: metrics.clone(),
            flush_every: config.flush_every,
        });
        let readers = Readers::new(config.queries_at_once);
        peers.attach(Inlets { gossip, links, syncs, forwards });
        let permits = Permits::new();
        let shared = Arc::new(Shared { me, asks, view, peers, verifier, metrics, config, permits });
        tasks.run("registry", |stop| actor.run(inbox, stop));
        tasks.run("registry-sync", |stop| exchange::run(Arc::clone(&shared), link_inbox, stop));
        tasks.run("registry-serve", |stop| serve::run(Arc::clone(&shared), sync_inbox, forward_inbox, stop));
        let inner = Inner { shared, cursors: Cursors::new(cursor_secret), readers };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Registers an entry that this node owns from now on. It is on the disk when this returns.
    ///
    /// # Errors
    /// `Conflict` when the id is taken, `Invalid`, `TooFast`, `TooMany`, and the store's own.
    pub async fn create(&self, draft: Draft) -> Result<Entry, Error> {
        let id = draft.id.unwrap_or_else(|| EntryId::of_uuid(uuid::Uuid::new_v4()));
        let change = Change::Create(draft.entry);
        self.inner.shared.write(id, change, Asker::Client).await.map(Entry::of)
    }

    /// Changes members of an entry, wherever its owner is. The owner has it on its disk when this returns, and this
    /// node shows it.
    ///
    /// # Errors
    /// `NotFound`, `Conflict` when several nodes own the id, `Forbidden` for a node's own record, `Invalid`,
    /// `OwnerUnreachable`, and the store's own.
    pub async fn update(&self, id: &EntryId, patch: Patch) -> Result<Entry, Error> {
        self.change(id, Change::Update(patch)).await
    }

    /// Deletes an entry, wherever its owner is.
    ///
    /// # Errors
    /// As [`Registry::update`].
    pub async fn delete(&self, id: &EntryId) -> Result<Entry, Error> {
        self.change(id, Change::Delete).await
    }

    async fn change(&self, id: &EntryId, change: Change) -> Result<Entry, Error> {
        let shared = &self.inner.shared;
        let here = shared.write(id.clone(), change.clone(), Asker::Client).await;
        let record: Arc<Verified> = match here {
            Err(Error::Elsewhere(owner)) => forward::forward(shared, owner, id, &change).await?,
            here => here?,
        };
        Ok(Entry::of(record))
    }

    /// The entry that shows under an id.
    #[must_use]
    pub fn get(&self, id: &EntryId) -> Option<Entry> {
        self.inner.shared.view().entry(id, actor::now_ms())
    }

    /// Every node that has a record, this one included.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.inner.shared.view().members(actor::now_ms())
    }

    /// The nodes that have a record, this one included.
    #[must_use]
    pub fn member_keys(&self) -> BTreeSet<NodeKey> {
        self.inner.shared.view().members.keys().copied().collect()
    }

    /// Waits until this node's own record is there.
    pub async fn registered(&self) {
        let mut view = self.inner.shared.view.clone();
        // It fails only when the registry has stopped.
        view.wait_for(|view| view.members.contains_key(&self.inner.shared.me)).await.ok();
    }

    /// Tells of every change from now on: of entries, of members, of what expires.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes { view: self.inner.shared.view.clone() }
    }

    /// Says from now on that this node has this incarnation.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn set_incarnation(&self, incarnation: u64) -> Result<(), Error> {
        self.amend(Amendment::Incarnation(incarnation)).await
    }

    /// Says from now on that this node's summary has this version.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn set_summary_version(&self, version: u64) -> Result<(), Error> {
        self.amend(Amendment::SummaryVersion(version)).await
    }

    async fn amend(&self, amendment: Amendment) -> Result<(), Error> {
        self.inner.shared.asks.send(Ask::Amend(amendment)).await.map_err(|_| Error::Stopped)
    }

    /// This node.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        self.inner.shared.me
    }

    /// One hash of everything this node holds: two nodes with the same one hold the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.inner.shared.view().map.digest()
    }

    /// Adds the registry's metrics.
    pub fn register_metrics(&self, registry: &mut prometheus_client::registry::Registry) {
        self.inner.shared.metrics.register(registry);
    }
}

/// Tells when the registry has changed.
#[derive(Debug, Clone)]
pub struct Changes {
    view: watch::Receiver<Arc<View>>,
}

impl Changes {
    /// Waits for the next change. False when the registry has stopped.
    pub async fn next(&mut self) -> bool {
        self.view.changed().await.is_ok()
    }
}

/// Puts what is stored into a state. Returns the rows that are of no use any more.
fn load(
    store: &Store,
    verifier: &Verifier,
    state: &mut State,
    metrics: &Metrics,
) -> Result<Vec<RecordKey>, StartError> {
    let read = || store.view(|transaction| tables::read(transaction, verifier));
    let stored = match read() {
        Ok(stored) => stored,
        // What has its tables is not written to at the start.
        Err(_) => {
            store.update(Sync::Now, tables::create)?;
            read()?
        }
    };
    let Stored { records, mark, damaged, foreign } = stored;
    if !damaged.is_empty() {
        metrics.damaged_rows.inc_by(damaged.len() as u64);
        tracing::error!(
            rows = damaged.len(),
            "damaged registry entries are left out; peers will give them again"
        );
    }
    if foreign > 0 {
        tracing::warn!(rows = foreign, "registry entries of another network are left alone");
    }
    tracing::info!(records = records.len(), "registry read");
    let now_ms = actor::now_ms();
    if let Some(mark) = mark {
        state.handle(now_ms, Input::Mark(mark));
    }
    let mut useless = damaged;
    for record in records {
        let outputs = state.handle(now_ms, Input::Loaded(record)).into_iter();
        useless.extend(outputs.filter_map(|output| match output {
            Output::Drop(key) => Some(key),
            _ => None,
        }));
    }
    Ok(useless)
}

#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod tests;
