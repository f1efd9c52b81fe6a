//! Brings content that other nodes hold, proven group by group, and gives peers what this node holds. What it brings goes
//! straight to those who asked, in order and in bounded memory, and beside that to the blob store, which keeps what it
//! has room for.

mod actor;
mod allowance;
mod ask;
mod direct;
mod held;
mod keeping;
mod metrics;
mod places;
mod reading;
mod search;
mod serve;
mod shared;
mod shelf;
mod state;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
mod transfer;
mod turns;
mod views;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::actor::{Mailbox, Tasks};
use crate::blobs::{self, Blob, Blobs, Cached};
use crate::catalog::{self, Catalog};
use crate::liveness::Peers;
use crate::summaries::Summaries;
use crate::swarm::{STREAMS_WAITING_MAX, Swarm};
use actor::Question;
use places::Places;
use reading::Reading;
use search::Search;
use shared::{Allowed, Private, Shared};
use views::Views;

pub use held::Held;
pub use metrics::Metrics;
pub use search::{Coverage, Missing};
pub use views::{ProviderState, ProviderView, TransferView};

/// Questions that wait for the loop: it only looks things up.
const MAILBOX: usize = 256;

/// How content is fetched.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a member may take to say whether it holds a blob. 2 s: a link that carries dozens of transfers on a busy
    /// machine may need one, and the first who proves that it has the blob is used at once.
    pub head_within: Duration,
    /// How long a peer may take to accept a stream. 3 s: longer than a packet that is lost twice.
    pub open_within: Duration,
    /// How long a provider may take for one group. 10 s: 1.6 kB/s is less than any link that is of use.
    pub stall_after: Duration,
    /// Bytes that one transfer may hold in memory. 32 MiB: four ranges of 6 MiB under way and some of what was taken.
    pub buffer_bytes_each: u64,
    /// Bytes that transfers may hold together before new ones are given less. 128 MiB.
    pub buffer_bytes_max: u64,
    /// Bytes that one transfer may hold however many there are. 768 KiB: what 200 have had stays with the allocator, and
    /// more did not make them faster.
    pub buffer_bytes_min: u64,
    /// Transfers at once. 256: begun one after the other they may hold 660 MiB, as each keeps the share that it began with.
    pub transfers_max: usize,
    /// Searches at once. 1024: each is a question to every member.
    pub searches_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            head_within: Duration::from_secs(2),
            open_within: Duration::from_secs(3),
            stall_after: Duration::from_secs(10),
            buffer_bytes_each: 32 << 20,
            buffer_bytes_max: 128 << 20,
            buffer_bytes_min: 768 << 10,
            transfers_max: 256,
            searches_max: 1024,
        }
    }
}

/// Why content could not be fetched.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Nobody who answered holds it.
    #[error("no member that answered holds the content")]
    NotFound(Coverage),
    /// Somebody claims to hold it, and nobody gives it.
    #[error("no provider gives the content: {0}")]
    Failed(Arc<str>),
    /// Too much is under way.
    #[error("too many transfers are under way")]
    Busy,
    /// What this node holds cannot be read, and no other helps.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
    /// Nobody can say what this node holds.
    #[error(transparent)]
    Catalog(#[from] catalog::Error),
    /// The node stops.
    #[error("fetch has stopped")]
    Stopped,
}

/// Content that others hold. Its size is proven; the file facts are what the provider says.
#[derive(Debug, Clone)]
pub struct Found {
    id: AssetId,
    size: u64,
    facts: FileFacts,
    from: NodeKey,
    search: watch::Receiver<Search>,
}

impl Found {
    /// The size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Name and type of the file.
    #[must_use]
    pub const fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// The first who proved that it holds the content.
    #[must_use]
    pub const fn from(&self) -> NodeKey {
        self.from
    }
}

/// Fetches content. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Fetch {
    mailbox: Mailbox<Question>,
    blobs: Blobs,
    catalog: Catalog,
    metrics: Metrics,
    shared: Arc<Shared>,
}

