//! How peers behave: what they did wrong, who is banned until when, and how often each may ask.

use std::collections::BTreeMap;
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;

use super::bucket::Bucket;
use crate::swarm::limits::{
    BAN, CONDUCT_PEERS_MAX, GOSSIP_COST_BYTES, GOSSIP_RATE, IDENTIFY_RATE, OFFENCE_HALF_LIFE,
    OFFENCE_POINTS_MAX, request_rate,
};
use crate::swarm::{Offence, Service};

/// Points of one offence, of [`OFFENCE_POINTS_MAX`].
const fn points(offence: Offence) -> f64 {
    match offence {
        // Nobody forges by accident: an honest node passes on only what it has verified.
        Offence::Forged => 30.0,
        // A newer version may send what this one cannot read.
        Offence::Malformed | Offence::Oversized => 10.0,
        // Its disk may be at fault, but what it serves is of no use: the third is one too many.
        Offence::FalseContent => 40.0,
        // Each message too many.
        Offence::Flooding => 0.5,
    }
}

/// Fewer points than this are none.
const POINTS_MIN: f64 = 0.1;

#[derive(Debug)]
struct Record {
    points: f64,
    as_of: Instant,
    touched: Instant,
    gossip: Bucket,
    introductions: Bucket,
    requests: BTreeMap<Service, Bucket>,
}

impl Record {
    fn points_at(&self, now: Instant) -> f64 {
        let since = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.points * 0.5f64.powf(since / OFFENCE_HALF_LIFE.as_secs_f64())
    }
}

/// The conduct of all peers.
#[derive(Debug, Default)]
pub(super) struct Conduct {
    records: BTreeMap<NodeKey, Record>,
    bans: BTreeMap<NodeKey, Instant>,
    /// Bans that ended early, because there were too many.
    lifted: Vec<NodeKey>,
}

impl Conduct {
    /// Counts an offence. True if the peer is banned for it, from now on.
    pub(super) fn offended(&mut self, now: Instant, peer: NodeKey, offence: Offence) -> bool {
        let record = self.record(now, peer);
        record.points = record.points_at(now) + points(offence);
        record.as_of = now;
        if record.points < OFFENCE_POINTS_MAX {
            return false;
        }
        record.points = 0.0;
        self.ban(now, peer)
    }

    /// Whether a gossip message of this peer and length is within its rate.
    pub(super) fn may_gossip(&mut self, now: Instant, peer: NodeKey, bytes: usize) -> bool {
        let cost = bytes.div_ceil(GOSSIP_COST_BYTES).max(1);
        self.record(now, peer).gossip.take(now, GOSSIP_RATE, cost as f64)
    }

    /// Whether this peer may say again who it is.
    pub(super) fn may_introduce(&mut self, now: Instant, peer: NodeKey) -> bool {
        self.record(now, peer).introductions.take(now, IDENTIFY_RATE, 1.0)
    }

    /// Whether a request of this peer is within its rate.
    pub(super) fn may_ask(&mut self, now: Instant, peer: NodeKey, service: Service) -> bool {
        let rate = request_rate(service);
        let full = Bucket::full(now, rate);
        self.record(now, peer).requests.entry(service).or_insert(full).take(now, rate, 1.0)
    }

    pub(super) fn is_banned(&self, peer: &NodeKey) -> bool {
        self.bans.contains_key(peer)
    }

    pub(super) fn banned(&self) -> impl Iterator<Item = NodeKey> {
        self.bans.keys().copied()
    }

