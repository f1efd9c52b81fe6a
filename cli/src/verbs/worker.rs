//! `assetmesh worker run`: a worker beside a container, in a process of its own. It has no store: a node knows the accounts
//! and their assets.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use assetmesh_http_api::{Config, Worker, serve_worker};
use assetmesh_node::actor::Tasks;
use assetmesh_node::staging::Staging;
use tokio_util::sync::CancellationToken;

use super::node::{Signals, bind, log, reachable, serve_until};
use crate::exit::{Exit, Fault};
use crate::settings::WorkerSettings;

/// Without a data directory there is no better place; in the working folder it needs no rights.
const DEFAULT_ASSET_ROOT: &str = "./assetmesh-staging";

/// Runs a worker until SIGTERM or Ctrl-C.
pub(crate) async fn run(settings: WorkerSettings) -> anyhow::Result<()> {
    log::start(&settings.log_filter, settings.log_format)?;
    let mut signals = Signals::listen()?;
    let listener = bind(settings.http.0).await?;
    let bound = listener.local_addr().context("cannot tell the bound address")?;
    let mut tasks = Tasks::default();
    let invocations = settings.invocations;
    let root = invocations.asset_root.as_deref().unwrap_or(Path::new(DEFAULT_ASSET_ROOT));
    let staging = Staging::start(&mut tasks, root, invocations.staging).map_err(|error| {
        Fault::new(
            Exit::Usage,
            format!("cannot stage assets: {error}; choose another folder with --asset-root"),
        )
    })?;
    tell(bound, root, settings.node.0.as_str());
    let config =
        Config { functions: invocations.functions, invocations: invocations.limits, ..settings.http_limits };
    let (stop, deadline) = (CancellationToken::new(), config.stop_deadline);
    let worker = Worker { node: settings.node.0, staging };
    let serving = serve_worker(listener, worker, config, stop.clone());
    let served = serve_until(serving, std::future::pending(), &mut signals, &stop, deadline).await;
    tasks.finish().await;
    tracing::info!("stopped");
    served
}

fn tell(bound: SocketAddr, root: &Path, node: &str) {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    tracing::info!("worker at {}, staging in {}, for the node at {node}", reachable(bound), root.display());
}
