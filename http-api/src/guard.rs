//! What a request has to show before a handler sees it. It goes by the route that the router found, so that no way of
//! writing a path leads around it.

use std::collections::HashMap;

use http::Method;
use utoipa::openapi::OpenApi as Document;

use crate::config::Auth;
use crate::operations;
use crate::rights::{self, Proof, Right};
use crate::site::OwnSite;

/// The viewer of the API's description, which is not part of it.
const VIEWER: &str = "/docs";

/// What each operation needs, and how that is shown on this node.
#[derive(Debug)]
pub(crate) struct Guard {
    rights: HashMap<String, Vec<(Method, Right)>>,
    auth: Auth,
    site: OwnSite,
}

impl Guard {
    /// Takes every operation from the API's description, so that none is forgotten: one without a line in the table of
    /// rights is for operators.
    pub(crate) fn new(document: &mut Document, auth: Auth, public_url: &str) -> Self {
        let mut all: HashMap<String, Vec<(Method, Right)>> = HashMap::new();
        for (path, method) in operations::list(document) {
            let right = rights::of(method.as_str(), &operations::plain(&path)).unwrap_or(Right::Operate);
            all.entry(path).or_default().push((method, right));
        }
        Self { rights: all, auth, site: OwnSite::new(public_url) }
    }

    /// What a request must show that the router has matched to a route.
    pub(crate) fn proof(&self, template: &str, method: &Method) -> Proof {
        self.right(template, method).proof(self.auth)
    }

    /// Under which names the node is known.
    pub(crate) fn site(&self) -> &OwnSite {
        &self.site
    }

    fn right(&self, template: &str, method: &Method) -> Right {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        match self.rights.get(template) {
            // The router answers a method that the route does not have, and OPTIONS, without calling anything.
            Some(known) => {
                known.iter().find(|(named, _)| named == method).map_or(Right::Open, |(_, right)| *right)
            }
            None if template.starts_with(VIEWER) => Right::Open,
            None => Right::Operate,
        }
    }
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem};

    use super::*;

    fn guard(paths: &[(HttpMethod, &str)]) -> Guard {
        let mut document = Document::default();
        for (method, path) in paths {
            let item = PathItem::new(method.clone(), OperationBuilder::new().build());
            document.paths.paths.insert((*path).to_owned(), item);
        }
        Guard::new(&mut document, Auth::None, "http://127.0.0.1:1")
    }

    #[test]
    fn a_route_without_a_line_in_the_table_is_for_operators() {
        let guard = guard(&[(HttpMethod::Post, "/forgotten"), (HttpMethod::Put, "/asset/{*uri}")]);
        assert_eq!(guard.right("/forgotten", &Method::POST), Right::Operate);
        assert_eq!(guard.right("/not/even/described", &Method::GET), Right::Operate);
        assert_eq!(guard.right("/asset/{*uri}", &Method::PUT), Right::WriteAssets);
        assert_eq!(guard.right("/docs/{*rest}", &Method::GET), Right::Open);
    }

    #[test]
    fn head_needs_what_get_needs() {
        let guard = guard(&[(HttpMethod::Get, "/v1/peers")]);
        assert_eq!(guard.right("/v1/peers", &Method::HEAD), Right::Read);
        assert_eq!(guard.right("/v1/peers", &Method::OPTIONS), Right::Open);
    }
}
