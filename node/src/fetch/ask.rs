//! The asking side of one stream: a question, then an answer of which nothing is used before it is proven. A group and
//! the nodes before it are all that is ever read ahead of the check.

use std::io;
use std::ops::Range;
use std::time::Duration;

use assetmesh_protocol::blob::{BLOB_HEAD_BYTES_MAX, BlobAsk, BlobHead, BlobStatus, BlobWant};
use assetmesh_protocol::ids::AssetId;
use bytes::{Bytes, BytesMut};
use futures_util::io::BufReader;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::blobs::tree::{FalseNode, GROUP_BYTES, NODE_BYTES, Node, Step, Walk, groups, hash_group};
use crate::swarm;

/// Bytes read ahead of the check: a path of nodes. What is larger than this is read to where it stays.
const AHEAD_BYTES: usize = 1 << 10;

/// Why a provider gave no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// It has too much to do.
    #[error("it is busy")]
    Busy,
    /// It does not hold the content.
    #[error("it does not hold the content")]
    Absent,
    /// It does not answer such questions.
    #[error("it refused")]
    Refused,
    /// Nothing, or too little, came for this long.
    #[error("it stalled: no whole group came within {0:?}")]
    Stalled(Duration),
    /// The link or the stream broke.
    #[error("it was lost: {0}")]
    Lost(String),
    /// What it sent is not the content.
    #[error("it sent false content at byte {0}")]
    False(u64),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<swarm::Error> for Fault {
    fn from(error: swarm::Error) -> Self {
        match error {
            swarm::Error::Busy | swarm::Error::NotSent => Self::Busy,
            swarm::Error::Refused => Self::Refused,
            swarm::Error::Timeout(within) => Self::Stalled(within),
            other => Self::Lost(other.to_string()),
        }
    }
}

/// Asks whether a provider holds the blob. What comes back is proven to have this size.
pub(super) async fn head<S>(stream: S, id: &AssetId, stall: Duration) -> Result<BlobHead, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut answer = Answer::begin(stream, BlobAsk::new(id, BlobWant::Head), stall).await?;
    let mut length = [0; 2];
    answer.fill(&mut length).await?;
    let length = usize::from(u16::from_le_bytes(length));
    if length > BLOB_HEAD_BYTES_MAX {
        return Err(Fault::False(0));
    }
    let mut frame = vec![0; length];
    answer.fill(&mut frame).await?;
    let head = BlobHead::decode(&frame).map_err(|_| Fault::False(0))?;
    let last = groups(head.size).saturating_sub(1) * GROUP_BYTES as u64;
    let mut proof = Content::new(answer, id, head.size, last..head.size);
    if head.size == 0 && *id != AssetId::of(b"") {
        return Err(Fault::False(0));
    }
    while proof.next().await?.is_some() {}
    Ok(head)
}

/// Asks for whole groups of a blob. The size of one that a public record names is proven by then; that of another may be a
/// claim, and a false one fails as false content.
pub(super) async fn content<S>(
    stream: S,
    id: &AssetId,
    size: u64,
    want: BlobWant,
    stall: Duration,
) -> Result<Content<S>, Fault>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let range = match want {
        BlobWant::Head => 0..0,
        BlobWant::Range { start, end } | BlobWant::Private { start, end } => start..end,
    };
    let answer = Answer::begin(stream, BlobAsk::new(id, want), stall).await?;
    Ok(Content::new(answer, id, size, range))
}

