//! The command line as typed text: what may be said, not what follows from it.

#![expect(
    clippy::doc_markdown,
    reason = "these docs are help texts: a terminal shows backticks and brackets as they are"
)]

mod access;
mod federation;
mod worker;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use self::access::{AccessArgs, TokenCreateArgs, TokenLsArgs, TokenRevokeArgs, TokenVerb};
pub(crate) use self::federation::{
    BlockArgs, EntryArgs, ForgetArgs, PeersArgs, PeersVerb, RegistryAddArgs, RegistryLsArgs,
    RegistryUpdateArgs, RegistryVerb, UnblockArgs,
};
pub(crate) use self::worker::{WorkerRunArgs, WorkerVerb};
use crate::edits::{MetaEdit, PathEdit};
use crate::value::{
    ByteSize, Listen, LogFormat, Network, NodeUrl, ProbeReach, PublicUrl, RemoteWrites, Span,
};

/// A federation of asset databases without a centre.
#[derive(Debug, Parser)]
#[command(name = "assetmesh", version, about, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "\
Settings: flag, then ASSETMESH_* variable, then the file of --config, then the default.
Exit codes: 0 ok, 1 unexpected, 2 usage, 3 not found, 4 not allowed, 5 conflict, 6 integrity, \
7 partial, 8 unreachable or timeout, 9 too large or quota.";

/// What can be done. One file under `verbs/` each.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run a node
    Node {
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Run a worker, which invokes functions for the accounts of a node
    Worker {
        #[command(subcommand)]
        verb: WorkerVerb,
    },
    /// Store a file as an asset; prints its uri
    Upload(UploadArgs),
    /// Fetch an asset's bytes, check them and keep them in a file; prints its path
    Download(DownloadArgs),
    /// List assets
    Ls(LsArgs),
    /// List the assets that match a MongoDB filter
    Query(QueryArgs),
    /// Show the description of one asset
    Show(ShowArgs),
    /// Change the description of an asset; prints its uri
    Update(UpdateArgs),
    /// Delete an asset; prints its uri
    Rm(RmArgs),
    /// List the other nodes of the federation, as the asked node sees them
    Peers(PeersArgs),
    /// Read and change the registry of the federation
    Registry {
        #[command(subcommand)]
        verb: RegistryVerb,
    },
    /// Make, list and revoke the tokens of a node of one's own, whether it runs or not
    Token {
        #[command(subcommand)]
        verb: TokenVerb,
    },
    /// Filter JSON documents, one a line, from standard input; needs no node
    Filter(FilterArgs),
    /// Check the data directory of a stopped node; or with --node a running one, which mends what other nodes hold
    Verify(VerifyArgs),
    /// Print a completion script, e.g. `assetmesh completion bash > /etc/bash_completion.d/assetmesh`
    Completion {
        /// The shell that will read it
        shell: clap_complete::Shell,
    },
}

/// What can be done with a node of one's own.
#[derive(Debug, Subcommand)]
pub(crate) enum NodeVerb {
    /// Start a node and serve until SIGTERM or Ctrl-C
    Run(NodeRunArgs),
}

