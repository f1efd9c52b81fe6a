//! Which dials are due, and in what order. Part of the state: as pure as the rest.

use std::cmp::Reverse;
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;

use super::{Output, State, Target};
use crate::swarm::limits;

impl State {
    /// Starts the dials that are due: first the peers that those above want, then the bootstrap addresses, then, if
    /// there are few links, peers that were merely heard of.
    pub(super) fn dial(&mut self, now: Instant, out: &mut Vec<Output>) {
        let under_way = self.bootstrap.iter().map(|bootstrap| &bootstrap.retry);
        let under_way = under_way.filter(|retry| retry.is_dialling()).count();
        let (mut wanted_dials, mut hinted_dials) = (0, 0);
        for (peer, _) in self.book.iter().filter(|(_, entry)| entry.retry.is_dialling()) {
            *(if self.wanted.contains(peer) { &mut wanted_dials } else { &mut hinted_dials }) += 1;
        }
        let mut room = limits::DIALS_AT_ONCE.saturating_sub(under_way + wanted_dials + hinted_dials);
        let wanted: Vec<NodeKey> = self.wanted.iter().copied().collect();
        for peer in wanted {
            room -= usize::from(room > 0 && self.dial_peer(now, peer, out));
            self.look_up(now, peer, out);
        }
        room -= self.dial_bootstrap(now, room, out);
        let hinted_room = room.min(limits::HINTED_DIALS_AT_ONCE.saturating_sub(hinted_dials));
        if self.connected.linked().count() < limits::LINKS_SOUGHT && hinted_room > 0 {
            let mut hinted: Vec<_> = self.book.iter().filter(|(_, entry)| entry.retry.is_due(now)).collect();
            hinted.sort_by_key(|(_, entry)| (Reverse(entry.best()), entry.retry.failures()));
            let hinted: Vec<NodeKey> = hinted.into_iter().map(|(peer, _)| *peer).collect();
            let mut begun = 0;
            for peer in hinted {
                begun += usize::from(begun < hinted_room && self.dial_peer(now, peer, out));
            }
        }
    }

    /// Of two nodes that learn of each other at once, the one with the smaller key dials first.
    pub(super) fn first_due(&mut self, now: Instant, peer: NodeKey) -> Instant {
        if self.own < peer { now } else { now + self.dice.around(limits::GREATER_KEY_WAITS) }
    }

    /// True if a dial was begun.
    fn dial_peer(&mut self, now: Instant, peer: NodeKey, out: &mut Vec<Output>) -> bool {
        let silent = self.wanted.contains(&peer) && self.connected.is_silent(now, &peer);
        if (self.connected.is_connected(&peer) && !silent) || self.is_refused(&peer) {
            return false;
        }
        match self.book.get_mut(&peer) {
            Some(entry) if entry.retry.is_due(now) && !entry.is_empty() => {
                entry.retry.begin();
                out.push(Output::Dial { target: Target::Peer(peer), addresses: entry.addresses() });
                true
            }
            _ => false,
        }
    }

    /// Returns how many dials were begun.
    fn dial_bootstrap(&mut self, now: Instant, room: usize, out: &mut Vec<Output>) -> usize {
        let mut begun = 0;
        for number in 0..self.bootstrap.len() {
            let bootstrap = &self.bootstrap[number];
            let useless = bootstrap.own
                || self.listening.contains(&bootstrap.address.at)
                || bootstrap.leads_to.is_some_and(|peer| self.is_refused(&peer) || self.is_connected(&peer));
            if useless || begun == room || !bootstrap.retry.is_due(now) {
                continue;
            }
            let addresses = vec![bootstrap.address.at.clone()];
            self.bootstrap[number].retry.begin();
            begun += 1;
            out.push(Output::Dial { target: Target::Bootstrap(number), addresses });
        }
        begun
    }

    /// Asks the DHT for a wanted peer that cannot be found otherwise.
    fn look_up(&mut self, now: Instant, peer: NodeKey, out: &mut Vec<Output>) {
        if self.connected.is_connected(&peer) || self.is_refused(&peer) {
            return;
        }
        if let Some(entry) = self.book.get_mut(&peer)
            && (entry.is_empty() || entry.retry.failures() >= limits::DHT_AFTER_DIALS)
            && entry.look_up(now)
        {
            out.push(Output::LookUp(peer));
        }
    }
}
