//! A peer that lies: a whole node, honest in all but one thing, which is how it answers questions for content.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use assetmesh_node::blobs::Blobs;
use assetmesh_node::swarm::{Incoming, PeerStream};
use assetmesh_node::{Config, Node};
use assetmesh_protocol::asset::{Draft, FileFacts};
use assetmesh_protocol::blob::{BlobAsk, BlobHead, BlobStatus, BlobWant};
use assetmesh_protocol::document::Document;
use assetmesh_protocol::ids::AssetId;
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::description_of;
use crate::content::Content;

const GROUP_BYTES: u64 = 16 << 10;
/// Questions that wait until the liar has time.
const STREAMS: usize = 64;

/// In what a peer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// One bit of the content is wrong, deep in a range.
    FlipsBit,
    /// One bit of the tree is wrong.
    FlipsTree,
    /// It says that the content is a byte longer.
    ClaimsMore,
    /// It says that the content has 2^63 bytes.
    ClaimsHuge,
    /// It says that it holds whatever it is asked for.
    ClaimsAll,
    /// It sends anything, without end.
    Endless,
    /// It sends what it should, and then goes on without end.
    EndlessTail,
    /// One byte, and the next a minute later.
    Drips,
    /// Nearly all of a range, and then nothing.
    StopsNearTheEnd,
    /// Half of a range, and a clean end.
    EndsEarly,
}

impl Manner {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::FlipsBit,
        Self::FlipsTree,
        Self::ClaimsMore,
        Self::ClaimsHuge,
        Self::ClaimsAll,
        Self::Endless,
        Self::EndlessTail,
        Self::Drips,
        Self::StopsNearTheEnd,
        Self::EndsEarly,
    ];

    /// Whether it sends something false, for which it must be reported.
    pub(super) const fn is_lie(self) -> bool {
        !matches!(self, Self::EndlessTail | Self::Drips | Self::StopsNearTheEnd | Self::EndsEarly)
    }

    /// Whether it sends nothing for as long as one may wait.
    #[must_use]
    pub const fn stalls(self) -> bool {
        matches!(self, Self::Drips | Self::StopsNearTheEnd)
    }

    /// Whether the true content can be had of it, though not as it should be.
    pub(super) const fn gives_all(self) -> bool {
        matches!(self, Self::EndlessTail)
    }

    /// Whether it is found out before it is asked for a range.
    pub(super) const fn lies_at_once(self) -> bool {
        matches!(self, Self::ClaimsMore | Self::ClaimsHuge | Self::ClaimsAll)
    }
}

/// What was asked of it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) heads: AtomicU64,
    pub(super) ranges: AtomicU64,
}

/// The lying peer. It leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Rogue {
    runtime: Runtime,
    node: Node,
    _answering: JoinSet<()>,
    pub(super) asked: Arc<Asked>,
}

impl Rogue {
    /// Joins the federation of a node.
    pub(super) fn join(data_dir: &Path, bootstrap: String, manner: Manner) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut config = Config {
            data_dir: data_dir.to_owned(),
            name: "rogue".to_owned(),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 9)),
            ..Config::default()
        };
        config.swarm.data_dir = data_dir.to_owned();
        config.swarm.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        config.swarm.bootstrap = vec![bootstrap];
        let entered = runtime.enter();
        let node = Node::start(config)?;
        let (to, incoming) = mpsc::channel(STREAMS);
        // In place of what answers honestly.
        node.swarm().attach_streams(to);
        let asked = Arc::new(Asked::default());
        let mut answering = JoinSet::new();
        answering.spawn(answer_all(incoming, node.blobs().clone(), manner, Arc::clone(&asked)));
        drop(entered);
        Ok(Self { runtime, node, _answering: answering, asked })
    }

    /// The `assets_db_id` of the peer.
    pub(super) fn id(&self) -> String {
        self.node.assets_db_id()
    }

    /// Stores content as an honest node would.
    pub(super) fn hold(&self, name: &str, content: Content) -> Result<()> {
        self.runtime.block_on(async {
            let mut upload = self.node.blobs().begin();
            for piece in content.pieces() {
                upload.write(piece.into()).await?;
            }
            let description = description_of(name, &json!({})).to_string();
            let draft = Draft::upload(&Document::from_json(description.as_bytes())?)?;
            let facts = FileFacts { file_name: name.to_owned(), file_type: String::new() };
            let stored = upload.finish().await?;
            self.node.catalog().create_uploaded(draft, facts, stored).await?;
            Ok(())
        })
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.runtime.block_on(self.node.stop());
    }
}

