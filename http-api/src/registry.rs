//! The registry of the federation: `POST /asset_registry`, `GET`, `PUT`, `DELETE /asset_registry/<id>`,
//! `POST /asset_registries`, `GET /check_health/<id>`.

use std::time::Duration;

use assetmesh_node::registry::{Entry, Query};
use assetmesh_protocol::filter::{Filter, Sort};
use assetmesh_protocol::limits::PAGE_ROWS_MAX;
use assetmesh_protocol::registry::{Draft, EntryId, Patch};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::answer::Answer;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Json, JsonText, tail};
use crate::params::Params;
use crate::schema::{
    self, Creating, Deleting, EntriesAnswer, EntryAnswer, EntryChangeAnswer, FilterDocument,
    HealthCheckAnswer, NewEntry, Querying, Reading, Updating,
};

const PREFIX: &str = "/asset_registry/";
const HEALTH_PREFIX: &str = "/check_health/";
const MISSING: &str = "No document found";

/// A whole registry is filtered in a fraction of it.
const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize)]
struct Change<'a> {
    id: &'a str,
    message: &'static str,
    asset_registry_id: &'a str,
}

impl<'a> Change<'a> {
    fn of(id: &'a EntryId, message: &'static str) -> Self {
        Self { id: id.as_str(), message, asset_registry_id: id.as_str() }
    }
}

/// Registers an asset database or any other service.
#[utoipa::path(post, path = "/asset_registry", tag = "registry", request_body = NewEntry,
    responses((status = 201, description = "Created", body = EntryChangeAnswer), Creating))]
pub(crate) async fn create(State(app): State<App>, uri: Uri, Json(body): Json) -> Result<Response, ApiError> {
    Params::none(uri.query())?;
    let entry = app.node.registry().create(Draft::parse(&body)?).await?;
    let change = Change::of(entry.id(), "Asset registry created");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::CREATED))
}

/// Reads one entry, and what is known of its owner.
#[utoipa::path(get, path = "/asset_registry/{*id}", tag = "registry",
    params(("id" = String, Path, description = "The entry's asset_registry_id")),
    responses((status = 200, description = "The entry", body = EntryAnswer), Reading))]
pub(crate) async fn read(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let entry = find(&app, &uri, PREFIX)?;
    let facts = app.node.entry_facts(&entry);
    let document = entry.document().ok_or_else(|| ApiError::not_found(MISSING))?;
    Ok(Answer::new().document("data", document).member("federation", &facts)?.send(StatusCode::OK))
}

/// Sets members of an entry, whole or by dotted path. Reaches the owner through any node.
#[utoipa::path(put, path = "/asset_registry/{*id}", tag = "registry", request_body = schema::EntryPatch,
    params(("id" = String, Path, description = "The entry's asset_registry_id")),
    responses((status = 200, description = "Updated", body = EntryChangeAnswer), Updating))]
pub(crate) async fn update(State(app): State<App>, uri: Uri, Json(body): Json) -> Result<Response, ApiError> {
    let id = id_of(&uri, PREFIX)?;
    let updated = app.node.registry().update(&id, Patch::parse(&body)?).await;
    updated.map_err(|error| ApiError::from(error).or_missing("No document found to update"))?;
    let change = Change::of(&id, "Asset registry updated");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}

/// Deletes an entry. Reaches the owner through any node.
#[utoipa::path(delete, path = "/asset_registry/{*id}", tag = "registry",
    params(("id" = String, Path, description = "The entry's asset_registry_id")),
    responses((status = 200, description = "Deleted", body = EntryChangeAnswer), Deleting))]
pub(crate) async fn delete(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let id = id_of(&uri, PREFIX)?;
    let deleted = app.node.registry().delete(&id).await;
    deleted.map_err(|error| ApiError::from(error).or_missing("No document found to delete"))?;
    let change = Change::of(&id, "Asset registry deleted");
    Ok(Answer::new().member("data", &change)?.send(StatusCode::OK))
}

/// The entries that match a filter, as this node knows them.
#[utoipa::path(post, path = "/asset_registries", tag = "registry", request_body = FilterDocument,
    params(
        ("limit" = inline(Option<usize>), Query, description = "Rows in a page", minimum = 1, maximum = 1000),
        ("cursor" = Option<String>, Query, description = "Where the page before ended"),
        ("sort" = Option<String>, Query, description = "Such as `-asset_registry_name`; default: oldest first"),
    ),
    responses((status = 200, description = "A page of entries", body = EntriesAnswer), Querying))]
pub(crate) async fn query(
    State(app): State<App>,
    uri: Uri,
    JsonText(text): JsonText,
) -> Result<Response, ApiError> {
    let page = app.node.registry().page(wanted(uri.query(), &text)?).await?;
    if !page.is_complete {
        return Err(ApiError::deadline());
    }
    let answer = Answer::new().documents("data", page.entries.iter().filter_map(Entry::document));
    Ok(answer.member("next_cursor", &page.next_cursor)?.send(StatusCode::OK))
}

fn wanted(query: Option<&str>, text: &[u8]) -> Result<Query, ApiError> {
    let mut params = Params::parse(query)?;
    let limit = params.number("limit", 1, PAGE_ROWS_MAX)?.unwrap_or(PAGE_ROWS_MAX);
    let cursor = params.text("cursor").filter(|cursor| !cursor.is_empty());
    let sort_text = params.text("sort").unwrap_or_default();
    params.finish()?;
    let sort = if sort_text.is_empty() { None } else { Some(Sort::parse(&sort_text)?) };
    let filter = Filter::parse_json(text)?;
    let filter_text = String::from_utf8_lossy(text).into_owned();
    Ok(Query { filter, filter_text, sort, sort_text, limit, cursor, deadline: DEADLINE })
}

/// Asks the service of an entry whether it is healthy.
#[utoipa::path(get, path = "/check_health/{*id}", tag = "registry",
    params(("id" = String, Path, description = "The entry's asset_registry_id")),
    responses((status = 200, description = "What `<asset_registry_public_url>/health` says", body = HealthCheckAnswer), Reading))]
pub(crate) async fn check_health(State(app): State<App>, uri: Uri) -> Result<Response, ApiError> {
    let entry = find(&app, &uri, HEALTH_PREFIX).map_err(|error| error.or_missing("asset DB not found"))?;
    match app.prober.probe(entry.public_url()).await {
        Ok(health) => Ok(Answer::new().document("data", &health).send(StatusCode::OK)),
        Err(unwell) => Err(ApiError::unwell(&unwell).told_by_federation(&app.node.entry_facts(&entry))),
    }
}

fn find(app: &App, uri: &Uri, prefix: &str) -> Result<Entry, ApiError> {
    let id = id_of(uri, prefix)?;
    app.node.registry().get(&id).ok_or_else(|| ApiError::not_found(MISSING))
}

/// A text that cannot be an id names nothing.
fn id_of(uri: &Uri, prefix: &str) -> Result<EntryId, ApiError> {
    Params::none(uri.query())?;
    EntryId::new(tail(uri.path(), prefix)?).map_err(|_| ApiError::not_found(MISSING))
}
