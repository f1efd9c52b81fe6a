//! Accounts and assets of the node that this process is.

use std::time::Duration;

use assetmesh_node::Node;
use assetmesh_node::nvcf::Resolved;
use assetmesh_node::staging::{Content, Origin};
use assetmesh_node::tokens::INVOKE_FUNCTION;
use axum::BoxError;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use http::HeaderMap;
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
    fn admit<'a>(&'a self, headers: &'a HeaderMap) -> BoxFuture<'a, Result<Account, ApiError>> {
        async move {
            let bearer = bearer(headers)?;
            let caller = self.0.tokens().check(bearer)?;
            if !caller.may(INVOKE_FUNCTION) {
                return Err(ApiError::insufficient_scope(INVOKE_FUNCTION));
            }
            Ok(Account { name: caller.account, bearer: bearer.to_owned() })
        }
        .boxed()
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
