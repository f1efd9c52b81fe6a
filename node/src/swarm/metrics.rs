//! Counters of the swarm.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Error, Offence, Service, Verdict};

/// What the swarm counts since the start of the node; a rebuild does not reset it. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    links: Gauge,
    connections: Gauge,
    bytes_in: Counter,
    bytes_out: Counter,
    dials: Family<Outcome, Counter>,
    gossip_published: Counter,
    gossip: Family<Judged, Counter>,
    asked: Family<Exchanged, Counter>,
    answered: Family<Exchanged, Counter>,
    offences: Family<Kind, Counter>,
    bans: Counter,
    restarts: Counter,
    events_lost: Counter,
    streams: Family<Outcome, Counter>,
    streams_open: Gauge,
}

/// Counts a stream for as long as it is held.
#[derive(Debug)]
pub(super) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Judged {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Exchanged {
    service: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

impl Metrics {
    /// How often the swarm was built again after a panic.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.get()
    }

    /// How many peers were banned.
    #[must_use]
    pub fn bans(&self) -> u64 {
        self.bans.get()
    }

    /// How many offences of one kind were counted.
    #[must_use]
    pub fn offences(&self, offence: Offence) -> u64 {
        self.offences.get_or_create(&Kind { kind: offence.name() }).get()
    }

    /// How many gossip messages met this verdict.
    #[must_use]
    pub fn judged(&self, verdict: Verdict) -> u64 {
        self.gossip.get_or_create(&Judged { verdict: verdict.name() }).get()
    }

    /// Bytes received from and sent to peers, all protocols and their encryption included.
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.get(), self.bytes_out.get())
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.connections.get()
    }

    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("swarm_links", "Peers connected", self.links.clone());
        registry.register("swarm_connections", "Connections open", self.connections.clone());
        let counters = [
            ("swarm_bytes_in", "Bytes received from peers", &self.bytes_in),
            ("swarm_bytes_out", "Bytes sent to peers", &self.bytes_out),
            ("swarm_gossip_published", "Gossip messages that began here", &self.gossip_published),
            ("swarm_bans", "Peers banned for repeated offences", &self.bans),
            ("swarm_restarts", "Times the swarm was built again after a panic", &self.restarts),
            ("swarm_events_lost", "Link events that found a mailbox full", &self.events_lost),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("swarm_dials", "Dials that ended, by outcome", self.dials.clone());
        registry.register("swarm_gossip", "Gossip messages received, by verdict", self.gossip.clone());
        registry.register("swarm_requests_sent", "Requests to peers, by outcome", self.asked.clone());
        registry.register("swarm_requests_received", "Requests of peers, by outcome", self.answered.clone());
        registry.register("swarm_streams", "Streams that peers opened, by outcome", self.streams.clone());
        let open = self.streams_open.clone();
        registry.register("swarm_streams_open", "Streams of content held, in both directions", open);
        registry.register("swarm_offences", "What peers did wrong, by kind", self.offences.clone());
    }

    #[cfg(test)]
    pub(crate) fn streams_open(&self) -> i64 {
        self.streams_open.get()
    }

    /// A stream of content is open until the guard is dropped.
    pub(super) fn stream_open(&self) -> OpenStream {
        self.streams_open.inc();
        OpenStream(self.streams_open.clone())
    }

    pub(super) fn stream_taken(&self, outcome: &'static str) {
        self.streams.get_or_create(&Outcome { outcome }).inc();
    }

    /// Where a connection counts its bytes: in, out.
    pub(super) fn bandwidth(&self) -> (Counter, Counter) {
        (self.bytes_in.clone(), self.bytes_out.clone())
    }

    pub(super) fn set_links(&self, links: usize) {
        self.links.set(i64::try_from(links).unwrap_or(i64::MAX));
    }

    pub(super) fn set_connections(&self, connections: u32) {
        self.connections.set(i64::from(connections));
    }

    pub(super) fn dialled(&self, ok: bool) {
        let outcome = if ok { "connected" } else { "failed" };
        self.dials.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn published(&self) {
        self.gossip_published.inc();
    }

    pub(super) fn count_verdict(&self, verdict: Verdict) {
        self.gossip.get_or_create(&Judged { verdict: verdict.name() }).inc();
    }

    pub(super) fn asked(&self, service: Service, result: &Result<Vec<u8>, Error>) {
        let outcome = match result {
            Ok(_) => "answered",
            Err(error) => error.name(),
        };
        self.asked.get_or_create(&Exchanged { service: service.name(), outcome }).inc();
    }

    pub(super) fn answered(&self, service: Service, outcome: &'static str) {
        self.answered.get_or_create(&Exchanged { service: service.name(), outcome }).inc();
    }

    pub(super) fn offended(&self, offence: Offence) {
        self.offences.get_or_create(&Kind { kind: offence.name() }).inc();
    }

    pub(super) fn banned(&self) {
        self.bans.inc();
    }

    pub(super) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(super) fn lost_event(&self) {
        self.events_lost.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_by_its_name() {
        let metrics = Metrics::default();
        metrics.count_verdict(Verdict::Reject);
        metrics.asked(Service::Registry, &Err(Error::Busy));
        metrics.asked(Service::Query, &Ok(Vec::new()));
        metrics.offended(Offence::Forged);
        metrics.restarted();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "swarm_gossip_total{verdict=\"reject\"} 1",
            "swarm_requests_sent_total{service=\"registry\",outcome=\"busy\"} 1",
            "swarm_requests_sent_total{service=\"query\",outcome=\"answered\"} 1",
            "swarm_offences_total{kind=\"forged\"} 1",
            "swarm_restarts_total 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
