//! The API's own description: `/openapi.json`, made from the route table, and a viewer at `/docs`
//! that is part of the binary and works without a network.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{Method, StatusCode};
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::answer;
use crate::app::App;
use crate::error::{Problem, Refusal};
use crate::rights::{self, Right};
use crate::schema::{self, Any};

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
            let path = plain(&path);
            for (method, operation) in methods_mut(&mut item) {
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

/// A path as OpenAPI writes it: the router's `{*uri}` takes slashes, and OpenAPI has no such mark.
pub(crate) fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

/// Every operation, by the path that the router knows.
pub(crate) fn operations(document: &mut Document) -> Vec<(String, Method)> {
    let all = document.paths.paths.iter_mut();
    all.flat_map(|(path, item)| {
        methods_mut(item).map(|(method, _)| (path.clone(), method)).collect::<Vec<_>>()
    })
    .collect()
}

fn methods_mut(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let methods = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::OPTIONS, &mut item.options),
        (Method::HEAD, &mut item.head),
        (Method::PATCH, &mut item.patch),
        (Method::TRACE, &mut item.trace),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
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
