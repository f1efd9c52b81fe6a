//! `assetmesh show`: prints the description of one asset.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::Value;

use super::query::missing_nodes;
use crate::args::{Scope, ShowArgs};
use crate::client::{Client, text};
use crate::output::{Output, printable};

/// Prints the description, and tells on standard error who else holds the uri.
pub(crate) async fn run(args: &ShowArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut url = client.url(&["asset", &args.uri]);
    if let Some(scope) = args.scope {
        url.query_pairs_mut().append_pair("scope", scope.word());
    }
    if let Some(id) = &args.assets_db_id {
        url.query_pairs_mut().append_pair("assets_db_id", id);
    }
    let answer =
        client.ask(Method::GET, url, None).await.with_context(|| format!("cannot show {}", args.uri))?;
    let asset = answer.get("data").unwrap_or(&Value::Null);
    output.document(asset)?;
    for other in answer.get("also_at").and_then(Value::as_array).into_iter().flatten() {
        let content =
            if other.get("same_content") == Some(&Value::Bool(true)) { "the same" } else { "other" };
        output
            .note(format_args!("also at {} with {content} content", printable(text(other, "assets_db_id"))));
    }
    if let Some(federation) = answer.get("federation") {
        output.note(format_args!("{}", missing_nodes(federation)));
    }
    Ok(())
}

impl Scope {
    /// The word that the node knows.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Federation => "federation",
            Self::Local => "local",
        }
    }
}
