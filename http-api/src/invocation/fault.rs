//! Why an invocation came to nothing. What status that is, is decided in `error`.

use assetmesh_node::staging;
use uuid::Uuid;

use super::asked::AskedError;

/// Why there is no answer of a container.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Fault {
    /// The settings name no such function.
    #[error("Function id '{id}'{} does not exist", version.as_ref().map(|version| format!(", version '{version}'")).unwrap_or_default())]
    UnknownFunction {
        /// As asked for.
        id: String,
        /// As asked for.
        version: Option<String>,
    },
    /// No invocation of this account waits under this id.
    #[error("Request id '{0}' is not known: it never was, has been answered, or was dropped")]
    UnknownRequest(String),
    /// The headers ask for something impossible.
    #[error(transparent)]
    Asked(#[from] AskedError),
    /// The assets could not be staged.
    #[error(transparent)]
    Staging(#[from] staging::Error),
    /// The assets did not come in time.
    #[error("the assets of the invocation did not come within {0} s; nothing was run")]
    StagingTimeout(u64),
    /// Nobody answers at the function's url.
    #[error("the container of the function cannot be reached")]
    Unreachable(String),
    /// The container ended the connection in the middle, or does not speak HTTP.
    #[error("the container of the function broke off")]
    Broken(String),
    /// The container did not answer in time.
    #[error("the container of the function did not answer within {0} s")]
    Timeout(u64),
    /// Too many wait for the same answer.
    #[error("too many requests wait for the answer to request id '{0}' already")]
    ManyWaiting(Uuid),
    /// The worker stops.
    #[error("the worker is stopping; the invocation was given up")]
    Stopping,
}
