//! What is counted of invocations, from when nothing but time is missing to the end of their answers. Clones share the
//! counters.

use std::sync::atomic::AtomicI64;

use assetmesh_node::staging::Staging;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

const FULFILLED: &str = "fulfilled";
const ERRORED: &str = "errored";
/// The client left, never came back, or the process stopped.
const GIVEN_UP: &str = "given_up";

/// How many there are, and how they ended.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    staging: Staging,
    under_way: Gauge<i64, AtomicI64>,
    staged: Gauge<i64, AtomicI64>,
    ended: Family<Outcome, Counter>,
    seconds: Histogram,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new(staging: Staging) -> Self {
        let ended = Family::default();
        for outcome in [FULFILLED, ERRORED, GIVEN_UP] {
            // Shown as nought from the start.
            drop(ended.get_or_create(&Outcome { outcome }));
        }
        // 5 ms to 1.5 h, each four times the one before.
        let seconds = Histogram::new(exponential_buckets(0.005, 4.0, 11));
        Self { staging, under_way: Gauge::default(), staged: Gauge::default(), ended, seconds }
    }

    /// Adds everything to a metrics registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("invocations_under_way", "Invocations that have a place", self.under_way.clone());
        registry.register_with_unit(
            "staged",
            "Room set aside for assets of invocations",
            Unit::Bytes,
            self.staged.clone(),
        );
        registry.register("invocations", "Invocations that have ended, by outcome", self.ended.clone());
        registry.register_with_unit(
            "invocation",
            "Time from the start of staging to the end of the answer",
            Unit::Seconds,
            self.seconds.clone(),
        );
    }

    /// Looks at what is held now.
    pub(crate) fn refresh(&self) {
        let (invocations, bytes) = self.staging.held();
        self.under_way.set(i64::try_from(invocations).unwrap_or(i64::MAX));
        self.staged.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// One more invocation begins.
    pub(crate) fn begin(&self) -> Course {
        Course { metrics: self.clone(), begun: Instant::now(), in_the_end: FULFILLED, outcome: GIVEN_UP }
    }
}

/// One invocation until its end, which is when this is dropped.
#[derive(Debug)]
pub(crate) struct Course {
    metrics: Metrics,
    begun: Instant,
    /// The outcome, if the whole answer comes.
    in_the_end: &'static str,
    /// The outcome, if it ended now.
    outcome: &'static str,
}

impl Course {
    /// The head of an answer has come.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.in_the_end = if status.is_success() { FULFILLED } else { ERRORED };
    }

    /// The container has said all.
    pub(crate) fn finish(&mut self) {
        self.outcome = self.in_the_end;
    }

    /// There is no answer, or it broke off.
    pub(crate) fn fail(&mut self) {
        self.outcome = ERRORED;
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        self.metrics.ended.get_or_create(&Outcome { outcome: self.outcome }).inc();
        self.metrics.seconds.observe(self.begun.elapsed().as_secs_f64());
    }
}
