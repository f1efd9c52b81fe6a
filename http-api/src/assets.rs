//! Assets by name: `POST /asset` and `GET`, `PUT`, `DELETE /asset/<uri or record id>`.

use assetmesh_node::catalog::Asset;
use assetmesh_node::query::{Changed, Found, Place};
use assetmesh_protocol::asset::{Draft, Patch};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Json, tail};
use crate::federation::{Federation, Scope};
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

    fn made(changed: &'a Changed, message: &'static str) -> Self {
        Self { id: changed.record.to_string(), message, asset_uri: &changed.uri }
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
    let place = place(&app, &mut Params::parse(uri.query())?)?;
    let looked = app.node.queries().look(&key, &place).await;
    let Found { asset, also_at, report } =
        looked.map_err(|error| ApiError::from(error).or_missing(MISSING))?;
    let mut answer = Answer::new().document("data", &asset.document);
    if !also_at.is_empty() {
        answer = answer.member("also_at", &also_at)?;
    }
    if !report.complete {
        answer = answer.member("federation", &Federation::from(&report))?;
    }
    Ok(answer.send(StatusCode::OK))
}

/// Which node's asset shall be changed. A parameter that nobody knows may have been meant to say that.
fn owner(app: &App, query: Option<&str>) -> Result<Place, ApiError> {
    let mut params = Params::parse(query)?;
    let place = place(app, &mut params)?;
    params.finish()?;
    Ok(place)
}

/// Which node's asset is meant.
fn place(app: &App, params: &mut Params) -> Result<Place, ApiError> {
    let scope = params.word("scope", &Scope::WORDS)?;
    let assets_db_id = params.text("assets_db_id");
    Ok(match (assets_db_id, scope) {
        (Some(id), Some(Scope::Local)) if id != app.node.assets_db_id() => {
            return Err(ApiError::not_found(MISSING));
        }
        (_, Some(Scope::Local)) => Place::Here,
        (Some(id), _) => Place::At(id),
        (None, _) => Place::Anywhere,
    })
}

/// Sets members of an asset, whole or by dotted path. Reaches the owner through any node.
#[utoipa::path(put, path = "/asset/{*uri}", tag = "assets", request_body = schema::Patch,
    params(
        ("uri" = String, Path, description = "The asset's uri or record id"),
        ("assets_db_id" = Option<String>, Query, description = "Only the asset of this node"),
        ("scope" = inline(Option<Scope>), Query, description = "Where to look"),
    ),
    responses((status = 200, description = "Updated", body = ChangeAnswer), Updating))]
pub(crate) async fn update(State(app): State<App>, uri: Uri, Json(body): Json) -> Result<Response, ApiError> {
    let key = tail(uri.path(), PREFIX)?;
    let patch = Patch::parse(&body)?;
    let updated = app.node.queries().update(&key, &owner(&app, uri.query())?, patch).await;
    let missing = |error| ApiError::from(error).or_missing("No document found to update");
    let changed = updated.map_err(missing)?;
    let change = Change::made(&changed, "Asset updated");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}

/// Deletes an asset, and its content once nothing refers to it. Reaches the owner through any node.
#[utoipa::path(delete, path = "/asset/{*uri}", tag = "assets",
    params(
        ("uri" = String, Path, description = "The asset's uri or record id"),
        ("assets_db_id" = Option<String>, Query, description = "Only the asset of this node"),
        ("scope" = inline(Option<Scope>), Query, description = "Where to look"),
    ),
    responses((status = 200, description = "Deleted", body = ChangeAnswer), Deleting))]
pub(crate) async fn delete(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let key = tail(uri.path(), PREFIX)?;
    let deleted = app.node.queries().delete(&key, &owner(&app, uri.query())?).await;
    let missing = |error| ApiError::from(error).or_missing("No document found to delete");
    let changed = deleted.map_err(missing)?;
    let change = Change::made(&changed, "Asset deleted");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}
