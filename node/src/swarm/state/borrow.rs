//! Links that those above need for a while, to peers that the node keeps no link to. Part of the state: as pure as the
//! rest.

use std::collections::BTreeMap;
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;

use super::{Output, State, Target};
use crate::swarm::limits;

/// Who is used beside those that are wanted, and when last.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    used: BTreeMap<NodeKey, Instant>,
}

/// What comes of the wish for a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swarm) enum Borrow {
    /// There is one.
    Linked,
    /// It is being made; this is to be done for it.
    Coming(Vec<Output>),
    /// Too many are being made.
    Busy,
    /// There will be none.
    Unreachable(&'static str),
}

impl State {
    /// Begins to make a link to a peer, if there is none.
    pub(in crate::swarm) fn borrow(&mut self, now: Instant, peer: NodeKey) -> Borrow {
        if self.is_refused(&peer) {
            return Borrow::Unreachable("it is refused");
        }
        self.used(now, peer);
        if self.connected.linked().any(|linked| linked == peer) {
            return Borrow::Linked;
        }
        if self.is_connected(&peer) {
            // It has not said yet where it belongs.
            return Borrow::Coming(Vec::new());
        }
        let dialling = self.book.iter().filter(|(_, entry)| entry.retry.is_dialling()).count();
        match self.book.get_mut(&peer) {
            Some(entry) if entry.retry.is_dialling() => Borrow::Coming(Vec::new()),
            Some(entry) if entry.is_empty() => Borrow::Unreachable("no address of it may be dialled"),
            None => Borrow::Unreachable("no address of it is known"),
            Some(entry) if entry.retry.failures() > 0 && !entry.retry.is_due(now) => {
                Borrow::Unreachable("it did not answer a moment ago")
            }
            Some(_) if dialling >= limits::DIALS_AT_ONCE => Borrow::Busy,
            Some(entry) => {
                entry.retry.begin();
                let addresses = entry.addresses();
                Borrow::Coming(vec![Output::Dial { target: Target::Peer(peer), addresses }])
            }
        }
    }

    /// Those above use the link to a peer.
    pub(in crate::swarm) fn used(&mut self, now: Instant, peer: NodeKey) {
        if self.wanted.contains(&peer) {
            return;
        }
        let used = &mut self.borrowed.used;
        if used.contains_key(&peer) || used.len() < limits::BOOK_PEERS_MAX {
            used.insert(peer, now);
        }
    }

    /// Gives back the links that nobody has used for long.
    pub(super) fn give_back(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut links = self.connected.linked().count();
        let (wanted, bootstrap, connected) = (&self.wanted, &self.bootstrap, &self.connected);
        self.borrowed.used.retain(|peer, used| {
            if now.saturating_duration_since(*used) < limits::BORROWED_LINK {
                return true;
            }
            let is_kept = wanted.contains(peer) || bootstrap.iter().any(|at| at.leads_to == Some(*peer));
            if !is_kept && links > limits::LINKS_SOUGHT && connected.is_connected(peer) {
                links -= 1;
                out.push(Output::Cut(*peer));
            }
            false
        });
    }
}
