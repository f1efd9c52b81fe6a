//! The bearer token of a request, as text.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::error::ApiError;

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