/// The settings file.
#[derive(Debug, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The settings file, see assetmesh.example.toml [env: ASSETMESH_CONFIG]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// `assetmesh node run`.
#[derive(Debug, Default, Args)]
pub(crate) struct NodeRunArgs {
    /// Where the node keeps its key and its assets [env: ASSETMESH_DATA_DIR] [default: ./assetmesh-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The address to serve HTTP on; port 0 takes any free one [env: ASSETMESH_HTTP] [default: 127.0.0.1:4000]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<Listen>,
    /// Where to listen for peers, such as /ip4/0.0.0.0/tcp/4001; may be given again [env: ASSETMESH_P2P, with commas] [default: /ip4/127.0.0.1/tcp/4001]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) p2p: Vec<String>,
    /// A node of the federation to begin with, as multiaddr; may be given again [env: ASSETMESH_BOOTSTRAP, with commas]
    #[arg(long, value_name = "MULTIADDR")]
    pub(crate) bootstrap: Vec<String>,
    /// The federation's name; nodes of another name are strangers [env: ASSETMESH_NETWORK] [default: main]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<Network>,
    /// The key file that closes the federation: 64 hex digits, the same on every node [env: ASSETMESH_NETWORK_KEY_FILE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) network_key: Option<PathBuf>,
    /// Look for nodes in the local network by mDNS [env: ASSETMESH_MDNS]
    #[arg(long)]
    pub(crate) mdns: bool,
    /// Whose changes of this node's assets are taken [env: ASSETMESH_REMOTE_WRITES] [default: members if the federation has a key or peers reach this node only on loopback, else deny]
    #[arg(long, value_name = "WHOSE")]
    pub(crate) remote_writes: Option<RemoteWrites>,
    /// Room for content of other nodes that clients have asked for; 0 keeps nothing [env: ASSETMESH_CACHE_MAX] [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) cache_max: Option<ByteSize>,
    /// Whom /check_health may call [env: ASSETMESH_PROBE] [default: any]
    #[arg(long, value_name = "REACH")]
    pub(crate) probe: Option<ProbeReach>,
    /// The URL at which others reach this node, if it is not the bound address [env: ASSETMESH_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<PublicUrl>,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
    /// A name for people [env: ASSETMESH_NAME]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A tag of this node; may be given again [env: ASSETMESH_LABELS, with commas]
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Where the assets of invocations are staged; containers see the same path [env: ASSETMESH_ASSET_ROOT] [default: staging in the data directory]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) asset_root: Option<PathBuf>,
    /// The largest file that an upload may hold, such as 5GB [env: ASSETMESH_UPLOAD_MAX] [default: no limit]
    #[arg(long, value_name = "SIZE")]
    pub(crate) upload_max: Option<ByteSize>,
    /// How many connections are served at once [env: ASSETMESH_CONNECTIONS_MAX] [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) connections_max: Option<NonZeroUsize>,
    /// What to log, e.g. `info` or `assetmesh_node=debug,warn` [env: ASSETMESH_LOG, then RUST_LOG] [default: info,libp2p=error]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How to log [env: ASSETMESH_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// How a client verb reaches a node.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ClientArgs {
    /// The node to ask [env: ASSETMESH_NODE] [default: http://127.0.0.1:4000]
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub(crate) node: Option<NodeUrl>,
    /// The bearer token; better given by file [env: ASSETMESH_TOKEN or ASSETMESH_TOKEN_FILE]
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Give up when nothing moves for so long [env: ASSETMESH_IDLE_TIMEOUT] [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub(crate) idle_timeout: Option<Span>,
    /// How often to try again when a connection is lost [env: ASSETMESH_RETRIES] [default: 6]
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// How a verb tells its result.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print data as JSON, one value a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Print nothing but data and errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Draw no progress bar
    #[arg(long)]
    pub(crate) no_progress: bool,
}

