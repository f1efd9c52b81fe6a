//! What is counted of questions to peers and from them. Clones share the counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters of federated questions.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    asked: Family<Outcome, Counter>,
    served: Family<Outcome, Counter>,
    writes: Family<Outcome, Counter>,
    pub(super) malformed: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    /// What became of one member in one question.
    pub(super) fn asked(&self, outcome: &'static str) {
        self.asked.get_or_create(&Outcome { outcome }).inc();
    }

    /// How a question of a peer ended.
    pub(super) fn served(&self, outcome: &'static str) {
        self.served.get_or_create(&Outcome { outcome }).inc();
    }

    /// How a change that was handed to its owner ended.
    pub(super) fn wrote(&self, outcome: &'static str) {
        self.writes.get_or_create(&Outcome { outcome }).inc();
    }

    /// Adds everything to a metrics registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("query_members", "Members in federated questions", self.asked.clone());
        registry.register("query_served", "Questions of peers, by answer", self.served.clone());
        registry.register("query_writes", "Changes handed to their owners", self.writes.clone());
        registry.register("query_malformed", "Answers of peers dropped as malformed", self.malformed.clone());
    }
}
