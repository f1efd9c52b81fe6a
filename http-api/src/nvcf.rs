//! `/v2/nvcf/assets`: an account's input assets, made and uploaded as NVCF's clients do it. Each call needs a token, and
//! shows its account and no other.

pub(crate) mod inputs;
pub(crate) mod pexec;
mod schema;
pub(crate) mod uploads;

use assetmesh_node::nvcf::InputAsset;
use axum::BoxError;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::answer;
use crate::app::App;
use crate::auth::Authenticated;
use crate::error::{ApiError, UPLOADS};
use crate::extract::JsonText;
use crate::params::Params;
use schema::{Changing, Reading};

const ASSETS: &str = "/v2/nvcf/assets/";
/// Assets of one page, and read at once for a list of all.
const PAGE_MAX: usize = 1000;

/// What a client says of an asset before it uploads it. Other members are passed over, as NVCF does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewInputAsset {
    /// The media type of the content.
    #[schema(example = "image/png", pattern = r"^\w+/[-+.\w]+$", max_length = 255)]
    content_type: String,
    /// What it is; the upload repeats it.
    #[schema(example = "red-cat-photo", max_length = 1024)]
    description: String,
}

/// An asset that may be uploaded now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedInputAsset {
    asset_id: Uuid,
    /// Where to PUT the content, with the two headers and without a token.
    upload_url: String,
    content_type: String,
    description: String,
}

/// An asset that is uploaded.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownInputAsset {
    asset_id: Uuid,
    content_type: String,
    description: String,
    /// RFC 3339.
    #[schema(example = "2026-01-02T03:04:05.678Z")]
    created_at: String,
}

impl From<InputAsset> for ShownInputAsset {
    fn from(asset: InputAsset) -> Self {
        let created_at = asset.created_at();
        let InputAsset { id, content_type, description, .. } = asset;
        Self { asset_id: id, content_type, description, created_at }
    }
}

/// One asset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneInputAsset {
    asset: ShownInputAsset,
}

/// Uploaded assets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InputAssets {
    assets: Vec<ShownInputAsset>,
    /// With `limit`: pass it as `cursor` for the next page. Absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

/// Announces an input asset and gives the URL to upload it.
#[utoipa::path(post, path = "/v2/nvcf/assets", tag = "nvcf", request_body = NewInputAsset,
    operation_id = "create_input_asset",
    responses((status = 200, description = "It may be uploaded", body = CreatedInputAsset), Changing))]
pub(crate) async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    uri: Uri,
    headers: HeaderMap,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let NewInputAsset { content_type, description } = serde_json::from_slice(&text).map_err(|error| {
        ApiError::bad_request("bad_json", format!("the body is not as it must be: {error}"))
    })?;
    let (asset, ticket) = app.node.nvcf().create(&caller.account, &content_type, &description).await?;
    let upload_url = format!("{}{UPLOADS}{ticket}", base(&app, &uri, &headers));
    json(&CreatedInputAsset { asset_id: asset.id, upload_url, content_type, description })
}

/// Lists the input assets that are uploaded, all of them unless there is a limit.
#[utoipa::path(get, path = "/v2/nvcf/assets", tag = "nvcf",
    operation_id = "list_input_assets",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Assets a page; without it, all"),
        ("cursor" = Option<String>, Query, description = "`nextCursor` of the page before"),
    ),
    responses((status = 200, description = "The assets", body = InputAssets), Reading))]
pub(crate) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut params = Params::parse(uri.query())?;
    let limit = params.number("limit", 1, PAGE_MAX)?;
    let cursor = params.text("cursor").filter(|cursor| !cursor.is_empty());
    params.finish()?;
    let after = cursor.map(|cursor| position(&cursor)).transpose()?;
    let (assets, next) = app.node.nvcf().list(&caller.account, after, limit.unwrap_or(PAGE_MAX)).await?;
    match limit {
        Some(_) => json(&InputAssets {
            assets: assets.into_iter().map(ShownInputAsset::from).collect(),
            next_cursor: next.map(|id| id.as_simple().to_string()),
        }),
        None => Ok(answer::json(StatusCode::OK, all(app, caller.account, (assets, next)))),
    }
}

