//! Stands before every handler and refuses who cannot show what the route needs; tells handlers who asks.

use assetmesh_node::tokens::Caller;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::request::Parts;

use crate::app::App;
use crate::bearer::bearer;
use crate::error::ApiError;
use crate::operator::ClientAddr;
use crate::rights::Proof;

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

/// Lets a request through, or answers it before anything of its body is read.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match check(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

fn check(app: &App, request: &mut Request) -> Result<(), ApiError> {
    // Without a route there is nothing to guard: the answer is 404.
    let Some(template) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
    match app.guard.proof(template.as_str(), request.method()) {
        Proof::None => Ok(()),
        Proof::OwnSite => Ok(app.guard.site().check_page(request.headers(), request.uri())?),
        Proof::OwnMachine => check_operator(app, request),
        Proof::Scope(scope) => {
            let caller = authenticate(app, request.headers())?;
            caller.require(scope)?;
            request.extensions_mut().insert(caller);
            Ok(())
        }
    }
}

fn check_operator(app: &App, request: &Request) -> Result<(), ApiError> {
    let client = request.extensions().get::<ClientAddr>();
    if !client.is_some_and(|client| client.is_operator()) {
        return Err(ApiError::forbidden(
            "this is for the node's operator: ask from the machine that it runs on, or start it with `--auth token` \
             and bring a token with the scope `admin`",
        ));
    }
    app.guard.site().check_host(request.headers(), request.uri())?;
    Ok(app.guard.site().check_page(request.headers(), request.uri())?)
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<Authenticated, ApiError> {
    Ok(Authenticated(app.node.tokens().check(bearer(headers)?)?))
}
