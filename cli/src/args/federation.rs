//! What may be said of peers and of the registry.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{ClientArgs, OutputArgs};
use crate::edits::{MetaEdit, PathEdit};
use crate::value::NodeUrl;

/// `assetmesh peers`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PeersArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<PeersVerb>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What can be done with peers, beside listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum PeersVerb {
    /// Cut the node off from these peers until it is told otherwise or restarts; takes the place of the list it had
    Block(BlockArgs),
    /// Let the node talk to all peers again
    Unblock(UnblockArgs),
    /// Give up a peer that is gone for good: answers of the node are complete without it, until it is heard again
    Forget(ForgetArgs),
}

/// `assetmesh peers forget`.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    /// Its asset database
    #[arg(value_name = "ASSETS_DB_ID")]
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh peers block`.
#[derive(Debug, Args)]
pub(crate) struct BlockArgs {
    /// Their asset databases
    #[arg(value_name = "ASSETS_DB_ID", required = true)]
    pub(crate) ids: Vec<String>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh peers unblock`.
#[derive(Debug, Args)]
pub(crate) struct UnblockArgs {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What can be done with the registry of the federation.
#[derive(Debug, Subcommand)]
pub(crate) enum RegistryVerb {
    /// List entries
    Ls(RegistryLsArgs),
    /// Show one entry
    Show(EntryArgs),
    /// Create an entry; prints its id
    Add(RegistryAddArgs),
    /// Change an entry; prints its id
    Update(RegistryUpdateArgs),
    /// Delete an entry; prints its id
    Rm(EntryArgs),
    /// Ask the service of an entry whether it is healthy; prints what it says
    Health(EntryArgs),
}

/// `assetmesh registry ls`.
#[derive(Debug, Args)]
pub(crate) struct RegistryLsArgs {
    /// Only what matches this filter, such as `{"asset_registry_tags":"vision"}`; `@FILE` reads it from a file
    #[arg(value_name = "FILTER", default_value = "{}")]
    pub(crate) filter: String,
    /// The order: `-asset_registry_name` or JSON `{"asset_registry_name":1}` [default: oldest first]
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
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// A verb that needs only an entry.
#[derive(Debug, Args)]
pub(crate) struct EntryArgs {
    /// The entry's id
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh registry add`.
#[derive(Debug, Args)]
pub(crate) struct RegistryAddArgs {
    /// The entry's name
    #[arg(long)]
    pub(crate) name: String,
    /// Where its service answers
    #[arg(long, value_hint = ValueHint::Url)]
    pub(crate) url: NodeUrl,
    /// An id of your own [default: a new UUID]
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// A tag of the entry; may be given again
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Metadata: `K=text` or `K:=JSON`, K may be a dotted path; may be given again
    #[arg(long, value_name = "K=V")]
    pub(crate) meta: Vec<MetaEdit>,
    /// A file with a JSON object of metadata; `--meta` adds to it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) metadata: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh registry update`.
#[derive(Debug, Args)]
pub(crate) struct RegistryUpdateArgs {
    /// The entry's id
    pub(crate) id: String,
    /// A new name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where its service answers now
    #[arg(long, value_hint = ValueHint::Url)]
    pub(crate) url: Option<NodeUrl>,
    /// The tags of the entry, in place of those it has; may be given again
    #[arg(long = "label", value_name = "LABEL")]
    pub(crate) labels: Vec<String>,
    /// Metadata to set: `K=text` or `K:=JSON`, K may be a dotted path; may be given again
    #[arg(long, value_name = "K=V")]
    pub(crate) meta: Vec<MetaEdit>,
    /// Any field to set: `asset_registry_metadata.a.b=JSON`; may be given again
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
