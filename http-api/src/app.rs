//! What every handler can reach: the node, the settings, the metrics. Cheap to clone.

use std::sync::Arc;

use assetmesh_node::Node;
use axum::extract::FromRef;
use bytes::Bytes;

use crate::config::Config;
use crate::guard::Guard;
use crate::invoke::Invoker;
use crate::metrics::Metrics;
use crate::probe::Prober;

/// The state of the router.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) node: Node,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) prober: Prober,
    pub(crate) invoker: Invoker,
    pub(crate) guard: Arc<Guard>,
    /// The OpenAPI document as it is sent.
    pub(crate) openapi: Bytes,
}

/// Handlers that need only the figures do not see the rest.
impl FromRef<App> for Arc<Metrics> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.metrics)
    }
}

/// Invocations know only their own part.
impl FromRef<App> for Invoker {
    fn from_ref(app: &App) -> Self {
        app.invoker.clone()
    }
}
