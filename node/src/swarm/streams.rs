//! Streams for those above: opened to a peer, or taken from one and handed to the mailbox that is attached.
//! What they carry is not its business.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use assetmesh_protocol::ids::NodeKey;
use futures_util::{AsyncRead, AsyncWrite, StreamExt};
use libp2p::StreamProtocol;
use libp2p_stream::{AlreadyRegistered, Behaviour, Control, IncomingStreams, OpenStreamError};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::watch;

use super::address::{node_key, peer_id};
use super::metrics::{Metrics, OpenStream};
use super::{Attached, Error};

/// A stream to a peer, half-duplex by agreement: the opener writes its question, then reads the answer. It closes its side
/// last: yamux resets a stream that is dropped only while that side is open, and else the peer would write on and wait. An answer always begins with a status byte; an end before it means that the peer is busy.
pub struct PeerStream(
    libp2p::Stream,
    #[expect(dead_code, reason = "it counts as long as it is held")] OpenStream,
);

impl std::fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerStream")
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// A stream that a peer has opened.
#[derive(Debug)]
pub struct Incoming {
    /// Who opened it.
    pub from: NodeKey,
    /// The stream.
    pub stream: PeerStream,
}

/// Opens streams in one life of the swarm.
#[derive(Clone)]
pub(super) struct Opener {
    control: Control,
    protocol: StreamProtocol,
    metrics: Metrics,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Opener {
    /// The opener of a behaviour, and the streams that peers open to it.
    pub(super) fn new(
        behaviour: &Behaviour,
        protocol: StreamProtocol,
        metrics: Metrics,
    ) -> Result<(Self, IncomingStreams), AlreadyRegistered> {
        let mut control = behaviour.new_control();
        let incoming = control.accept(protocol.clone())?;
        Ok((Self { control, protocol, metrics }, incoming))
    }

    /// Opens a stream to a peer that is linked: to another one the library would dial without end and say nothing.
    pub(super) async fn open(mut self, peer: NodeKey) -> Result<PeerStream, Error> {
        match self.control.open_stream(peer_id(peer), self.protocol).await {
            Ok(stream) => Ok(PeerStream(stream, self.metrics.stream_open())),
            Err(OpenStreamError::UnsupportedProtocol(_)) => Err(Error::Refused),
            Err(error) => Err(Error::Unreachable(error.to_string())),
        }
    }
}

/// Hands incoming streams up until the swarm's life ends. A stream that finds the mailbox full is dropped, which the
/// peer reads as busy.
pub(super) async fn hand_up(
    mut incoming: IncomingStreams,
    attached: Arc<watch::Sender<Attached>>,
    metrics: Metrics,
) {
    while let Some((peer, stream)) = incoming.next().await {
        let Some(from) = node_key(&peer) else { continue };
        let to = attached.borrow().streams.clone();
        let outcome = match to.as_ref().map(Sender::try_reserve) {
            Some(Ok(room)) => {
                room.send(Incoming { from, stream: PeerStream(stream, metrics.stream_open()) });
                "taken"
            }
            Some(Err(TrySendError::Full(()))) => "busy",
            Some(Err(TrySendError::Closed(()))) | None => "refused",
        };
        metrics.stream_taken(outcome);
    }
}
