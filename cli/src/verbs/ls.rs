//! `assetmesh ls`: lists assets, which is a query for all.

use anyhow::Context as _;
use serde_json::json;

use super::query;
use crate::args::LsArgs;
use crate::client::Client;
use crate::output::Output;

/// Prints the list.
pub(crate) async fn run(args: &LsArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    query::list(&json!({}), &args.page, client, output).await.context("cannot list assets")
}
