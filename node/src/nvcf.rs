//! Input assets of accounts: content that lives for a day, is uploaded by a signed URL, and is seen by its account alone.
//! The bytes are blobs like any other; what names them lies in tables of its own. No public route serves them.

mod accounts;
mod clock;
mod error;
mod metrics;
mod resolve;
mod row;
mod serve;
mod signed;
mod state;
mod sweep;
mod tables;
mod under_way;
mod upload;
mod verify;
mod writer;

pub use error::{Error, Refusal, Silence};
pub use resolve::{Content, Resolved};
pub use signed::{NotATicket, Ticket};
pub use upload::{Slot, Upload};
pub(crate) use verify::run as verify;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::{AssetId, NodeKey};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::actor::Tasks;
use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::fetch::Fetch;
use crate::liveness::Peers;
use crate::storage::{Store, StoreError};
use crate::swarm::{Service, Swarm};
use accounts::{Quota, Shared};
use clock::{Clock, Reading, Times, millis};
use metrics::Metrics;
use row::{AccountTag, Key, Row};
use writer::{Change, Done, Request};

/// Changes that may wait for the writer. More are answered `Busy`.
const MAILBOX: usize = 1024;
/// Questions of peers that may wait; the next are answered "busy".
const ASKED_MAX: usize = 64;

/// How input assets behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How long an asset lives after its creation. 24 h, as NVCF has it.
    pub lifetime: Duration,
    /// How long its content may be uploaded. 1 h, as NVCF has it.
    pub upload_within: Duration,
    /// The largest content, in bytes. 5 GB, as NVCF has it.
    pub bytes_max: u64,
    /// Assets of one account that may wait for their content. 10 000: more than a batch that a client prepares, and
    /// some 10 MiB of rows.
    pub waiting_max: u64,
    /// Assets of one account, waiting or not. 100 000: more than a day's work, and some 100 MiB of rows at most.
    pub assets_max: u64,
    /// Bytes of one account's content, together. 1 TB: a bound on mistakes, as the disk is mostly the smaller one.
    pub account_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(24 * 3600),
            upload_within: Duration::from_secs(3600),
            bytes_max: 5_000_000_000,
            waiting_max: 10_000,
            assets_max: 100_000,
            account_bytes_max: 1_000_000_000_000,
        }
    }
}

/// Says whether a node may speak for the accounts of this one, and its word on them be taken.
#[derive(Clone)]
pub struct Trust(Arc<dyn Fn(&NodeKey) -> bool + Send + Sync>);

impl Trust {
    /// Trusts whom `check` names.
    pub fn new(check: impl Fn(&NodeKey) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    fn has(&self, node: &NodeKey) -> bool {
        (self.0)(node)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").finish_non_exhaustive()
    }
}

/// What it needs to know beside its handles.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Signs upload URLs.
    pub secret: [u8; 32],
    /// Which nodes may speak for accounts.
    pub trust: Trust,
    /// Who is alive.
    pub peers: watch::Receiver<Peers>,
    /// The settings.
    pub config: Config,
}

/// An input asset, as its account sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputAsset {
    /// Its id.
    pub id: Uuid,
    /// Whose it is.
    pub account: String,
    /// Its media type.
    pub content_type: String,
    /// What its account says of it.
    pub description: String,
    /// When it was created: milliseconds since 1970.
    pub created_ms: u64,
    /// Hash and size of its content; nothing until it is uploaded.
    pub content: Option<(AssetId, u64)>,
}

impl InputAsset {
    /// When it was created, in the form of RFC 3339.
    #[must_use]
    pub fn created_at(&self) -> String {
        let time =
            i64::try_from(self.created_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        format!("{:.3}", time.unwrap_or_default())
    }
}

/// Asks for input assets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Nvcf {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    blobs: Blobs,
    swarm: Swarm,
    fetch: Fetch,
    sender: mpsc::Sender<Request>,
    time: Time,
    accounts: Shared,
    metrics: Metrics,
    setup: Setup,
}

/// Tells the time that assets live by.
struct Time {
    read: Box<dyn Fn() -> Reading + Send + Sync>,
    clock: Mutex<Clock>,
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Time").field("clock", &self.clock).finish_non_exhaustive()
    }
}

impl Time {
    fn resume(read: Box<dyn Fn() -> Reading + Send + Sync>, sure: Option<u64>) -> Self {
        let clock = Mutex::new(Clock::resume(sure, read()));
        Self { read, clock }
    }

