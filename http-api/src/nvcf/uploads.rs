//! `PUT <uploadUrl>`: the content of an input asset. The URL is the right: its signature is checked first, then the
//! headers, then the length, and only then is a byte of the body asked for.

use assetmesh_node::nvcf::{Slot, Ticket};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::schema::Uploading;
use crate::app::App;
use crate::error::{ApiError, UPLOADS};
use crate::extract::{body_error, declared_length};

const DESCRIPTION: HeaderName = HeaderName::from_static("x-amz-meta-nvcf-asset-description");

/// Takes the content of an input asset.
///
/// The same content again is answered 200, so that a client that missed the answer may repeat the upload.
#[utoipa::path(put, path = "/v2/nvcf/uploads/{*ticket}", tag = "nvcf",
    operation_id = "upload_input_asset",
    params(
        ("ticket" = String, Path, description = "As in `uploadUrl`, which is used as it was given"),
        ("Content-Type" = String, Header, description = "The `contentType` of the asset"),
        ("x-amz-meta-nvcf-asset-description" = String, Header, description = "The `description` of the asset"),
    ),
    request_body(content = Vec<u8>, content_type = "*/*"),
    responses((status = 200, description = "Stored, on disk",
        headers(("ETag" = String, description = "The BLAKE3 hash of the content"))), Uploading))]
pub(crate) async fn put(State(app): State<App>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let slot = admit(&app, &parts.uri)?;
    check_headers(&slot, &parts.headers)?;
    let mut upload = app.node.nvcf().begin(slot, declared_length(&parts.headers))?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        upload.write(piece.map_err(body_error)?).await?;
    }
    let asset = upload.finish().await?;
    let (blob, _) = asset.content.ok_or_else(|| ApiError::internal("an upload without content"))?;
    let mut response = Response::new(Body::empty());
    let etag = HeaderValue::try_from(format!("\"{blob}\"")).map_err(ApiError::internal)?;
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
}

/// What a URL gives the right to. It counts as it was sent: nothing is decoded or put in order first.
fn admit(app: &App, uri: &Uri) -> Result<Slot, ApiError> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let ticket = target.strip_prefix(UPLOADS).and_then(|text| text.parse::<Ticket>().ok());
    Ok(app.node.nvcf().admit(&ticket.ok_or_else(ApiError::bad_signature)?)?)
}

fn check_headers(slot: &Slot, headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(CONTENT_RANGE) {
        return Err(ApiError::not_as_it_is("Content-Range", "a part of the content"));
    }
    let is_framed = |encoding: &HeaderValue| encoding.as_bytes().starts_with(b"aws-chunked");
    if headers.get_all(CONTENT_ENCODING).iter().any(is_framed) {
        return Err(ApiError::not_as_it_is("Content-Encoding: aws-chunked", "signed chunks"));
    }
    if one(headers, &CONTENT_TYPE) != Some(slot.content_type().as_bytes()) {
        return Err(ApiError::header_mismatch("Content-Type", slot.content_type()));
    }
    let wanted = slot.description();
    let sent = match headers.contains_key(&DESCRIPTION) {
        true => one(headers, &DESCRIPTION),
        // Clients leave an empty header out.
        false => Some(&b""[..]),
    };
    if sent.is_some_and(|sent| says(sent, wanted)) {
        return Ok(());
    }
    Err(ApiError::header_mismatch(DESCRIPTION.as_str(), wanted))
}

/// The value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none()).map(HeaderValue::as_bytes)
}

/// Whether a header says a text. Clients send what is not ASCII as UTF-8 or as Latin-1, and spaces around a value are lost
/// on the way.
fn says(sent: &[u8], wanted: &str) -> bool {
    let wanted = wanted.trim_matches(' ');
    let latin = wanted.chars().map(|character| u8::try_from(u32::from(character)));
    sent == wanted.as_bytes() || latin.eq(sent.iter().map(|byte| Ok(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_told_in_either_charset() {
        for (sent, wanted, expect) in [
            (&b"red-cat-photo"[..], "red-cat-photo", true),
            (b"red-cat-photO", "red-cat-photo", false),
            (b"red-cat", "red-cat-photo", false),
            ("k\u{f6}ter".as_bytes(), "k\u{f6}ter", true),
            (b"k\xf6ter", "k\u{f6}ter", true),
            (b"k\xf7ter", "k\u{f6}ter", false),
            (b"", "", true),
            (b"a", " a ", true),
            ("\u{732b}".as_bytes(), "\u{732b}", true),
            (b"?", "\u{732b}", false),
        ] {
            assert_eq!(says(sent, wanted), expect, "{wanted}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_says_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, HeaderValue::from_static("image/png"));
        assert_eq!(one(&headers, &CONTENT_TYPE), Some(&b"image/png"[..]));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("image/png"));
        assert_eq!(one(&headers, &CONTENT_TYPE), None);
    }
}
