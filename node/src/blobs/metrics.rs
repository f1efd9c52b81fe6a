//! Counters of a blob store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What a blob store counts since its start. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    written: Counter,
    verified: Counter,
    read: Counter,
    damaged: Counter,
    mended: Counter,
    evicted: Counter,
    cached: Gauge,
    unsynced: Gauge,
}

impl Metrics {
    /// Bytes of content and outboards that were committed.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.written.get()
    }

    /// Bytes that were checked against their tree when they were read.
    #[must_use]
    pub fn bytes_verified(&self) -> u64 {
        self.verified.get()
    }

    /// Bytes that left the store. Never more than [`Metrics::bytes_verified`].
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Reads that ended because the stored bytes were not those that were written.
    #[must_use]
    pub fn damaged_reads(&self) -> u64 {
        self.damaged.get()
    }

    /// Groups that were written over with what a peer proved.
    #[must_use]
    pub fn groups_mended(&self) -> u64 {
        self.mended.get()
    }

    /// Blobs of other nodes that were kept and let go.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evicted.get()
    }

    /// Adds the counters to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let rows = [
            ("blob_bytes_written", "Bytes of content and outboards committed", &self.written),
            ("blob_bytes_verified", "Bytes checked against their BLAKE3 tree when read", &self.verified),
            ("blob_bytes_read", "Bytes of content that left the store", &self.read),
            ("blob_damaged_reads", "Reads that met damaged bytes", &self.damaged),
            ("blob_groups_mended", "Groups of 16 KiB written over with what a peer proved", &self.mended),
            ("cache_evictions", "Contents of other nodes that were kept and let go", &self.evicted),
        ];
        for (name, help, counter) in rows {
            registry.register(name, help, counter.clone());
        }
        let help = "Bytes of other nodes' content that are kept";
        registry.register("cache_bytes", help, self.cached.clone());
        let help = "Bytes of other nodes' content that a crash now would lose";
        registry.register("cache_unsynced_bytes", help, self.unsynced.clone());
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.written.inc_by(bytes);
    }

    pub(super) fn verified(&self, bytes: u64) {
        self.verified.inc_by(bytes);
    }

    pub(super) fn left(&self, bytes: u64) {
        self.read.inc_by(bytes);
    }

    pub(super) fn met_damage(&self) {
        self.damaged.inc();
    }

    pub(super) fn mended(&self, groups: u64) {
        self.mended.inc_by(groups);
    }

    pub(super) fn evicted(&self) {
        self.evicted.inc();
    }

    pub(super) fn kept(&self, bytes: u64, unsynced: u64) {
        self.cached.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.unsynced.set(i64::try_from(unsynced).unwrap_or(i64::MAX));
    }
}
