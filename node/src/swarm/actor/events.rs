//! Makes inputs for the state out of what the peer network reports. It decides nothing.

use assetmesh_protocol::ids::NodeKey;
use libp2p::kad::{self, GetClosestPeersError, QueryResult};
use libp2p::swarm::{DialError, SwarmEvent};
use libp2p::{Multiaddr, identify, mdns, ping};

use super::running::Running;
use crate::swarm::address::{Address, node_key};
use crate::swarm::behaviour::BehaviourEvent;
use crate::swarm::state::{Input, Missed};
use crate::swarm::{Offence, Service, limits};

impl Running<'_> {
    pub(super) fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let target = self.dials.remove(&connection_id);
                let dialled = endpoint.is_dialer().then_some(target);
                if dialled.is_some() {
                    self.shared.metrics.dialled(true);
                }
                match node_key(&peer_id) {
                    Some(peer) => self.happened(Input::Opened {
                        peer,
                        connection: connection_id,
                        at: plain(endpoint.get_remote_address()),
                        dialled,
                    }),
                    None => {
                        self.generation.swarm.close_connection(connection_id);
                    }
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(%peer_id, ?cause, "connection closed");
                if let Some(peer) = node_key(&peer_id) {
                    self.happened(Input::Closed { peer, connection: connection_id });
                    if !self.shared.state.is_connected(&peer) {
                        self.waiting.lost(&peer);
                    }
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.shared.metrics.dialled(false);
                if let Some(target) = self.dials.remove(&connection_id) {
                    tracing::debug!(?target, %error, "dial failed");
                    self.missed(target, missed(&error));
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "an inbound connection came to nothing");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                tracing::info!(%address, "listening for peers");
                self.blueprint.bound(self.generation.listeners.get(&listener_id), &address);
                self.listens();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.listens(),
            SwarmEvent::ListenerClosed { reason, .. } => {
                // A node that nobody can reach is of no use: build it anew, listeners and all.
                tracing::error!(?reason, "a listener for peers has closed");
                self.generation.broken.cancel();
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener for peers complains")
            }
            SwarmEvent::NewExternalAddrOfPeer { peer_id, address } => {
                if let Some(peer) = node_key(&peer_id) {
                    self.happened(Input::Hint { peer, addresses: dialable([&address]) });
                }
            }
            _ => {}
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::Crowd(never) | BehaviourEvent::Refused(never) => match never {},
            BehaviourEvent::Identify(event) => self.identify_event(event),
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Ok(rtt) }) => {
                if let Some(peer) = node_key(&peer) {
                    self.happened(Input::Heard { peer, connection, rtt });
                }
            }
            // Silence is judged by those who count pings, not here.
            BehaviourEvent::Ping(_) => {}
            BehaviourEvent::Gossip(event) => self.gossip_event(event),
            BehaviourEvent::Registry(event) => self.request_event(Service::Registry, event),
            BehaviourEvent::Liveness(event) => self.request_event(Service::Liveness, event),
            BehaviourEvent::Forward(event) => self.request_event(Service::Forward, event),
            BehaviourEvent::Query(event) => self.request_event(Service::Query, event),
            BehaviourEvent::Write(event) => self.request_event(Service::Write, event),
            BehaviourEvent::Streams(()) => {}
            BehaviourEvent::Dht(event) => self.dht_event(event),
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer_id, address) in found.into_iter().take(limits::BOOK_PEERS_MAX) {
                    if let Some(peer) = node_key(&peer_id) {
                        self.happened(Input::Hint { peer, addresses: dialable([&address]) });
                    }
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(_)) => {}
        }
    }

    fn identify_event(&mut self, event: identify::Event) {
        let (peer_id, info) = match event {
            identify::Event::Received { peer_id, info, .. } => (peer_id, info),
            identify::Event::Error { peer_id, error, .. } => {
                tracing::debug!(%peer_id, %error, "a peer does not say who it is");
                return;
            }
            identify::Event::Sent { .. } | identify::Event::Pushed { .. } => return,
        };
        let Some(peer) = node_key(&peer_id) else { return };
        let now = self.shared.now();
        if !self.shared.state.may_introduce(now, peer) {
            self.offended(peer, Offence::Flooding);
            return;
        }
        let ours = info.protocol_version == self.blueprint.names.federation();
        let addresses = dialable(&info.listen_addrs);
        if ours {
            let dht = &mut self.generation.swarm.behaviour_mut().dht;
            // What it said before is over; else a peer could fill the table with addresses.
            dht.remove_peer(&peer_id);
            for at in &addresses {
                dht.add_address(&peer_id, at.clone());
            }
        } else {
            tracing::info!(%peer, network = %printable(&info.protocol_version), "a node of another network was cut off");
        }
        self.happened(Input::Identified { peer, ours, addresses });
    }

    fn dht_event(&mut self, event: kad::Event) {
        let kad::Event::OutboundQueryProgressed {
            id,
            result: QueryResult::GetClosestPeers(result),
            step,
            ..
        } = event
        else {
            return;
        };
        if step.last {
            self.lookups.remove(&id);
        }
        let found = match result {
            Ok(found) => found.peers,
            Err(GetClosestPeersError::Timeout { peers, .. }) => peers,
        };
        for info in found {
            if let Some(peer) = node_key(&info.peer_id) {
                self.happened(Input::Hint { peer, addresses: dialable(&info.addrs) });
            }
        }
    }

    /// Counts what a peer did wrong.
    pub(super) fn offended(&mut self, peer: NodeKey, offence: Offence) {
        self.shared.metrics.offended(offence);
        self.happened(Input::Offended { peer, offence });
    }
}

/// The addresses that can be dialled, without `/p2p`.
fn dialable<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<Multiaddr> {
    let addresses = addresses.into_iter().filter_map(|address| Address::dialable(address).ok());
    addresses.map(|address| address.at).take(limits::ADDRESSES_PER_PEER_MAX).collect()
}

fn plain(address: &Multiaddr) -> Multiaddr {
    Address::dialable(address).map_or_else(|_| address.clone(), |address| address.at)
}

fn missed(error: &DialError) -> Missed {
    match error {
        DialError::LocalPeerId { .. } => Missed::Own,
        DialError::WrongPeerId { obtained, address } => match node_key(obtained) {
            Some(peer) => Missed::Other { peer, at: plain(address) },
            None => Missed::Nobody,
        },
        _ => Missed::Nobody,
    }
}

/// What a stranger said, fit for a log.
fn printable(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_default).collect()
}
