//! Where peers may be found, and when each is dialled next. Bounded in peers and in addresses of each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use libp2p::Multiaddr;

use super::retry::Retry;
use crate::swarm::limits::{
    ADDRESSES_PER_PEER_MAX, BOOK_PEERS_MAX, CACHE_AGE_MAX, CACHE_PEERS_MAX, DHT_LOOKUP_EVERY,
    HINTED_DIALS_MAX,
};

/// How an address became known; the better is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Somebody said so, or it worked once and then failed.
    Hint,
    /// It was in the cache on disk.
    Cached,
    /// The peer itself says so, signed.
    Member,
    /// The last dial that got through went there.
    Worked,
}

/// A peer as it lies in the cache on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swarm) struct Remembered {
    pub(in crate::swarm) peer: NodeKey,
    /// The best first.
    pub(in crate::swarm) addresses: Vec<Multiaddr>,
    /// How long ago it was linked.
    pub(in crate::swarm) age: Duration,
}

/// What is known of one peer.
#[derive(Debug)]
pub(super) struct Entry {
    /// The best first.
    addresses: Vec<(Source, Multiaddr)>,
    pub(super) retry: Retry,
    /// How long ago it was linked, as of an instant.
    linked: Option<(Instant, Duration)>,
    touched: Instant,
    looked_up: Option<Instant>,
}

impl Entry {
    pub(super) fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses.iter().map(|(_, at)| at.clone()).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// The best way in which any of its addresses became known.
    pub(super) fn best(&self) -> Option<Source> {
        self.addresses.first().map(|(source, _)| *source)
    }

    /// Adds an address or raises its standing. True if it is new.
    fn add(&mut self, source: Source, at: Multiaddr) -> bool {
        let known = self.addresses.iter().position(|(_, known)| *known == at);
        let former = known.map(|position| self.addresses.remove(position).0);
        let source = former.map_or(source, |former| former.max(source));
        let position = self.addresses.partition_point(|(better, _)| *better > source);
        self.addresses.insert(position, (source, at));
        self.addresses.truncate(ADDRESSES_PER_PEER_MAX);
        former.is_none()
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let (as_of, age) = self.linked?;
        Some(age + now.saturating_duration_since(as_of))
    }
}

/// All peers that the node has heard of.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: BTreeMap<NodeKey, Entry>,
}

impl Book {
    pub(super) fn get(&self, peer: &NodeKey) -> Option<&Entry> {
        self.entries.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &NodeKey) -> Option<&mut Entry> {
        self.entries.get_mut(peer)
    }

    pub(super) fn remove(&mut self, peer: &NodeKey) {
        self.entries.remove(peer);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeKey, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn retries(&mut self) -> impl Iterator<Item = (&NodeKey, &mut Retry)> {
        self.entries.iter_mut().map(|(peer, entry)| (peer, &mut entry.retry))
    }

    /// The entry of a peer, made if there is none. When the book is full, the peer that nothing was heard of for
    /// longest makes room; `keep` tells whom to spare. `None` when all are spared.
    pub(super) fn entry(
        &mut self,
        now: Instant,
        peer: NodeKey,
        due: Instant,
        keep: impl Fn(&NodeKey) -> bool,
    ) -> Option<&mut Entry> {
        if !self.entries.contains_key(&peer) && self.entries.len() >= BOOK_PEERS_MAX {
            let spare = |(key, entry): &(&NodeKey, &Entry)| !entry.retry.is_dialling() && !keep(key);
            let oldest = self.entries.iter().filter(spare).min_by_key(|(_, entry)| entry.touched);
            let oldest = *oldest?.0;
            self.entries.remove(&oldest);
        }
        let entry = self.entries.entry(peer).or_insert_with(|| Entry {
            addresses: Vec::new(),
            retry: Retry::at(due),
            linked: None,
            touched: now,
            looked_up: None,
        });
        entry.touched = now;
        Some(entry)
    }
}

impl Entry {
    /// Adds addresses that were heard of. True if one is new.
    pub(super) fn learn(&mut self, source: Source, addresses: Vec<Multiaddr>) -> bool {
        let mut news = false;
        for at in addresses.into_iter().take(ADDRESSES_PER_PEER_MAX) {
            news |= self.add(source, at);
        }
        news
    }

    /// Takes the addresses that a member says it has in place of those it said before. True if one is new.
    pub(super) fn declare(&mut self, addresses: Vec<Multiaddr>) -> bool {
        self.addresses.retain(|(source, at)| *source != Source::Member || addresses.contains(at));
        self.learn(Source::Member, addresses)
    }

    /// A dial to this address got through.
    pub(super) fn worked(&mut self, at: Multiaddr) {
        for (source, _) in &mut self.addresses {
            *source = (*source).min(Source::Member);
        }
        self.add(Source::Worked, at);
    }

    /// No address led to the peer.
    pub(super) fn missed(&mut self) {
        for (source, _) in &mut self.addresses {
            if *source == Source::Worked {
                *source = Source::Hint;
            }
        }
        self.addresses.sort_by_key(|(source, _)| std::cmp::Reverse(*source));
    }

    /// Nobody but rumour says where it is, and rumour was wrong again and again.
    pub(super) fn is_hopeless(&self) -> bool {
        self.linked.is_none()
            && self.best() <= Some(Source::Hint)
            && self.retry.failures() >= HINTED_DIALS_MAX
    }

