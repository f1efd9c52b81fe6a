//! Brings content that other nodes hold, proven group by group, and gives peers what this node holds. It stores
//! nothing: what it brings goes straight to those who asked, in order and in bounded memory.

mod actor;
mod ask;
mod metrics;
mod places;
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

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::actor::{Mailbox, Tasks};
use crate::blobs::Blobs;
use crate::catalog::Catalog;
use crate::liveness::Peers;
use crate::swarm::{STREAMS_WAITING_MAX, Swarm};
use actor::Question;
use places::Places;
use search::Search;
use shared::Shared;
use shelf::Consumer;

pub use metrics::Metrics;
pub use search::{Coverage, Missing};

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
    /// Transfers at once. 256: with 2 MiB each they stay below a GiB.
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
    metrics: Metrics,
}

impl Fetch {
    /// Starts to fetch, and to give peers what `catalog` names.
    pub fn start(
        tasks: &mut Tasks,
        swarm: &Swarm,
        stores: (&Blobs, &Catalog),
        peers: watch::Receiver<Peers>,
        config: Config,
    ) -> Self {
        let metrics = Metrics::default();
        let shared = Arc::new(Shared {
            lingering: Semaphore::new((config.buffer_bytes_each / 1024) as usize),
            config,
            swarm: swarm.clone(),
            blobs: stores.0.clone(),
            catalog: stores.1.clone(),
            peers,
            places: Places::default(),
            metrics: metrics.clone(),
        });
        let (to, incoming) = mpsc::channel(STREAMS_WAITING_MAX);
        swarm.attach_streams(to);
        let serving = Arc::clone(&shared);
        tasks.run("content for peers", |stop| serve::run(serving, incoming, stop));
        let mailbox = tasks.start("fetch", MAILBOX, |inbox, stop| actor::run(shared, inbox, stop));
        Self { mailbox, metrics }
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

    /// The bytes of a range of what was found, in order, as they come and are proven. Ends after the first error.
    pub fn read(
        &self,
        found: Found,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let range = range.start..range.end.min(found.size);
        let reading = Reading { fetch: self.clone(), found, rest: range, consumer: None };
        stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

/// One client's way through a range.
struct Reading {
    fetch: Fetch,
    found: Found,
    rest: Range<u64>,
    consumer: Option<Consumer>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while !self.rest.is_empty() {
            if self.consumer.is_none() {
                self.consumer = Some(self.enter().await?);
            }
            let Some(consumer) = &mut self.consumer else { continue };
            match consumer.next().await.map_err(Error::Failed)? {
                Some(bytes) => {
                    self.rest = consumer.wants();
                    return Ok(Some(bytes));
                }
                // It was too slow for the others: from here on it has a transfer of its own.
                None => self.consumer = None,
            }
        }
        Ok(None)
    }

    async fn enter(&self) -> Result<Consumer, Error> {
        let (found, range) = (self.found.clone(), self.rest.clone());
        let entered = self.fetch.mailbox.ask(|reply| Question::Enter { found, range, reply }).await;
        entered.map_err(|_| Error::Stopped)?
    }
}
