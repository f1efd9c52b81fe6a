//! Counters of liveness, and how many peers are in which state.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Change, PeerFact, PeerState};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What liveness counts since its start. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    peers: Family<InState, Gauge>,
    changes: Family<InState, Counter>,
    sent: Family<Outcome, Counter>,
    received: Family<Outcome, Counter>,
    refutations: Counter,
}

impl Metrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("peers", "Members but this node, by state", self.peers.clone());
        let changes = "Changes of a peer's state, by the new state";
        registry.register("peer_changes", changes, self.changes.clone());
        let sent = "Liveness messages to peers: answered, failed, or dropped because too many were under way";
        registry.register("liveness_sent", sent, self.sent.clone());
        let received = "Liveness messages from peers: taken, of a later version and ignored, or refused";
        registry.register("liveness_received", received, self.received.clone());
        let refutations = "Times that others gave this node up and it said that it lives";
        registry.register("liveness_refutations", refutations, self.refutations.clone());
    }

    pub(super) fn sees(&self, peers: impl Iterator<Item = PeerFact>) {
        let mut counts = [0i64; PeerState::ALL.len()];
        peers.for_each(|fact| counts[fact.state as usize] += 1);
        for (state, count) in PeerState::ALL.into_iter().zip(counts) {
            self.peers.get_or_create(&InState { state: state.as_str() }).set(count);
        }
    }

    pub(super) fn changed(&self, change: &Change) {
        self.changes.get_or_create(&InState { state: change.to.as_str() }).inc();
    }

    pub(super) fn sent(&self, outcome: &'static str) {
        self.sent.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn received(&self, outcome: &'static str) {
        self.received.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn refuted(&self) {
        self.refutations.inc();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::liveness::test_world::key;

    #[test]
    fn peers_are_counted_by_state() {
        let metrics = Metrics::default();
        let fact = |number, state| PeerFact {
            key: key(number),
            state,
            since: Duration::ZERO,
            rtt: None,
            last_heard: None,
        };
        metrics.sees([fact(1, PeerState::Alive), fact(2, PeerState::Down)].into_iter());
        metrics.sees([fact(1, PeerState::Left), fact(2, PeerState::Down)].into_iter());
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in ["peers{state=\"alive\"} 0", "peers{state=\"down\"} 1", "peers{state=\"left\"} 1"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
