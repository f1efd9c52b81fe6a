//! The one route table. A new resource is a file and a line here; the OpenAPI document follows.

use std::sync::Arc;

use assetmesh_node::Node;
use axum::extract::Request;
use axum::{Router, middleware};
use http::uri::PathAndQuery;
use http::{Method, Uri};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::config::Config;
use crate::error::{ApiError, UPLOADS};
use crate::guard::Guard;
use crate::invoke::{Invoker, Local};
use crate::metrics::Metrics;
use crate::probe::Prober;
use crate::{
    assets, auth, docs, envelope, health, metrics, node, nvcf, objects, peers, query, registry, transfers,
    upload, verify,
};

fn table() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(docs::base())
        .routes(routes!(health::health))
        .routes(routes!(upload::upload))
        .routes(routes!(assets::create))
        .routes(routes!(assets::read, assets::update, assets::delete))
        .routes(routes!(query::query))
        .routes(routes!(objects::download))
        .routes(routes!(registry::create))
        .routes(routes!(registry::read, registry::update, registry::delete))
        .routes(routes!(registry::query))
        .routes(routes!(registry::check_health))
        .routes(routes!(nvcf::create, nvcf::list))
        .routes(routes!(nvcf::read, nvcf::delete))
        .routes(routes!(nvcf::uploads::put))
        .routes(routes!(nvcf::inputs::find))
        .routes(routes!(nvcf::inputs::read))
        .routes(routes!(nvcf::pexec::invoke))
        .routes(routes!(nvcf::pexec::invoke_version))
        .routes(routes!(nvcf::pexec::status))
        .routes(routes!(node::node))
        .routes(routes!(peers::list))
        .routes(routes!(peers::block))
        .routes(routes!(verify::verify))
        .routes(routes!(peers::forget))
        .routes(routes!(transfers::list))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(metrics::metrics))
        .routes(routes!(docs::openapi))
}

/// Everything a node serves over HTTP.
pub fn router(node: Node, config: &Config) -> Router {
    with_invoker(node, config).0
}

/// The router, and what ends its invocations.
pub(crate) fn with_invoker(node: Node, config: &Config) -> (Router, Invoker) {
    let (routes, mut document) = table().split_for_parts();
    let (functions, limits) = (config.functions.clone(), config.invocations.clone());
    let source = Box::new(Local(node.clone()));
    let invoker = Invoker::new(functions, limits, node.staging().clone(), source);
    let app = App {
        invoker: invoker.clone(),
        metrics: Arc::new(Metrics::new(&node, invoker.metrics())),
        prober: Prober::new(config.probe),
        guard: Arc::new(Guard::new(&mut document, config.auth, node.public_url())),
        node,
        config: Arc::new(config.clone()),
        openapi: docs::render(document).expect("the route table makes valid JSON"),
    };
    let routes = routes
        .merge(docs::viewer())
        .fallback(no_route)
        .layer(middleware::from_fn_with_state(app.clone(), auth::guard))
        .layer(middleware::from_fn_with_state(app.clone(), envelope::envelope))
        .with_state(app);
    // Both maps stand outside of the table: a path changes before it is matched, `Allow` comes after.
    let service = routes.map_request(one_leading_slash).map_response(envelope::allow_options);
    (Router::new().fallback_service(service), invoker)
}

/// An upload URL may be altered into a path that no route has: it is refused like any other altered one.
async fn no_route(method: Method, uri: Uri) -> ApiError {
    let is_signed = uri.query().is_some_and(|query| query.contains("signature="));
    if method == Method::PUT && is_signed { ApiError::bad_signature() } else { ApiError::no_route() }
}

/// `//health` is `/health`. Slashes further on belong to names and stay.
fn one_leading_slash(mut request: Request) -> Request {
    let path = request.uri().path();
    // An upload URL counts as it was given.
    if !path.starts_with("//") || path.trim_start_matches('/').starts_with(&UPLOADS[1..]) {
        return request;
    }
    let text = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
    let single = format!("/{}", text.trim_start_matches('/'));
    if let Ok(uri) = single.parse::<Uri>() {
        *request.uri_mut() = uri;
    }
    request
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::{operations, rights};

    #[test]
    fn only_leading_slashes_are_merged() {
        for (given, expect) in [
            ("/health", "/health"),
            ("//health?x=//y", "/health?x=//y"),
            ("////asset//a//b", "/asset//a//b"),
            ("//", "/"),
        ] {
            let request = Request::builder().uri(format!("http://h{given}")).body(Body::empty()).unwrap();
            let uri = one_leading_slash(request).uri().clone();
            assert_eq!(uri.path_and_query().unwrap().as_str(), expect);
        }
    }

    #[test]
    fn every_operation_has_its_line_in_the_table_of_rights() {
        let mut document = table().split_for_parts().1;
        for (path, method) in operations::list(&mut document) {
            let right = rights::of(method.as_str(), &operations::plain(&path));
            assert!(right.is_some(), "{method} {path}: say in rights.rs who may call it");
        }
    }

    #[test]
    fn the_document_names_every_route_once_and_without_wildcards() {
        let text = docs::render(table().split_for_parts().1).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let paths: Vec<&String> = json["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths.len(), 28, "{paths:?}");
        assert!(paths.iter().all(|path| !path.contains('*')), "{paths:?}");
        for operation in ["get", "put", "delete"] {
            assert!(json["paths"]["/asset/{uri}"][operation]["responses"]["404"].is_object());
        }
        assert!(json["components"]["schemas"]["Refusal"].is_object());
    }
}
