//! The one place where an error becomes a status, a code and a public sentence.
//! What lies behind it stays inside: it is carried along for the log and never sent.

mod input;
mod invocation;
mod nvcf;

use std::borrow::Cow;
use std::fmt::Display;

use assetmesh_node::{ForgetError, blobs, catalog, fetch, query, registry, tokens};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::JSON_BYTES_MAX;
use crate::federation::Federation;
use crate::probe::Unwell;
use crate::site::Foreign;

pub(crate) use self::nvcf::{Form, Problem, UPLOADS};

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal<'a> {
    /// Always false.
    success: bool,
    /// A sentence for people.
    #[schema(example = "No document found")]
    error: &'a str,
    /// A word for programs; it does not change.
    #[schema(example = "not_found")]
    code: &'static str,
    /// The sentence again, on `/upload_asset` and `/asset-object` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message: Option<&'a str>,
    /// What the federation knows of the matter, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    federation: Option<&'a Value>,
    /// Who has an asset of the name, where several do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    also_at: Option<&'a Value>,
}

/// Why a request is refused or failed.
#[derive(Debug, Clone)]
pub(crate) struct ApiError(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    sentence: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
    federation: Option<Value>,
    also_at: Option<Value>,
    cause: Option<String>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        let sentence = sentence.into();
        let inner =
            Inner { status, code, sentence, header: None, federation: None, also_at: None, cause: None };
        Self(Box::new(inner))
    }

    fn because(mut self, cause: impl Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Adds what the federation knows of the matter.
    pub(crate) fn told_by_federation(mut self, facts: &impl Serialize) -> Self {
        self.0.federation = serde_json::to_value(facts).ok();
        self
    }

    /// A mistake of the client's (400).
    pub(crate) fn bad_request(code: &'static str, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, sentence)
    }

    /// Nothing is there (404).
    pub(crate) fn not_found(sentence: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
    }

    /// The client has no right to this (403).
    pub(crate) fn forbidden(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", sentence)
    }

    /// The client brings no token where one is needed (401).
    pub(crate) fn no_token() -> Self {
        let sentence = "this needs a bearer token: send `Authorization: Bearer <token>`";
        // RFC 6750, 3.1: who did not try to authenticate is told no error code.
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", sentence)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"assetmesh\""))
    }

    /// The Authorization header is not one bearer token (401).
    pub(crate) fn bad_authorization() -> Self {
        Self::invalid_token("send one Authorization header of the form `Bearer <token>`")
    }

    fn invalid_token(sentence: impl Into<Cow<'static, str>>) -> Self {
        const CHALLENGE: &str = "Bearer realm=\"assetmesh\", error=\"invalid_token\"";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", sentence)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE))
    }

    /// The token is good, but grants something else (403).
    pub(crate) fn insufficient_scope(scope: &'static str) -> Self {
        let error = Self::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!("the token lacks the scope `{scope}`"),
        );
        let challenge =
            format!("Bearer realm=\"assetmesh\", error=\"insufficient_scope\", scope=\"{scope}\"");
        match HeaderValue::try_from(challenge) {
            Ok(value) => error.with(WWW_AUTHENTICATE, value),
            Err(_) => error,
        }
    }

    /// The service of an entry is not well, cannot be reached, or must not be called (503).
    pub(crate) fn unwell(unwell: &Unwell) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, unwell.code(), unwell.to_string());
        match unwell {
            Unwell::Busy => error.with(RETRY_AFTER, HeaderValue::from_static("1")),
            _ => error,
        }
    }

    /// No route has this path (404).
    pub(crate) fn no_route() -> Self {
        Self::not_found("no such resource; the API is described at /openapi.json")
    }

    /// No route of a worker has this path (404).
    pub(crate) fn no_worker_route() -> Self {
        Self::not_found(
            "no such resource: this is a worker, which invokes functions; ask its node for everything else",
        )
    }

    /// The path exists, the method does not (405); the router adds `Allow`.
    pub(crate) fn method_not_allowed() -> Self {
        let sentence = "this resource does not know the method; see the Allow header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", sentence)
    }

    /// The body came too slowly (408).
    pub(crate) fn too_slow() -> Self {
        let sentence = "the body came too slowly; nothing of it is kept";
        Self::new(StatusCode::REQUEST_TIMEOUT, "too_slow", sentence)
    }

    /// The body broke off or was framed wrongly (400).
    pub(crate) fn broken_body(cause: impl Display) -> Self {
        let sentence = "the request body broke off or is framed wrongly";
        Self::bad_request("broken_body", sentence).because(cause)
    }

    /// Something is larger than its limit (413).
    pub(crate) fn too_large(what: &str, bytes_max: u64) -> Self {
        let sentence = format!("{what} is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence)
    }

    /// A JSON body is too large (413).
    pub(crate) fn json_too_large() -> Self {
        Self::too_large("the JSON body", JSON_BYTES_MAX as u64)
    }

    /// The headers are too large (431).
    pub(crate) fn headers_too_large(bytes_max: usize) -> Self {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let sentence = format!("the request line and headers are larger than {bytes_max} bytes");
        Self::new(status, "headers_too_large", sentence)
    }

    /// What came is no request that can be read: the sentence for the status that the HTTP library chose.
    pub(crate) fn unreadable(status: StatusCode) -> Self {
        let (code, sentence) = match status {
            StatusCode::URI_TOO_LONG => ("uri_too_long", "the request line is too long"),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                ("headers_too_large", "the headers are too large or too many")
            }
            _ => ("bad_request", "this is not a valid HTTP request"),
        };
        Self::new(status, code, sentence)
    }

    /// The content is not of a type that is understood here (415).
    pub(crate) fn unsupported_type(sentence: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", sentence)
    }

    /// The range lies outside the content (416).
    pub(crate) fn range_outside(size: u64) -> Self {
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let error = Self::new(status, "bad_range", format!("the content has {size} bytes"));
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(value) => error.with(CONTENT_RANGE, value),
            Err(_) => error,
        }
    }

    /// The answer is not whole by the deadline and the client wants all or nothing (504).
    pub(crate) fn deadline() -> Self {
        let sentence = "the answer was not whole by the deadline; raise timeout_ms or allow_partial=true";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline", sentence)
    }

    /// The node cannot do its work (503).
    pub(crate) fn unready(reason: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unwritable", reason.to_string())
    }

    /// A fault of ours (500).
    pub(crate) fn internal(cause: impl Display) -> Self {
        let sentence = "the node met an error of its own; its log names it under this request id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", sentence).because(cause)
    }

    fn integrity(cause: impl Display) -> Self {
        let sentence = "what is stored here is damaged and is not served";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "integrity", sentence).because(cause)
    }

    fn full() -> Self {
        let sentence = "no space is left on the disk; nothing was stored";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", sentence)
    }

    pub(crate) fn busy() -> Self {
        let sentence = "too much is waiting already; nothing was changed, try again soon";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", sentence)
            .with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The owner was told of a change, and its answer is lacking (504).
    fn unconfirmed(sentence: String) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "unconfirmed", sentence)
    }

    fn stopped(cause: impl Display) -> Self {
        let sentence = "the node is stopping or its store has failed";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence).because(cause)
    }

    /// Says what is missing in the words of the route.
    pub(crate) fn or_missing(self, sentence: &'static str) -> Self {
        let mut worded = self;
        if worded.0.status == StatusCode::NOT_FOUND {
            worded.0.sentence = Cow::Borrowed(sentence);
        }
        worded
    }

    /// The public sentence.
    pub(crate) fn sentence(&self) -> &str {
        &self.0.sentence
    }

    /// What the log should say, if this is not the client's mistake.
    pub(crate) fn fault(&self) -> Option<&str> {
        // What peers, probed services and quotas do is no fault of this node, and clients can bring it about at will.
        const NOT_OURS: [&str; 11] = [
            "owner_unreachable",
            "unconfirmed",
            "busy",
            "quota",
            "deadline",
            "bad_public_url",
            "address_refused",
            "unreachable",
            "timeout",
            "unhealthy",
            "no_provider",
        ];
        let ours = self.0.status.is_server_error() && !NOT_OURS.contains(&self.0.code);
        ours.then(|| self.0.cause.as_deref().unwrap_or(self.sentence()))
    }

    /// The body of the answer. `told_twice` repeats the sentence under `message`.
    pub(crate) fn json(&self, told_twice: bool) -> Vec<u8> {
        let refusal = Refusal {
            success: false,
            error: self.sentence(),
            code: self.0.code,
            message: told_twice.then_some(self.sentence()),
            federation: self.0.federation.as_ref(),
            also_at: self.0.also_at.as_ref(),
        };
        serde_json::to_vec(&refusal).expect("three strings and a bool are JSON")
    }

    /// The whole answer.
    pub(crate) fn render(&self, told_twice: bool) -> Response {
        let mut response = Response::new(Body::from(self.json(told_twice)));
        *response.status_mut() = self.0.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        if let Some((name, value)) = self.0.header.clone() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// Only the status and the error itself: the envelope around every route renders it.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}

impl From<catalog::Error> for ApiError {
    fn from(error: catalog::Error) -> Self {
        use catalog::Error;
        match error {
            Error::NotFound(_) => Self::not_found("No document found"),
            Error::Conflict { .. } => Self::new(StatusCode::CONFLICT, "conflict", error.to_string()),
            Error::Invalid(error) => error.into(),
            Error::BadCursor => Self::bad_request("bad_cursor", error.to_string()),
            Error::Eval(_) => Self::bad_request("bad_filter", error.to_string()),
            Error::Sort(error) => error.into(),
            Error::SortKeyTooLong { .. } | Error::SortKeysTooLong { .. } => {
                Self::bad_request("bad_sort", error.to_string())
            }
            Error::Full => Self::full(),
            Error::Busy => Self::busy(),
            Error::Damaged(_) => Self::integrity(error),
            Error::Failed(_) | Error::Stopped => Self::stopped(error),
        }
    }
}

impl From<query::Error> for ApiError {
    fn from(error: query::Error) -> Self {
        use query::Error;
        let sentence = error.to_string();
        let unreachable =
            |sentence| Self::new(StatusCode::SERVICE_UNAVAILABLE, "owner_unreachable", sentence);
        match error {
            Error::Catalog(error) => error.into(),
            Error::NotFound(report) if report.complete => Self::not_found("No document found"),
            Error::NotFound(report) => {
                Self::not_found("No document found").told_by_federation(&Federation::from(&*report))
            }
            Error::Ambiguous(holders) => {
                let mut error = Self::new(StatusCode::CONFLICT, "ambiguous", sentence);
                error.0.also_at = serde_json::to_value(&holders).ok();
                error
            }
            Error::OwnerUnreachable { report, .. } => {
                unreachable(sentence).told_by_federation(&Federation::from(&*report))
            }
            Error::Unconfirmed(_) => Self::unconfirmed(sentence),
            Error::Forbidden => Self::forbidden(sentence),
            Error::OwnerRefused { code, message } => Self::bad_request(owner_code(&code), message),
            Error::ChangeTooLong => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", sentence),
        }
    }
}

/// The owner's word for a mistake, if it is one of ours.
fn owner_code(code: &str) -> &'static str {
    const KNOWN: [&str; 7] =
        ["wrong_type", "unknown_member", "read_only", "missing_member", "too_long", "bad_path", "bad_json"];
    KNOWN.into_iter().find(|known| *known == code).unwrap_or("owner_refused")
}

