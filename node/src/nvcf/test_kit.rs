//! What the tests of input assets share: a node of stores and a swarm, with clocks that are set by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use assetmesh_protocol::asset::{Draft, FileFacts};
use assetmesh_protocol::document::Document;
use bytes::Bytes;
use futures_util::TryStreamExt;
use tempfile::TempDir;

use super::*;
use crate::identity::Identity;
use crate::liveness::{PeerFact, PeerState};
use crate::summaries::Summaries;
use crate::{blobs, catalog, fetch, swarm};

/// Far more than anything here takes on a busy machine.
pub(super) const WITHIN: Duration = Duration::from_secs(60);
/// Some day.
pub(super) const START: u64 = 1_800_000_000_000;
pub(super) const HOUR: u64 = 3_600_000;

/// A node without the rest.
pub(super) struct Member {
    pub(super) nvcf: Nvcf,
    pub(super) blobs: Blobs,
    pub(super) catalog: Catalog,
    pub(super) swarm: Swarm,
    pub(super) fetch: Fetch,
    pub(super) key: NodeKey,
    clock: Arc<Mutex<Reading>>,
    trusted: Arc<Mutex<BTreeSet<NodeKey>>>,
    peers: watch::Sender<Peers>,
    tasks: Tasks,
    dir: TempDir,
}

impl Member {
    pub(super) fn start(bootstrap: &[&Self]) -> Self {
        Self::start_with(bootstrap, Config::default())
    }

    pub(super) fn start_with(bootstrap: &[&Self], config: Config) -> Self {
        let clock = Arc::new(Mutex::new(Reading { wall: START, running: 0 }));
        Self::start_in(tempfile::tempdir().unwrap(), bootstrap, clock, config)
    }

    fn start_in(dir: TempDir, bootstrap: &[&Self], clock: Arc<Mutex<Reading>>, config: Config) -> Self {
        let mut tasks = Tasks::default();
        let identity = Identity::load_or_create(dir.path()).unwrap();
        let (blobs, catalog) = stores(&mut tasks, dir.path(), &identity);
        let settings = swarm::Config {
            data_dir: dir.path().to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap: bootstrap.iter().flat_map(|member| member.swarm.listen_addrs()).collect(),
            ..swarm::Config::default()
        };
        let swarm = Swarm::start(&mut tasks, &identity, settings).unwrap();
        let (peers, watched) = watch::channel(Peers::default());
        let holders = (watched.clone(), Summaries::of_nobody(&catalog));
        let fetch = Fetch::start(&mut tasks, &swarm, (&blobs, &catalog), holders, fetch::Config::default());
        let trusted = Arc::new(Mutex::new(BTreeSet::new()));
        let (checked, read) = (Arc::clone(&trusted), Arc::clone(&clock));
        let setup = Setup {
            secret: identity.secret("test"),
            trust: Trust::new(move |key| checked.lock().unwrap().contains(key)),
            peers: watched,
            config,
        };
        let read = Box::new(move || *read.lock().unwrap());
        let nvcf = Nvcf::start_by(read, &mut tasks, (&blobs, &catalog), (&swarm, &fetch), setup).unwrap();
        let key = identity.node_key();
        Self { nvcf, blobs, catalog, swarm, fetch, key, clock, trusted, peers, tasks, dir }
    }

    /// Stops it, and starts it again on the same data; its monotonic clock begins anew.
    pub(super) async fn restart(self) -> Self {
        self.restart_with(&[], |_| {}).await
    }

    /// As [`Member::restart`], with something done to its data meanwhile.
    pub(super) async fn restart_with(self, bootstrap: &[&Self], meanwhile: impl FnOnce(&Path)) -> Self {
        let Self { nvcf, blobs, catalog, swarm, fetch, clock, tasks, dir, .. } = self;
        tasks.finish().await;
        let config = nvcf.inner.setup.config.clone();
        drop((nvcf, blobs, catalog, swarm, fetch));
        clock.lock().unwrap().running = 0;
        meanwhile(dir.path());
        Self::start_in(dir, bootstrap, clock, config)
    }

