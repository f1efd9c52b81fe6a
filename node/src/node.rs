//! One node: starts its actors in order, each with just the handles it may use, and stops them in reverse.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::NodeRecord;
use prometheus_client::registry::Registry as Metrics;
use serde::Serialize;

use crate::actor::Tasks;
use crate::blobs::{self, Blobs};
use crate::catalog::{self, Catalog, Owner};
use crate::fetch::{self, Fetch};
use crate::forgotten::Forgotten;
use crate::identity::{Identity, IdentityError};
use crate::liveness::{self, Liveness};
use crate::mending::{Check, Mending};
use crate::nvcf::{self, Nvcf};
use crate::query::{self, Queries};
use crate::registry::{self, Registry};
use crate::staging::{self, Staging};
use crate::storage::StoreError;
use crate::summaries::{self, Summaries};
use crate::swarm::{self, Swarm};
use crate::tokens::{self, Tokens};
use crate::{members, mending, sweeper};

/// Everything a node is told before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it keeps everything. Made if absent.
    pub data_dir: PathBuf,
    /// A name for people; empty means the first part of the `assets_db_id`.
    pub name: String,
    /// Labels for people and filters.
    pub labels: Vec<String>,
    /// How it meets other nodes. Its data directory is the node's.
    pub swarm: swarm::Config,
    /// Who is alive.
    pub liveness: liveness::Config,
    /// What others hold, roughly.
    pub summaries: summaries::Config,
    /// How it asks the others and is asked.
    pub query: query::Config,
    /// The address that HTTP is really bound to.
    pub http_addr: SocketAddr,
    /// Where clients reach the node; `None` means `http://` and the bound address.
    pub public_url: Option<String>,
    /// The blob store.
    pub blobs: blobs::Config,
    /// The catalog.
    pub catalog: catalog::Config,
    /// Content of other nodes.
    pub fetch: fetch::Config,
    /// The sweeper.
    pub sweeper: sweeper::Config,
    /// How its content is read through for damage.
    pub scrub: mending::Config,
    /// Whose tokens are accepted.
    pub tokens: tokens::Config,
    /// Input assets.
    pub nvcf: nvcf::Config,
    /// Where invocations find their assets; `None` means `staging` in the data directory.
    pub asset_root: Option<PathBuf>,
    /// How much may be staged.
    pub staging: staging::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("assetmesh-data"),
            name: String::new(),
            labels: Vec::new(),
            swarm: swarm::Config::default(),
            liveness: liveness::Config::default(),
            summaries: summaries::Config::default(),
            query: query::Config::default(),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 4000)),
            public_url: None,
            blobs: blobs::Config::default(),
            catalog: catalog::Config::default(),
            fetch: fetch::Config::default(),
            sweeper: sweeper::Config::default(),
            scrub: mending::Config::default(),
            tokens: tokens::Config::default(),
            nvcf: nvcf::Config::default(),
            asset_root: None,
            staging: staging::Config::default(),
        }
    }
}

impl Config {
    /// Where invocations find their assets.
    fn asset_root(&self) -> PathBuf {
        self.asset_root.clone().unwrap_or_else(|| self.data_dir.join("staging"))
    }

    /// The name for people; without one the first part of the id tells nodes apart.
    fn name(&self, identity: &Identity) -> String {
        if self.name.is_empty() {
            identity.assets_db_id().to_string().chars().take(8).collect()
        } else {
            self.name.clone()
        }
    }

