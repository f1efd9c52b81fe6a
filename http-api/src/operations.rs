//! Walks the API's description, operation by operation.

use http::Method;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::path::{Operation, PathItem};

/// Every operation, by the path that the router knows.
pub(crate) fn list(document: &mut Document) -> Vec<(String, Method)> {
    let paths = document.paths.paths.iter_mut();
    let named = paths.map(|(path, item)| (path, of_path(item)));
    named.flat_map(|(path, all)| all.map(|(method, _)| (path.clone(), method)).collect::<Vec<_>>()).collect()
}

/// The operations of one path.
pub(crate) fn of_path(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
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

/// A path as OpenAPI writes it: the router's `{*uri}` takes slashes, and OpenAPI has no such mark.
pub(crate) fn plain(path: &str) -> String {
    path.replace("{*", "{")
}