/// The answer to a question, from behind its status.
#[derive(Debug)]
struct Answer<S> {
    stream: BufReader<S>,
    stall: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Answer<S> {
    async fn begin(mut stream: S, ask: BlobAsk, stall: Duration) -> Result<Self, Fault> {
        let ask = ask.encode().map_err(|error| Fault::Lost(error.to_string()))?;
        let length = u8::try_from(ask.len()).map_err(|error| Fault::Lost(error.to_string()))?;
        // This side stays open: only then does a stream that is dropped midway tell the provider to stop.
        let asked = async {
            stream.write_all(&[&[length][..], &ask].concat()).await?;
            stream.flush().await
        };
        let asked = timeout(stall, asked).await.map_err(|_| Fault::Stalled(stall))?;
        // The peer dropped the stream before it had read anything, as one does that has no room.
        asked.map_err(|_| Fault::Busy)?;
        let mut answer = Self { stream: BufReader::with_capacity(AHEAD_BYTES, stream), stall };
        let mut status = [0];
        let read = timeout(stall, answer.stream.read(&mut status)).await;
        let read = read.map_err(|_| Fault::Stalled(stall))??;
        match BlobStatus::of(status[0]).filter(|_| read == 1) {
            Some(BlobStatus::Here) => Ok(answer),
            Some(BlobStatus::Absent) => Err(Fault::Absent),
            Some(BlobStatus::Refused) => Err(Fault::Refused),
            Some(BlobStatus::Busy) => Err(Fault::Busy),
            None if read == 0 => Err(Fault::Busy),
            None => Err(Fault::False(0)),
        }
    }

    async fn fill(&mut self, into: &mut [u8]) -> Result<(), Fault> {
        let filled = timeout(self.stall, self.stream.read_exact(into)).await;
        Ok(filled.map_err(|_| Fault::Stalled(self.stall))??)
    }
}

/// Groups of a blob as they arrive, each proven.
#[derive(Debug)]
pub(super) struct Content<S> {
    answer: Answer<S>,
    id: AssetId,
    size: u64,
    /// `None` for content of one group, which is proven by the id itself.
    walk: Option<Walk>,
    /// Proven nodes that nobody has taken.
    nodes: Vec<Node>,
    at: u64,
    end: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Content<S> {
    fn new(answer: Answer<S>, id: &AssetId, size: u64, range: Range<u64>) -> Self {
        let wanted = range.start / GROUP_BYTES as u64..groups(range.end);
        let walk = (size > GROUP_BYTES as u64).then(|| Walk::new(*id.as_bytes(), size, wanted));
        Self { answer, id: *id, size, walk, nodes: Vec::new(), at: range.start, end: range.end }
    }

    /// The next group with its offset, `None` after the last. A group and its nodes must come within the stall time.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Bytes)>, Fault> {
        let stall = self.answer.stall;
        timeout(stall, self.proven()).await.map_err(|_| Fault::Stalled(stall))?
    }

    /// Takes the nodes of the tree that came with the groups so far.
    pub(super) fn take_nodes(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.nodes)
    }

    async fn proven(&mut self) -> Result<Option<(u64, Bytes)>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        let wanted = self.walk_to_group().await?;
        let mut bytes = BytesMut::zeroed((self.size - offset).min(GROUP_BYTES as u64) as usize);
        self.answer.fill(&mut bytes).await?;
        let is_true = match wanted {
            Some(hash) => hash_group(offset / GROUP_BYTES as u64, &bytes) == hash,
            None => AssetId::of(&bytes) == self.id,
        };
        if !is_true {
            return Err(Fault::False(offset));
        }
        self.at += bytes.len() as u64;
        Ok(Some((offset, bytes.freeze())))
    }

    /// The hash that the next group must have.
    async fn walk_to_group(&mut self) -> Result<Option<[u8; 32]>, Fault> {
        let Some(walk) = &mut self.walk else { return Ok(None) };
        loop {
            match walk.step() {
                Step::Group(_, hash) => return Ok(Some(hash)),
                Step::End => return Err(Fault::False(self.at)),
                Step::Node(number) => {
                    let mut node = [0; NODE_BYTES];
                    self.answer.fill(&mut node).await?;
                    walk.open(&node).map_err(|FalseNode(_)| Fault::False(self.at))?;
                    self.nodes.push((number, node));
                }
            }
        }
    }
}
