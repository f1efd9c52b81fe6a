//! What is counted of input assets. Clones share the figures.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::accounts::Holding;

/// The figures of input assets.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    stored: Gauge,
    waiting: Gauge,
    bytes: Gauge,
    pub(super) created: Counter,
    pub(super) expired: Counter,
    refused: Family<Refused, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

impl Metrics {
    /// What all accounts have together.
    pub(super) fn hold(&self, Holding { waiting, stored, bytes }: Holding) {
        for (gauge, value) in [(&self.waiting, waiting), (&self.stored, stored), (&self.bytes, bytes)] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }

    /// An upload was refused, or broke on an error.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Refused { reason }).inc();
    }

    /// Adds everything to a metrics registry.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("nvcf_assets", "Input assets held, uploaded", self.stored.clone());
        registry.register(
            "nvcf_assets_waiting",
            "Input assets that wait for their upload",
            self.waiting.clone(),
        );
        let help = "Content of the input assets held, equal content once for each";
        registry.register_with_unit("nvcf_assets", help, Unit::Bytes, self.bytes.clone());
        registry.register("nvcf_assets_created", "Input assets created", self.created.clone());
        registry.register("nvcf_assets_expired", "Input assets whose time was up", self.expired.clone());
        registry.register("nvcf_uploads_refused", "Uploads refused, by reason", self.refused.clone());
    }
}