    fn now(&self) -> Times {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).observe((self.read)())
    }
}

const fn quota(config: &Config) -> Quota {
    let Config { waiting_max, assets_max, account_bytes_max, .. } = *config;
    Quota { waiting_max, assets_max, bytes_max: account_bytes_max }
}

/// Both clocks of this machine.
fn machine_clocks() -> Box<dyn Fn() -> Reading + Send + Sync> {
    let started = Instant::now();
    Box::new(move || Reading { wall: millis(crate::clock::now()), running: millis(started.elapsed()) })
}

impl Nvcf {
    /// Starts to keep input assets in the catalog's file, and to tell trusted peers of them.
    ///
    /// # Errors
    /// When the tables cannot be made or read.
    pub fn start(
        tasks: &mut Tasks,
        stores: (&Blobs, &Catalog),
        network: (&Swarm, &Fetch),
        setup: Setup,
    ) -> Result<Self, StoreError> {
        Self::start_by(machine_clocks(), tasks, stores, network, setup)
    }

    /// Starts by any clocks.
    fn start_by(
        clocks: Box<dyn Fn() -> Reading + Send + Sync>,
        tasks: &mut Tasks,
        (blobs, catalog): (&Blobs, &Catalog),
        (swarm, fetch): (&Swarm, &Fetch),
        setup: Setup,
    ) -> Result<Self, StoreError> {
        let store = catalog.store();
        let (sender, inbox) = mpsc::channel(MAILBOX);
        let (quota, metrics) = (quota(&setup.config), Metrics::default());
        let (accounts, sure) = writer::start(tasks, store.clone(), inbox, (quota, metrics.clone()))?;
        let time = Time::resume(clocks, sure);
        let trust = setup.trust.clone();
        let inner = Inner {
            store: store.clone(),
            blobs: blobs.clone(),
            swarm: swarm.clone(),
            fetch: fetch.clone(),
            sender,
            time,
            accounts,
            metrics,
            setup,
        };
        let nvcf = Self { inner: Arc::new(inner) };
        let holds = move |blob: &AssetId| store.view(|transaction| tables::holds(transaction, blob));
        let held = holds.clone();
        blobs.add_referenced(Arc::new(move |blob| held(blob).map_err(Into::into)));
        fetch.allow_private(Arc::new(move |peer, blob| trust.has(peer) && matches!(holds(blob), Ok(true))));
        let (to, asked) = mpsc::channel(ASKED_MAX);
        swarm.attach_service(Service::Nvcf, to);
        let serving = nvcf.clone();
        tasks.run("input assets for peers", |stop| serve::run(serving, asked, stop));
        let sweeping = nvcf.clone();
        tasks.run("sweeper of input assets", |stop| sweep::run(sweeping, stop));
        Ok(nvcf)
    }

    /// Makes an asset that waits for its content, and the right to upload it. Durable when this returns.
    ///
    /// # Errors
    /// A bad media type or description, too many that wait, and the store's own.
    pub async fn create(
        &self,
        account: &str,
        content_type: &str,
        description: &str,
    ) -> Result<(InputAsset, Ticket), Error> {
        state::check_content_type(content_type)?;
        state::check_description(description)?;
        let (config, now) = (&self.inner.setup.config, self.now());
        let row = Row {
            account: account.to_owned(),
            content_type: content_type.to_owned(),
            description: description.to_owned(),
            created: now,
            upload_for: millis(config.upload_within),
            live_for: millis(config.lifetime),
            bytes_max: config.bytes_max,
            content: None,
        };
        // Ids begin with the time, so that a list has the order of creation.
        let random = *Uuid::new_v4().as_bytes();
        let id =
            uuid::Builder::from_unix_timestamp_millis(now.shown, random.first_chunk().unwrap_or(&[0; 10]));
        let key = Key::new(AccountTag::of(account), id.into_uuid());
        let ticket = Ticket::sign(&self.inner.setup.secret, &key, &row);
        self.change(Change::Create { key, row: row.clone() }).await?;
        self.inner.metrics.created.inc();
        Ok((row.asset(key.id()), ticket))
    }

    /// Looks what a ticket gives the right to.
    ///
    /// # Errors
    /// `Refused`: it is forged or altered, has expired, or its asset is gone.
    pub fn admit(&self, ticket: &Ticket) -> Result<Slot, Error> {
        self.look(ticket).map_err(|error| self.refused(error))
    }

