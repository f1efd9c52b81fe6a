//! What may be said of a worker in a process of its own.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::ConfigArgs;
use crate::value::{Listen, LogFormat, NodeUrl};

/// What can be done with a worker.
#[derive(Debug, Subcommand)]
pub(crate) enum WorkerVerb {
    /// Start a worker and serve until SIGTERM or Ctrl-C
    Run(WorkerRunArgs),
}

/// `assetmesh worker run`.
#[derive(Debug, Default, Args)]
pub(crate) struct WorkerRunArgs {
    /// The address to serve invocations on; port 0 takes any free one [env: ASSETMESH_WORKER_HTTP] [default: 127.0.0.1:4100]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<Listen>,
    /// The node whose accounts and assets are meant; it gets the callers' tokens [env: ASSETMESH_NODE] [default: http://127.0.0.1:4000]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) node: Option<NodeUrl>,
    /// Where the assets of invocations are staged; containers see the same path [env: ASSETMESH_ASSET_ROOT] [default: ./assetmesh-staging]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) asset_root: Option<PathBuf>,
    /// What to log, e.g. `info` or `assetmesh_node=debug,warn` [env: ASSETMESH_LOG, then RUST_LOG] [default: info,libp2p=error]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How to log [env: ASSETMESH_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}