/// Describes one input asset.
#[utoipa::path(get, path = "/v2/nvcf/assets/{*asset_id}", tag = "nvcf",
    operation_id = "read_input_asset",
    params(("asset_id" = Uuid, Path, description = "Its id")),
    responses((status = 200, description = "The asset", body = OneInputAsset), Reading))]
pub(crate) async fn read(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<Response, ApiError> {
    let asset = app.node.nvcf().get(&caller.account, asset_id(&uri)?)?;
    json(&OneInputAsset { asset: asset.into() })
}

/// Deletes one input asset, uploaded or not.
#[utoipa::path(delete, path = "/v2/nvcf/assets/{*asset_id}", tag = "nvcf",
    operation_id = "delete_input_asset",
    params(("asset_id" = Uuid, Path, description = "Its id")),
    responses((status = 204, description = "It is gone"), Reading))]
pub(crate) async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    uri: Uri,
) -> Result<StatusCode, ApiError> {
    app.node.nvcf().delete(&caller.account, asset_id(&uri)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The id in a path. What is no id names nothing.
fn asset_id(uri: &Uri) -> Result<Uuid, ApiError> {
    asset_id_of(uri, ASSETS)
}

fn asset_id_of(uri: &Uri, prefix: &str) -> Result<Uuid, ApiError> {
    let text = uri.path().strip_prefix(prefix).unwrap_or_default();
    let id = Some(text).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    id.ok_or_else(|| ApiError::not_found("there is no such asset: an asset id is a UUID"))
}

fn position(cursor: &str) -> Result<Uuid, ApiError> {
    let id = Some(cursor).filter(|text| text.len() == 32).and_then(|text| Uuid::try_parse(text).ok());
    id.ok_or_else(|| ApiError::bad_request("bad_cursor", "the cursor is not a nextCursor of this list"))
}

fn json(value: &impl Serialize) -> Result<Response, ApiError> {
    let text = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(answer::json(StatusCode::OK, text))
}

/// The URL at which the client reaches this node: the one that was set, else the host that the client itself used. It
/// is told to nobody but that client, which has a token, so one that lies misleads itself.
fn base(app: &App, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = &app.config.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    match host.or_else(|| uri.authority().cloned()) {
        Some(host) if !host.as_str().contains('@') => format!("http://{host}"),
        _ => app.node.public_url().to_owned(),
    }
}

/// A page that was read, and where the next begins.
type Page = (Vec<InputAsset>, Option<Uuid>);

/// All assets, read page by page while they are sent. A page that fails cuts the answer: a clean end means all.
fn all(app: App, account: String, first: Page) -> Body {
    // What stands before the next asset: nothing was written yet, or a page that may have been empty.
    let begun = (app, account, Some(first), "{\"assets\":[");
    let pages = stream::try_unfold(begun, |(app, account, page, mut before)| async move {
        let Some((assets, next)) = page else { return Ok(None) };
        let mut text = Vec::new();
        if before.starts_with('{') {
            text.extend_from_slice(before.as_bytes());
            before = "";
        }
        for asset in assets {
            text.extend_from_slice(before.as_bytes());
            before = ",";
            serde_json::to_writer(&mut text, &ShownInputAsset::from(asset))?;
        }
        let page = match next {
            Some(after) => Some(app.node.nvcf().list(&account, Some(after), PAGE_MAX).await?),
            None => None,
        };
        if page.is_none() {
            text.extend_from_slice(b"]}");
        }
        Ok::<_, BoxError>(Some((Bytes::from(text), (app, account, page, before))))
    });
    Body::from_stream(pages.inspect_err(|error| tracing::error!(%error, "a list of input assets was cut")))
}
