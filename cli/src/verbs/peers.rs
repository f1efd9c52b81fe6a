//! `assetmesh peers`: whom the asked node knows in its federation, and whether they live.

use anyhow::Context as _;
use comfy_table::{Table, presets};
use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{BlockArgs, ForgetArgs, UnblockArgs};
use crate::client::{Client, text};
use crate::output::{Output, cell};

/// Prints the peers of a node.
pub(crate) async fn list(client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.ask(Method::GET, client.url(&["v1", "peers"]), None).await;
    let answer = answer.context("cannot list peers")?;
    let peers = answer.get("data").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if output.json() {
        return peers.iter().try_for_each(|peer| output.document(peer));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["NAME", "STATE", "RTT", "LAST SEEN", "URL", "ASSETS DB ID"]);
    for peer in peers {
        table.add_row(cells(peer));
    }
    output.data(table.trim_fmt())?;
    let alive = peers.iter().filter(|peer| text(peer, "state") == "alive").count();
    output.note(format_args!("{alive} of {} peers are alive", peers.len()));
    Ok(())
}

fn cells(peer: &Value) -> [String; 6] {
    let rtt = peer.get("rtt_ms").and_then(Value::as_f64);
    let shown = |name| match text(peer, name) {
        "" => "-".to_owned(),
        text => cell(text),
    };
    let is_forgotten = peer.get("forgotten").and_then(Value::as_bool) == Some(true);
    let state = if is_forgotten { format!("{}, forgotten", shown("state")) } else { shown("state") };
    [
        shown("name"),
        state,
        rtt.map_or("-".to_owned(), |rtt| format!("{rtt:.1} ms")),
        shown("last_seen"),
        shown("public_url"),
        shown("assets_db_id"),
    ]
}

/// Cuts the node off from some peers.
pub(crate) async fn block(args: &BlockArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    replace(&args.ids, client, output).await.context("cannot block peers")
}

/// Lets the node talk to all peers.
pub(crate) async fn unblock(_: &UnblockArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    replace(&[], client, output).await.context("cannot unblock peers")
}

/// Has the node give up a peer that is gone for good.
pub(crate) async fn forget(args: &ForgetArgs, client: &Client, output: Output) -> anyhow::Result<()> {
    let answer = client.ask(Method::DELETE, client.url(&["v1", "peers", &args.id]), None).await;
    let answer = answer.with_context(|| format!("cannot forget the peer {}", args.id))?;
    if output.json() {
        return output.document(answer.get("data").unwrap_or(&answer));
    }
    output.note(format_args!("{} is forgotten until it is heard again", args.id));
    output.data(&args.id)
}

async fn replace(ids: &[String], client: &Client, output: Output) -> anyhow::Result<()> {
    let url = client.url(&["v1", "peers", "blocked"]);
    let answer = client.ask(Method::PUT, url, Some(&json!({"assets_db_ids": ids}))).await?;
    if output.json() {
        return output.document(answer.get("data").unwrap_or(&answer));
    }
    output.note(format_args!("{} peers are blocked", ids.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_is_known_of_a_peer() {
        let known = json!({"assets_db_id":"i","name":"n","state":"alive","rtt_ms":1.25,
            "last_seen":"2026-01-01T00:00:00Z","public_url":"http://h"});
        assert_eq!(cells(&known), ["n", "alive", "1.2 ms", "2026-01-01T00:00:00Z", "http://h", "i"]);
        let unseen =
            json!({"assets_db_id":"i","name":"n\u{1b}","state":"down","rtt_ms":null,"forgotten":true});
        assert_eq!(cells(&unseen), ["n\\u{1b}", "down, forgotten", "-", "-", "-", "i"]);
    }
}
