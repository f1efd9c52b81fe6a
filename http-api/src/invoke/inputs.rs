//! What a worker asks its node, and what it is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Where a worker asks.
pub(crate) const INPUTS: &str = "/v2/nvcf/inputs";

/// The assets that an invocation names.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NamedInputs {
    /// Their ids; at most 1000, and none to learn the account alone.
    #[schema(max_items = 1000)]
    pub(crate) asset_ids: Vec<Uuid>,
}

/// An account and its assets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct FoundInputs {
    /// Whose token it is.
    pub(crate) account: String,
    /// In the order of the question, each once.
    pub(crate) assets: Vec<FoundInput>,
}

/// An uploaded asset, here or on another node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundInput {
    pub(crate) asset_id: Uuid,
    /// The BLAKE3 hash of its content, 64 hex characters.
    pub(crate) blake3: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Whether its bytes are on the node that was asked, and not on another.
    #[serde(default)]
    pub(crate) is_here: bool,
}
