//! `/v2/nvcf/inputs`: what a worker in a process of its own asks its node, on behalf of a caller and with the caller's own
//! token: whose token it is, which assets of the federation an invocation names, and their bytes.

use assetmesh_node::nvcf::Resolved;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG};
use http::{HeaderValue, Uri};

use super::asset_id_of;
use super::schema::{Changing, Reading};
use crate::app::App;
use crate::auth::Authenticated;
use crate::error::ApiError;
use crate::extract::JsonText;
use crate::invoke::{FoundInput, FoundInputs, NamedInputs, RESOLVE_WITHIN};

const ONE: &str = "/v2/nvcf/inputs/";
/// Assets of one question. More than an invocation may have, whatever the settings of the worker.
const IDS_MAX: usize = 1000;

/// Finds the assets of an invocation in the whole federation.
#[utoipa::path(post, path = "/v2/nvcf/inputs", tag = "nvcf", request_body = NamedInputs,
    operation_id = "find_inputs",
    responses(
        (status = 200, description = "All of them", body = FoundInputs),
        (status = 404, description = "The first that is nowhere is named"),
        Changing))]
pub(crate) async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let NamedInputs { asset_ids } = serde_json::from_slice(&text).map_err(|error| {
        ApiError::bad_request("bad_json", format!("the body is not as it must be: {error}"))
    })?;
    if asset_ids.len() > IDS_MAX {
        return Err(ApiError::bad_request("too_many", format!("more than {IDS_MAX} assets")));
    }
    let found = app.node.nvcf().resolve(&caller.account, &asset_ids, RESOLVE_WITHIN).await?;
    let assets = found.iter().map(|found| FoundInput {
        asset_id: found.id,
        blake3: found.blob.to_string(),
        size: found.size,
        is_here: found.is_here(),
    });
    super::json(&FoundInputs { account: caller.account, assets: assets.collect() })
}

/// The bytes of one asset, wherever it is. They are verified as they leave; damage cuts the connection.
#[utoipa::path(get, path = "/v2/nvcf/inputs/{*asset_id}", tag = "nvcf",
    operation_id = "read_input",
    params(("asset_id" = Uuid, Path, description = "The asset")),
    responses((status = 200, description = "The content", content_type = "*/*", body = Vec<u8>), Reading))]
pub(crate) async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = asset_id_of(&uri, ONE)?;
    let found = app.node.nvcf().resolve(&caller.account, &[id], RESOLVE_WITHIN).await?;
    let found = found.into_iter().next().ok_or_else(|| ApiError::internal("nothing was resolved"))?;
    let mut pieces = app.node.nvcf().open(&found)?;
    // Early damage is a clear refusal.
    let first = pieces.next().await.transpose()?.unwrap_or_default();
    let rest = pieces.inspect(|piece| {
        if let Err(error) = piece {
            tracing::error!(%error, "an input asset was cut");
        }
    });
    let body = Body::from_stream(stream::once(async { Ok(first) }).chain(rest));
    described(&found, body)
}

fn described(found: &Resolved, body: Body) -> Result<Response, ApiError> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let text = |text: String| HeaderValue::try_from(text).map_err(ApiError::internal);
    headers.insert(CONTENT_TYPE, text(found.content_type.clone())?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(found.size));
    headers.insert(ETAG, text(format!("\"{}\"", found.blob))?);
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}
