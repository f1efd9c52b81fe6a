//! `GET /v1/peers`: the other nodes of the federation as this node sees them; and, for its operator,
//! `PUT /v1/peers/blocked`: nodes that it shall not talk to, and `DELETE /v1/peers/<assets_db_id>`: a node that is gone for
//! good, so that nobody shall wait for it.

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::json;

use crate::answer::Answer;
use crate::app::App;
use crate::error::{ApiError, Refusal};
use crate::extract::JsonText;
use crate::operator::Blocked;
use crate::params::Params;
use crate::schema::{Any, BlockedAnswer, ForgottenAnswer, Operating, PeersAnswer};

/// Every other node of the federation, alive or not.
#[utoipa::path(get, path = "/v1/peers", tag = "node",
    responses((status = 200, description = "The peers", body = PeersAnswer), Any))]
pub(crate) async fn list(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    Params::none(uri.query())?;
    Ok(Answer::new().member("data", &app.node.peers())?.send(StatusCode::OK))
}

/// Cuts this node off from some peers, until the list is replaced or the node restarts. For drills, and for a peer
/// that misbehaves. For its operator.
#[utoipa::path(put, path = "/v1/peers/blocked", tag = "node", request_body = Blocked,
    responses((status = 200, description = "The list that holds now", body = BlockedAnswer), Operating))]
pub(crate) async fn block(
    State(app): State<App>,
    uri: Uri,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    Params::none(uri.query())?;
    let wanted: Blocked = serde_json::from_slice(&text)
        .map_err(|error| ApiError::bad_request("bad_json", format!("not a list of peers: {error}")))?;
    app.node.block(&wanted.assets_db_ids).await.map_err(|unknown| {
        ApiError::bad_request("unknown_peer", format!("no peer has the assets_db_id {unknown:?}"))
    })?;
    Ok(Answer::new().member("data", &wanted)?.send(StatusCode::OK))
}

/// Gives up a peer that is gone for good: answers count it as departed and are complete without it, until it is heard
/// again. This node remembers that over restarts; other nodes decide for themselves. For the node's
/// operator.
#[utoipa::path(delete, path = "/v1/peers/{assets_db_id}", tag = "node",
    params(("assets_db_id" = String, Path, description = "Names its asset database")),
    responses((status = 200, description = "It is forgotten", body = ForgottenAnswer),
        (status = 404, description = "No peer has this assets_db_id", body = Refusal),
        (status = 409, description = "It is there, or it is this node", body = Refusal), Operating))]
pub(crate) async fn forget(
    State(app): State<App>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::none(uri.query())?;
    app.node.forget(&id).await?;
    let told = json!({"message": "Peer forgotten", "assets_db_id": id});
    Ok(Answer::new().member("data", &told)?.send(StatusCode::OK))
}