/// `assetmesh upload`.
#[derive(Debug, Args)]
pub(crate) struct UploadArgs {
    /// The file; `-` reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The asset's name
    #[arg(long)]
    pub(crate) name: String,
    /// The asset's version, such as 1.0
    #[arg(long)]
    pub(crate) version: String,
    /// The version's tag, such as initial
    #[arg(long)]
    pub(crate) tag: String,
    /// A tag of the asset; may be given again
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Metadata: `K=text` or `K:=JSON`, K may be a dotted path; may be given again
    #[arg(long, value_name = "K=V")]
    pub(crate) meta: Vec<MetaEdit>,
    /// A file with a JSON object of metadata; `--meta` adds to it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) metadata: Option<PathBuf>,
    /// The media type to store [default: by the file's name]
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// The file name to store [default: the file's own; for standard input the asset's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) file_name: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh download`.
#[derive(Debug, Args)]
pub(crate) struct DownloadArgs {
    /// The asset's uri, or its id (64 hex characters)
    #[arg(value_name = "URI|ASSET_ID")]
    pub(crate) asset: String,
    /// Where to keep it: a file, a folder, or `-` for standard output [default: the stored file name, here]
    #[arg(short = 'o', long = "output", value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(crate) target: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Where to look for assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scope {
    /// On every node
    Federation,
    /// On the asked node only
    Local,
}

/// Which part of a list to show.
#[derive(Debug, Default, Args)]
pub(crate) struct PageArgs {
    /// The order: `-asset_version.version,asset_name` or JSON `{"asset_name":1}` [default: oldest first]
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// At most so many (a node gives up to 1000 at once)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    /// Go on where an earlier list stopped
    #[arg(long)]
    pub(crate) cursor: Option<String>,
    /// Fetch page after page until the end
    #[arg(long)]
    pub(crate) all: bool,
    /// Where to look
    #[arg(long)]
    pub(crate) scope: Option<Scope>,
    /// How long the nodes may take for a page, up to 10s
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,
    /// A list that lacks what some nodes hold is no failure
    #[arg(long)]
    pub(crate) allow_partial: bool,
}

/// `assetmesh ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh query`.
#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The filter as JSON, such as `{"asset_tags":"vision"}`; `@FILE` reads it from a file
    #[arg(value_name = "FILTER")]
    pub(crate) filter: String,
    #[command(flatten)]
    pub(crate) page: PageArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The asset's uri or record id
    pub(crate) uri: String,
    /// Where to look
    #[arg(long)]
    pub(crate) scope: Option<Scope>,
    /// Take the one that this asset database holds
    #[arg(long, value_name = "ID")]
    pub(crate) assets_db_id: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh update`.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The asset's uri or record id
    pub(crate) uri: String,
    /// A new name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// A new version
    #[arg(long)]
    pub(crate) version: Option<String>,
    /// A new tag of the version
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// The tags of the asset, in place of those it has; may be given again
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Metadata to set: `K=text` or `K:=JSON`, K may be a dotted path; may be given again
    #[arg(long, value_name = "K=V")]
    pub(crate) meta: Vec<MetaEdit>,
    /// Any field to set: `asset_metadata.a.b=JSON`; may be given again
    #[arg(long, value_name = "PATH=JSON")]
    pub(crate) set: Vec<PathEdit>,
    /// A JSON object of fields to set; `@FILE` reads it from a file. The other options add to it
    #[arg(long, value_name = "JSON")]
    pub(crate) doc: Option<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh rm`.
#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// The asset's uri or record id
    pub(crate) uri: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh filter`.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// The filter as JSON; `@FILE` reads it from a file
    #[arg(value_name = "FILTER")]
    pub(crate) filter: String,
    /// The order: `-a.b,c` or JSON `{"a.b":-1,"c":1}` [default: as they come]
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    pub(crate) sort: Option<String>,
    /// Leave out the first so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) skip: u64,
    /// At most so many; 0 means all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) limit: u64,
    /// Which fields to print: a MongoDB projection such as `{"a":1}`; `@FILE` reads it from a file
    #[arg(long, value_name = "DOC")]
    pub(crate) project: Option<String>,
}

/// `assetmesh verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The data directory of a node that is stopped [env: ASSETMESH_DATA_DIR] [default: ./assetmesh-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "node")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Read every byte, not only the descriptions and indexes; a running node always does
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_asset_version_is_not_the_version_of_the_program() {
        let line = ["assetmesh", "upload", "f", "--name", "n", "--version", "1.0", "--tag", "t"];
        let Verb::Upload(upload) = Cli::try_parse_from(line).unwrap().verb else { panic!("not an upload") };
        assert_eq!(upload.version, "1.0");
    }

    #[test]
    fn a_descending_sort_is_not_taken_for_a_flag() {
        let line = ["assetmesh", "filter", "{}", "--sort", "-a.b,c"];
        let Verb::Filter(filter) = Cli::try_parse_from(line).unwrap().verb else { panic!("not a filter") };
        assert_eq!(filter.sort.as_deref(), Some("-a.b,c"));
    }
}
