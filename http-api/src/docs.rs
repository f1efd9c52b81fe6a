//! The API's own description: `/openapi.json`, made from the route table, and a viewer at `/docs`
//! that is part of the binary and works without a network.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::answer;
use crate::app::App;
use crate::error::{Problem, Refusal};
use crate::schema::Any;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "assetmesh",
        description = "One node of a federation of asset databases. Success is `{\"success\":true,…}`; \
                       every refusal is `{\"success\":false,\"error\":\"a sentence\",\"code\":\"a_word\"}`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Refusal, Problem)),
    tags(
        (name = "assets", description = "Store, describe, find, fetch"),
        (name = "nvcf", description = "Input assets of accounts, as NVCF's clients know them"),
        (name = "node", description = "The node itself")
    )
)]
struct Base;

/// What the document says before any route is added.
pub(crate) fn base() -> Document {
    Base::openapi()
}

/// The document as text. The router's `{*uri}` takes slashes; OpenAPI has no such mark.
pub(crate) fn render(mut document: Document) -> serde_json::Result<Bytes> {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    serde_json::to_vec(&document).map(Bytes::from)
}

/// The OpenAPI document of this API.
#[utoipa::path(get, path = "/openapi.json", tag = "node",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), Any))]
pub(crate) async fn openapi(State(app): State<App>) -> Response {
    answer::json(StatusCode::OK, app.openapi.clone())
}

/// The viewer.
pub(crate) fn viewer() -> Router<App> {
    SwaggerUi::new("/docs").config(Config::from("/openapi.json")).into()
}
