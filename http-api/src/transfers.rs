//! `GET /v1/transfers`: the content that this node is fetching from others for its clients, and why any of it waits.

use std::collections::HashMap;

use assetmesh_node::fetch::{ProviderState, ProviderView, TransferView};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::params::Params;
use crate::schema::{Any, TransfersAnswer};

#[derive(Debug, Serialize)]
struct Transfer {
    asset_id: String,
    size: u64,
    to: u64,
    providers: Vec<Provider>,
    waiting_ms: Option<u64>,
    reason: Option<String>,
    under_way: bool,
}

#[derive(Debug, Serialize)]
struct Provider {
    assets_db_id: String,
    name: String,
    state: &'static str,
    silent_ms: Option<u64>,
    trouble: Option<String>,
}

/// The transfers of content from other nodes that are under way, at most a tenth of a second old, and those that ended in
/// the last seconds.
#[utoipa::path(get, path = "/v1/transfers", tag = "node",
    params(("asset_id" = Option<String>, Query, description = "Only those of this content")),
    responses((status = 200, description = "The transfers", body = TransfersAnswer), Any))]
pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query())?;
    let asset_id = params.text("asset_id");
    params.finish()?;
    let names: HashMap<String, String> =
        app.node.peers().into_iter().map(|peer| (peer.assets_db_id, peer.name)).collect();
    let transfers = app.node.fetch().transfers().into_iter();
    let wanted = transfers.filter(|view| asset_id.as_ref().is_none_or(|id| view.id.to_string() == *id));
    let shown: Vec<Transfer> = wanted.map(|view| transfer(view, &names)).collect();
    Ok(Answer::new().member("data", &shown)?.send(StatusCode::OK))
}

fn transfer(view: TransferView, names: &HashMap<String, String>) -> Transfer {
    let TransferView { id, size, to, providers, waiting, ended } = view;
    let providers: Vec<Provider> = providers.into_iter().map(|view| provider(view, names)).collect();
    Transfer {
        asset_id: id.to_string(),
        size,
        to,
        reason: waiting.map(|_| reason(&providers)),
        providers,
        waiting_ms: waiting.map(millis),
        under_way: ended.is_none(),
    }
}

fn provider(view: ProviderView, names: &HashMap<String, String>) -> Provider {
    let assets_db_id = view.key.assets_db_id().to_string();
    let (state, silence) = match view.state {
        ProviderState::Bringing(silence) => ("bringing", Some(silence)),
        ProviderState::Idle => ("idle", None),
        ProviderState::Busy => ("busy", None),
        ProviderState::GivenUp => ("given_up", None),
    };
    let name = names.get(&assets_db_id).cloned().unwrap_or_default();
    Provider { assets_db_id, name, state, silent_ms: silence.map(millis), trouble: view.trouble }
}

/// Why no byte comes, in the words that a person needs.
fn reason(providers: &[Provider]) -> String {
    let named = |state: &str| {
        let its = providers.iter().filter(|provider| provider.state == state);
        let name = |provider: &Provider| match provider.name.as_str() {
            "" => provider.assets_db_id.clone(),
            name => name.to_owned(),
        };
        its.map(name).collect::<Vec<_>>().join(", ")
    };
    match (named("bringing"), named("busy")) {
        (silent, _) if !silent.is_empty() => format!("waiting for {silent}"),
        (_, busy) if !busy.is_empty() => format!("waiting until {busy} has room"),
        _ => "looking for a node that gives it".to_owned(),
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, state: &'static str) -> Provider {
        let assets_db_id = "id".to_owned();
        Provider { assets_db_id, name: name.to_owned(), state, silent_ms: None, trouble: None }
    }

    #[test]
    fn the_reason_names_who_is_waited_for() {
        for (providers, expect) in [
            (vec![one("a", "bringing"), one("b", "busy"), one("c", "given_up")], "waiting for a"),
            (vec![one("", "bringing"), one("b", "bringing")], "waiting for id, b"),
            (vec![one("b", "busy"), one("c", "idle")], "waiting until b has room"),
            (vec![one("c", "given_up")], "looking for a node that gives it"),
            (vec![], "looking for a node that gives it"),
        ] {
            assert_eq!(reason(&providers), expect);
        }
    }
}
