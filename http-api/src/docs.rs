//! The API's own description: `/openapi.json`, made from the route table, and a viewer at `/docs`
//! that is part of the binary and works without a network.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;
use crate::error::{Problem, Refusal};
use crate::rights::{self, Right};
use crate::schema::{self, Any};
use crate::{answer, operations};

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

/// The name of the one way to authenticate.
const BEARER: &str = "bearer";

/// The document as text.
pub(crate) fn render(mut document: Document) -> serde_json::Result<Bytes> {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths
        .into_iter()
        .map(|(path, mut item)| {
            let path = operations::plain(&path);
            for (method, operation) in operations::of_path(&mut item) {
                tell_right(operation, rights::of(method.as_str(), &path).unwrap_or(Right::Operate));
            }
            (path, item)
        })
        .collect();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT or nvapi- key").build();
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    serde_json::to_vec(&document).map(Bytes::from)
}

/// Says what an operation needs. Which of it a node asks for depends on its settings, but for NVCF.
fn tell_right(operation: &mut Operation, right: Right) {
    if right == Right::Open {
        return;
    }
    let bearer = SecurityRequirement::new(BEARER, Vec::<String>::new());
    let nothing = (right != Right::Invoke).then(SecurityRequirement::default);
    operation.security = Some(nothing.into_iter().chain([bearer]).collect());
    for (status, response) in [401, 403].map(schema::refusal) {
        operation.responses.responses.entry(status).or_insert(response);
    }
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
