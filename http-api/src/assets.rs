//! Assets by name: `POST /asset` and `GET`, `PUT`, `DELETE /asset/<uri or record id>`.

use assetmesh_node::catalog::Asset;
use assetmesh_protocol::asset::{Draft, Patch};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Json, tail};
use crate::federation::Scope;
use crate::params::Params;
use crate::schema::{self, AssetAnswer, ChangeAnswer, Creating, Deleting, NewAsset, Reading, Updating};

/// Everything behind it is the name, slashes included.
const PREFIX: &str = "/asset/";
const MISSING: &str = "No document found";

#[derive(Debug, Serialize)]
struct Change<'a> {
    id: String,
    message: &'static str,
    asset_uri: &'a str,
}

impl<'a> Change<'a> {
    fn of(asset: &'a Asset, message: &'static str) -> Self {
        Self { id: asset.record.to_string(), message, asset_uri: asset.uri() }
    }
}

/// Describes an asset whose content lies elsewhere.
#[utoipa::path(post, path = "/asset", tag = "assets", request_body = NewAsset,
    responses((status = 201, description = "Created", body = ChangeAnswer), Creating))]
pub(crate) async fn create(State(app): State<App>, Json(body): Json) -> Result<Response, ApiError> {
    let asset = app.node.catalog().create_external(Draft::external(&body)?).await?;
    let change = Change::of(&asset, "Asset created");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::CREATED))
}

/// Reads one asset.
#[utoipa::path(get, path = "/asset/{*uri}", tag = "assets",
    params(
        ("uri" = String, Path, description = "The asset's uri or record id"),
        ("assets_db_id" = Option<String>, Query, description = "Only the asset of this node"),
        ("scope" = inline(Option<Scope>), Query, description = "Where to look"),
    ),
    responses((status = 200, description = "The asset", body = AssetAnswer), Reading))]
pub(crate) async fn read(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let key = tail(uri.path(), PREFIX)?;
    let mut params = Params::parse(uri.query())?;
    params.word("scope", &Scope::WORDS)?;
    if let Some(owner) = params.text("assets_db_id")
        && owner != app.node.assets_db_id()
    {
        return Err(ApiError::not_found(MISSING));
    }
    let asset = app.node.catalog().find(&key)?.ok_or_else(|| ApiError::not_found(MISSING))?;
    Ok(Answer::new().document("data", &asset.document).send(StatusCode::OK))
}

/// Sets members of an asset, whole or by dotted path.
#[utoipa::path(put, path = "/asset/{*uri}", tag = "assets", request_body = schema::Patch,
    params(("uri" = String, Path, description = "The asset's uri or record id")),
    responses((status = 200, description = "Updated", body = ChangeAnswer), Updating))]
pub(crate) async fn update(State(app): State<App>, uri: Uri, Json(body): Json) -> Result<Response, ApiError> {
    let key = tail(uri.path(), PREFIX)?;
    let patch = Patch::parse(&body)?;
    let updated = app.node.catalog().update(&key, patch).await;
    let missing = |error| ApiError::from(error).or_missing("No document found to update");
    let asset = updated.map_err(missing)?;
    let change = Change::of(&asset, "Asset updated");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}

/// Deletes an asset, and its content once nothing refers to it.
#[utoipa::path(delete, path = "/asset/{*uri}", tag = "assets",
    params(("uri" = String, Path, description = "The asset's uri or record id")),
    responses((status = 200, description = "Deleted", body = ChangeAnswer), Deleting))]
pub(crate) async fn delete(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let key = tail(uri.path(), PREFIX)?;
    let deleted = app.node.catalog().delete(&key).await;
    let missing = |error| ApiError::from(error).or_missing("No document found to delete");
    let asset = deleted.map_err(missing)?;
    let change = Change::of(&asset, "Asset deleted");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}
