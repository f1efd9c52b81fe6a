//! What is said of input that cannot be read or does not mean what it must.

use assetmesh_protocol::asset::AssetError;
use assetmesh_protocol::document::JsonError;
use assetmesh_protocol::filter::{FilterError, SortError};
use assetmesh_protocol::registry::EntryError;

use super::ApiError;
use crate::multipart::Malformed;

impl From<AssetError> for ApiError {
    fn from(error: AssetError) -> Self {
        Self::bad_request(error.code(), error.to_string())
    }
}

impl From<EntryError> for ApiError {
    fn from(error: EntryError) -> Self {
        Self::bad_request(error.code(), error.to_string())
    }
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::bad_request("bad_json", error.to_string())
    }
}

impl From<FilterError> for ApiError {
    fn from(error: FilterError) -> Self {
        Self::bad_request(error.code(), error.to_string())
    }
}

impl From<SortError> for ApiError {
    fn from(error: SortError) -> Self {
        Self::bad_request("bad_sort", error.to_string())
    }
}

impl From<Malformed> for ApiError {
    fn from(error: Malformed) -> Self {
        Self::bad_request("bad_multipart", error.to_string())
    }
}