impl From<registry::Error> for ApiError {
    fn from(error: registry::Error) -> Self {
        use registry::Error;
        match error {
            Error::NotFound(_) => Self::not_found("No document found"),
            Error::Conflict(_) | Error::OwnerConflict(_) => {
                Self::new(StatusCode::CONFLICT, "conflict", error.to_string())
            }
            Error::Forbidden(_) => Self::forbidden(error.to_string()),
            Error::Invalid(error) => error.into(),
            Error::OwnerRefused { message, .. } => Self::bad_request("owner_refused", message),
            Error::ChangeTooLong => Self::bad_request("too_long", error.to_string()),
            Error::OwnerUnreachable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "owner_unreachable", error.to_string())
            }
            Error::TooFast { .. } => Self::new(StatusCode::TOO_MANY_REQUESTS, "too_fast", error.to_string())
                .with(RETRY_AFTER, HeaderValue::from_static("10")),
            Error::Unconfirmed { .. } => Self::unconfirmed(error.to_string()),
            Error::TooMany(_) | Error::OwnerFull(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "quota", error.to_string())
            }
            Error::BadCursor => Self::bad_request("bad_cursor", error.to_string()),
            Error::Eval(_) => Self::bad_request("bad_filter", error.to_string()),
            Error::Sort(error) => error.into(),
            Error::SortKeyTooLong { .. } => Self::bad_request("bad_sort", error.to_string()),
            Error::Full => Self::full(),
            Error::Busy => Self::busy(),
            Error::Elsewhere(_) => Self::internal(error),
            Error::Failed(_) | Error::Stopped => Self::stopped(error),
        }
    }
}

