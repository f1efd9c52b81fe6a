//! Where an invocation's assets come from: the node that this process is, or a node that it asks.

use std::fmt;

use assetmesh_node::staging::Content;
use axum::BoxError;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{Extensions, HeaderMap};
use uuid::Uuid;

use crate::error::ApiError;

/// Who invokes, once the token was accepted.
#[derive(Clone)]
pub(crate) struct Account {
    /// The account's name.
    pub(crate) name: String,
    /// The caller's own token, for a node that is asked on the caller's behalf.
    pub(crate) bearer: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The bytes of an asset as they come.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, BoxError>>;

/// An asset that was found.
pub(crate) struct Input {
    pub(crate) content: Content,
    /// Reading begins when it is first polled.
    pub(crate) pieces: Pieces,
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").field("content", &self.content).finish_non_exhaustive()
    }
}

/// Knows accounts and their assets.
pub(crate) trait Source: fmt::Debug + Send + Sync {
    /// Tells whose the caller's token is, and refuses one without the right to invoke. `known` may have who was found
    /// to call by what stands before this.
    fn admit<'a>(
        &'a self,
        headers: &'a HeaderMap,
        known: &'a Extensions,
    ) -> BoxFuture<'a, Result<Account, ApiError>>;

    /// Finds the assets, in the whole federation. The first that is missing is named.
    fn resolve<'a>(
        &'a self,
        account: &'a Account,
        assets: &'a [Uuid],
    ) -> BoxFuture<'a, Result<Vec<Input>, ApiError>>;
}
