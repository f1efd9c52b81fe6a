//! What may be said of who may do what, and of tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::{ConfigArgs, OutputArgs};
use crate::value::{AuthMode, Issuer, Network, ReadsMode, Span};

/// Who may do what with a node.
#[derive(Debug, Default, Args)]
pub(crate) struct AccessArgs {
    /// Who may write [env: ASSETMESH_AUTH] [default: none]
    #[arg(long, value_name = "WHO")]
    pub(crate) auth: Option<AuthMode>,
    /// With --auth token: who may read [env: ASSETMESH_READS] [default: open]
    #[arg(long, value_name = "WHO")]
    pub(crate) reads: Option<ReadsMode>,
    /// Another node whose tokens are accepted here, by assets_db_id or public key; may be given again [env: ASSETMESH_TRUSTED_ISSUERS, with commas]
    #[arg(long = "trusted-issuer", value_name = "NODE")]
    pub(crate) trusted_issuers: Vec<Issuer>,
    /// Serve other machines although anybody may write [env: ASSETMESH_ALLOW_ANONYMOUS_WRITES]
    #[arg(long)]
    pub(crate) allow_anonymous_writes: bool,
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token; prints it once, as the last line
    Create(TokenCreateArgs),
    /// List the tokens, without their secrets
    Ls(TokenLsArgs),
    /// Take a token back, at once; prints its id
    Revoke(TokenRevokeArgs),
}

/// Whose tokens are meant.
#[derive(Debug, Default, Args)]
pub(crate) struct OfficeArgs {
    /// The data directory of the node [env: ASSETMESH_DATA_DIR] [default: ./assetmesh-data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// `assetmesh token create`.
#[derive(Debug, Args)]
pub(crate) struct TokenCreateArgs {
    /// On whose behalf the token asks
    #[arg(long, value_name = "NAME")]
    pub(crate) account: String,
    /// What it may do: assets:read, assets:write, registry:write, admin, invoke_function; may be given again
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub(crate) scopes: Vec<String>,
    /// How long it lives, up to a year for a JWT [default: 1h, an opaque key without end]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<Span>,
    /// Make an opaque key (nvapi-...) in place of a JWT: short, and good on this node only
    #[arg(long)]
    pub(crate) opaque: bool,
    /// The federation that a JWT is for [default: the one that the node last ran in]
    #[arg(long, value_name = "NAME")]
    pub(crate) network: Option<Network>,
    #[command(flatten)]
    pub(crate) office: OfficeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh token ls`.
#[derive(Debug, Args)]
pub(crate) struct TokenLsArgs {
    #[command(flatten)]
    pub(crate) office: OfficeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// `assetmesh token revoke`.
#[derive(Debug, Args)]
pub(crate) struct TokenRevokeArgs {
    /// The token's id, as `token ls` shows it
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Refuse a token of this other issuer (its `iss`), whose `jti` is ID, on this node
    #[arg(long, value_name = "ISSUER")]
    pub(crate) issuer: Option<String>,
    #[command(flatten)]
    pub(crate) office: OfficeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
