//! How often this node asks each peer: never as fast as the peer takes for a flood, whatever the clients of this node
//! do. Pure: the caller brings the time.

use std::collections::BTreeMap;
use std::time::Instant;

use assetmesh_protocol::ids::NodeKey;

use super::bucket::Bucket;
use crate::swarm::Service;
use crate::swarm::limits::{PACED_MAX, asking_rate};

/// What this node may still ask of each service of each peer.
#[derive(Debug, Default)]
pub(super) struct Pace {
    buckets: BTreeMap<(NodeKey, Service), Bucket>,
}

impl Pace {
    /// Whether a request may be sent now. If so, it is counted.
    pub(super) fn may_send(&mut self, now: Instant, peer: NodeKey, service: Service) -> bool {
        let key = (peer, service);
        // Too many others were asked a moment ago: this one has to wait until they are forgotten.
        if self.buckets.len() >= PACED_MAX && !self.buckets.contains_key(&key) {
            return false;
        }
        let rate = asking_rate(service);
        self.buckets.entry(key).or_insert(Bucket::full(now, rate)).take(now, rate, 1.0)
    }

    /// Forgets who was not asked for so long that it makes no difference.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.buckets.retain(|(_, service), bucket| !bucket.is_full(now, asking_rate(*service)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::conduct::Conduct;
    use super::*;

    const PEER: NodeKey = NodeKey([1; 32]);
    const SERVICES: [Service; 5] =
        [Service::Registry, Service::Liveness, Service::Forward, Service::Query, Service::Write];

    /// Whoever asks as fast as this lets it is within what the peer allows at every moment, also if the peer hears a
    /// second's worth at once after a stall.
    #[test]
    fn who_keeps_to_it_never_floods() {
        for service in SERVICES {
            let (mut pace, mut conduct, start) = (Pace::default(), Conduct::default(), Instant::now());
            let (mut sent, mut waiting) = (0, 0);
            for step in 0..200_u32 {
                let now = start + Duration::from_millis(50) * step;
                let at_once = (0..10_000).filter(|_| pace.may_send(now, PEER, service)).count();
                (sent, waiting) = (sent + at_once, waiting + at_once);
                if step % 20 == 0 {
                    let heard = (0..waiting).all(|_| conduct.may_ask(now, PEER, service));
                    assert!(heard, "{service:?} at {step}");
                    waiting = 0;
                }
            }
            let rate = asking_rate(service);
            assert!(sent as f64 > rate.burst + rate.per_second * 9.0, "{service:?}: {sent}");
        }
    }

    #[test]
    fn each_service_of_each_peer_has_its_own() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        while pace.may_send(now, PEER, Service::Forward) {}
        assert!(pace.may_send(now, PEER, Service::Write));
        assert!(pace.may_send(now, NodeKey([2; 32]), Service::Forward));
        assert!(!pace.may_send(now, PEER, Service::Forward));
        assert!(pace.may_send(now + Duration::from_secs(1), PEER, Service::Forward));
    }

    #[test]
    fn only_so_many_are_remembered_and_none_is_let_off() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        while pace.may_send(now, PEER, Service::Forward) {}
        let name = |number: u32| {
            let mut name = [9; 32];
            name[..4].copy_from_slice(&number.to_be_bytes());
            NodeKey(name)
        };
        let sent = (0..20_000).filter(|&number| pace.may_send(now, name(number), Service::Query)).count();
        assert_eq!((sent, pace.buckets.len()), (PACED_MAX - 1, PACED_MAX));
        assert!(!pace.may_send(now, PEER, Service::Forward), "it was not forgotten");
        pace.tidy(now + Duration::from_secs(60));
        assert!(pace.buckets.is_empty());
    }
}
