//! Stores for tests, on each backend, and a backend in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex, MutexGuard};

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::watch;

use super::backend::{Backend, BlobNumber, Change, Found, Place, piece_bytes, place_of_node};
use super::cache::Entry;
use super::tables::Tables;
use super::tree::{Builder, GROUP_BYTES, NODE_BYTES, Node, groups};
use super::*;
use crate::storage::test_disk::TestDisk;

/// Records as the catalog would keep them: how many name each blob.
#[derive(Debug, Clone, Default)]
pub(crate) struct Records(Arc<Mutex<HashMap<AssetId, u32>>>);

impl Records {
    pub(crate) fn add(&self, id: AssetId) {
        *self.0.lock().unwrap().entry(id).or_default() += 1;
    }

    /// True if it was the last.
    pub(crate) fn remove(&self, id: &AssetId) -> bool {
        let mut records = self.0.lock().unwrap();
        let count = records.get_mut(id).unwrap();
        *count -= 1;
        *count == 0
    }

    pub(crate) fn name(&self, id: &AssetId) -> bool {
        self.0.lock().unwrap().get(id).is_some_and(|count| *count > 0)
    }
}

/// A running store with its records.
#[derive(Debug)]
pub(crate) struct Kit {
    pub(crate) blobs: Blobs,
    pub(crate) records: Records,
    tasks: Tasks,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Redb,
    Memory,
}

impl Kit {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with_config(kind, Config::default())
    }

    pub(crate) fn with_config(kind: Kind, config: Config) -> Self {
        match kind {
            Kind::Redb => {
                let disk = TestDisk::made("blobs", FORMAT);
                Self::try_on(&disk, Records::default(), config).unwrap()
            }
            Kind::Memory => {
                Self::on(Arc::new(Memory::default()), watch::channel(None).1, Records::default(), config)
                    .unwrap()
            }
        }
    }

    pub(crate) fn on_disk(disk: &TestDisk) -> Self {
        Self::with_records(disk, Records::default())
    }

    pub(crate) fn on_memory(memory: Arc<Memory>) -> Self {
        Self::on(memory, watch::channel(None).1, Records::default(), Config::default()).unwrap()
    }

    /// Keeps no page in memory, so that each read sees the disk.
    pub(crate) fn with_records(disk: &TestDisk, records: Records) -> Self {
        Self::try_on(disk, records, Config::default()).unwrap()
    }

    pub(crate) fn try_on(disk: &TestDisk, records: Records, config: Config) -> Result<Self, Error> {
        let uncached = StoreConfig { cache_bytes: 0, ..StoreConfig::default() };
        let store = disk.store("blobs", FORMAT, uncached)?;
        let failure = store.failure();
        Self::on(Arc::new(Tables::new(store)?), failure, records, config)
    }

    fn on(
        backend: Arc<dyn Backend>,
        failure: watch::Receiver<Option<StoreError>>,
        records: Records,
        config: Config,
    ) -> Result<Self, Error> {
        let mut tasks = Tasks::default();
        let blobs = Blobs::start_on(&mut tasks, backend, failure, config)?;
        let named = records.clone();
        blobs.add_referenced(Arc::new(move |id| Ok(named.name(id))));
        Ok(Self { blobs, records, tasks })
    }

    /// Tells the writer to stop, and waits for it.
    pub(crate) async fn end(self) {
        self.tasks.stop();
        self.tasks.join().await;
    }

    /// Closes the file, opens it again, and looks.
    pub(crate) async fn end_and_check(self, disk: &TestDisk, ids: &[AssetId]) {
        self.holds_only(ids).await;
        let records = self.records.clone();
        self.stop().await;
        Self::with_records(disk, records).holds_only(ids).await;
    }

    /// Waits until the file is closed.
    pub(crate) async fn stop(self) {
        drop(self.blobs);
        self.tasks.join().await;
    }

    pub(crate) async fn put(&self, content: &[u8]) -> Result<StoredBlob, Error> {
        put(&self.blobs, content).await
    }

    /// Stores content and a record of it.
    pub(crate) async fn keep(&self, content: &[u8]) -> AssetId {
        let stored = self.put(content).await.unwrap();
        self.records.add(stored.id);
        stored.id
    }

    pub(crate) async fn get(&self, id: &AssetId, range: Range<u64>) -> Result<Vec<u8>, Error> {
        get(&self.blobs, id, range).await
    }

    pub(crate) async fn damages(&self) -> Vec<Damage> {
        self.try_damages().await.unwrap()
    }

    pub(crate) async fn try_damages(&self) -> Result<Vec<Damage>, Error> {
        let found = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&found);
        self.blobs.verify(move |damage| sink.lock().unwrap().push(damage)).await?;
        Ok(Arc::try_unwrap(found).unwrap().into_inner().unwrap())
    }

    /// Nothing but sound blobs of these ids.
    pub(crate) async fn holds_only(&self, ids: &[AssetId]) {
        self.blobs.settle().await.unwrap();
        assert_eq!(self.damages().await, []);
        assert_eq!(self.blobs.stats().unwrap().blobs, ids.len() as u64);
        assert!(ids.iter().all(|id| self.blobs.contains(id).unwrap()));
        let backend = &self.blobs.shared.backend;
        assert_eq!(backend.unfinished().unwrap(), []);
        if ids.is_empty() {
            assert_eq!(backend.next_used(BlobNumber(0)).unwrap(), None);
        }
    }
}

