//! `assetmesh registry`: the entries of the federation's registry, as any node holds them.

use anyhow::Context as _;
use comfy_table::{Table, presets};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use crate::args::{EntryArgs, RegistryAddArgs, RegistryLsArgs, RegistryUpdateArgs};
use crate::client::{Client, text};
use crate::edits::{object_argument, object_file, text_argument};
use crate::exit::Fault;
use crate::output::{Output, cell, printable};

/// What one request may ask a node for.
const PAGE_ROWS_MAX: u64 = 1000;

/// Prints the entries that match.
pub(crate) async fn list(args: &RegistryLsArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let filter = text_argument(&args.filter, "filter")?;
    let filter: Value = serde_json::from_str(&filter)
        .map_err(|error| Fault::usage(format!("the filter is not valid JSON: {error}")))?;
    let (mut cursor, mut left, mut header) = (args.cursor.clone(), args.limit, true);
    loop {
        let url = page_url(args, client, left, cursor.as_deref());
        let answer = client.ask(Method::POST, url, Some(&filter)).await;
        let answer = answer.context("cannot list the registry")?;
        let rows = answer.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        print_rows(rows, header, output)?;
        header = false;
        left = left.map(|left| left.saturating_sub(rows.len() as u64));
        cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        if cursor.is_none() || !left.map_or(args.all, |left| left > 0) {
            break;
        }
    }
    if let Some(cursor) = cursor {
        output.note(format_args!("there are more: --all, or --cursor {}", printable(&cursor)));
    }
    Ok(())
}

fn page_url(args: &RegistryLsArgs, client: &Client, left: Option<u64>, cursor: Option<&str>) -> Url {
    let mut url = client.url(&["asset_registries"]);
    let limit = left.map(|left| left.min(PAGE_ROWS_MAX).to_string());
    let given = [("limit", limit.as_deref()), ("sort", args.sort.as_deref()), ("cursor", cursor)];
    let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if !given.is_empty() {
        url.query_pairs_mut().extend_pairs(given);
    }
    url
}

