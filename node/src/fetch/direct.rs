//! Brings content that no public record names, straight from peers that said they have it, one after the other, for one
//! reader. It shares nothing with other readers and keeps nothing, so that who may not ask for it cannot meet it here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use assetmesh_protocol::blob::BlobWant;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ask::{self, Fault};
use super::turns::Turns;
use super::{Error, Fetch};
use crate::blobs::PART_BYTES;
use crate::blobs::tree::GROUP_BYTES;

/// Bytes of one range: about 1 MiB, one chunk as stores have them. All of it is in memory before any is given, so that
/// no reader, however slow, has a place on a link while it reads.
const RANGE_BYTES: u64 = PART_BYTES as u64;
/// The same where many read at once: 4 096 such readers that take nothing hold 256 MiB.
const SMALL_RANGE_BYTES: u64 = 4 * GROUP_BYTES as u64;

/// Readers of private content that may hold a whole range, within the memory of all transfers.
pub(super) fn readers(buffer_bytes_max: u64) -> Semaphore {
    Semaphore::new((buffer_bytes_max / RANGE_BYTES) as usize)
}

impl Fetch {
    /// All bytes of a blob, in order, each group proven before it is given. The providers are asked in their order, one
    /// that is busy later; another goes on at the last proven group. Ends after the first error.
    pub(crate) fn read_private(
        &self,
        id: AssetId,
        size: u64,
        providers: Vec<NodeKey>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let reading = Direct {
            fetch: self.clone(),
            blob: (id, size),
            turns: Turns::new(providers, Instant::now()),
            at: 0,
            ready: VecDeque::new(),
            room: None,
            trouble: "nobody has it".to_owned(),
        };
        stream::unfold(Some(reading), |reading| async move {
            let mut reading = reading?;
            match reading.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reading))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Direct {
    fetch: Fetch,
    blob: (AssetId, u64),
    turns: Turns,
    /// Everything before this byte has come.
    at: u64,
    /// What has come and was not given yet.
    ready: VecDeque<Bytes>,
    /// For a whole range of that; one without it has small ranges.
    room: Option<OwnedSemaphorePermit>,
    trouble: String,
}

impl Direct {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.ready.is_empty() && self.at < self.blob.1 {
            let Some((provider, from)) = self.turns.next() else {
                return Err(Error::Failed(self.trouble.as_str().into()));
            };
            tokio::time::sleep_until(from.into()).await;
            let brought = self.bring(provider).await;
            if !self.ready.is_empty() {
                self.turns.gave(provider);
            }
            if let Err(fault) = brought {
                self.failed(provider, &fault).await;
            }
        }
        let next = self.ready.pop_front();
        if self.ready.is_empty() {
            self.room = None;
        }
        Ok(next)
    }

    /// Has one range brought, or what comes of it.
    async fn bring(&mut self, provider: NodeKey) -> Result<(), Fault> {
        let (shared, (id, size)) = (&self.fetch.shared, &self.blob);
        self.room = Arc::clone(&shared.direct).try_acquire_owned().ok();
        let most = if self.room.is_some() { RANGE_BYTES } else { SMALL_RANGE_BYTES };
        let end = self.at.saturating_add(most).min(*size);
        let (stream, _place) = shared.open_range(provider).await?;
        let want = BlobWant::Private { start: self.at, end };
        let mut content = ask::content(stream, id, *size, want, shared.config.stall_after).await?;
        while let Some((_, bytes)) = content.next().await? {
            // They have done their part.
            drop(content.take_nodes());
            shared.metrics.bytes_in.inc_by(bytes.len() as u64);
            self.at += bytes.len() as u64;
            self.ready.push_back(bytes);
        }
        Ok(())
    }

    async fn failed(&mut self, provider: NodeKey, fault: &Fault) {
        let (id, shared) = (&self.blob.0, &self.fetch.shared);
        self.trouble = format!("the last provider, {provider}, was given up: {fault}");
        if self.turns.failed(provider, Instant::now(), fault) {
            tracing::info!(asset_id = %id, %provider, "a provider of an input asset is given up: {fault}");
        } else {
            tracing::debug!(asset_id = %id, %provider, "a provider of an input asset rests: {fault}");
        }
        match fault {
            Fault::Stalled(_) => {
                shared.metrics.stalls.inc();
            }
            Fault::False(_) => shared.blame(provider, id, &fault.to_string()).await,
            _ => {}
        }
    }
}
