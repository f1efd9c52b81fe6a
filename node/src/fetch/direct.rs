//! Brings content that no public record names, straight from peers that said they have it, one after the other, for one
//! reader. It shares nothing with other readers and keeps nothing, so that who may not ask for it cannot meet it here.

use std::collections::VecDeque;
use std::time::Duration;

use assetmesh_protocol::blob::BlobWant;
use assetmesh_protocol::ids::{AssetId, NodeKey};
use bytes::Bytes;
use futures_util::{Stream, stream};

use super::ask::{self, Content, Fault};
use super::places::Place;
use super::{Error, Fetch};
use crate::swarm::PeerStream;

/// How often one provider may fail between two groups before it is given up.
const FAILURES_MAX: u32 = 3;
/// The first wait after a failure; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(100);

impl Fetch {
    /// All bytes of a blob, in order, each group proven before it is given. The providers are asked in their order; the
    /// next goes on at the last proven group. Ends after the first error.
    pub(crate) fn read_private(
        &self,
        id: AssetId,
        size: u64,
        providers: Vec<NodeKey>,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + use<> {
        let reading = Direct {
            fetch: self.clone(),
            blob: (id, size),
            providers: providers.into(),
            at: 0,
            content: None,
            failures: 0,
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
    providers: VecDeque<NodeKey>,
    at: u64,
    /// The answer that is being read, and its place on the link.
    content: Option<(Content<PeerStream>, Place)>,
    /// Of the first provider, since the last group that it gave.
    failures: u32,
    trouble: String,
}

impl Direct {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.at < self.blob.1 {
            let Some(provider) = self.providers.front().copied() else {
                return Err(Error::Failed(self.trouble.as_str().into()));
            };
            match self.group(provider).await {
                Ok(bytes) => {
                    self.at += bytes.len() as u64;
                    self.failures = 0;
                    self.fetch.shared.metrics.bytes_in.inc_by(bytes.len() as u64);
                    return Ok(Some(bytes));
                }
                Err(fault) => self.failed(provider, &fault).await,
            }
        }
        Ok(None)
    }

    async fn group(&mut self, provider: NodeKey) -> Result<Bytes, Fault> {
        let (shared, (id, size)) = (&self.fetch.shared, &self.blob);
        let (content, _) = match &mut self.content {
            Some(content) => content,
            None => {
                let place = shared.places.range(provider).await;
                let stream = shared.swarm.open_stream(provider, shared.config.open_within).await?;
                let want = BlobWant::Private { start: self.at, end: *size };
                let asked = ask::content(stream, id, *size, want, shared.config.stall_after);
                self.content.insert((asked.await?, place))
            }
        };
        let group = content.next().await?;
        // They have done their part.
        drop(content.take_nodes());
        match group {
            Some((_, bytes)) if !bytes.is_empty() => Ok(bytes),
            _ => Err(Fault::False(self.at)),
        }
    }

    /// A provider that lies or lacks the content is given up, another one after some failures.
    async fn failed(&mut self, provider: NodeKey, fault: &Fault) {
        let id = &self.blob.0;
        self.content = None;
        self.failures += 1;
        self.trouble = format!("the last provider, {provider}, was given up: {fault}");
        tracing::info!(asset_id = %id, %provider, "a provider of an input asset failed: {fault}");
        if let Fault::False(_) = fault {
            self.fetch.shared.blame(provider, id, &fault.to_string()).await;
        }
        if matches!(fault, Fault::False(_) | Fault::Absent | Fault::Refused) || self.failures >= FAILURES_MAX
        {
            self.providers.pop_front();
            self.failures = 0;
        } else {
            tokio::time::sleep(WAIT_FIRST * 2_u32.pow(self.failures)).await;
        }
    }
}
