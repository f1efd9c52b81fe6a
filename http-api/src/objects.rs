//! `GET /asset-object/<asset_id>`: the content, verified as it leaves; what is not here is fetched from the nodes that
//! hold it. Nothing unverified is sent, and damage found midway cuts the connection: a clean end always means the
//! true bytes.

use std::ops::Range;
use std::time::Instant;

use assetmesh_node::blobs;
use assetmesh_node::fetch::{self, Found, Held};
use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::AssetId;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::tail;
use crate::federation::Federation;
use crate::range::{Asked, asked};
use crate::schema::Serving;
use crate::{disposition, extract};

const PREFIX: &str = "/asset-object/";
const MISSING: &str = "File not found";
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const X_ASSETMESH_SOURCE: HeaderName = HeaderName::from_static("x-assetmesh-source");

/// Serves the content of an asset, or one range of it.
#[utoipa::path(get, path = "/asset-object/{*asset_id}", tag = "assets",
    params(
        ("asset_id" = String, Path, description = "64 hex characters: the BLAKE3 hash of the content"),
        ("Range" = Option<String>, Header, description = "`bytes=0-99`, `bytes=100-` or `bytes=-100`"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of a copy at hand"),
        ("If-Range" = Option<String>, Header, description = "The ETag of the copy to resume"),
    ),
    responses(
        (status = 200, description = "The content", content_type = "*/*", body = Vec<u8>),
        (status = 206, description = "The range", content_type = "*/*", body = Vec<u8>),
        (status = 304, description = "The copy at hand is good"),
        Serving))]
pub(crate) async fn download(
    State(app): State<App>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || ApiError::not_found(MISSING);
    let id = tail(uri.path(), PREFIX).ok().and_then(|text| text.parse::<AssetId>().ok());
    let id = id.ok_or_else(missing)?;
    let etag = format!("\"{id}\"");
    let content = match app.node.fetch().held(&id) {
        Ok(Some(held)) if suffices(&held, &method, &headers, &etag) => Content::Here(held),
        Ok(_) => elsewhere(&app, id).await?,
        // Another node may hold what cannot even be looked up here.
        Err(error @ fetch::Error::Blobs(blobs::Error::Corrupt(_))) => {
            elsewhere(&app, id).await.map_err(|_| error)?
        }
        Err(error) => return Err(error.into()),
    };
    let source = content.source();
    if is_at_hand(&headers, &etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        describe(response.headers_mut(), &etag, &source, None);
        return Ok(response);
    }
    let size = content.size();
    let range = match wanted(&method, &headers, &etag, size) {
        Asked::Outside => return Err(ApiError::range_outside(size)),
        Asked::Whole => None,
        Asked::Part(range) => Some(range),
    };
    let bytes = range.clone().unwrap_or(0..size);
    let length = bytes.end - bytes.start;
    let facts = content.facts().clone();
    let body = if method == Method::HEAD { Body::empty() } else { content.body(&app, bytes).await? };
    let mut response = Response::new(body);
    describe(response.headers_mut(), &etag, &source, Some(&facts));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(Range { start, end }) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let shown = format!("bytes {start}-{}/{size}", end - 1);
        let shown = HeaderValue::try_from(shown).map_err(ApiError::internal)?;
        response.headers_mut().insert(CONTENT_RANGE, shown);
    }
    Ok(response)
}

/// Ranges are defined for GET alone (RFC 9110 §14.2); `If-Range` asks for all if the copy is another.
fn wanted(method: &Method, headers: &HeaderMap, etag: &str, size: u64) -> Asked {
    let same = headers.get(IF_RANGE).is_none_or(|copy| copy.as_bytes() == etag.as_bytes());
    match headers.get(RANGE).and_then(|range| range.to_str().ok()) {
        Some(range) if method == Method::GET && same => asked(range, size),
        _ => Asked::Whole,
    }
}

/// Weak comparison, as RFC 9110 §13.1.2 demands.
fn is_at_hand(headers: &HeaderMap, etag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|list| list.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|copy| copy == "*" || copy.strip_prefix("W/").unwrap_or(copy) == etag)
}

/// Where the content comes from.
enum Content {
    Here(Held),
    There(Box<Found>),
}

/// Whether what is here is all that is asked for. Of other nodes' content there may be parts.
fn suffices(held: &Held, method: &Method, headers: &HeaderMap, etag: &str) -> bool {
    match held {
        Held::Cached(cached) if !cached.is_whole() => match wanted(method, headers, etag, held.blob().size())
        {
            Asked::Part(range) => cached.has(&range),
            Asked::Whole | Asked::Outside => false,
        },
        Held::Own(..) | Held::Cached(_) => true,
    }
}

