//! The connections that are open, which of them make a link, and which are one too many.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;

use crate::swarm::Link;
use crate::swarm::limits::{IDENTIFY_WITHIN, PING_EVERY, SECOND_CONNECTION, SILENT_LINK_MAX, SILENT_REDIAL};

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    address: Multiaddr,
    opened: Instant,
    heard: Instant,
}

/// The connections of one peer: at least one, the oldest first.
#[derive(Debug)]
struct Peer {
    connections: Vec<Connection>,
    /// When the peer showed that it is of this federation.
    member_since: Option<Instant>,
    rtt: Option<Duration>,
}

/// All connected peers.
#[derive(Debug, Default)]
pub(super) struct Connected {
    peers: BTreeMap<NodeKey, Peer>,
}

/// What to do about connections.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Close one; it is half open, or another one does.
    Close(ConnectionId),
    /// Close all of a peer that does not say where it belongs.
    Cut(NodeKey),
}

impl Connected {
    pub(super) fn is_connected(&self, peer: &NodeKey) -> bool {
        self.peers.contains_key(peer)
    }

    /// Whether nothing has come back for long on any connection of a connected peer.
    pub(super) fn is_silent(&self, now: Instant, peer: &NodeKey) -> bool {
        let silent = |connection: &Connection| silence(connection, now) >= SILENT_REDIAL;
        self.peers.get(peer).is_some_and(|peer| peer.connections.iter().all(silent))
    }

    /// The peers of this federation that are connected.
    pub(super) fn linked(&self) -> impl Iterator<Item = NodeKey> {
        self.peers.iter().filter(|(_, peer)| peer.member_since.is_some()).map(|(key, _)| *key)
    }

    pub(super) fn opened(&mut self, now: Instant, peer: NodeKey, id: ConnectionId, address: Multiaddr) {
        let peer = self.peers.entry(peer).or_insert_with(|| Peer {
            connections: Vec::new(),
            member_since: None,
            rtt: None,
        });
        peer.connections.push(Connection { id, address, opened: now, heard: now });
    }

    /// Takes a connection away. True if it was the last of a link.
    pub(super) fn closed(&mut self, key: &NodeKey, id: ConnectionId) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        peer.connections.retain(|connection| connection.id != id);
        if !peer.connections.is_empty() {
            return false;
        }
        self.peers.remove(key).is_some_and(|peer| peer.member_since.is_some())
    }

    /// The peer is of this federation. True if that makes a link.
    pub(super) fn belongs(&mut self, now: Instant, key: &NodeKey) -> bool {
        match self.peers.get_mut(key) {
            Some(peer) if peer.member_since.is_none() => {
                peer.member_since = Some(now);
                true
            }
            _ => false,
        }
    }

    /// A ping came back. True if the peer is linked.
    pub(super) fn heard(&mut self, now: Instant, key: &NodeKey, id: ConnectionId, rtt: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(key) else { return false };
        peer.rtt = Some(rtt);
        for connection in peer.connections.iter_mut().filter(|connection| connection.id == id) {
            connection.heard = now;
        }
        peer.member_since.is_some()
    }

    /// All links, for those above.
    pub(super) fn links(&self) -> BTreeMap<NodeKey, Link> {
        let links = self.peers.iter().filter_map(|(key, peer)| {
            let times = |of: fn(&Connection) -> Instant| peer.connections.iter().map(of).max();
            let link = Link {
                address: peer.connections.first()?.address.to_string(),
                rtt: peer.rtt,
                since: peer.member_since?,
                renewed: times(|connection| connection.opened)?,
                heard: times(|connection| connection.heard)?,
            };
            Some((*key, link))
        });
        links.collect()
    }

    /// Forgets all. Returns the links that there were.
    pub(super) fn clear(&mut self) -> Vec<NodeKey> {
        let linked = self.linked().collect();
        self.peers.clear();
        linked
    }

    /// What is to be done now. Of the two ends of a pair only the one with the smaller key closes what is one too
    /// many, so that both keep the same one.
    pub(super) fn remedies(&self, now: Instant, own: NodeKey) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        for (key, peer) in &self.peers {
            let oldest = peer.connections.first().map_or(now, |connection| connection.opened);
            if peer.member_since.is_none() && now.saturating_duration_since(oldest) >= IDENTIFY_WITHIN {
                remedies.push(Remedy::Cut(*key));
                continue;
            }
            let silent = |connection: &&Connection| silence(connection, now) >= SILENT_LINK_MAX;
            remedies.extend(peer.connections.iter().filter(silent).map(|silent| Remedy::Close(silent.id)));
            if own < *key {
                remedies.extend(peer.surplus(now).map(Remedy::Close));
            }
        }
        remedies
    }
}