    /// Time goes by.
    pub(super) fn pass(&self, milliseconds: u64) {
        let mut clock = self.clock.lock().unwrap();
        clock.wall += milliseconds;
        clock.running += milliseconds;
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_wall(&self, wall: u64) {
        self.clock.lock().unwrap().wall = wall;
    }

    pub(super) fn trusts(&self, other: &Self) {
        self.trusted.lock().unwrap().insert(other.key);
    }

    /// Waits for a link to each, and takes them for alive.
    pub(super) async fn sees(&self, others: &[&Self]) {
        let mut links = self.swarm.links();
        for other in others {
            let linked = links.wait_for(|links| links.contains_key(&other.key));
            tokio::time::timeout(WITHIN, linked).await.unwrap().unwrap();
        }
        let facts = others.iter().map(|other| {
            let since = Duration::ZERO;
            let fact =
                PeerFact { key: other.key, state: PeerState::Alive, since, rtt: None, last_heard: None };
            (other.key, fact)
        });
        self.peers.send_replace(Arc::new(facts.collect::<BTreeMap<_, _>>()));
    }

    /// Makes an asset, and the right to upload it.
    pub(super) async fn create(&self, account: &str) -> (Uuid, Ticket) {
        let (asset, ticket) = self.nvcf.create(account, "image/png", "red-cat-photo").await.unwrap();
        (asset.id, ticket)
    }

    pub(super) async fn put(&self, ticket: &Ticket, content: &[u8]) -> Result<InputAsset, Error> {
        let mut upload = self.nvcf.begin(self.nvcf.admit(ticket)?, None)?;
        for piece in content.chunks(100_000) {
            upload.write(Bytes::copy_from_slice(piece)).await?;
        }
        upload.finish().await
    }

    /// Makes an asset with content.
    pub(super) async fn store(&self, account: &str, content: &[u8]) -> Uuid {
        let (id, ticket) = self.create(account).await;
        self.put(&ticket, content).await.unwrap();
        id
    }

    /// Makes a public asset; returns its name.
    pub(super) async fn publish(&self, content: &[u8]) -> String {
        let mut upload = self.blobs.begin();
        upload.write(Bytes::copy_from_slice(content)).await.unwrap();
        let text = br#"{"asset_name":"a","asset_version":{"version":"1","tag":"t"}}"#;
        let draft = Draft::upload(&Document::from_json(text).unwrap()).unwrap();
        let facts = FileFacts { file_name: "f".to_owned(), file_type: "a/b".to_owned() };
        let stored = upload.finish().await.unwrap();
        self.catalog.create_uploaded(draft, facts, stored).await.unwrap().asset.uri().to_owned()
    }

    pub(super) async fn ids(&self, account: &str) -> Vec<Uuid> {
        let (assets, next) = self.nvcf.list(account, None, 1000).await.unwrap();
        assert_eq!(next, None);
        assets.into_iter().map(|asset| asset.id).collect()
    }

    /// What is left after everything that was let go has been looked at.
    pub(super) async fn blobs_left(&self) -> u64 {
        self.blobs.sweep().await.unwrap();
        self.blobs.stats().unwrap().blobs
    }

    pub(super) async fn read(&self, resolved: &Resolved) -> Result<Vec<u8>, Error> {
        let pieces: Vec<Bytes> =
            tokio::time::timeout(WITHIN, self.nvcf.open(resolved)?.try_collect()).await.unwrap()?;
        Ok(pieces.concat())
    }

    pub(super) fn store_of_rows(&self) -> &Store {
        &self.nvcf.inner.store
    }
}

fn stores(tasks: &mut Tasks, dir: &Path, identity: &Identity) -> (Blobs, Catalog) {
    let blobs = Blobs::start(tasks, dir, blobs::Config::default()).unwrap();
    let owner = catalog::Owner {
        assets_db_id: identity.assets_db_id(),
        public_url: "http://node".to_owned(),
        cursor_secret: [7; 32],
    };
    let catalog = Catalog::start(tasks, dir, owner, blobs.clone(), &catalog::Config::default()).unwrap();
    (blobs, catalog)
}

/// Content that no compression or repetition makes equal to another's.
pub(super) fn content(seed: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}