impl From<ForgetError> for ApiError {
    fn from(error: ForgetError) -> Self {
        let sentence = error.to_string();
        match error {
            ForgetError::Unknown(_) => Self::new(StatusCode::NOT_FOUND, "not_found", sentence),
            ForgetError::Present(_) | ForgetError::Own => {
                Self::new(StatusCode::CONFLICT, "conflict", sentence)
            }
            ForgetError::Failed(_) | ForgetError::Stopped => Self::stopped(sentence),
        }
    }
}

impl From<blobs::Error> for ApiError {
    fn from(error: blobs::Error) -> Self {
        use blobs::Error;
        match error {
            Error::Full => Self::full(),
            Error::Busy => Self::busy(),
            Error::Damaged { .. } | Error::Corrupt(_) => Self::integrity(error),
            Error::Open(_) | Error::Check(_) | Error::Io(_) | Error::Failed(_) | Error::Stopped => {
                Self::stopped(error)
            }
        }
    }
}

impl From<fetch::Error> for ApiError {
    fn from(error: fetch::Error) -> Self {
        use fetch::Error;
        match error {
            Error::NotFound(_) => Self::not_found("File not found"),
            Error::Failed(why) => {
                let sentence =
                    format!("other nodes claim to hold the content, and none of them gives it: {why}");
                Self::new(StatusCode::BAD_GATEWAY, "no_provider", sentence)
            }
            Error::Busy => Self::busy(),
            Error::Blobs(error) => error.into(),
            Error::Catalog(error) => error.into(),
            Error::Stopped => Self::stopped(error),
        }
    }
}

