//! What the registry counts since its start. Clones share the counters.

use assetmesh_protocol::registry::EnvelopeError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::bounds::Bound;
use super::state::{Refusal, Taken};

/// Counters and gauges of one registry.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    heard: Family<Outcome, Counter>,
    refused: Family<Reason, Counter>,
    sessions: Family<Outcome, Counter>,
    forwards: Family<Outcome, Counter>,
    pub(super) published: Counter,
    pub(super) unsent: Counter,
    pub(super) equivocations: Counter,
    pub(super) damaged_rows: Counter,
    pub(super) records: Gauge,
    pub(super) bytes: Gauge,
    pub(super) members: Gauge,
    pub(super) waiting_rows: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Adds everything to a metrics registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("registry_envelopes_heard", "Envelopes from peers, by outcome", self.heard.clone());
        registry.register("registry_envelopes_refused", "Envelopes not taken", self.refused.clone());
        registry.register("registry_sync_sessions", "Anti-entropy sessions ended", self.sessions.clone());
        registry.register("registry_forwards", "Changes handed to their owners", self.forwards.clone());
        let counters = [
            ("registry_published", "Envelopes handed to gossip", &self.published),
            ("registry_unsent", "Messages dropped because too many waited", &self.unsent),
            ("registry_equivocations", "Two bodies of one version met", &self.equivocations),
            ("registry_damaged_rows", "Stored envelopes that were damaged", &self.damaged_rows),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
        let gauges = [
            ("registry_records", "Envelopes held, tombstones included", &self.records),
            ("registry_bytes", "Bytes of the envelopes held", &self.bytes),
            ("registry_members", "Nodes with a record", &self.members),
            ("registry_rows_waiting", "Envelopes of peers not yet on the disk", &self.waiting_rows),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
    }

    pub(super) fn heard(&self, taken: Taken) {
        let outcome = match taken {
            Taken::New => "new",
            Taken::Known => "known",
            Taken::Old => "old",
            Taken::Refused(_) => "refused",
        };
        self.heard.get_or_create(&Outcome { outcome }).inc();
        if let Taken::Refused(refusal) = taken {
            self.refused(refusal.label());
        }
    }

    pub(super) fn bad(&self, error: &EnvelopeError) {
        self.heard.get_or_create(&Outcome { outcome: "bad" }).inc();
        self.refused(label(error));
    }

    fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn session(&self, outcome: &'static str) {
        self.sessions.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn forward(&self, outcome: &'static str) {
        self.forwards.get_or_create(&Outcome { outcome }).inc();
    }

    /// How many envelopes were refused for a reason.
    #[cfg(test)]
    pub(super) fn refusals(&self, reason: &'static str) -> u64 {
        self.refused.get_or_create(&Reason { reason }).get()
    }
}

impl Refusal {
    const fn label(self) -> &'static str {
        match self {
            Self::FarFuture => "far_future",
            Self::Expired => "expired",
            Self::TooFast => "too_fast",
            Self::Bound(Bound::EntriesOfOwner) => "entries_of_owner",
            Self::Bound(Bound::RecordsOfOwner) => "records_of_owner",
            Self::Bound(Bound::Records) => "records",
            Self::Bound(Bound::Bytes) => "bytes",
            Self::Collision => "collision",
        }
    }
}

const fn label(error: &EnvelopeError) -> &'static str {
    match error {
        EnvelopeError::TooLong(_) => "too_long",
        EnvelopeError::Malformed(_) | EnvelopeError::Payload(_) => "malformed",
        EnvelopeError::Signature | EnvelopeError::NotAKey => "signature",
        EnvelopeError::EntryId(_) | EnvelopeError::Misplaced => "entry_id",
        EnvelopeError::Ttl(_) => "ttl",
    }
}