/// What another node holds. If nobody does, the answer says who could not be asked.
async fn elsewhere(app: &App, id: AssetId) -> Result<Content, ApiError> {
    let begun = Instant::now();
    match app.node.fetch().find(id).await {
        Ok(found) => Ok(Content::There(Box::new(found))),
        Err(fetch::Error::NotFound(coverage)) => {
            let federation = Federation::of_search(&app.node, &coverage, begun.elapsed());
            Err(ApiError::not_found(MISSING).told_by_federation(&federation))
        }
        Err(error) => Err(error.into()),
    }
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Here(held) => held.blob().size(),
            Self::There(found) => found.size(),
        }
    }

    fn facts(&self) -> &FileFacts {
        match self {
            Self::Here(held) => held.facts(),
            Self::There(found) => found.facts(),
        }
    }

    fn source(&self) -> String {
        match self {
            Self::Here(Held::Own(..)) => "local".to_owned(),
            Self::Here(Held::Cached(_)) => "cache".to_owned(),
            Self::There(found) => format!("peer:{}", found.from().assets_db_id()),
        }
    }

    async fn body(self, app: &App, range: Range<u64>) -> Result<Body, ApiError> {
        if range.is_empty() {
            return Ok(Body::empty());
        }
        let fetch = app.node.fetch();
        match self {
            Self::Here(Held::Own(blob, _)) => verified(fetch.read_own(&blob, range)).await,
            Self::Here(Held::Cached(cached)) => verified(fetch.read_cached(&cached, range)).await,
            Self::There(found) => verified(fetch.read(*found, range)).await,
        }
    }
}

/// The first piece is read and verified before any header goes out, so that early damage is a clear refusal.
async fn verified<E>(pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static) -> Result<Body, ApiError>
where
    E: std::error::Error + Send + Sync + 'static,
    ApiError: From<E>,
{
    let mut pieces = Box::pin(pieces);
    let first = pieces.next().await.transpose()?.unwrap_or_default();
    let rest = pieces.inspect(|piece| {
        if let Err(error) = piece {
            tracing::error!(%error, "a download was cut");
        }
    });
    Ok(Body::from_stream(stream::once(async { Ok(first) }).chain(rest)))
}

fn describe(headers: &mut HeaderMap, etag: &str, source: &str, facts: Option<&FileFacts>) {
    let fixed = HeaderValue::from_static;
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    headers.insert(CACHE_CONTROL, fixed("public, max-age=31536000, immutable"));
    headers.insert(ACCEPT_RANGES, fixed("bytes"));
    if let Ok(source) = HeaderValue::try_from(source) {
        headers.insert(X_ASSETMESH_SOURCE, source);
    }
    if let Some(facts) = facts {
        let kind = HeaderValue::try_from(&facts.file_type).ok().filter(extract::is_media_type);
        headers.insert(CONTENT_TYPE, kind.unwrap_or(OCTETS));
        headers.insert(CONTENT_DISPOSITION, disposition::attachment(&facts.file_name));
        headers.insert(CONTENT_SECURITY_POLICY, fixed("sandbox"));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[rstest]
    #[case("\"abc\"", true)]
    #[case("W/\"abc\"", true)]
    #[case("\"x\", \"abc\"", true)]
    #[case("*", true)]
    #[case("\"abcd\"", false)]
    #[case("abc", false)]
    fn a_copy_at_hand_is_told_by_its_etag(#[case] list: &'static str, #[case] expect: bool) {
        assert_eq!(is_at_hand(&headers(IF_NONE_MATCH, list), "\"abc\""), expect);
    }

    #[rstest]
    #[case("\"abc\"", Asked::Part(0..1))]
    #[case("\"other\"", Asked::Whole)]
    #[case("W/\"abc\"", Asked::Whole)]
    #[case("Sat, 01 Jan 2022 00:00:00 GMT", Asked::Whole)]
    fn a_range_is_served_only_of_the_same_copy(#[case] copy: &'static str, #[case] expect: Asked) {
        let mut headers = headers(RANGE, "bytes=0-0");
        headers.insert(IF_RANGE, HeaderValue::from_static(copy));
        assert_eq!(wanted(&Method::GET, &headers, "\"abc\"", 9), expect);
    }

    #[test]
    fn a_head_request_has_no_range() {
        let headers = headers(RANGE, "bytes=0-0");
        assert_eq!(wanted(&Method::HEAD, &headers, "\"abc\"", 9), Asked::Whole);
    }

    #[rstest]
    #[case("text/plain; charset=utf-8", "text/plain; charset=utf-8")]
    #[case("image/svg+xml", "image/svg+xml")]
    #[case("", "application/octet-stream")]
    #[case("text", "application/octet-stream")]
    #[case("text/html\r\nX: y", "application/octet-stream")]
    #[case("té/xt", "application/octet-stream")]
    fn the_type_is_as_uploaded_if_it_is_one(#[case] given: &str, #[case] expect: &str) {
        let facts = FileFacts { file_name: "a".to_owned(), file_type: given.to_owned() };
        let mut headers = HeaderMap::new();
        describe(&mut headers, "\"abc\"", "local", Some(&facts));
        assert_eq!(headers[CONTENT_TYPE], expect);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "sandbox");
    }
}
