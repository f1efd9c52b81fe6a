//! Answers peers that ask for content: what a record of this node names, each group checked right before it leaves.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::blob::{BlobAsk, BlobHead, BlobStatus, BlobWant};
use assetmesh_protocol::ids::NodeKey;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::held::Held;
use super::shared::Shared;
use crate::blobs::tree::{GROUP_BYTES, groups};
use crate::swarm::{Incoming, Offence, SERVED_STREAMS_MAX, SERVED_STREAMS_PER_PEER_MAX};

/// How long a question may take to come.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// How long a peer may take nothing of an answer.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// As much as is written at once: whole frames of the multiplexer.
const WRITE_BYTES: usize = 64 << 10;

/// Runs until the node stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut incoming: mpsc::Receiver<Incoming>,
    stop: CancellationToken,
) {
    let mut serving = JoinSet::new();
    let mut of_peer: HashMap<NodeKey, usize> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(Incoming { from, stream }) = incoming.recv() => {
                let count = of_peer.entry(from).or_default();
                // A dropped stream tells the peer that this node is busy.
                if *count < SERVED_STREAMS_PER_PEER_MAX && serving.len() < SERVED_STREAMS_MAX {
                    *count += 1;
                    let shared = Arc::clone(&shared);
                    serving.spawn(async move {
                        // The task ends well even if an answer panics, so that it is counted off.
                        let answer = AssertUnwindSafe(answer(&shared, from, stream));
                        if answer.catch_unwind().await.is_err() {
                            tracing::error!(assets_db_id = %from.assets_db_id(), "an answer to a peer broke off");
                        }
                        from
                    });
                }
            }
            Some(Ok(from)) = serving.join_next() => {
                if let Some(count) = of_peer.get_mut(&from) {
                    *count -= 1;
                }
                of_peer.retain(|_, count| *count > 0);
            }
        }
    }
}

async fn answer<S>(shared: &Shared, from: NodeKey, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // Given up before it was asked: a client went, or another provider was faster.
    let Ok(Ok(ask)) = timeout(ASK_WITHIN, question(&mut stream)).await else { return };
    let status = match BlobAsk::decode(&ask) {
        Ok(ask) => match send(shared, from, ask, &mut stream).await {
            Ok(()) => return,
            Err(status) => status,
        },
        Err(error) => {
            tracing::debug!(assets_db_id = %from.assets_db_id(), %error, "a malformed question for content");
            shared.swarm.penalise(from, Offence::Malformed).await;
            BlobStatus::Refused
        }
    };
    // The peer may have gone.
    write(&mut stream, &[status.byte()]).await.ok();
    close(&mut stream).await;
}

/// A question: its length in one byte, and its frame.
async fn question<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut length = [0];
    stream.read_exact(&mut length).await?;
    let mut ask = vec![0; usize::from(length[0])];
    stream.read_exact(&mut ask).await?;
    Ok(ask)
}

/// Sends what was asked for, or says why not. What goes wrong behind the status cuts the stream.
async fn send<S>(shared: &Shared, from: NodeKey, ask: BlobAsk, stream: &mut S) -> Result<(), BlobStatus>
where
    S: AsyncWrite + Unpin,
{
    let id = ask.id();
    let fail = |error: &dyn std::fmt::Display| {
        tracing::warn!(asset_id = %id, %error, "content cannot be given to a peer");
        BlobStatus::Refused
    };
    let held = match ask.want {
        BlobWant::Private { .. } if shared.private.allows(&from, &id) => Held::private(&shared.blobs, &id),
        BlobWant::Private { .. } => Ok(None),
        BlobWant::Head | BlobWant::Range { .. } => Held::find(&shared.blobs, &shared.catalog, &id),
    };
    let held = held.map_err(|error| fail(&error))?;
    // Parts of other nodes' content are for this node's own clients.
    let held = held.filter(Held::is_whole).ok_or(BlobStatus::Absent)?;
    let size = held.blob().size();
    let mut head = vec![BlobStatus::Here.byte()];
    let range = match ask.want {
        BlobWant::Head => {
            head.extend(BlobHead::new(size, held.facts()).encode().map_err(|error| fail(&error))?);
            groups(size).saturating_sub(1) * GROUP_BYTES as u64..size
        }
        BlobWant::Range { start, end } | BlobWant::Private { start, end } => {
            let is_at_group = |at: u64| at.is_multiple_of(GROUP_BYTES as u64);
            if start >= end || end > size || !is_at_group(start) || !(is_at_group(end) || end == size) {
                return Err(BlobStatus::Refused);
            }
            start..end
        }
    };
    stream_out(shared, &held, head, range, stream).await;
    Ok(())
}

async fn stream_out<S>(
    shared: &Shared,
    held: &Held,
    head: Vec<u8>,
    range: std::ops::Range<u64>,
    stream: &mut S,
) where
    S: AsyncWrite + Unpin,
{
    let mut pieces = Box::pin(held.blob().read_proven(range));
    // The first piece is read before the status goes out: what is damaged is refused and not cut.
    let mut next = pieces.next().await;
    if let Some(Err(error)) = &next {
        tracing::error!(%error, "a peer asked for damaged content");
        shared.met_damage(held).await;
        write(stream, &[BlobStatus::Refused.byte()]).await.ok();
        return close(stream).await;
    }
    let mut out = Out { stream, gathered: head };
    while let Some(piece) = next {
        match piece {
            Ok(bytes) if out.send(&bytes).await.is_ok() => {
                shared.metrics.bytes_out.inc_by(bytes.len() as u64);
            }
            // The peer has gone, or has enough.
            Ok(_) => return,
            Err(error) => {
                tracing::error!(%error, "an answer to a peer was cut");
                // What came before is sound, and the peer goes on behind it.
                out.flush().await.ok();
                return shared.met_damage(held).await;
            }
        }
        next = pieces.next().await;
    }
    if out.flush().await.is_ok() {
        close(out.stream).await;
    }
}

/// Gathers the nodes and groups of an answer: each write becomes frames of their own, whatever its size.
struct Out<'s, S> {
    stream: &'s mut S,
    gathered: Vec<u8>,
}

impl<S: AsyncWrite + Unpin> Out<'_, S> {
    async fn send(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(WRITE_BYTES - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            bytes = rest;
            if self.gathered.len() == WRITE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        write(self.stream, &self.gathered).await?;
        self.gathered.clear();
        Ok(())
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> std::io::Result<()> {
    timeout(TAKEN_WITHIN, stream.write_all(bytes)).await?
}

async fn close<S: AsyncWrite + Unpin>(stream: &mut S) {
    // The peer may have gone.
    timeout(TAKEN_WITHIN, stream.close()).await.ok();
}
