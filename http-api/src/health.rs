//! Whether the node lives, works and is well: `/health`, `/livez`, `/readyz`.

use assetmesh_node::NodeFacts;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use crate::answer::Answer;
use crate::app::App;
use crate::config::Auth;
use crate::error::ApiError;
use crate::schema::{Any, HealthAnswer, LiveAnswer, Probing};

/// What a node says of itself, and whether anybody may write to it.
#[derive(Debug, Serialize)]
struct Facts {
    #[serde(flatten)]
    facts: NodeFacts,
    open_writes: bool,
}

/// Tells whether this node can do all its work, and what it is.
#[utoipa::path(get, path = "/health", tag = "node",
    responses((status = 200, description = "Healthy", body = HealthAnswer), Probing))]
pub(crate) async fn health(State(app): State<App>) -> Result<Response, ApiError> {
    app.node.writable().map_err(ApiError::unready)?;
    let open_writes = app.config.auth == Auth::None;
    let node = Facts { facts: app.node.facts()?, open_writes };
    let answer = Answer::new().member("message", &"healthy")?.member("node", &node)?;
    Ok(answer.send(StatusCode::OK))
}

/// Answers as long as the process serves at all.
#[utoipa::path(get, path = "/livez", tag = "node",
    responses((status = 200, description = "Alive", body = LiveAnswer), Any))]
pub(crate) async fn live() -> Result<Response, ApiError> {
    Ok(Answer::new().member("message", &"alive")?.send(StatusCode::OK))
}

/// Tells whether requests should be sent here: the store can be read and written.
/// Trouble in the federation is not unready.
#[utoipa::path(get, path = "/readyz", tag = "node",
    responses((status = 200, description = "Ready", body = LiveAnswer), Probing))]
pub(crate) async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    app.node.writable().map_err(ApiError::unready)?;
    Ok(Answer::new().member("message", &"ready")?.send(StatusCode::OK))
}
