//! `assetmesh rm`: deletes one asset.

use anyhow::Context as _;
use reqwest::Method;

use crate::args::RmArgs;
use crate::client::Client;
use crate::output::Output;

/// Deletes the asset and prints its uri.
pub(crate) async fn run(args: &RmArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let url = client.url(&["asset", &args.uri]);
    let deleted = client.change(Method::DELETE, url, None).await;
    let answer = deleted.with_context(|| format!("cannot delete {}", args.uri))?;
    if output.json() {
        return output.document(answer.get("data").unwrap_or(&answer));
    }
    output.note("deleted");
    output.data(&args.uri)
}