    /// Somebody else is at this address.
    pub(super) fn forget(&mut self, at: &Multiaddr) {
        self.addresses.retain(|(_, known)| known != at);
    }

    /// The peer is linked, or was this long ago.
    pub(super) fn linked(&mut self, now: Instant, ago: Duration) {
        self.linked = Some((now, ago));
        self.touched = now;
    }

    /// True if the DHT should be asked now where the peer is; then it counts as asked.
    pub(super) fn look_up(&mut self, now: Instant) -> bool {
        let asked = self.looked_up.is_some_and(|at| now.saturating_duration_since(at) < DHT_LOOKUP_EVERY);
        if !asked {
            self.looked_up = Some(now);
        }
        !asked
    }
}

impl Book {
    /// What goes to the cache on disk: peers that were linked, the latest first.
    pub(super) fn remembered(&self, now: Instant) -> Vec<Remembered> {
        let rows = self.entries.iter().filter(|(_, entry)| !entry.is_empty());
        let mut rows: Vec<Remembered> = rows
            .filter_map(|(peer, entry)| {
                let age = entry.age(now).filter(|age| *age <= CACHE_AGE_MAX)?;
                Some(Remembered { peer: *peer, addresses: entry.addresses(), age })
            })
            .collect();
        rows.sort_by_key(|row| (row.age, row.peer));
        rows.truncate(CACHE_PEERS_MAX);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Multiaddr {
        format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap()
    }

    fn key(number: u16) -> NodeKey {
        let mut key = [0; 32];
        key[..2].copy_from_slice(&number.to_be_bytes());
        NodeKey(key)
    }

    fn entry(book: &mut Book, now: Instant, number: u16) -> Option<&mut Entry> {
        book.entry(now, key(number), now, |_| false)
    }

    #[test]
    fn better_addresses_come_first_and_the_worst_fall_off() {
        let (mut book, now) = (Book::default(), Instant::now());
        let entry = entry(&mut book, now, 1).unwrap();
        assert!(entry.learn(Source::Hint, (1..=20).map(at).collect()));
        assert_eq!(entry.addresses().len(), ADDRESSES_PER_PEER_MAX);
        assert!(entry.declare(vec![at(100)]));
        entry.worked(at(200));
        assert_eq!(entry.addresses()[..2], [at(200), at(100)]);
        assert_eq!(entry.addresses().len(), ADDRESSES_PER_PEER_MAX);
        assert!(!entry.learn(Source::Hint, vec![at(200)]));
        assert_eq!(entry.best(), Some(Source::Worked));
        entry.missed();
        assert_eq!(entry.addresses()[0], at(100));
    }

    #[test]
    fn a_member_takes_back_what_it_said_before() {
        let (mut book, now) = (Book::default(), Instant::now());
        let entry = entry(&mut book, now, 1).unwrap();
        entry.declare(vec![at(1), at(2)]);
        assert!(entry.declare(vec![at(2), at(3)]));
        assert!(!entry.declare(vec![at(2), at(3)]));
        let mut addresses = entry.addresses();
        addresses.sort();
        assert_eq!(addresses, [at(2), at(3)]);
        entry.forget(&at(2));
        assert_eq!(entry.addresses(), [at(3)]);
    }

    #[test]
    fn a_full_book_forgets_whom_it_heard_of_longest_ago_and_spares_the_wanted() {
        let (mut book, start) = (Book::default(), Instant::now());
        let full = u16::try_from(BOOK_PEERS_MAX).unwrap();
        for number in 0..full {
            let now = start + Duration::from_millis(u64::from(number));
            entry(&mut book, now, number).unwrap();
        }
        let later = start + Duration::from_secs(60);
        assert!(book.entry(later, key(full), later, |peer| *peer == key(0)).is_some());
        assert!(book.get(&key(0)).is_some());
        assert!(book.get(&key(1)).is_none());
        assert!(book.entry(later, key(full + 1), later, |_| true).is_none());
        assert_eq!(book.iter().count(), BOOK_PEERS_MAX);
    }

    #[test]
    fn only_peers_that_were_linked_are_remembered_the_latest_first() {
        let (mut book, now) = (Book::default(), Instant::now());
        for number in 1..=4 {
            entry(&mut book, now, number).unwrap().learn(Source::Hint, vec![at(number)]);
        }
        entry(&mut book, now, 1).unwrap().linked(now, Duration::from_secs(50));
        entry(&mut book, now, 2).unwrap().linked(now, Duration::ZERO);
        entry(&mut book, now, 3).unwrap().linked(now, CACHE_AGE_MAX);
        let later = now + Duration::from_secs(10);
        let rows = book.remembered(later);
        assert_eq!(rows.iter().map(|row| row.peer).collect::<Vec<_>>(), [key(2), key(1)]);
        assert_eq!(rows[1].age, Duration::from_secs(60));
        assert_eq!(rows[0].addresses, [at(2)]);
    }

    #[test]
    fn the_dht_is_asked_once_in_a_while() {
        let (mut book, now) = (Book::default(), Instant::now());
        let entry = entry(&mut book, now, 1).unwrap();
        assert!(entry.look_up(now));
        assert!(!entry.look_up(now + DHT_LOOKUP_EVERY / 2));
        assert!(entry.look_up(now + DHT_LOOKUP_EVERY));
    }
}
