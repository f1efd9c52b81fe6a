//! What is counted of HTTP, and `GET /metrics`, which shows it beside the node's own figures.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use assetmesh_node::Node;
use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::error::ApiError;
use crate::invoke;
use crate::schema::Any;

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// A finished request. The route is its template, so that names never become labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
}

/// The counters of the HTTP side.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Finished, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    in_flight: Gauge<i64, AtomicI64>,
    tasks: Gauge<i64, AtomicI64>,
    invocations: invoke::Metrics,
}

/// Counts one request as long as it is held.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge<i64, AtomicI64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Registers the node's figures and those of HTTP and invocations.
    pub(crate) fn new(node: &Node, invocations: invoke::Metrics) -> Self {
        let mut registry = Registry::with_prefix("assetmesh");
        node.register_metrics(&mut registry);
        Self::on(registry, invocations)
    }

    /// Registers the figures of HTTP and invocations, for a process without a node.
    pub(crate) fn bare(invocations: invoke::Metrics) -> Self {
        Self::on(Registry::with_prefix("assetmesh"), invocations)
    }

    fn on(mut registry: Registry, invocations: invoke::Metrics) -> Self {
        invocations.register(&mut registry);
        let requests = Family::default();
        let seconds = Family::new_with_constructor(buckets as fn() -> Histogram);
        let (in_flight, tasks) = (Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register_with_unit(
            "http_request",
            "Time from the request's headers to the answer's",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register("http_in_flight", "Requests being answered", in_flight.clone());
        registry.register("runtime_tasks", "Asynchronous tasks alive", tasks.clone());
        Self { registry, requests, seconds, in_flight, tasks, invocations }
    }

    /// Counts a request until the guard is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Records how a request ended.
    pub(crate) fn finish(&self, route: &str, method: &Method, status: StatusCode, took: Duration) {
        let label = Route { route: route.to_owned() };
        self.seconds.get_or_create(&label).observe(took.as_secs_f64());
        let label = Finished { route: label.route, method: known(method), status: status.as_u16() };
        self.requests.get_or_create(&label).inc();
    }
}

/// 0.25 ms to 8 s, each twice the one before.
fn buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// Clients can invent methods; labels must not grow with them.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// All figures of the node in the text format of `OpenMetrics`.
#[utoipa::path(get, path = "/metrics", tag = "node",
    responses((status = 200, description = "OpenMetrics", content_type = "application/openmetrics-text", body = String), Any))]
pub(crate) async fn metrics(State(metrics): State<Arc<Metrics>>) -> Result<Response, ApiError> {
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    metrics.invocations.refresh();
    let mut figures = String::new();
    text::encode(&mut figures, &metrics.registry).map_err(ApiError::internal)?;
    let mut response = Response::new(figures.into());
    response.headers_mut().insert(CONTENT_TYPE, OPENMETRICS);
    Ok(response)
}
