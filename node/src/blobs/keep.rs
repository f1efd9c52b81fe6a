//! The outer side of what is kept of other nodes' content: looking it up, and handing over what has come. Nobody who
//! waits for content waits for the disk longer than they allow.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::AssetId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::actor::Message;
use super::backend::{BlobNumber, CHUNK_BYTES, Found, Place, SMALL_BYTES_MAX};
use super::cache::{About, Entry};
use super::read::Blob;
use super::runs::Runs;
use super::shared::{Reading, Returned, Shared};
use super::tree::{GROUP_BYTES, Node, groups};
use crate::clock;

/// Bytes of a part that is handed over at once, at most.
pub(crate) const PART_BYTES: usize = CHUNK_BYTES;

/// What readers see of a blob of which something is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    number: BlobNumber,
    about: About,
    runs: Runs,
    is_whole: bool,
    bytes: u64,
    pub(crate) used: Arc<AtomicU64>,
}

/// All that readers see. The writer publishes it after each commit.
#[derive(Debug, Default)]
pub(crate) struct Shelves {
    kept: RwLock<HashMap<AssetId, Arc<Kept>>>,
    bytes: AtomicU64,
    epoch: AtomicU64,
}

impl Shelves {
    /// How often the writer has begun anew, because what it had was not stored.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn get(&self, id: &AssetId) -> Option<Arc<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Shows what has become of a blob.
    pub(crate) fn publish(&self, id: &AssetId, entry: Option<&Entry>) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        let before = kept.remove(id);
        let used = before.as_ref().map(|kept| Arc::clone(&kept.used)).unwrap_or_default();
        self.bytes.fetch_sub(before.map_or(0, |kept| kept.bytes), Ordering::Relaxed);
        let Some(entry) = entry else { return };
        used.fetch_max(entry.used, Ordering::Relaxed);
        let bytes = entry.bytes();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let now = Kept {
            number: entry.number,
            about: entry.about.clone(),
            runs: entry.runs.clone(),
            is_whole: entry.is_whole(),
            bytes,
            used,
        };
        kept.insert(*id, Arc::new(now));
    }

    /// Shows other contents altogether: what came before may be lost.
    pub(crate) fn publish_all<'a>(&self, entries: impl Iterator<Item = (&'a AssetId, &'a Entry)>) {
        self.kept.write().unwrap_or_else(PoisonError::into_inner).clear();
        self.bytes.store(0, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Relaxed);
        entries.for_each(|(id, entry)| self.publish(id, Some(entry)));
    }

    /// When each was used last.
    pub(crate) fn uses(&self) -> Vec<(AssetId, u64)> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        kept.iter().map(|(id, kept)| (*id, kept.used.load(Ordering::Relaxed))).collect()
    }

    /// Bytes of content that are kept.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// The wall clock, for the order in which blobs were used.
pub(crate) fn now() -> u64 {
    u64::try_from(clock::now().as_millis()).unwrap_or(u64::MAX)
}

/// Content of another node of which something is kept here. While it lives, that stays.
#[derive(Debug, Clone)]
pub struct Cached {
    blob: Blob,
    kept: Arc<Kept>,
}

impl Cached {
    /// Looks it up; that counts as a use.
    pub(super) fn open(shared: &Arc<Shared>, id: &AssetId) -> Option<Self> {
        shared.shelves.get(id)?;
        // Looked up again: from here on it stays.
        let reading = Arc::new(Reading::begin(shared, *id));
        let kept = shared.shelves.get(id)?;
        kept.used.fetch_max(now(), Ordering::Relaxed);
        let size = kept.about.size;
        let place = match size {
            0..=LAST_SMALL => Place::Single(kept.number),
            _ => Place::Large(kept.number),
        };
        let blob = Blob::kept(shared, *id, Found { size, place }, reading);
        Some(Self { blob, kept })
    }

    /// What can be read: all of it if it is whole, else only inside of [`Cached::around`].
    #[must_use]
    pub const fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.kept.is_whole
    }

    /// Name and type of the file, as the provider gave them.
    #[must_use]
    pub fn facts(&self) -> &FileFacts {
        &self.kept.about.facts
    }

    /// Whether a range is here.
    #[must_use]
    pub fn has(&self, range: &Range<u64>) -> bool {
        range.is_empty() || self.around(range.start).is_some_and(|run| run.end >= range.end)
    }

    /// The bytes around this one that are here, if it is here itself.
    #[must_use]
    pub fn around(&self, byte: u64) -> Option<Range<u64>> {
        let run = self.kept.runs.around(group_of(byte)?)?;
        let at = |group: u32| (u64::from(group) * GROUP_BYTES as u64).min(self.kept.about.size);
        Some(at(run.start)..at(run.end))
    }

    /// The first byte behind one that is not here, that is.
    #[must_use]
    pub fn next_start(&self, byte: u64) -> Option<u64> {
        let group = self.kept.runs.next_start(group_of(byte)?)?;
        Some(u64::from(group) * GROUP_BYTES as u64)
    }
}

