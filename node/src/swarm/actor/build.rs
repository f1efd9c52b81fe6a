//! Builds the swarm from its checked settings: the first time, and after a panic with the same key and ports.

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::{self, Executor, SwarmEvent};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connections::Connections;
use crate::swarm::behaviour::{Behaviour, Names};
use crate::swarm::metrics::Metrics;
use crate::swarm::network_key::NetworkKey;
use crate::swarm::streams::{self, Opener};
use crate::swarm::{Attached, StartError, address, limits, transport};

/// All that the swarm is built from.
pub(super) struct Blueprint {
    pub(super) keypair: Keypair,
    pub(super) names: Names,
    pub(super) network_key: Option<NetworkKey>,
    /// Once bound, with the ports that were really taken.
    pub(super) listen: Vec<Multiaddr>,
    pub(super) mdns: bool,
    pub(super) metrics: Metrics,
    /// Where the streams go that peers open.
    pub(super) attached: Arc<watch::Sender<Attached>>,
}

/// One life of the swarm, from its building to a panic.
pub(super) struct Generation {
    pub(super) swarm: libp2p::Swarm<Behaviour>,
    /// Which address of the blueprint each listener is for.
    pub(super) listeners: HashMap<ListenerId, usize>,
    /// A task of a connection has panicked.
    pub(super) broken: CancellationToken,
    /// Opens streams in this life.
    pub(super) opener: Opener,
    /// Ends the tasks of connections when this life ends.
    _guard: DropGuard,
}

impl Generation {
    /// Where it listens, as far as it is known.
    pub(super) fn listen_addrs(&self) -> Vec<String> {
        let mut addresses: Vec<String> = self.swarm.listeners().map(ToString::to_string).collect();
        addresses.sort();
        addresses
    }
}

/// Reads the addresses to listen on.
pub(super) fn to_listen(texts: &[String]) -> Result<Vec<Multiaddr>, StartError> {
    let addresses = texts.iter().map(|text| {
        address::to_listen(text).map_err(|error| StartError::BadAddress {
            address: text.clone(),
            purpose: "listen on",
            reason: error.to_string(),
        })
    });
    addresses.collect()
}

impl Blueprint {
    /// Builds the swarm. Its listeners are bound when this returns.
    pub(super) fn build(&mut self) -> Result<Generation, StartError> {
        let setup = |part, reason| StartError::Setup { part, reason };
        let carrier = transport::build(&self.keypair, self.network_key, &self.metrics)
            .map_err(|error| setup("security", error.to_string()))?;
        let key = self.keypair.public();
        let behaviour = Behaviour::new(&key, &self.names, self.mdns)
            .map_err(|(part, reason)| StartError::Setup { part, reason })?;
        let (opener, incoming) = Opener::new(&behaviour.streams, self.names.streams(), self.metrics.clone())
            .map_err(|error| setup("streams", error.to_string()))?;
        let connections = Connections::default();
        let handing_up = streams::hand_up(incoming, Arc::clone(&self.attached), self.metrics.clone());
        connections.exec(Box::pin(handing_up));
        let (broken, guard) = (connections.broken(), connections.guard());
        let config = swarm::Config::with_executor(connections)
            .with_idle_connection_timeout(limits::IDLE_CONNECTION)
            .with_max_negotiating_inbound_streams(limits::NEGOTIATING_STREAMS_MAX)
            .with_per_connection_event_buffer_size(limits::CONNECTION_EVENTS);
        let swarm = libp2p::Swarm::new(carrier, behaviour, PeerId::from(&key), config);
        let mut generation = Generation { swarm, listeners: HashMap::new(), broken, opener, _guard: guard };
        for (number, address) in self.listen.iter().enumerate() {
            let listener = listen(&mut generation.swarm, address)?;
            generation.listeners.insert(listener, number);
        }
        self.settle(&mut generation);
        Ok(generation)
    }

    /// Takes the ports that were really bound. A wildcard address is resolved to interfaces later.
    fn settle(&mut self, generation: &mut Generation) {
        while let Some(event) = generation.swarm.select_next_some().now_or_never() {
            if let SwarmEvent::NewListenAddr { listener_id, address } = event {
                self.bound(generation.listeners.get(&listener_id), &address);
            }
        }
    }

    /// A listener has told its port: the next life takes the same.
    pub(super) fn bound(&mut self, number: Option<&usize>, address: &Multiaddr) {
        let listen = number.and_then(|number| self.listen.get_mut(*number));
        if let (Some(listen), Some((_, port))) = (listen, address::socket(address)) {
            let host = listen.iter().next();
            *listen = host.into_iter().chain([Protocol::Tcp(port)]).collect();
        }
    }
}

fn listen(swarm: &mut libp2p::Swarm<Behaviour>, address: &Multiaddr) -> Result<ListenerId, StartError> {
    let fault = |reason| StartError::Listen { address: address.to_string(), reason };
    probe(address).map_err(|error| fault(reason(&error)))?;
    swarm.listen_on(address.clone()).map_err(|error| match error {
        TransportError::MultiaddrNotSupported(_) => fault("this kind of address is not supported".to_owned()),
        TransportError::Other(error) => fault(reason(&error)),
    })
}

/// The transport shares ports: two nodes could listen on one, each with half of the connections. So whether the port is
/// free is asked without sharing first.
fn probe(address: &Multiaddr) -> std::io::Result<()> {
    match address::socket(address) {
        Some((ip, port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "the port is in use by another process".to_owned(),
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        std::io::ErrorKind::PermissionDenied => "the port needs more rights than this process has".to_owned(),
        _ => error.to_string(),
    }
}
