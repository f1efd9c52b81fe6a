//! `assetmesh update`: changes the description of one asset.

use anyhow::Context as _;
use reqwest::Method;
use serde_json::{Map, Value};

use crate::args::UpdateArgs;
use crate::client::{Client, text};
use crate::edits::object_argument;
use crate::exit::Fault;
use crate::output::Output;

/// Sends the changes and prints the uri that the asset has now.
pub(crate) async fn run(args: &UpdateArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let changes = Value::Object(changes(args)?);
    let url = client.url(&["asset", &args.uri]);
    let answer = client
        .change(Method::PUT, url, Some(&changes))
        .await
        .with_context(|| format!("cannot update {}", args.uri))?;
    let data = answer.get("data").unwrap_or(&Value::Null);
    if output.json() {
        return output.document(data);
    }
    output.note("updated");
    match text(data, "asset_uri") {
        "" => output.data(&args.uri),
        uri => output.data(uri),
    }
}

/// The body of the update: what `--doc` says, then each option on top.
fn changes(args: &UpdateArgs) -> Result<Map<String, Value>, Fault> {
    let mut body = match &args.doc {
        Some(doc) => object_argument(doc, "document")?,
        None => Map::new(),
    };
    let texts = [
        ("asset_name", &args.name),
        ("asset_version.version", &args.version),
        ("asset_version.tag", &args.tag),
    ];
    for (path, text) in texts {
        if let Some(text) = text {
            body.insert(path.to_owned(), Value::from(text.as_str()));
        }
    }
    if !args.labels.is_empty() {
        body.insert("asset_tags".to_owned(), Value::from(args.labels.clone()));
    }
    for edit in &args.meta {
        edit.as_path().add_to(&mut body);
    }
    for edit in &args.set {
        edit.add_to(&mut body);
    }
    if body.is_empty() {
        return Err(Fault::usage(
            "say what to change: --meta, --label, --set, --doc, --name, --version or --tag",
        ));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parsed(line: &[&str]) -> UpdateArgs {
        let line = ["assetmesh", "update", "u"].iter().chain(line);
        let Verb::Update(args) = Cli::try_parse_from(line).unwrap().verb else { panic!("not an update") };
        args
    }

    #[test]
    fn options_add_to_the_document() {
        let args = parsed(&[
            "--doc",
            r#"{"asset_public_url":"x"}"#,
            "--version",
            "2",
            "--label",
            "a",
            "--meta",
            "k=v",
        ]);
        let expected = json!({
            "asset_public_url": "x", "asset_version.version": "2", "asset_tags": ["a"], "asset_metadata.k": "v",
        });
        assert_eq!(Value::Object(changes(&args).unwrap()), expected);
    }

    #[test]
    fn an_update_without_a_change_says_what_may_change() {
        assert!(changes(&parsed(&[])).unwrap_err().to_string().contains("--meta"));
    }
}