impl Peer {
    /// All but the one that is kept: the oldest that answers pings, else the newest.
    fn surplus(&self, now: Instant) -> impl Iterator<Item = ConnectionId> {
        let answers = |connection: &&Connection| silence(connection, now) < PING_EVERY * 5;
        let kept = self.connections.iter().find(answers).or(self.connections.last());
        let kept = kept.map(|connection| connection.id);
        let settled = self
            .connections
            .iter()
            .all(|connection| now.saturating_duration_since(connection.opened) >= SECOND_CONNECTION);
        let others = self.connections.iter().map(|connection| connection.id);
        others.filter(move |id| settled && Some(*id) != kept)
    }
}

fn silence(connection: &Connection, now: Instant) -> Duration {
    now.saturating_duration_since(connection.heard)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeKey = NodeKey([5; 32]);
    const GREATER: NodeKey = NodeKey([6; 32]);
    const SMALLER: NodeKey = NodeKey([4; 32]);

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    fn address() -> Multiaddr {
        "/ip4/192.0.2.1/tcp/1".parse().unwrap()
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_becomes_a_link_when_the_peer_shows_that_it_belongs() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        connected.opened(now, GREATER, id(1), address());
        assert!(connected.is_connected(&GREATER) && connected.linked().count() == 0);
        assert!(connected.links().is_empty());
        assert!(connected.belongs(now, &GREATER));
        assert!(!connected.belongs(now, &GREATER));
        assert!(connected.heard(now, &GREATER, id(1), secs(1)));
        let link = connected.links().remove(&GREATER).unwrap();
        assert_eq!((link.address, link.rtt), (address().to_string(), Some(secs(1))));
        let later = now + secs(3);
        connected.opened(later, GREATER, id(2), address());
        connected.heard(later + secs(1), &GREATER, id(2), secs(1));
        let link = connected.links().remove(&GREATER).unwrap();
        assert_eq!((link.since, link.renewed, link.heard), (now, later, later + secs(1)));
    }

    #[test]
    fn a_link_ends_with_its_last_connection() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        connected.opened(now, GREATER, id(1), address());
        connected.belongs(now, &GREATER);
        connected.opened(now, GREATER, id(2), address());
        assert!(!connected.closed(&GREATER, id(1)));
        assert!(connected.closed(&GREATER, id(2)));
        assert!(!connected.closed(&GREATER, id(2)));
        connected.opened(now, GREATER, id(3), address());
        assert!(!connected.closed(&GREATER, id(3)), "what never belonged was no link");
    }

    #[test]
    fn only_the_smaller_key_closes_a_second_connection_and_keeps_the_oldest() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        for (peer, first) in [(GREATER, 1), (SMALLER, 3)] {
            connected.opened(now, peer, id(first), address());
            connected.opened(now, peer, id(first + 1), address());
            connected.belongs(now, &peer);
        }
        assert!(connected.remedies(now + secs(1), OWN).is_empty());
        let later = now + SECOND_CONNECTION;
        for number in 1..=4 {
            let peer = if number < 3 { GREATER } else { SMALLER };
            connected.heard(later, &peer, id(number), secs(0));
        }
        assert_eq!(connected.remedies(later, OWN), [Remedy::Close(id(2))]);
    }

    #[test]
    fn a_dead_connection_is_not_kept_in_place_of_a_live_one() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        connected.opened(now, GREATER, id(1), address());
        connected.belongs(now, &GREATER);
        connected.opened(now + secs(20), GREATER, id(2), address());
        connected.heard(now + secs(29), &GREATER, id(2), secs(0));
        assert_eq!(connected.remedies(now + secs(30), OWN), [Remedy::Close(id(1))]);
    }

    #[test]
    fn a_half_open_connection_is_closed_in_the_end_but_not_while_a_peer_stalls() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        connected.opened(now, SMALLER, id(1), address());
        connected.belongs(now, &SMALLER);
        assert!(connected.remedies(now + secs(60), OWN).is_empty());
        assert_eq!(connected.remedies(now + SILENT_LINK_MAX, OWN), [Remedy::Close(id(1))]);
    }

    #[test]
    fn a_peer_that_does_not_say_where_it_belongs_is_cut() {
        let (mut connected, now) = (Connected::default(), Instant::now());
        connected.opened(now, SMALLER, id(1), address());
        assert!(connected.remedies(now + secs(1), OWN).is_empty());
        assert_eq!(connected.remedies(now + IDENTIFY_WITHIN, OWN), [Remedy::Cut(SMALLER)]);
    }
}
