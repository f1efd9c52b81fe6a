//! How bytes reach a peer: TCP, the network key if there is one, TLS or noise, yamux. Every byte is counted, and each
//! dial takes a port of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::pnet::{PnetConfig, PnetError, PnetOutput};
use libp2p::{Multiaddr, PeerId, dns, tcp, yamux};
use prometheus_client::metrics::counter::Counter;

use super::closing::Closing;
use super::limits;
use super::metrics::Metrics;
use super::network_key::NetworkKey;
use super::security::{Security, SecurityError};

/// What carries all connections.
pub(super) type Carrier = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds the transport.
///
/// # Errors
/// When the key pair cannot be used.
pub(super) fn build(
    keypair: &Keypair,
    network_key: Option<NetworkKey>,
    metrics: &Metrics,
) -> Result<Carrier, SecurityError> {
    let security = Security::new(keypair)?;
    let mut yamux = yamux::Config::default();
    yamux.set_max_num_streams(limits::STREAMS_PER_CONNECTION_MAX);
    let (bytes_in, bytes_out) = metrics.bandwidth();
    let carrier = OwnPort(resolving())
        .map(move |stream, _| Counted { stream, bytes_in: bytes_in.clone(), bytes_out: bytes_out.clone() })
        .and_then(move |stream, _| closed_by(network_key, stream))
        .upgrade(Version::V1)
        .authenticate(security)
        .multiplex(yamux)
        .timeout(limits::HANDSHAKE_WITHIN)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Closing::new(muxer))));
    Ok(carrier.boxed())
}

type Tcp = tcp::tokio::Transport;

/// Encrypts with the network key first, so that nobody without it gets as far as a handshake.
async fn closed_by<S>(
    network_key: Option<NetworkKey>,
    stream: S,
) -> Result<Either<PnetOutput<S>, S>, PnetError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match network_key {
        Some(key) => Ok(Either::Left(PnetConfig::new(key.pre_shared()).handshake(stream).await?)),
        None => Ok(Either::Right(stream)),
    }
}

/// Names in addresses are looked up as the system is set up to. Without such a setup no name is found; addresses
/// with numbers work all the same.
fn resolving() -> dns::tokio::Transport<Tcp> {
    dns::tokio::Transport::system(tcp()).unwrap_or_else(|error| {
        tracing::warn!(%error, "host names in peer addresses will not be found");
        dns::tokio::Transport::custom(tcp(), dns::ResolverConfig::default(), dns::ResolverOpts::default())
    })
}

fn tcp() -> Tcp {
    tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
}

/// Dials from a free port, never from the one that is listened on: two nodes that dial each other at once from
/// their listening ports would meet in one connection that both believe to have begun.
struct OwnPort<T>(T);

impl<T: Transport + Unpin> Transport for OwnPort<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        self.0.dial(address, DialOpts { port_use: PortUse::New, ..options })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// A stream that counts what passes.
struct Counted<S> {
    stream: S,
    bytes_in: Counter,
    bytes_out: Counter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, into))?;
        self.bytes_in.inc_by(read as u64);
        Poll::Ready(Ok(read))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(Pin::new(&mut self.stream).poll_read_vectored(cx, into))?;
        self.bytes_in.inc_by(read as u64);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.bytes_out.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bytes))?;
        self.bytes_out.inc_by(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::io::Cursor;
    use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
    use libp2p::swarm::{Swarm, SwarmEvent, dummy};
    use libp2p::{SwarmBuilder, noise};

    use super::*;

    /// A peer that was built with the library's usual settings.
    fn usual() -> Swarm<dummy::Behaviour> {
        let tcp = tcp::Config::default().nodelay(true);
        let builder = SwarmBuilder::with_new_identity().with_tokio();
        let builder = builder.with_tcp(tcp, noise::Config::new, yamux::Config::default).unwrap();
        builder.with_behaviour(|_| dummy::Behaviour).unwrap().build()
    }

    fn own() -> Swarm<dummy::Behaviour> {
        let keypair = Keypair::generate_ed25519();
        let carrier = build(&keypair, None, &Metrics::default()).unwrap();
        let config = libp2p::swarm::Config::with_tokio_executor();
        Swarm::new(carrier, dummy::Behaviour, keypair.public().to_peer_id(), config)
    }

    /// Whom each of two meets when the second dials the first.
    async fn meet(mut first: Swarm<dummy::Behaviour>, mut second: Swarm<dummy::Behaviour>) -> [PeerId; 2] {
        first.listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut met = [None; 2];
        while met.contains(&None) {
            let (at, event) = tokio::select! {
                event = first.select_next_some() => (0, event),
                event = second.select_next_some() => (1, event),
            };
            match event {
                SwarmEvent::NewListenAddr { address, .. } => second.dial(address).unwrap(),
                SwarmEvent::ConnectionEstablished { peer_id, .. } => met[at] = Some(peer_id),
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                SwarmEvent::IncomingConnectionError { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
        met.map(Option::unwrap)
    }

    #[tokio::test]
    async fn a_peer_that_knows_no_tls_is_met_by_noise() {
        for (first, second) in [(own(), own()), (own(), usual()), (usual(), own())] {
            let peers = [*second.local_peer_id(), *first.local_peer_id()];
            let met = tokio::time::timeout(limits::HANDSHAKE_WITHIN, meet(first, second)).await;
            assert_eq!(met.unwrap(), peers);
        }
    }

    #[tokio::test]
    async fn every_byte_is_counted_in_its_direction() {
        let (bytes_in, bytes_out) = (Counter::default(), Counter::default());
        let stream = Cursor::new(b"hello".to_vec());
        let mut stream = Counted { stream, bytes_in: bytes_in.clone(), bytes_out: bytes_out.clone() };
        let mut read = [0; 3];
        stream.read_exact(&mut read).await.unwrap();
        stream.write_all(b"world!").await.unwrap();
        assert_eq!((bytes_in.get(), bytes_out.get()), (3, 6));
    }
}