fn print_rows(rows: &[Value], header: bool, output: Output) -> anyhow::Result<()> {
    if output.json() {
        return rows.iter().try_for_each(|row| output.document(row));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if header {
        table.set_header(["ID", "NAME", "URL", "TAGS"]);
    } else if rows.is_empty() {
        return Ok(());
    }
    for row in rows {
        let tags = row.get("asset_registry_tags").and_then(Value::as_array).into_iter().flatten();
        let tags: Vec<_> = tags.filter_map(Value::as_str).collect();
        table.add_row([
            printable(text(row, "asset_registry_id")),
            cell(text(row, "asset_registry_name")),
            cell(text(row, "asset_registry_public_url")),
            cell(&tags.join(",")),
        ]);
    }
    output.data(table.trim_fmt())
}

/// Prints one entry, and tells on standard error whose it is.
pub(crate) async fn show(args: &EntryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.ask(Method::GET, client.url(&["asset_registry", &args.id]), None).await;
    let answer = answer.with_context(|| format!("cannot show {}", args.id))?;
    output.document(answer.get("data").unwrap_or(&Value::Null))?;
    if let Some(facts) = answer.get("federation") {
        output.note(format_args!(
            "owned by {}, which is {}",
            printable(text(facts, "owner")),
            printable(text(facts, "state"))
        ));
        let others = facts.get("also_owned_by").and_then(Value::as_array).into_iter().flatten();
        for other in others.filter_map(Value::as_str) {
            output.note(format_args!(
                "{} owns an entry of this id too, which does not show: one of them must delete its own",
                printable(other)
            ));
        }
    }
    Ok(())
}

/// Creates an entry and prints its id.
pub(crate) async fn add(args: &RegistryAddArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let mut metadata = match &args.metadata {
        Some(path) => object_file(path, "metadata")?,
        None => Map::new(),
    };
    for edit in &args.meta {
        edit.apply(&mut metadata)?;
    }
    let mut body = json!({
        "asset_registry_name": args.name,
        "asset_registry_metadata": metadata,
        "asset_registry_tags": args.labels,
        "asset_registry_public_url": args.url.to_string().trim_end_matches('/'),
    });
    if let Some(id) = &args.id {
        body["asset_registry_id"] = Value::from(id.as_str());
    }
    let answer = client.change(Method::POST, client.url(&["asset_registry"]), Some(&body)).await;
    let answer = answer.with_context(|| format!("cannot register {}", args.name))?;
    changed(&answer, "created", None, output)
}

/// Changes an entry and prints its id.
pub(crate) async fn update(args: &RegistryUpdateArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let changes = Value::Object(changes(args)?);
    let url = client.url(&["asset_registry", &args.id]);
    let answer = client.change(Method::PUT, url, Some(&changes)).await;
    let answer = answer.with_context(|| format!("cannot update {}", args.id))?;
    changed(&answer, "updated", Some(&args.id), output)
}

/// The body of the update: what `--doc` says, then each option on top.
fn changes(args: &RegistryUpdateArgs) -> Result<Map<String, Value>, Fault> {
    let mut body = match &args.doc {
        Some(doc) => object_argument(doc, "document")?,
        None => Map::new(),
    };
    if let Some(name) = &args.name {
        body.insert("asset_registry_name".to_owned(), Value::from(name.as_str()));
    }
    if let Some(url) = &args.url {
        let url = url.to_string();
        body.insert("asset_registry_public_url".to_owned(), Value::from(url.trim_end_matches('/')));
    }
    if !args.labels.is_empty() {
        body.insert("asset_registry_tags".to_owned(), Value::from(args.labels.clone()));
    }
    for edit in &args.meta {
        edit.below("asset_registry_metadata").add_to(&mut body);
    }
    for edit in &args.set {
        edit.add_to(&mut body);
    }
    if body.is_empty() {
        return Err(Fault::usage("say what to change: --name, --url, --label, --meta, --set or --doc"));
    }
    Ok(body)
}

/// Deletes an entry and prints its id.
pub(crate) async fn remove(args: &EntryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.change(Method::DELETE, client.url(&["asset_registry", &args.id]), None).await;
    let answer = answer.with_context(|| format!("cannot delete {}", args.id))?;
    changed(&answer, "deleted", Some(&args.id), output)
}

/// Prints what the entry's service says of its health.
pub(crate) async fn health(args: &EntryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let url = client.url(&["check_health", &args.id]);
    // What is not healthy now is told now, so this is not tried again.
    let answer = client.change(Method::GET, url, None).await;
    let answer = answer.with_context(|| format!("{} is not known to be healthy", args.id))?;
    output.document(answer.get("data").unwrap_or(&Value::Null))
}

fn changed(answer: &Value, what: &str, id: Option<&str>, output: Output) -> anyhow::Result<()> {
    let data = answer.get("data").unwrap_or(&Value::Null);
    if output.json() {
        return output.document(data);
    }
    output.note(what);
    output.data(id.unwrap_or_else(|| text(data, "id")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, RegistryVerb, Verb};

    fn parsed(line: &[&str]) -> RegistryUpdateArgs {
        let line = ["assetmesh", "registry", "update", "id"].iter().chain(line);
        match Cli::try_parse_from(line).unwrap().verb {
            Verb::Registry { verb: RegistryVerb::Update(args) } => args,
            other => panic!("not an update: {other:?}"),
        }
    }

    #[test]
    fn options_add_to_the_document() {
        let args = parsed(&[
            "--doc",
            r#"{"asset_registry_name":"old"}"#,
            "--name",
            "new",
            "--url",
            "http://h:1",
            "--meta",
            "a.b:=1",
            "--set",
            "asset_registry_metadata.c=[2]",
            "--label",
            "x",
        ]);
        let expect = json!({
            "asset_registry_name": "new", "asset_registry_public_url": "http://h:1", "asset_registry_tags": ["x"],
            "asset_registry_metadata.a.b": 1, "asset_registry_metadata.c": [2],
        });
        assert_eq!(Value::Object(changes(&args).unwrap()), expect);
    }

    #[test]
    fn an_update_without_a_change_says_what_may_change() {
        assert!(changes(&parsed(&[])).unwrap_err().to_string().contains("--meta"));
    }
}