    fn look(&self, ticket: &Ticket) -> Result<Slot, Error> {
        let key = ticket.key();
        let row = self.row(&key)?.filter(|row| ticket.is_of(&self.inner.setup.secret, row));
        let row = row.ok_or(Error::Refused(Refusal::Signature))?;
        if row.is_closed(self.now()) {
            return Err(Error::Refused(Refusal::Expired));
        }
        Ok(Slot { key, row })
    }

    /// Begins the upload of an asset's content, of this length if the client says so. Two may be under way, so that a
    /// client whose link broke can try again at once; the first that ends counts.
    ///
    /// # Errors
    /// `Busy`: two are under way. `TooLarge`: it would be. `TooManyBytes`: it would not fit beside what the account has and
    /// what is on its way.
    pub fn begin(&self, slot: Slot, length: Option<u64>) -> Result<Upload, Error> {
        Upload::begin(self, slot, length).map_err(|error| self.refused(error))
    }

    /// An uploaded asset of an account.
    ///
    /// # Errors
    /// `NotFound`, also for an asset of another account, and the store's own.
    pub fn get(&self, account: &str, id: Uuid) -> Result<InputAsset, Error> {
        let now = self.now();
        let row = self.row(&Key::new(AccountTag::of(account), id))?;
        let row = row.filter(|row| row.content.is_some() && !row.is_gone(now));
        row.map(|row| row.asset(id)).ok_or(Error::NotFound(id))
    }

    /// At most `limit` uploaded assets of an account behind an id, in the order of their creation, and the id to go on
    /// behind if there may be more.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(
        &self,
        account: &str,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<InputAsset>, Option<Uuid>), Error> {
        let (nvcf, tag) = (self.clone(), AccountTag::of(account));
        let listing = tokio::task::spawn_blocking(move || nvcf.page(tag, after, limit));
        listing.await.map_err(|_| Error::Stopped)?
    }

    fn page(
        &self,
        account: AccountTag,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<(Vec<InputAsset>, Option<Uuid>), Error> {
        let now = self.now();
        let list = |transaction: &_| tables::list(transaction, account, after, limit.saturating_add(1));
        let mut rows = self.inner.store.view(list)?;
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| has_more).map(|(key, _)| key.id());
        let mut assets = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            match row {
                Ok(row) if row.is_gone(now) => {}
                Ok(row) => assets.push(row.asset(key.id())),
                Err(_) => tracing::error!(asset = %key.id(), "a damaged input asset is not listed"),
            }
        }
        Ok((assets, next))
    }

    /// Removes an asset of an account, uploaded or not, and its bytes once nothing refers to them.
    ///
    /// # Errors
    /// `NotFound`, also for an asset of another account, and the store's own.
    pub async fn delete(&self, account: &str, id: Uuid) -> Result<(), Error> {
        let done = self.change(Change::Delete { key: Key::new(AccountTag::of(account), id) }).await?;
        self.free(done.unheld).await;
        Ok(())
    }

    /// Adds the metrics.
    pub fn register(&self, registry: &mut prometheus_client::registry::Registry) {
        self.inner.metrics.register(registry);
    }

    fn now(&self) -> Times {
        self.inner.time.now()
    }

    /// Counts an upload that was refused.
    fn refused(&self, error: Error) -> Error {
        self.inner.metrics.refused(error.reason());
        error
    }

    fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    fn row(&self, key: &Key) -> Result<Option<Row>, Error> {
        let row = self.inner.store.view(|transaction| tables::read(transaction, key));
        if let Err(Error::Damaged(what)) = &row {
            tracing::error!(%what, "damage among the input assets: not served");
        }
        row
    }

    /// Has blobs removed that no input asset has any more, unless something else does.
    async fn free(&self, blobs: Vec<AssetId>) {
        for blob in blobs {
            if let Err(error) = self.inner.blobs.remove(blob).await {
                // The asset is gone either way; the sweeper of blobs finds what is left of its bytes.
                tracing::warn!(%blob, %error, "the bytes of an input asset stay until the next sweep");
            }
        }
    }

    async fn change(&self, change: Change) -> Result<Done, Error> {
        let (reply, answer) = oneshot::channel();
        let request = Request { change, now: self.now(), reply };
        self.inner.sender.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Stopped,
        })?;
        answer.await.map_err(|_| Error::Stopped)?
    }
}

#[cfg(test)]
mod test_kit;
#[cfg(test)]
mod tests;