async fn answer_all(mut incoming: mpsc::Receiver<Incoming>, blobs: Blobs, manner: Manner, asked: Arc<Asked>) {
    let mut streams = JoinSet::new();
    while let Some(Incoming { stream, .. }) = incoming.recv().await {
        let (blobs, asked) = (blobs.clone(), Arc::clone(&asked));
        streams.spawn(async move {
            // Whatever breaks, breaks for the one who asks.
            answer(stream, &blobs, manner, &asked).await.ok();
        });
    }
}

async fn answer(mut stream: PeerStream, blobs: &Blobs, manner: Manner, asked: &Asked) -> Result<()> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let mut question = vec![0; usize::from(length[0])];
    stream.read_exact(&mut question).await?;
    let ask = BlobAsk::decode(&question)?;
    match ask.want {
        BlobWant::Head => {
            asked.heads.fetch_add(1, Ordering::Relaxed);
            let answer = head(blobs, &ask.id(), manner).await?;
            stream.write_all(&answer).await?;
            stream.close().await.context("close")
        }
        BlobWant::Range { start, end } | BlobWant::Private { start, end } => {
            asked.ranges.fetch_add(1, Ordering::Relaxed);
            let honest = proven(blobs, &ask.id(), start..end).await?;
            send_range(stream, manner, honest).await
        }
    }
}

async fn head(blobs: &Blobs, id: &AssetId, manner: Manner) -> Result<Vec<u8>> {
    let mut answer = vec![BlobStatus::Here.byte()];
    let Some(blob) = blobs.open(id)? else {
        if manner != Manner::ClaimsAll {
            return Ok(vec![BlobStatus::Absent.byte()]);
        }
        answer.extend(BlobHead::new(3 * GROUP_BYTES, &FileFacts::default()).encode()?);
        answer.extend([7; 20_000]);
        return Ok(answer);
    };
    let size = blob.size();
    let claimed = match manner {
        Manner::ClaimsMore => size + 1,
        Manner::ClaimsHuge => 1 << 63,
        _ => size,
    };
    answer.extend(BlobHead::new(claimed, &FileFacts::default()).encode()?);
    let last = (size.div_ceil(GROUP_BYTES) - 1) * GROUP_BYTES;
    answer.extend(proven(blobs, id, last..size).await?);
    Ok(answer)
}

/// What an honest provider sends behind the status.
async fn proven(blobs: &Blobs, id: &AssetId, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
    let blob = blobs.open(id)?.context("it is here")?;
    let mut pieces = Box::pin(blob.read_proven(range));
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

async fn send_range(mut stream: PeerStream, manner: Manner, mut bytes: Vec<u8>) -> Result<()> {
    bytes.insert(0, BlobStatus::Here.byte());
    let sent = match manner {
        Manner::FlipsBit => {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            bytes.len()
        }
        Manner::FlipsTree => {
            bytes[5] ^= 1;
            bytes.len()
        }
        Manner::Endless => {
            bytes.truncate(1);
            1
        }
        Manner::Drips => 2,
        Manner::StopsNearTheEnd => bytes.len() * 99 / 100,
        Manner::EndsEarly => bytes.len() / 2,
        _ => bytes.len(),
    };
    stream.write_all(&bytes[..sent]).await?;
    stream.flush().await?;
    match manner {
        Manner::Endless | Manner::EndlessTail => loop {
            stream.write_all(&[7; 8192]).await?;
        },
        Manner::Drips => loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            stream.write_all(&[7]).await?;
            stream.flush().await?;
        },
        Manner::StopsNearTheEnd => std::future::pending().await,
        _ => stream.close().await.context("close"),
    }
}