pub(crate) async fn put(blobs: &Blobs, content: &[u8]) -> Result<StoredBlob, Error> {
    let mut upload = blobs.begin();
    for frame in content.chunks(100_000) {
        upload.write(Bytes::copy_from_slice(frame)).await?;
    }
    upload.finish().await
}

pub(crate) async fn get(blobs: &Blobs, id: &AssetId, range: Range<u64>) -> Result<Vec<u8>, Error> {
    let blob = blobs.open(id)?.expect("the blob is here");
    let mut out = Vec::new();
    let mut stream = pin!(blob.read(range));
    while let Some(bytes) = stream.next().await {
        out.extend_from_slice(&bytes?);
    }
    Ok(out)
}

/// Content that differs with its seed.
pub(crate) fn content(len: usize, seed: u64) -> Vec<u8> {
    let mut out = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Far more than the disk of a test takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn nodes_of(content: &[u8]) -> Vec<Node> {
    let mut builder = Builder::default();
    content.chunks(GROUP_BYTES).for_each(|group| builder.push(group));
    builder.finish();
    let nodes = builder.take_nodes(builder.nodes());
    let nodes = nodes.chunks(NODE_BYTES).enumerate();
    nodes.map(|(at, node)| (at as u64, node.try_into().unwrap())).collect()
}

pub(crate) fn facts() -> FileFacts {
    FileFacts { file_name: "a b".to_owned(), file_type: "text/plain".to_owned() }
}

/// Hands groups of some content over as a transfer would, and waits until they can be read.
pub(crate) async fn keep(kit: &Kit, content: &[u8], wanted: std::ops::Range<usize>) -> AssetId {
    let id = AssetId::of(content);
    let keeper = kit.blobs.keeper(id, content.len() as u64, facts());
    let mut nodes = nodes_of(content);
    for first in wanted.clone().step_by(63) {
        let end = (first + 63).min(wanted.end) * GROUP_BYTES;
        let part = content[first * GROUP_BYTES..end.min(content.len())].to_vec();
        keeper.put(first as u32, part, std::mem::take(&mut nodes), SOON).await.ok();
    }
    keeper.settle(SOON).await;
    id
}

pub(crate) async fn keep_all(kit: &Kit, content: &[u8]) -> AssetId {
    keep(kit, content, 0..groups(content.len() as u64) as usize).await
}

/// A backend that keeps all in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    state: Mutex<Maps>,
    /// Where the next commit stops.
    stop: Mutex<Option<Arc<Barrier>>>,
}

