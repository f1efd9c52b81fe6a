//! `POST /v1/verify`, for the operator: reads all content of this node through and mends what is damaged. The answer is
//! one JSON value a line, as it goes on.

use std::convert::Infallible;

use assetmesh_node::mending::{Check, Told};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::ApiError;
use crate::operator::ClientAddr;
use crate::schema::{Checking, VerifyLine};

const NDJSON: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// Reads all content of this node through, and has what is damaged mended with what other nodes hold. Each line of the
/// answer is a JSON object: `progress` now and then, `finding` for each damage, and at the end `success` and `data`.
/// An answer without that last line was cut. Only from the machine that the node runs on, and one at a time.
#[utoipa::path(post, path = "/v1/verify", tag = "node",
    responses(
        (status = 200, description = "What is found, line by line",
            content_type = "application/x-ndjson", body = VerifyLine),
        Checking))]
pub(crate) async fn verify(
    State(app): State<App>,
    Extension(client): Extension<ClientAddr>,
) -> Result<Response, ApiError> {
    if !client.is_operator() {
        return Err(ApiError::forbidden("content is checked only from the machine that the node runs on"));
    }
    let check = app.node.check_content().ok_or_else(ApiError::busy)?;
    let lines = stream::unfold(Some(check), |check| async move {
        let mut check = check?;
        let (line, goes_on) = next(&mut check).await;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))), goes_on.then_some(check)))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(CONTENT_TYPE, NDJSON);
    Ok(response)
}

/// The next line, and whether others follow.
async fn next(check: &mut Check) -> (Value, bool) {
    match check.next().await {
        Ok(Some(Told::Progress(summary))) => (json!({"progress": summary}), true),
        Ok(Some(Told::Found(finding))) => (json!({"finding": finding}), true),
        Ok(None) => (json!({"success": true, "data": check.summary()}), false),
        Err(error) => {
            tracing::error!(%error, "a check of all content broke off");
            (
                json!({"success": false, "message": "the content cannot be read", "data": check.summary()}),
                false,
            )
        }
    }
}