const LAST_SMALL: u64 = SMALL_BYTES_MAX as u64;

fn group_of(byte: u64) -> Option<u32> {
    u32::try_from(byte / GROUP_BYTES as u64).ok()
}

/// One keeper as the writer knows it. A part is worth something only if all before it were taken: the nodes that
/// lead to it came with them.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: AssetId,
    pub(crate) about: About,
    /// The number that it began with.
    pub(crate) number: OnceLock<BlobNumber>,
    /// How often the writer had begun anew when this began.
    pub(crate) epoch: u64,
    pub(crate) is_refused: AtomicBool,
}

impl Order {
    /// Takes no more of it.
    pub(crate) fn refuse(&self) {
        self.is_refused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }
}

/// Proven groups of a blob, on their way to the writer.
#[derive(Debug)]
pub(crate) struct KeepWrite {
    pub(crate) order: Arc<Order>,
    pub(crate) first_group: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) nodes: Vec<Node>,
    /// Bounds what is on its way.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Hands over what comes of one blob. If this node holds the blob itself, what comes mends it where it is damaged;
/// else it is kept while there is room. What is kept is on the medium soon after this is dropped.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    mailbox: mpsc::Sender<Message>,
    order: Arc<Order>,
    /// What it works for is not let go.
    _reading: Reading,
}

/// Why a part was not handed over.
#[derive(Debug)]
pub(crate) enum Left {
    /// The disk did not follow within the time allowed. These nodes must come with the next part.
    Late(Vec<Node>),
    /// Nothing more of this content is taken.
    Refused,
}

impl Keeper {
    pub(super) fn new(
        shared: &Arc<Shared>,
        mailbox: mpsc::Sender<Message>,
        id: AssetId,
        about: About,
    ) -> Self {
        let order = Arc::new(Order {
            id,
            about,
            number: OnceLock::new(),
            epoch: shared.shelves.epoch(),
            is_refused: AtomicBool::new(false),
        });
        Self { shared: Arc::clone(shared), mailbox, order, _reading: Reading::begin(shared, id) }
    }

    /// Hands a part over: proven groups, and the nodes of the tree that came with them or before.
    ///
    /// # Errors
    /// The part was not taken.
    pub(crate) async fn put(
        &self,
        first_group: u32,
        bytes: Vec<u8>,
        nodes: Vec<Node>,
        within: Duration,
    ) -> Result<(), Left> {
        let last = u64::from(first_group) + groups(bytes.len() as u64);
        let is_part = (1..=PART_BYTES).contains(&bytes.len()) && last <= groups(self.order.about.size);
        if !is_part || self.order.is_refused() {
            return Err(Left::Refused);
        }
        let kib = u32::try_from(bytes.len().div_ceil(1024)).unwrap_or(u32::MAX);
        let room = async {
            let permit = Arc::clone(&self.shared.keeping).acquire_many_owned(kib).await.ok()?;
            Some((permit, self.mailbox.reserve().await.ok()?))
        };
        match tokio::time::timeout(within, room).await {
            Ok(Some((permit, room))) => {
                let order = Arc::clone(&self.order);
                room.send(Message::Keep(KeepWrite { order, first_group, bytes, nodes, permit }));
                Ok(())
            }
            Ok(None) => Err(Left::Refused),
            Err(_) => Err(Left::Late(nodes)),
        }
    }

    /// Waits until all that was handed over can be read, but no longer than this.
    pub(crate) async fn settle(&self, within: Duration) {
        let settled = async {
            let (reply, answer) = oneshot::channel();
            self.mailbox.send(Message::Kept { reply }).await.ok()?;
            answer.await.ok()
        };
        // Late is no harm: what is under way is kept all the same. Nor is a failure: it is fetched again.
        tokio::time::timeout(within, settled).await.ok();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.returns.push(Returned::Keeper);
    }
}

/// Bounds what is on its way to the writer, in KiB: it adds to the memory of a transfer.
pub(crate) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(4 << 10))
}