#[derive(Debug, Default)]
pub(crate) struct Maps {
    pub(crate) blobs: BTreeMap<AssetId, Found>,
    pub(crate) small: HashMap<AssetId, Bytes>,
    pub(crate) chunks: BTreeMap<(BlobNumber, u32), Bytes>,
    pub(crate) pieces: BTreeMap<(BlobNumber, u32), Bytes>,
    unfinished: BTreeSet<BlobNumber>,
    cached: HashMap<AssetId, Entry>,
    /// Something was committed that a power cut would lose.
    pub(crate) is_unsynced: bool,
    /// Nothing can be changed.
    pub(crate) is_stuck: bool,
    /// Nothing can be cleared.
    pub(crate) keeps_chunks: bool,
    /// The most bytes of content that it has room for, if there is a bound.
    pub(crate) bytes_max: Option<u64>,
}

/// Holds everybody up.
#[derive(Debug)]
pub(crate) struct HoldUp {
    _release: std::sync::mpsc::Sender<()>,
    _thread: std::thread::JoinHandle<()>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.state.lock().unwrap()
    }

    /// The writer and all readers wait while the answer lives.
    pub(crate) fn hold_up(self: &Arc<Self>) -> HoldUp {
        let (memory, barrier) = (Arc::clone(self), Arc::new(Barrier::new(2)));
        let begun = Arc::clone(&barrier);
        let (release, released) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let _held = memory.lock();
            begun.wait();
            // Ends when the other side is dropped.
            let _: Result<(), _> = released.recv();
        });
        barrier.wait();
        HoldUp { _release: release, _thread: thread }
    }

    /// The next commit waits twice for this barrier: when it is reached, and before it begins.
    pub(crate) fn stop_at_commit(&self) -> Arc<Barrier> {
        let barrier = Arc::new(Barrier::new(2));
        *self.stop.lock().unwrap() = Some(Arc::clone(&barrier));
        barrier
    }

    /// Changes what is stored behind the store's back.
    pub(crate) fn harm(&self, harm: impl FnOnce(&mut Maps)) {
        harm(&mut self.lock());
    }
}

fn stuck() -> Error {
    Error::Io(Arc::new(std::io::Error::other("it is stuck")))
}

impl Backend for Memory {
    fn apply(&self, _: u64, changes: &[Change], durable: bool) -> Result<(), Error> {
        if let Some(barrier) = self.stop.lock().unwrap().take() {
            barrier.wait();
            barrier.wait();
        }
        let maps = &mut *self.lock();
        if maps.is_stuck {
            return Err(stuck());
        }
        maps.is_unsynced = !durable;
        for change in changes {
            match change {
                Change::Begin { number } => {
                    maps.unfinished.insert(*number);
                }
                Change::Chunk { number, first_group, bytes } => {
                    maps.chunks.insert((*number, *first_group), Bytes::copy_from_slice(bytes));
                }
                Change::Piece { number, index, bytes } => {
                    maps.pieces.insert((*number, *index), bytes.clone().into());
                }
                Change::Finish { number, id, size } => {
                    maps.unfinished.remove(number);
                    maps.blobs.insert(*id, Found { size: *size, place: Place::Large(*number) });
                }
                Change::Small { id, bytes } => {
                    maps.blobs.insert(*id, Found { size: bytes.len() as u64, place: Place::Small });
                    maps.small.insert(*id, bytes.clone());
                }
                Change::Forget { id } => {
                    maps.small.remove(id);
                    if let Some(Found { place: Place::Large(number), .. }) = maps.blobs.remove(id) {
                        maps.unfinished.insert(number);
                    }
                }
                Change::Nodes { number, total, nodes } => {
                    for (node, bytes) in nodes {
                        let (piece, at) = place_of_node(*node).unwrap();
                        let known = maps.pieces.get(&(*number, piece)).map(|bytes| bytes.to_vec());
                        let mut piece_now = known.unwrap_or_else(|| vec![0; piece_bytes(piece, *total)]);
                        piece_now[at..at + bytes.len()].copy_from_slice(bytes);
                        maps.pieces.insert((*number, piece), piece_now.into());
                    }
                }
                Change::Overwrite { number, first_group, bytes } => {
                    maps.chunks.insert((*number, *first_group), Bytes::copy_from_slice(bytes));
                }
                Change::Keep { id, entry } => {
                    maps.cached.insert(*id, (**entry).clone());
                }
                Change::Drop { id, number } => {
                    maps.cached.remove(id);
                    maps.unfinished.insert(*number);
                }
            }
        }
        Ok(())
    }