    /// What the node registers of itself.
    fn about(&self, name: &str, public_url: &str) -> NodeRecord {
        NodeRecord {
            name: name.to_owned(),
            labels: self.labels.clone(),
            public_url: public_url.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..NodeRecord::default()
        }
    }
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be made.
    #[error("cannot make the data directory {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node key cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The peer network did not start.
    #[error(transparent)]
    Swarm(#[from] swarm::StartError),
    /// The registry did not start.
    #[error(transparent)]
    Registry(#[from] registry::StartError),
    /// The blob store did not start.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// The catalog did not start.
    #[error(transparent)]
    Catalog(#[from] catalog::StartError),
    /// Tokens cannot be checked.
    #[error(transparent)]
    Tokens(#[from] tokens::StartError),
    /// The folder for invocations cannot be used.
    #[error(transparent)]
    Staging(#[from] staging::OpenError),
    /// Input assets cannot be kept.
    #[error("input assets: {0}")]
    Nvcf(StoreError),
}

/// What a node says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct NodeFacts {
    /// Names its asset database.
    pub assets_db_id: String,
    /// Names it in the peer network.
    pub peer_id: String,
    /// Its name for people.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// The version of the program.
    pub version: &'static str,
    /// The federation's name.
    pub network: String,
    /// Where HTTP is bound.
    pub http_addr: String,
    /// Where the peer network is bound.
    pub p2p_addrs: Vec<String>,
    /// Where clients reach it.
    pub public_url: String,
    /// Assets described here.
    pub assets: u64,
    /// Different contents stored here.
    pub blobs: u64,
    /// Bytes of those contents.
    pub bytes: u64,
    /// Bytes that are kept of other nodes' content, beside those.
    pub cached_bytes: u64,
    /// Seconds since it started.
    pub uptime_s: u64,
}

/// A running node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Config,
    name: String,
    public_url: String,
    identity: Identity,
    blobs: Blobs,
    catalog: Catalog,
    swarm: Swarm,
    registry: Registry,
    liveness: Liveness,
    summaries: Summaries,
    forgotten: Forgotten,
    queries: Queries,
    fetch: Fetch,
    mending: Mending,
    tokens: Tokens,
    nvcf: Nvcf,
    staging: Staging,
    started: Instant,
    tasks: Mutex<Option<Tasks>>,
}

/// How long actors may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(10);

impl Node {
    /// Starts the actors of a node.
    ///
    /// # Errors
    /// When the data directory, the key or a store cannot be used. Nothing is left running.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let data_dir = config.data_dir.clone();
        std::fs::create_dir_all(&data_dir)
            .map_err(|source| StartError::DataDir { path: data_dir.clone(), source })?;
        let mut tasks = Tasks::default();
        let identity = Identity::load_or_create(&data_dir)?;
        let public_url = config.public_url.clone().unwrap_or_else(|| format!("http://{}", config.http_addr));
        let public_url = public_url.trim_end_matches('/').to_owned();
        let name = config.name(&identity);
        let network = swarm::network_id(&config.swarm.network, config.swarm.network_key.as_deref());
        let network = network.map_err(swarm::StartError::from)?;
        let owner = Owner {
            assets_db_id: identity.assets_db_id(),
            public_url: public_url.clone(),
            cursor_secret: blake3::derive_key("assetmesh 2026 query cursor", network.as_bytes()),
        };
        let blobs = Blobs::start(&mut tasks, &data_dir, config.blobs.clone())?;
        let catalog = Catalog::start(&mut tasks, &data_dir, owner, blobs.clone(), &config.catalog)?;
        let swarm = Swarm::start(&mut tasks, &identity, config.swarm.clone())?;
        let about = config.about(&name, &public_url);
        let registry_config = registry::Config::new(swarm.network_id(), about);
        let registry = Registry::start(&mut tasks, &catalog, &identity, &swarm, registry_config)?;
        let members = members::start(&mut tasks, &registry);
        let network_name = &config.swarm.network;
        let tokens = Tokens::start(&data_dir, &identity, network_name, members.clone(), &config.tokens)?;
        let setup = liveness::Setup { network: swarm.network_id(), members, config: config.liveness.clone() };
        let liveness = Liveness::start(&mut tasks, &identity, &swarm, setup);
        let summaries = Summaries::start(&mut tasks, &catalog, &swarm, config.summaries.clone());
        let forgotten = Forgotten::start(&mut tasks, &data_dir, liveness.watch());
        let own = query::Own { id: identity.assets_db_id(), name: name.clone() };
        let network = query::Network::new(&swarm, &registry, &liveness, forgotten.watch());
        let rows = (catalog.clone(), summaries.clone());
        let queries = Queries::start(&mut tasks, own, rows, network, config.query.clone());
        let stores = (&blobs, &catalog);
        let holders = (liveness.watch(), summaries.clone());
        let fetch = Fetch::start(&mut tasks, &swarm, stores, holders, config.fetch.clone());
        let setup = nvcf_setup(&identity, &tokens, &liveness, &config);
        let nvcf = Nvcf::start(&mut tasks, stores, (&swarm, &fetch), setup).map_err(StartError::Nvcf)?;
        let staging = Staging::start(&mut tasks, &config.asset_root(), config.staging.clone())?;
        sweeper::start(&mut tasks, blobs.clone(), config.sweeper.clone());
        let mending = Mending::new(&blobs, &fetch);
        mending::start(&mut tasks, mending.clone(), config.scrub.clone());
        let tasks = Mutex::new(Some(tasks));
        let started = Instant::now();
        let inner = Inner {
            config,
            name,
            public_url,
            identity,
            blobs,
            catalog,
            swarm,
            registry,
            liveness,
            summaries,
            forgotten,
            queries,
            fetch,
            mending,
            tokens,
            nvcf,
            staging,
            started,
            tasks,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Takes leave of the peers, stops the actors and waits for them.
    pub async fn stop(&self) {
        // One that has stopped already cannot take leave.
        self.inner.liveness.leave().await.ok();
        let tasks = self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tasks) = tasks
            && tokio::time::timeout(STOP_WITHIN, tasks.finish()).await.is_err()
        {
            tracing::warn!("some actors did not end in time");
        }
    }

    /// Waits until a store gives up for good, and says why. The node should then stop.
    pub async fn failed(&self) -> String {
        let (mut blobs, mut catalog) = (self.inner.blobs.failure(), self.inner.catalog.failure());
        let failure = tokio::select! {
            failure = blobs.wait_for(Option::is_some) => failure,
            failure = catalog.wait_for(Option::is_some) => failure,
        };
        match failure {
            Ok(failure) => failure.as_ref().map(ToString::to_string).unwrap_or_default(),
            Err(_) => "a store has stopped".to_owned(),
        }
    }

    /// The blob store.
    #[must_use]
    pub fn blobs(&self) -> &Blobs {
        &self.inner.blobs
    }

    /// The catalog.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    /// The peer network.
    #[must_use]
    pub fn swarm(&self) -> &Swarm {
        &self.inner.swarm
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Who is alive.
    #[must_use]
    pub fn liveness(&self) -> &Liveness {
        &self.inner.liveness
    }

    /// What others hold, roughly.
    #[must_use]
    pub fn summaries(&self) -> &Summaries {
        &self.inner.summaries
    }

    /// Who is given up for good.
    pub(crate) fn forgotten(&self) -> &Forgotten {
        &self.inner.forgotten
    }

    /// Answers for the whole federation.
    #[must_use]
    pub fn queries(&self) -> &Queries {
        &self.inner.queries
    }

    /// Who may do what.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.inner.tokens
    }

    /// Folders for invocations.
    #[must_use]
    pub fn staging(&self) -> &Staging {
        &self.inner.staging
    }

    /// Input assets of accounts.
    #[must_use]
    pub fn nvcf(&self) -> &Nvcf {
        &self.inner.nvcf
    }

    /// Content of other nodes.
    #[must_use]
    pub fn fetch(&self) -> &Fetch {
        &self.inner.fetch
    }

    /// Begins to read all its content through, and to mend what is damaged. `None` while that is under way already.
    #[must_use]
    pub fn check_content(&self) -> Option<Check> {
        self.inner.mending.begin()
    }

    /// The node's public key.
    #[must_use]
    pub fn node_key(&self) -> NodeKey {
        self.inner.identity.node_key()
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn facts(&self) -> Result<NodeFacts, catalog::Error> {
        let Inner { config, identity, .. } = &*self.inner;
        let stored = self.inner.blobs.stats().map_err(|error| catalog::Error::Failed(error.to_string()))?;
        Ok(NodeFacts {
            assets_db_id: identity.assets_db_id().to_string(),
            peer_id: identity.peer_id().to_string(),
            name: self.name(),
            labels: config.labels.clone(),
            version: env!("CARGO_PKG_VERSION"),
            network: config.swarm.network.to_string(),
            http_addr: config.http_addr.to_string(),
            p2p_addrs: self.inner.swarm.listen_addrs(),
            public_url: self.inner.public_url.clone(),
            assets: self.inner.catalog.assets()?,
            blobs: stored.blobs,
            bytes: stored.bytes,
            cached_bytes: self.inner.blobs.cached_bytes(),
            uptime_s: self.inner.started.elapsed().as_secs(),
        })
    }

    /// Names the node's asset database.
    #[must_use]
    pub fn assets_db_id(&self) -> String {
        self.inner.identity.assets_db_id().to_string()
    }

    /// The node's name for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.name.clone()
    }

    /// Where clients reach the node, without a slash at its end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.inner.public_url
    }

    /// Fails with the reason if uploads or changes are refused now.
    ///
    /// # Errors
    /// The disk is full, or a store has failed.
    pub fn writable(&self) -> Result<(), catalog::Error> {
        self.inner.catalog.writable()
    }

    /// Adds the node's metrics.
    pub fn register_metrics(&self, metrics: &mut Metrics) {
        self.inner.blobs.metrics().register(metrics);
        self.inner.catalog.register(metrics);
        self.inner.swarm.metrics().register(metrics);
        self.inner.registry.register_metrics(metrics);
        self.inner.liveness.register(metrics);
        self.inner.summaries.register(metrics);
        self.inner.queries.register(metrics);
        self.inner.fetch.metrics().register(metrics);
        self.inner.nvcf.register(metrics);
    }
}

fn nvcf_setup(identity: &Identity, tokens: &Tokens, liveness: &Liveness, config: &Config) -> nvcf::Setup {
    let tokens = tokens.clone();
    nvcf::Setup {
        secret: identity.secret("assetmesh 2026 upload urls of input assets"),
        trust: nvcf::Trust::new(move |node| tokens.trusts_node(node)),
        peers: liveness.watch(),
        config: config.nvcf.clone(),
    }
}
