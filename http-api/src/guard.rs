//! Stands before every handler: looks up what the matched route needs and refuses who cannot show it. It goes by the
//! route that the router found, so that no way of writing a path leads around it.

use std::collections::HashMap;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use utoipa::openapi::OpenApi as Document;

use crate::app::App;
use crate::config::Auth;
use crate::error::ApiError;
use crate::operator::ClientAddr;
use crate::rights::{self, Proof, Right};
use crate::site::OwnSite;
use crate::{auth, docs};

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
        for (path, method) in docs::operations(document) {
            let right = rights::of(method.as_str(), &docs::plain(&path)).unwrap_or(Right::Operate);
            all.entry(path).or_default().push((method, right));
        }
        Self { rights: all, auth, site: OwnSite::new(public_url) }
    }

    /// What a request needs that the router has matched to a route.
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

    fn check(&self, app: &App, request: &mut Request) -> Result<(), ApiError> {
        let Some(template) = request.extensions().get::<MatchedPath>() else { return Ok(()) };
        let right = self.right(template.as_str(), request.method());
        match right.proof(self.auth) {
            Proof::None => Ok(()),
            Proof::OwnSite => Ok(self.site.check_page(request.headers(), request.uri())?),
            Proof::OwnMachine => self.check_operator(request),
            Proof::Scope(scope) => {
                let caller = auth::authenticate(app, request.headers())?;
                caller.require(scope)?;
                request.extensions_mut().insert(caller);
                Ok(())
            }
        }
    }

    fn check_operator(&self, request: &Request) -> Result<(), ApiError> {
        let client = request.extensions().get::<ClientAddr>();
        if !client.is_some_and(|client| client.is_operator()) {
            return Err(ApiError::forbidden(
                "this is for the node's operator: ask from the machine that it runs on, or start it with `--auth token` \
                 and bring a token with the scope `admin`",
            ));
        }
        self.site.check_host(request.headers(), request.uri())?;
        Ok(self.site.check_page(request.headers(), request.uri())?)
    }
}

/// Lets a request through, or answers it.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app.guard.check(&app, &mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}
