//! `GET /v1/node`: who this node is.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::schema::{NodeAnswer, Probing};

/// The ids, addresses and counts of this node.
#[utoipa::path(get, path = "/v1/node", tag = "node",
    responses((status = 200, description = "The node", body = NodeAnswer), Probing))]
pub(crate) async fn node(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(Answer::new().member("data", &app.node.facts()?)?.send(StatusCode::OK))
}
