//! What the catalog tells a metrics scraper. Values are read when they are asked for; nothing is kept twice.

use std::sync::Weak;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Catalog, Inner};

/// Reads a catalog as long as it lives.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) catalog: Weak<Inner>,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(inner) = self.catalog.upgrade() else {
            return Ok(());
        };
        let damaged = ConstCounter::new(inner.damaged_rows.load(Ordering::Relaxed));
        let waiting = ConstGauge::new((inner.sender.max_capacity() - inner.sender.capacity()) as u64);
        let assets = ConstGauge::new(Catalog { inner }.assets().unwrap_or_default());
        let mut put = |name, help, metric: &dyn Encode| metric.put(&mut encoder, name, help);
        put("catalog_assets", "Assets described on this node", &assets)?;
        put("catalog_changes_waiting", "Changes that wait for the catalog writer", &waiting)?;
        put("catalog_damage_met", "Damaged rows or pages met since the start", &damaged)
    }
}

/// `EncodeMetric` is not usable as a trait object across metric kinds; this is.
trait Encode {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> std::fmt::Result;
}

impl<M: EncodeMetric> Encode for M {
    fn put(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> std::fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, None, self.metric_type())?)
    }
}
