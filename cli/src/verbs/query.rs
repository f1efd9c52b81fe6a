//! `assetmesh query`: lists the assets that match a filter, page by page, and says how complete the list is.

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use reqwest::{Method, Url};
use serde_json::Value;

use crate::args::{PageArgs, QueryArgs};
use crate::client::{Client, text};
use crate::edits::text_argument;
use crate::exit::{Exit, Fault};
use crate::output::{Output, cell, human_bytes, printable};

/// What one request may ask a node for.
const PAGE_ROWS_MAX: u64 = 1000;

/// Prints the matching assets.
pub(crate) async fn run(args: &QueryArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let filter = text_argument(&args.filter, "filter")?;
    let filter: Value = serde_json::from_str(&filter)
        .map_err(|error| Fault::usage(format!("the filter is not valid JSON: {error}")))?;
    list(&filter, &args.page, client, output).await.context("cannot query assets")
}

/// Prints the assets that match `filter`, as many pages as `page` asks for.
/// Fails with [`Exit::Partial`] after printing if nodes did not answer and that was not allowed.
pub(crate) async fn list(
    filter: &Value,
    page: &PageArgs,
    client: &Client,
    output: Output,
) -> anyhow::Result<()> {
    let mut cursor = page.cursor.clone();
    let mut left = page.limit;
    let mut missing = None;
    let mut header = true;
    loop {
        let url = page_url(page, client, left, cursor.as_deref());
        let answer = client.ask(Method::POST, url, Some(filter)).await?;
        let rows = answer.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        print_rows(rows, header, output)?;
        header = false;
        let completeness = Completeness::of(answer.get("federation").unwrap_or(&Value::Null));
        missing = missing.or(completeness.missing);
        left = left.map(|left| left.saturating_sub(rows.len() as u64));
        cursor = answer.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let wanted = left.map_or(page.all, |left| left > 0);
        if cursor.is_none() || !wanted {
            output.note(completeness.told);
            break;
        }
    }
    if let Some(cursor) = cursor {
        output.note(format_args!("there are more: --all, or --cursor {}", printable(&cursor)));
    }
    match missing {
        Some(missing) if !page.allow_partial => {
            let sentence = format!("the list is not complete: {missing}; --allow-partial accepts that");
            Err(Fault::new(Exit::Partial, sentence).into())
        }
        Some(missing) => {
            output.note(format_args!("the list is not complete: {missing}"));
            Ok(())
        }
        None => Ok(()),
    }
}

fn page_url(page: &PageArgs, client: &Client, left: Option<u64>, cursor: Option<&str>) -> Url {
    let mut url = client.url(&["assets"]);
    let mut pairs = url.query_pairs_mut();
    // What the nodes could answer is always wanted: the exit code tells whether it was all.
    pairs.append_pair("allow_partial", "true");
    if let Some(left) = left {
        pairs.append_pair("limit", &left.min(PAGE_ROWS_MAX).to_string());
    }
    if let Some(scope) = page.scope {
        pairs.append_pair("scope", scope.word());
    }
    if let Some(timeout) = page.timeout {
        pairs.append_pair("timeout_ms", &timeout.0.as_millis().to_string());
    }
    for (name, value) in [("sort", page.sort.as_deref()), ("cursor", cursor)] {
        if let Some(value) = value {
            pairs.append_pair(name, value);
        }
    }
    drop(pairs);
    url
}

/// How much of the federation an answer speaks for.
struct Completeness {
    told: String,
    missing: Option<String>,
}

impl Completeness {
    fn of(federation: &Value) -> Self {
        let count = |name| federation.pointer(&format!("/nodes/{name}")).and_then(Value::as_u64).unwrap_or(0);
        let took = federation.get("took_ms").and_then(Value::as_f64).unwrap_or(0.0);
        let pruned = match count("pruned") {
            0 => String::new(),
            pruned => format!(", {pruned} could not hold a match"),
        };
        let told =
            format!("{} of {} nodes answered{pruned}, in {took:.0} ms", count("answered"), count("known"));
        let complete = federation.get("complete").and_then(Value::as_bool).unwrap_or(false);
        Self { told, missing: (!complete).then(|| missing_nodes(federation)) }
    }
}

/// Names the nodes without a full answer, and why.
pub(crate) fn missing_nodes(federation: &Value) -> String {
    let missing = federation.get("missing").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if missing.is_empty() {
        return "the node does not say what is missing".to_owned();
    }
    let names = missing.iter().map(|node| {
        let name = match text(node, "name") {
            "" => text(node, "assets_db_id"),
            name => name,
        };
        printable(&format!("{name} ({})", text(node, "reason")))
    });
    format!("no full answer from {}", names.collect::<Vec<_>>().join(", "))
}

fn print_rows(rows: &[Value], header: bool, output: Output) -> anyhow::Result<()> {
    if output.json() {
        return rows.iter().try_for_each(|row| output.document(row));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if header {
        table.set_header(["URI", "SIZE", "TYPE", "TAGS"]);
    } else if rows.is_empty() {
        return Ok(());
    }
    for row in rows {
        table.add_row(cells(row));
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    output.data(table.trim_fmt())
}

/// The cells of one asset. Without a uri it is shown by its content, without content by its name.
fn cells(asset: &Value) -> [String; 4] {
    let file = asset.get("asset_file_info").unwrap_or(&Value::Null);
    let known = [text(asset, "asset_uri"), text(asset, "asset_id"), text(asset, "asset_name")];
    let uri = known.into_iter().find(|text| !text.is_empty()).unwrap_or("-");
    let size = file.get("file_size").and_then(Value::as_u64).map_or("-".to_owned(), human_bytes);
    let kind = match text(file, "file_type") {
        "" => "-",
        kind => kind,
    };
    let tags = asset.get("asset_tags").and_then(Value::as_array).into_iter().flatten();
    let tags: Vec<_> = tags.map(|tag| tag.as_str().map_or_else(|| tag.to_string(), str::to_owned)).collect();
    [printable(uri), size, cell(kind), cell(&tags.join(","))]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_shows_what_the_asset_has() {
        let stored = json!({"asset_uri":"a:1-x","asset_file_info":{"file_size":2048,"file_type":"image/png"},"asset_tags":["b",1]});
        assert_eq!(cells(&stored), ["a:1-x", "2.00 KiB", "image/png", "b,1"]);
        let external = json!({"asset_uri":"","asset_id":"","asset_name":"n\u{1b}","asset_tags":null});
        assert_eq!(cells(&external), ["n\\u{1b}", "-", "-", ""]);
    }

    #[test]
    fn an_incomplete_answer_names_who_is_missing() {
        let federation = json!({"complete":false,"nodes":{"known":3,"answered":1,"pruned":0},
            "missing":[{"assets_db_id":"i","name":"robot-7","reason":"timed_out"},{"assets_db_id":"j","name":"","reason":"down"}]});
        let completeness = Completeness::of(&federation);
        assert_eq!(completeness.missing.unwrap(), "no full answer from robot-7 (timed_out), j (down)");
        assert!(completeness.told.starts_with("1 of 3 nodes answered"), "{}", completeness.told);
    }

    #[test]
    fn an_answer_without_federation_facts_does_not_count_as_complete() {
        assert!(Completeness::of(&Value::Null).missing.is_some());
    }
}
