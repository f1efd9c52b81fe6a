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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, value.parse().unwrap())).collect()
    }

    #[rstest]
    #[case("Bearer abc")]
    #[case("bearer abc")]
    #[case("BEARER   abc ")]
    fn the_scheme_is_known_in_any_case(#[case] value: &str) {
        assert_eq!(bearer(&headers(&[value])).unwrap(), "abc");
    }

    #[rstest]
    #[case(&[], "this needs a bearer token")]
    #[case(&["Basic YTpi"], "send one Authorization header")]
    #[case(&["Bearer"], "send one Authorization header")]
    #[case(&["Bearer "], "send one Authorization header")]
    #[case(&["abc"], "send one Authorization header")]
    #[case(&["Bearer a", "Bearer a"], "send one Authorization header")]
    #[case(&["Bearer \u{e9}"], "send one Authorization header")]
    fn anything_but_one_bearer_token_is_refused(#[case] values: &[&str], #[case] sentence: &str) {
        let error = bearer(&headers(values)).unwrap_err();
        assert!(error.sentence().starts_with(sentence), "{}", error.sentence());
    }
}
