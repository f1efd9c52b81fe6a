//! Who asks, as handlers see it.

use assetmesh_node::Node;
use assetmesh_node::tokens::Caller;
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use crate::app::App;
use crate::error::ApiError;

/// A caller whose bearer token was accepted. Its refusals are rendered as the route renders all of its own.
#[derive(Debug, Clone)]
pub(crate) struct Authenticated(pub(crate) Caller);

impl Authenticated {
    /// Refuses a caller without a scope (403, naming it).
    pub(crate) fn require(&self, scope: &'static str) -> Result<(), ApiError> {
        if self.0.may(scope) { Ok(()) } else { Err(ApiError::insufficient_scope(scope)) }
    }
}

impl FromRequestParts<App> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        match parts.extensions.get::<Self>() {
            Some(caller) => Ok(caller.clone()),
            None => authenticate(app, &parts.headers),
        }
    }
}

/// Checks the bearer token of a request.
pub(crate) fn authenticate(app: &App, headers: &HeaderMap) -> Result<Authenticated, ApiError> {
    of_headers(&app.node, headers)
}

/// Checks the bearer token among the headers of a request.
pub(crate) fn of_headers(node: &Node, headers: &HeaderMap) -> Result<Authenticated, ApiError> {
    Ok(Authenticated(node.tokens().check(bearer(headers)?)?))
}

/// The token of the one `Authorization: Bearer` header (RFC 6750).
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let value = all.next().ok_or_else(ApiError::no_token)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    let token = token.trim_matches(' ');
    if all.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(ApiError::bad_authorization());
    }
    Ok(token)
}