impl From<tokens::Error> for ApiError {
    fn from(error: tokens::Error) -> Self {
        match error {
            tokens::Error::Unreadable(_) => Self::stopped(error),
            _ => Self::invalid_token(error.to_string()),
        }
    }
}

impl From<Foreign> for ApiError {
    fn from(foreign: Foreign) -> Self {
        Self::new(StatusCode::FORBIDDEN, "foreign_site", foreign.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(error: ApiError, told_twice: bool) -> (StatusCode, serde_json::Value) {
        let response = error.render(told_twice);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        let status = response.status();
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn a_refusal_has_a_sentence_and_a_code() {
        let (status, json) = body(ApiError::not_found("File not found"), false).await;
        assert_eq!(status, 404);
        let expect = serde_json::json!({"success": false, "error": "File not found", "code": "not_found"});
        assert_eq!(json, expect);
    }

    #[tokio::test]
    async fn some_routes_say_the_sentence_twice() {
        let (_, json) = body(ApiError::not_found("File not found"), true).await;
        assert_eq!(json["message"], "File not found");
    }

    #[tokio::test]
    async fn inner_text_is_for_the_log_only() {
        let error = ApiError::from(catalog::Error::Failed("/secret/path: EIO".to_owned()));
        assert!(error.fault().unwrap().contains("/secret/path"));
        let (status, json) = body(error, true).await;
        assert_eq!(status, 503);
        assert!(!json.to_string().contains("secret"), "{json}");
    }

    #[test]
    fn a_mistake_of_the_client_is_no_fault() {
        assert_eq!(ApiError::broken_body("reset by peer").fault(), None);
        assert_eq!(ApiError::internal("panic").fault(), Some("panic"));
    }

    #[test]
    fn each_error_of_the_store_has_its_status() {
        let status = |error: ApiError| (error.0.status.as_u16(), error.0.code);
        let table = [
            (ApiError::from(catalog::Error::NotFound("x".to_owned())), (404, "not_found")),
            (ApiError::from(catalog::Error::Conflict { uri: "x".to_owned() }), (409, "conflict")),
            (ApiError::from(catalog::Error::BadCursor), (400, "bad_cursor")),
            (ApiError::from(catalog::Error::Full), (507, "disk_full")),
            (ApiError::from(catalog::Error::Busy), (503, "busy")),
            (ApiError::from(catalog::Error::Damaged("row 1".to_owned())), (500, "integrity")),
            (ApiError::from(catalog::Error::Stopped), (503, "unavailable")),
            (ApiError::from(blobs::Error::Full), (507, "disk_full")),
            (ApiError::from(blobs::Error::Busy), (503, "busy")),
            (ApiError::from(blobs::Error::Stopped), (503, "unavailable")),
            (ApiError::from(fetch::Error::Failed("x".into())), (502, "no_provider")),
            (ApiError::from(fetch::Error::Busy), (503, "busy")),
            (ApiError::range_outside(5), (416, "bad_range")),
            (ApiError::json_too_large(), (413, "too_large")),
            (ApiError::deadline(), (504, "deadline")),
        ];
        for (error, expect) in table {
            assert_eq!(status(error.clone()), expect, "{error:?}");
        }
    }

    #[test]
    fn busy_says_when_to_come_back() {
        assert_eq!(ApiError::busy().render(false).headers()[RETRY_AFTER], "1");
        assert_eq!(ApiError::range_outside(5).render(false).headers()[CONTENT_RANGE], "bytes */5");
    }

    #[test]
    fn a_route_names_what_is_missing_in_its_own_words() {
        let error = ApiError::from(catalog::Error::NotFound("x".to_owned()));
        let words = "No document found to update";
        assert_eq!(error.or_missing(words).sentence(), words);
        assert_eq!(ApiError::busy().or_missing(words).0.code, "busy");
    }
}
