//! Bounds how many connections one IP address may have, in handshake and open. Loopback is not bounded: there, all
//! nodes of a machine have one address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address;

/// How many connections one address may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct CrowdLimits {
    /// Inbound, in handshake.
    pub(super) pending: usize,
    /// Inbound, in handshake or open.
    pub(super) all: usize,
}

/// Refuses inbound connections of a crowded address.
#[derive(Debug)]
pub(super) struct Crowd {
    limits: CrowdLimits,
    /// Inbound connections by their address, and whether each is open. Bounded by the limits on connections in all.
    hosts: HashMap<IpAddr, HashMap<ConnectionId, bool>>,
}

/// Too many connections come from one address.
#[derive(Debug, thiserror::Error)]
#[error("too many connections from {0}")]
pub(super) struct Crowded(IpAddr);

impl Crowd {
    pub(super) fn new(limits: CrowdLimits) -> Self {
        Self { limits, hosts: HashMap::new() }
    }

    fn enter(&mut self, connection: ConnectionId, from: &Multiaddr) -> Result<(), Crowded> {
        let Some(host) = bounded_host(from) else { return Ok(()) };
        let connections = self.hosts.entry(host).or_default();
        let pending = connections.values().filter(|open| !**open).count();
        if connections.len() >= self.limits.all || pending >= self.limits.pending {
            return Err(Crowded(host));
        }
        connections.insert(connection, false);
        Ok(())
    }

    fn opened(&mut self, connection: ConnectionId, from: &Multiaddr) {
        let open = bounded_host(from)
            .and_then(|host| self.hosts.get_mut(&host))
            .and_then(|connections| connections.get_mut(&connection));
        if let Some(open) = open {
            *open = true;
        }
    }

    fn left(&mut self, connection: ConnectionId, from: &Multiaddr) {
        let Some(host) = bounded_host(from) else { return };
        if let Some(connections) = self.hosts.get_mut(&host) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.hosts.remove(&host);
            }
        }
    }
}

/// IPv4 written as IPv6 is the same host.
fn bounded_host(address: &Multiaddr) -> Option<IpAddr> {
    let ip = address::socket(address)?.0.to_canonical();
    (!ip.is_loopback()).then_some(ip)
}

impl NetworkBehaviour for Crowd {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.enter(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) if event.endpoint.is_listener() => {
                self.opened(event.connection_id, event.endpoint.get_remote_address());
            }
            FromSwarm::ConnectionClosed(event) if event.endpoint.is_listener() => {
                self.left(event.connection_id, event.endpoint.get_remote_address());
            }
            FromSwarm::ListenFailure(event) => self.left(event.connection_id, event.send_back_addr),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd() -> Crowd {
        Crowd::new(CrowdLimits { pending: 2, all: 3 })
    }

    fn from(ip: &str, port: u16) -> Multiaddr {
        format!("{ip}/tcp/{port}").parse().unwrap()
    }

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[test]
    fn one_address_has_few_handshakes_and_another_is_not_hurt() {
        let mut crowd = crowd();
        let host = "/ip4/192.0.2.1";
        assert!(crowd.enter(id(1), &from(host, 1)).is_ok());
        assert!(crowd.enter(id(2), &from(host, 2)).is_ok());
        let refused = crowd.enter(id(3), &from(host, 3)).unwrap_err();
        assert_eq!(refused.to_string(), "too many connections from 192.0.2.1");
        assert!(crowd.enter(id(4), &from("/ip6/::ffff:192.0.2.1", 4)).is_err());
        assert!(crowd.enter(id(5), &from("/ip4/192.0.2.2", 5)).is_ok());
    }

    #[test]
    fn open_connections_count_until_they_close() {
        let mut crowd = crowd();
        let host = "/ip4/192.0.2.1";
        for number in 1..=3 {
            crowd.enter(id(number), &from(host, 1)).unwrap();
            crowd.opened(id(number), &from(host, 1));
        }
        assert!(crowd.enter(id(4), &from(host, 4)).is_err());
        crowd.left(id(2), &from(host, 1));
        assert!(crowd.enter(id(5), &from(host, 5)).is_ok());
        for number in [1, 3, 5] {
            crowd.left(id(number), &from(host, 1));
        }
        assert!(crowd.hosts.is_empty());
    }

    #[test]
    fn loopback_is_not_bounded() {
        let mut crowd = crowd();
        for number in 0..100 {
            assert!(crowd.enter(id(number), &from("/ip4/127.0.0.1", 9)).is_ok());
            assert!(crowd.enter(id(number), &from("/ip6/::1", 9)).is_ok());
        }
        assert!(crowd.hosts.is_empty());
    }
}
