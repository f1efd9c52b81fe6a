//! Counters of transfers between nodes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted since the start of the node. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    pub(super) searches: Counter,
    pub(super) transfers: Counter,
    pub(super) under_way: Gauge,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) lies: Counter,
    pub(super) stalls: Counter,
}

impl Metrics {
    /// Transfers that were begun; many clients of one blob share one.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.transfers.get()
    }

    /// Times that members were asked who holds a blob.
    #[must_use]
    pub fn searches(&self) -> u64 {
        self.searches.get()
    }

    /// Bytes of content that came from peers and were proven.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.get()
    }

    /// Times that a peer sent false content.
    #[must_use]
    pub fn lies(&self) -> u64 {
        self.lies.get()
    }

    /// Times that a peer stalled.
    #[must_use]
    pub fn stalls(&self) -> u64 {
        self.stalls.get()
    }

    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("fetch_searches", "Times that members were asked who holds a blob", &self.searches),
            ("fetch_transfers", "Transfers from peers that were begun", &self.transfers),
            ("fetch_bytes_in", "Bytes of content from peers, proven", &self.bytes_in),
            ("fetch_bytes_out", "Bytes of content and proofs sent to peers", &self.bytes_out),
            ("fetch_lies", "Times that a peer sent false content", &self.lies),
            ("fetch_stalls", "Times that a peer stalled", &self.stalls),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        registry.register("fetch_under_way", "Transfers from peers under way", self.under_way.clone());
    }
}
