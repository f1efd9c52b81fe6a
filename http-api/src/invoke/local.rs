//! Accounts and assets of the node that this process is.

use std::future::ready;
use std::time::Duration;

use assetmesh_node::Node;
use assetmesh_node::nvcf::Resolved;
use assetmesh_node::staging::{Content, Origin};
use assetmesh_node::tokens::{Caller, INVOKE_FUNCTION};
use axum::BoxError;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use http::{Extensions, HeaderMap};
use uuid::Uuid;

use super::source::{Account, Input, Source};
use crate::bearer::bearer;
use crate::error::ApiError;

/// How long peers may take to say which of an invocation's assets they hold.
pub(crate) const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// The node's own knowledge.
#[derive(Debug)]
pub(crate) struct Local(pub(crate) Node);

impl Source for Local {
    fn admit<'a>(
        &'a self,
        headers: &'a HeaderMap,
        known: &'a Extensions,
    ) -> BoxFuture<'a, Result<Account, ApiError>> {
        ready(account(headers, known)).boxed()
    }

    fn resolve<'a>(
        &'a self,
        account: &'a Account,
        assets: &'a [Uuid],
    ) -> BoxFuture<'a, Result<Vec<Input>, ApiError>> {
        async move {
            let found = self.0.nvcf().resolve(&account.name, assets, RESOLVE_WITHIN).await?;
            Ok(found.into_iter().map(|found| input(&self.0, found)).collect())
        }
        .boxed()
    }
}

/// The account whose token the guard of the routes has checked. Without one nobody is let in.
fn account(headers: &HeaderMap, known: &Extensions) -> Result<Account, ApiError> {
    let caller = known.get::<Caller>().ok_or_else(ApiError::no_token)?;
    if !caller.may(INVOKE_FUNCTION) {
        return Err(ApiError::insufficient_scope(INVOKE_FUNCTION));
    }
    Ok(Account { name: caller.account.clone(), bearer: bearer(headers)?.to_owned() })
}

fn input(node: &Node, found: Resolved) -> Input {
    let origin = if found.is_here() { Origin::Here } else { Origin::Elsewhere };
    let content = Content { asset: found.id, hash: found.blob, size: found.size, origin };
    let node = node.clone();
    let pieces = async move {
        let pieces = node.nvcf().open(&found)?;
        Ok::<_, BoxError>(pieces.map_err(BoxError::from).boxed())
    };
    Input { content, pieces: pieces.try_flatten_stream().boxed() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use assetmesh_node::tokens::ASSETS_READ;
    use http::StatusCode;
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn the_word_of_the_guard_is_taken_and_nobody_else_s() {
        let mut headers = HeaderMap::new();
        // What no check would let through: it has been checked.
        headers.insert(AUTHORIZATION, "Bearer x".parse().unwrap());
        let known = |scope: &str| {
            let scopes = BTreeSet::from([scope.to_owned()]);
            let mut known = Extensions::new();
            known.insert(Caller { account: "acme".to_owned(), scopes });
            known
        };
        let admitted = account(&headers, &known(INVOKE_FUNCTION)).unwrap();
        assert_eq!((admitted.name.as_str(), admitted.bearer.as_str()), ("acme", "x"));
        let status = |known: &Extensions| {
            axum::response::IntoResponse::into_response(account(&headers, known).unwrap_err()).status()
        };
        assert_eq!(status(&known(ASSETS_READ)), StatusCode::FORBIDDEN);
        assert_eq!(status(&Extensions::new()), StatusCode::UNAUTHORIZED);
    }
}