impl Fetch {
    /// Starts to fetch, and to give peers what `catalog` names.
    pub fn start(
        tasks: &mut Tasks,
        swarm: &Swarm,
        stores: (&Blobs, &Catalog),
        (peers, summaries): (watch::Receiver<Peers>, Summaries),
        config: Config,
    ) -> Self {
        let metrics = Metrics::default();
        let shared = Arc::new(Shared {
            lingering: Semaphore::new((config.buffer_bytes_each / 1024) as usize),
            direct: Arc::new(direct::readers(config.buffer_bytes_max)),
            config,
            swarm: swarm.clone(),
            blobs: stores.0.clone(),
            catalog: stores.1.clone(),
            peers,
            summaries,
            places: Places::default(),
            metrics: metrics.clone(),
            private: Private::default(),
            views: Views::default(),
        });
        let (to, incoming) = mpsc::channel(STREAMS_WAITING_MAX);
        swarm.attach_streams(to);
        let serving = Arc::clone(&shared);
        tasks.run("content for peers", |stop| serve::run(serving, incoming, stop));
        let working = Arc::clone(&shared);
        let mailbox = tasks.start("fetch", MAILBOX, |inbox, stop| actor::run(working, inbox, stop));
        Self { mailbox, blobs: stores.0.clone(), catalog: stores.1.clone(), metrics, shared }
    }

    /// What this node itself can give of some content, in whole or in part.
    ///
    /// # Errors
    /// A store cannot be read.
    pub fn held(&self, id: &AssetId) -> Result<Option<Held>, Error> {
        Held::find(&self.blobs, &self.catalog, id)
    }

    /// Registers who knows content that no public record names, and which peers may have it. Without one, none may.
    pub(crate) fn allow_private(&self, allowed: Allowed) {
        self.shared.private.set(allowed);
    }

    /// Finds out who holds a blob. Answers as soon as one member has proven that it does.
    ///
    /// # Errors
    /// Nobody holds it, or all who say so lie; too much is under way; the node stops.
    pub async fn find(&self, id: AssetId) -> Result<Found, Error> {
        let search = self.mailbox.ask(|reply| Question::Search { id, reply }).await;
        let mut search = search.map_err(|_| Error::Stopped)??;
        let known = search.wait_for(|search| search.found.is_some() || search.is_over).await;
        let known = known.map_err(|_| Error::Stopped)?.clone();
        match known.found {
            Some(head) => {
                let head = (*head).clone();
                Ok(Found { id, size: head.size, facts: head.facts, from: head.from, search })
            }
            None if known.coverage.has_liar() => Err(Error::Failed("it sent false content".into())),
            None => Err(Error::NotFound(known.coverage)),
        }
    }

    /// The bytes of a range of what was found, in order, as they come and are proven; what is here already is not
    /// fetched. Ends after the first error.
    pub fn read(
        &self,
        found: Found,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        stream_of(Reading::of_found(self, found, range))
    }

    /// The bytes of a range of what is kept of another node. What is missing or damaged is fetched.
    pub fn read_cached(
        &self,
        cached: &Cached,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let blob = cached.blob();
        stream_of(Reading::new(self, blob.id(), range.start..range.end.min(blob.size())))
    }

    /// The bytes of a range of what this node holds itself. What is damaged is fetched from others and written
    /// over; if nobody helps, that is the error.
    pub fn read_own(
        &self,
        blob: &Blob,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        stream_of(Reading::of_own(self, blob.clone(), range))
    }

    /// Reads a blob of this node from its begin to its end, as [`Fetch::read_own`], and tells what was mended.
    #[must_use]
    pub fn through(&self, blob: &Blob) -> Through {
        Through(Reading::of_own(self, blob.clone(), 0..u64::MAX))
    }

    /// The transfers under way, at most a tenth of a second old, and those that ended a moment ago.
    #[must_use]
    pub fn transfers(&self) -> Vec<TransferView> {
        self.shared.views.at(Instant::now())
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// A blob of this node that is read through.
#[derive(Debug)]
pub struct Through(Reading);

impl Through {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// They are damaged, and nobody has them.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.0.next().await
    }

    /// What came from others so far.
    #[must_use]
    pub fn into_mended(self) -> Mended {
        self.0.into_mended()
    }
}

/// What came from others in place of damage.
#[derive(Debug, Clone, Default)]
pub struct Mended {
    /// How many bytes.
    pub bytes: u64,
    /// Who brought them.
    pub from: BTreeSet<NodeKey>,
}

fn stream_of(reading: Reading) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
    stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        match reading.next().await {
            Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}
