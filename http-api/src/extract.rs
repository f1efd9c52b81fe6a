//! What handlers take out of a request, with our refusals instead of the framework's.

use assetmesh_protocol::document::Document;
use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use mime::Mime;
use percent_encoding::percent_decode;

use crate::config::JSON_BYTES_MAX;
use crate::error::ApiError;
use crate::paced::TooSlow;

/// The text of a JSON body, not parsed yet: at most 1 MiB, and declared as JSON.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) Bytes);

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) Document);

impl<S: Sync> FromRequest<S> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        refuse_encoded(request.headers())?;
        if !media_type(request.headers()).is_some_and(|mime| is_json(&mime)) {
            return Err(ApiError::unsupported_type("the body must be sent as application/json"));
        }
        if declared_length(request.headers()).is_some_and(|length| length > JSON_BYTES_MAX as u64) {
            return Err(ApiError::json_too_large());
        }
        collect(request.into_body()).await.map(Self)
    }
}

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonText(text) = JsonText::from_request(request, state).await?;
        Ok(Self(Document::from_json(&text)?))
    }
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream();
    let Some(first) = stream.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(body_error)?;
    let mut whole: Option<BytesMut> = None;
    while let Some(piece) = stream.next().await {
        let piece = piece.map_err(body_error)?;
        let text = whole.get_or_insert_with(|| BytesMut::from(&first[..]));
        if text.len() + piece.len() > JSON_BYTES_MAX {
            return Err(ApiError::json_too_large());
        }
        text.extend_from_slice(&piece);
    }
    let text = whole.map_or(first, BytesMut::freeze);
    if text.len() > JSON_BYTES_MAX { Err(ApiError::json_too_large()) } else { Ok(text) }
}

/// Why no more of a body came: our pace, or the client.
pub(crate) fn body_error(error: axum::Error) -> ApiError {
    let inner = error.into_inner();
    if inner.is::<TooSlow>() { ApiError::too_slow() } else { ApiError::broken_body(inner) }
}

/// Refuses a compressed body: what a client sends is stored and checked as it is.
pub(crate) fn refuse_encoded(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(CONTENT_ENCODING) {
        Some(value) if !value.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(ApiError::unsupported_type("a body with a Content-Encoding is not taken"))
        }
        _ => Ok(()),
    }
}

/// The Content-Type of the request.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<Mime> {
    headers.get(CONTENT_TYPE)?.to_str().ok()?.parse().ok()
}

/// The Content-Length, if the client gave one.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a text can stand in a Content-Type header: `type/subtype` in visible ASCII.
pub(crate) fn is_media_type(value: &HeaderValue) -> bool {
    value.to_str().is_ok_and(|text| text.parse::<Mime>().is_ok())
}

fn is_json(mime: &Mime) -> bool {
    mime.type_() == mime::APPLICATION && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}

/// The rest of a path behind `prefix`, percent-decoded as a whole: `%2F` is a slash like any other,
/// and `+` is a plus.
pub(crate) fn tail(path: &str, prefix: &str) -> Result<String, ApiError> {
    let encoded = path.strip_prefix(prefix).unwrap_or_default();
    match percent_decode(encoded.as_bytes()).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(ApiError::bad_request("bad_path", "the path is not UTF-8 when decoded")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    async fn extract(headers: &[(&str, &str)], body: impl Into<Body>) -> Result<String, String> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        match Json::from_request(request, &()).await {
            Ok(Json(document)) => Ok(document.to_json()),
            Err(error) => {
                Err(format!("{} {}", error.clone().render(false).status().as_u16(), error.sentence()))
            }
        }
    }

    #[rstest]
    #[case("application/json")]
    #[case("application/json; charset=utf-8")]
    #[case("Application/JSON")]
    #[case("application/merge-patch+json")]
    #[tokio::test]
    async fn json_types_are_read(#[case] content_type: &str) {
        assert_eq!(extract(&[("content-type", content_type)], "{\"a\":1}").await.unwrap(), "{\"a\":1}");
    }

    #[rstest]
    #[case(&[])]
    #[case(&[("content-type", "text/plain")])]
    #[case(&[("content-type", "text/json")])]
    #[case(&[("content-type", "application/x-www-form-urlencoded")])]
    #[case(&[("content-type", "nonsense")])]
    #[case(&[("content-type", "application/json"), ("content-encoding", "gzip")])]
    #[tokio::test]
    async fn other_types_and_compressed_bodies_are_415(#[case] headers: &[(&str, &str)]) {
        assert!(extract(headers, "{}").await.unwrap_err().starts_with("415 "), "{headers:?}");
    }

    #[tokio::test]
    async fn bad_json_is_400_and_says_where() {
        let json = [("content-type", "application/json")];
        for text in ["", "{", "{'a':1}", "{} {}", "nope"] {
            let error = extract(&json, text).await.unwrap_err();
            assert!(error.starts_with("400 ") && error.contains("line 1"), "{text}: {error}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_413_whether_declared_or_not() {
        let json = ("content-type", "application/json");
        let declared = [json, ("content-length", "1048577")];
        assert!(extract(&declared, "{}").await.unwrap_err().starts_with("413 "));
        let piece = Bytes::from(vec![b' '; 700_000]);
        let pieces = futures_util::stream::iter([piece.clone(), piece].map(Ok::<_, std::io::Error>));
        assert!(extract(&[json], Body::from_stream(pieces)).await.unwrap_err().starts_with("413 "));
        assert!(extract(&[json], vec![b' '; JSON_BYTES_MAX + 1]).await.unwrap_err().starts_with("413 "));
    }

    #[tokio::test]
    async fn a_body_in_pieces_is_joined() {
        let pieces = futures_util::stream::iter(["{\"a\"", ":", "1}"].map(Ok::<_, std::io::Error>));
        let body = Body::from_stream(pieces);
        assert_eq!(extract(&[("content-type", "application/json")], body).await.unwrap(), "{\"a\":1}");
    }

    #[rstest]
    #[case("/asset/a%20b:1-t", "a b:1-t")]
    #[case("/asset/a+b:1-t", "a+b:1-t")]
    #[case("/asset/a%3A1-t", "a:1-t")]
    #[case("/asset/org/n:1-t", "org/n:1-t")]
    #[case("/asset/org%2Fn:1-t", "org/n:1-t")]
    #[case("/asset/%252e%2e%2f..", "%2e./..")]
    #[case("/asset/100%", "100%")]
    fn a_name_in_a_path_is_decoded_once(#[case] path: &str, #[case] expect: &str) {
        assert_eq!(tail(path, "/asset/").unwrap(), expect);
    }

    #[test]
    fn a_path_that_is_not_utf8_is_refused() {
        assert!(tail("/asset/%ff", "/asset/").unwrap_err().sentence().contains("UTF-8"));
    }
}