    /// Ends bans whose time is over and forgets who did nothing for long. Returns the peers that are banned no more.
    pub(super) fn tidy(&mut self, now: Instant) -> Vec<NodeKey> {
        self.records.retain(|_, record| {
            now.saturating_duration_since(record.touched) < OFFENCE_HALF_LIFE
                || record.points_at(now) >= POINTS_MIN
        });
        let mut over = std::mem::take(&mut self.lifted);
        over.extend(self.bans.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer));
        for peer in &over {
            self.bans.remove(peer);
        }
        over
    }

    /// False when the peer is banned already.
    fn ban(&mut self, now: Instant, peer: NodeKey) -> bool {
        if self.bans.len() >= CONDUCT_PEERS_MAX {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            if let Some(first) = first {
                self.bans.remove(&first);
                self.lifted.push(first);
            }
        }
        self.bans.insert(peer, now + BAN).is_none()
    }

    fn record(&mut self, now: Instant, peer: NodeKey) -> &mut Record {
        if !self.records.contains_key(&peer) && self.records.len() >= CONDUCT_PEERS_MAX {
            let worst_last = |(_, record): &(&NodeKey, &Record)| (record.points_at(now) * 1e6) as u64;
            let mildest = self.records.iter().min_by_key(worst_last).map(|(peer, _)| *peer);
            mildest.and_then(|peer| self.records.remove(&peer));
        }
        let record = self.records.entry(peer).or_insert_with(|| Record {
            points: 0.0,
            as_of: now,
            touched: now,
            gossip: Bucket::full(now, GOSSIP_RATE),
            introductions: Bucket::full(now, IDENTIFY_RATE),
            requests: BTreeMap::new(),
        });
        record.touched = now;
        record
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PEER: NodeKey = NodeKey([1; 32]);
    const OTHER: NodeKey = NodeKey([2; 32]);

    /// How many offences of a kind, all at once, end in a ban.
    fn borne(offence: Offence) -> usize {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        (1..10_000).find(|_| conduct.offended(now, PEER, offence)).unwrap()
    }

    #[test]
    fn graver_offences_end_in_a_ban_sooner() {
        assert_eq!(borne(Offence::Forged), 4);
        assert_eq!(borne(Offence::Malformed), 10);
        assert_eq!(borne(Offence::Oversized), 10);
        assert_eq!(borne(Offence::Flooding), 200);
    }

    #[test]
    fn a_ban_ends_and_is_announced_once() {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        let banned = (0..100).filter(|_| conduct.offended(now, PEER, Offence::Forged)).count();
        assert_eq!(banned, 1);
        assert!(conduct.is_banned(&PEER) && !conduct.is_banned(&OTHER));
        assert!(conduct.tidy(now + BAN / 2).is_empty());
        assert_eq!(conduct.tidy(now + BAN), [PEER]);
        assert!(!conduct.is_banned(&PEER));
    }

    #[test]
    fn old_offences_weigh_less() {
        let (mut conduct, mut now) = (Conduct::default(), Instant::now());
        for _ in 0..1000 {
            assert!(!conduct.offended(now, PEER, Offence::Malformed));
            now += Duration::from_secs(10);
        }
    }

    #[test]
    fn a_peer_may_burst_and_then_keeps_to_its_rate() {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        let burst = (0..100_000).filter(|_| conduct.may_gossip(now, PEER, 100)).count();
        assert_eq!(burst, GOSSIP_RATE.burst as usize);
        let longest = (0..100_000).filter(|_| conduct.may_gossip(now, OTHER, 60 * 1024)).count();
        assert_eq!(longest, GOSSIP_RATE.burst as usize / 30);
        let second = now + Duration::from_secs(1);
        let after = (0..100_000).filter(|_| conduct.may_gossip(second, PEER, 100)).count();
        assert_eq!(after, GOSSIP_RATE.per_second as usize);
    }

    #[test]
    fn a_peer_says_who_it_is_now_and_then() {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        let at_once = (0..1000).filter(|_| conduct.may_introduce(now, PEER)).count();
        assert_eq!(at_once, IDENTIFY_RATE.burst as usize);
        assert!(conduct.may_introduce(now + Duration::from_secs(2), PEER));
    }

    #[test]
    fn each_service_has_its_own_rate() {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        while conduct.may_ask(now, PEER, Service::Forward) {}
        assert!(!conduct.may_ask(now, PEER, Service::Forward));
        assert!(conduct.may_ask(now, PEER, Service::Registry));
    }

    #[test]
    fn ten_thousand_names_take_bounded_memory_and_the_worst_are_remembered() {
        let (mut conduct, now) = (Conduct::default(), Instant::now());
        conduct.offended(now, PEER, Offence::Forged);
        for number in 0..10_000u32 {
            let mut name = [9; 32];
            name[..4].copy_from_slice(&number.to_be_bytes());
            conduct.may_gossip(now, NodeKey(name), 1);
            for _ in 0..4 {
                conduct.offended(now, NodeKey(name), Offence::Forged);
            }
        }
        assert!(conduct.records.len() <= CONDUCT_PEERS_MAX && conduct.bans.len() <= CONDUCT_PEERS_MAX);
        assert_eq!(conduct.lifted.len() + conduct.bans.len(), 10_000);
        let again = (1..10).find(|_| conduct.offended(now, PEER, Offence::Forged));
        assert_eq!(again, Some(3), "one offence of four was remembered");
        conduct.tidy(now + OFFENCE_HALF_LIFE * 20);
        assert!(conduct.records.is_empty());
    }
}
