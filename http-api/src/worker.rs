//! The HTTP side of a worker in a process of its own: it invokes functions, and asks a node for accounts and assets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_node::staging::Staging;
use axum::extract::{FromRef, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Router, middleware};
use http::StatusCode;
use reqwest::Url;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::answer::Answer;
use crate::config::Config;
use crate::error::ApiError;
use crate::invoke::{Invoker, Remote};
use crate::metrics::Metrics;
use crate::nvcf::pexec;
use crate::{envelope, health, metrics, serve};

/// Who asks whether a worker is well does not wait for longer.
const READY_WITHIN: Duration = Duration::from_secs(2);

/// What a worker is made of.
#[derive(Debug)]
pub struct Worker {
    /// The node that knows accounts and assets.
    pub node: Url,
    /// Where assets are staged.
    pub staging: Staging,
}

#[derive(Debug, Clone)]
struct Shared {
    invoker: Invoker,
    remote: Remote,
    metrics: Arc<Metrics>,
}

impl FromRef<Shared> for Invoker {
    fn from_ref(shared: &Shared) -> Self {
        shared.invoker.clone()
    }
}

impl FromRef<Shared> for Arc<Metrics> {
    fn from_ref(shared: &Shared) -> Self {
        Self::clone(&shared.metrics)
    }
}

/// Serves a worker until `stop` is cancelled; then finishes what is in flight, within the stop deadline.
///
/// # Errors
/// When the node's URL cannot be used or the listener does not work at all.
pub async fn serve_worker(
    listener: TcpListener,
    worker: Worker,
    config: Config,
    stop: CancellationToken,
) -> io::Result<()> {
    let remote = Remote::new(&worker.node).map_err(io::Error::other)?;
    let source = Box::new(remote.clone());
    let (functions, limits) = (config.functions.clone(), config.invocations.clone());
    let invoker = Invoker::new(functions, limits, worker.staging, source);
    let metrics = Arc::new(Metrics::bare(invoker.metrics()));
    let shared = Shared { invoker: invoker.clone(), remote, metrics };
    serve::with_router(listener, (router(shared), invoker), config, stop).await
}

fn router(shared: Shared) -> Router {
    let routes = Router::new()
        .route("/v2/nvcf/pexec/functions/{function_id}", post(pexec::invoke))
        .route("/v2/nvcf/pexec/functions/{function_id}/versions/{version_id}", post(pexec::invoke_version))
        .route("/v2/nvcf/pexec/status/{request_id}", get(pexec::status))
        .route("/health", get(well))
        .route("/readyz", get(well))
        .route("/livez", get(health::live))
        .route("/metrics", get(metrics::metrics))
        .fallback(async || ApiError::no_worker_route())
        .layer(middleware::from_fn_with_state(shared.clone(), envelope::envelope))
        .with_state(shared);
    let service = ServiceExt::<Request>::map_response(routes, envelope::allow_options);
    Router::new().fallback_service(service)
}

/// Whether invocations can work: the node answers.
async fn well(State(shared): State<Shared>) -> Result<Response, ApiError> {
    if !shared.remote.is_ready(READY_WITHIN).await {
        return Err(ApiError::unready("the node of this worker does not answer, or is not ready"));
    }
    Ok(Answer::new().member("message", &"healthy")?.send(StatusCode::OK))
}
