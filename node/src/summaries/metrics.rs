//! What is counted of summaries. Clones share the counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Counters of summaries.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    pulls: Family<Outcome, Counter>,
    pub(super) given: Counter,
    pub(super) bytes_in: Counter,
    pub(super) bytes_out: Counter,
    pub(super) told: Counter,
    pub(super) heard: Counter,
    pub(super) spared: Counter,
    pub(super) wrong: Counter,
    pub(super) held_bytes: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    /// How a pull ended.
    pub(super) fn pulled(&self, outcome: &'static str) {
        self.pulls.get_or_create(&Outcome { outcome }).inc();
    }

    /// Adds everything to a metrics registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("summary_pulls", "Summaries pulled from peers, by outcome", self.pulls.clone());
        registry.register("summary_given", "Summaries given to peers", self.given.clone());
        registry.register("summary_changes_told", "Peers told of a change", self.told.clone());
        registry.register("summary_changes_heard", "Changes heard from peers", self.heard.clone());
        registry.register("summary_spared", "Questions to peers spared by summaries", self.spared.clone());
        let wrong = "Questions that a summary did not spare and that found nothing";
        registry.register("summary_wrong", wrong, self.wrong.clone());
        let bytes = [
            ("summary_pulled", "Pulled from peers", &self.bytes_in),
            ("summary_sent", "Sent to peers", &self.bytes_out),
        ];
        for (name, help, counter) in bytes {
            registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
        }
        let held = "Memory of the summaries of peers";
        registry.register_with_unit("summary_held", held, Unit::Bytes, self.held_bytes.clone());
    }
}
