//! `GET /v1/peers`: the other nodes of the federation as this node sees them; and, for its operator,
//! `PUT /v1/peers/blocked`: nodes that it shall not talk to.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::JsonText;
use crate::operator::Blocked;
use crate::schema::{Any, BlockedAnswer, Operating, PeersAnswer};

/// Every other node of the federation, alive or not.
#[utoipa::path(get, path = "/v1/peers", tag = "node",
    responses((status = 200, description = "The peers", body = PeersAnswer), Any))]
pub(crate) async fn list(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(Answer::new().member("data", &app.node.peers())?.send(StatusCode::OK))
}

/// Cuts this node off from some peers, until the list is replaced or the node restarts. For drills, and for a peer
/// that misbehaves. For its operator.
#[utoipa::path(put, path = "/v1/peers/blocked", tag = "node", request_body = Blocked,
    responses((status = 200, description = "The list that holds now", body = BlockedAnswer), Operating))]
pub(crate) async fn block(State(app): State<App>, JsonText(text): JsonText) -> Result<Response, ApiError> {
    let wanted: Blocked = serde_json::from_slice(&text)
        .map_err(|error| ApiError::bad_request("bad_json", format!("not a list of peers: {error}")))?;
    app.node.block(&wanted.assets_db_ids).await.map_err(|unknown| {
        ApiError::bad_request("unknown_peer", format!("no peer has the assets_db_id {unknown:?}"))
    })?;
    Ok(Answer::new().member("data", &wanted)?.send(StatusCode::OK))
}
