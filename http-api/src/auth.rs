//! Stands before every handler and refuses who cannot show what the route needs; tells handlers who asks.

use assetmesh_node::tokens::Caller;
use axum::body::to_bytes;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::EXPECT;
use http::request::Parts;

use crate::app::App;
use crate::bearer::bearer;
use crate::error::ApiError;
use crate::extract::declared_length;
use crate::operator::{self, ClientAddr};
use crate::rights::Proof;

/// Most descriptions are smaller.
const SMALL_BODY_BYTES: u64 = 8 * 1024;

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
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(Self(caller.clone())),
            None => authenticate(app, &parts.headers),
        }
    }
}

/// Lets a request through, or answers it before a large body is read.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match check(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            read_away(request).await;
            error.into_response()
        }
    }
}

/// Reads a small body that has come with the headers or is about to. Over HTTP/2 an answer before its end resets the
/// stream, and some clients then report the reset instead of the answer.
async fn read_away(request: Request) {
    let is_small = declared_length(request.headers()).is_some_and(|length| length <= SMALL_BODY_BYTES);
    if is_small && !request.headers().contains_key(EXPECT) {
        // Whatever comes of it, the refusal stands.
        let _ = to_bytes(request.into_body(), SMALL_BODY_BYTES as usize).await;
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
            request.extensions_mut().insert(caller.0);
            Ok(())
        }
    }
}

fn check_operator(app: &App, request: &Request) -> Result<(), ApiError> {
    let client = request.extensions().get::<ClientAddr>();
    if !operator::is_local(client, request.headers()) {
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