    fn clear(&self, number: BlobNumber, limit: usize) -> Result<bool, Error> {
        let maps = &mut *self.lock();
        if maps.keeps_chunks {
            return Err(stuck());
        }
        let keys: Vec<_> = maps.chunks.keys().filter(|key| key.0 == number).take(limit).copied().collect();
        keys.iter().for_each(|key| drop(maps.chunks.remove(key)));
        if keys.len() == limit {
            return Ok(false);
        }
        maps.pieces.retain(|key, _| key.0 != number);
        maps.unfinished.remove(&number);
        Ok(true)
    }

    fn session(&self) -> Result<u64, Error> {
        Ok(0)
    }

    fn room(&self, bytes: u64) -> Result<(), Error> {
        let maps = self.lock();
        let used: usize = maps.chunks.values().chain(maps.small.values()).map(Bytes::len).sum();
        match maps.bytes_max {
            Some(max) if used as u64 + bytes > max => Err(Error::Full),
            _ => Ok(()),
        }
    }

    fn find(&self, id: &AssetId) -> Result<Option<Found>, Error> {
        Ok(self.lock().blobs.get(id).copied())
    }

    fn small(&self, id: &AssetId) -> Result<Option<Bytes>, Error> {
        Ok(self.lock().small.get(id).cloned())
    }

    fn chunk(&self, number: BlobNumber, group: u32) -> Result<Option<(u32, Bytes)>, Error> {
        let maps = self.lock();
        let found = maps.chunks.range((number, 0)..=(number, group)).next_back();
        Ok(found.map(|((_, first_group), bytes)| (*first_group, bytes.clone())))
    }

    fn piece(&self, number: BlobNumber, index: u32) -> Result<Option<Bytes>, Error> {
        Ok(self.lock().pieces.get(&(number, index)).cloned())
    }

    fn stats(&self) -> Result<Stats, Error> {
        let maps = self.lock();
        let bytes = maps.blobs.values().map(|found| found.size).sum();
        Ok(Stats { blobs: maps.blobs.len() as u64, bytes })
    }

    fn list(&self, after: Option<&AssetId>, limit: usize) -> Result<Vec<(AssetId, Found)>, Error> {
        let maps = self.lock();
        let later = maps.blobs.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        Ok(later.take(limit).map(|(id, found)| (*id, *found)).collect())
    }

    fn unfinished(&self) -> Result<Vec<BlobNumber>, Error> {
        Ok(self.lock().unfinished.iter().copied().collect())
    }

    fn next_used(&self, from: BlobNumber) -> Result<Option<BlobNumber>, Error> {
        let maps = self.lock();
        let keys = maps.chunks.keys().chain(maps.pieces.keys());
        Ok(keys.map(|key| key.0).filter(|number| *number >= from).min())
    }

    fn cached(&self) -> Result<Vec<(AssetId, Entry)>, Error> {
        Ok(self.lock().cached.iter().map(|(id, entry)| (*id, entry.clone())).collect())
    }

    fn free_number(&self) -> Result<BlobNumber, Error> {
        let maps = self.lock();
        let highest =
            maps.chunks.keys().map(|key| key.0.0).chain(maps.unfinished.iter().map(|number| number.0)).max();
        Ok(BlobNumber(highest.map_or(0, |number| number + 1)))
    }
}
