//! What every answer has, whatever the route: a request id, `nosniff`, a JSON body for each refusal,
//! `Allow`, a count, and a 500 in place of a panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use uuid::Uuid;

use crate::error::{ApiError, Form};
use crate::metrics::Metrics;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longer ids than any tracing system makes.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// The request line and headers together. Tokens, cookies and names fit many times.
const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Wraps one request.
pub(crate) async fn envelope(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let _in_flight = metrics.begin();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();

    let mut response = if header_bytes(&request) > HEADER_BYTES_MAX {
        ApiError::headers_too_large(HEADER_BYTES_MAX).into_response()
    } else {
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        answered.unwrap_or_else(|panic| ApiError::internal(panic_text(&*panic)).into_response())
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = unknown_method(&method, &path);
    }
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        if let Some(fault) = error.fault() {
            tracing::error!(request_id = ?id, %method, %path, fault, "request failed");
        }
        response = with_headers_of(response, rendered(&error, &path));
    }
    response.headers_mut().insert(X_REQUEST_ID, id);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let took = started.elapsed();
    let status = response.status();
    let template = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.finish(template, &method, status, took);
    tracing::debug!(%method, %path, status = status.as_u16(), ?took, "answered");
    response
}

/// The client's id if it is harmless, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        let known = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(known)
    };
    headers.get(X_REQUEST_ID).filter(harmless).cloned().unwrap_or_else(|| {
        HeaderValue::try_from(Uuid::new_v4().to_string()).expect("a uuid is visible ASCII")
    })
}

fn header_bytes(request: &Request) -> usize {
    let line = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + fields.sum::<usize>()
}

/// The router's bare 405 as our refusal; for OPTIONS it is the answer itself. The router adds `Allow`.
fn unknown_method(method: &Method, path: &str) -> Response {
    if Form::of(path) == Form::Xml {
        // A URL that is signed for PUT gives no right to anything else.
        ApiError::bad_signature().into_response()
    } else if method == Method::OPTIONS {
        Response::new(Body::empty())
    } else {
        ApiError::method_not_allowed().into_response()
    }
}

/// The router's `Allow` names its handlers; every path knows OPTIONS as well.
pub(crate) fn allow_options(mut response: Response) -> Response {
    let Some(known) = response.headers().get(ALLOW).and_then(|value| value.to_str().ok()) else {
        return response;
    };
    let methods = known.split(',').map(str::trim).filter(|name| !name.is_empty());
    let methods: Vec<&str> = methods.chain(["OPTIONS"]).collect();
    if let Ok(allow) = HeaderValue::try_from(methods.join(", ")) {
        response.headers_mut().insert(ALLOW, allow);
    }
    response
}

/// A refusal in the form of its route.
fn rendered(error: &ApiError, path: &str) -> Response {
    match Form::of(path) {
        Form::Plain => error.render(says_twice(path)),
        Form::Problem => error.problem(path),
        Form::Xml => error.xml(),
    }
}

/// A rendered refusal, with what a layer below had already put on it.
fn with_headers_of(below: Response, mut rendered: Response) -> Response {
    for (name, value) in below.headers() {
        if name != CONTENT_TYPE && name != http::header::CONTENT_LENGTH {
            rendered.headers_mut().insert(name, value.clone());
        }
    }
    rendered
}

/// The original repeated the sentence on these two routes.
fn says_twice(path: &str) -> bool {
    path == "/upload_asset" || path.starts_with("/asset-object/")
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("of another type"))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::error::UPLOADS;

    fn headers(id: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        headers
    }

    #[test]
    fn a_harmless_request_id_is_kept() {
        for id in [&b"a"[..], b"7f9c:1/2+3=@x_y.z-0", &[b'a'; 128]] {
            assert_eq!(request_id(&headers(id)).as_bytes(), id);
        }
    }

    #[rstest]
    #[case(b"")]
    #[case(b"a b")]
    #[case(b"\"quoted\"")]
    #[case(b"<script>")]
    #[case("é".as_bytes())]
    #[case(&[b'a'; 129])]
    fn any_other_request_id_is_replaced(#[case] id: &[u8]) {
        let new = request_id(&headers(id));
        assert!(Uuid::parse_str(new.to_str().unwrap()).is_ok());
    }

    #[test]
    fn the_allow_header_names_options_too() {
        let mut below = Response::new(Body::empty());
        assert!(!allow_options(Response::new(Body::empty())).headers().contains_key(ALLOW));
        below.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
        assert_eq!(allow_options(below).headers()[ALLOW], "GET, HEAD, OPTIONS");
    }

    #[test]
    fn options_is_the_one_unknown_method_that_succeeds() {
        assert_eq!(unknown_method(&Method::OPTIONS, "/assets").status(), StatusCode::OK);
        assert_eq!(unknown_method(&Method::PATCH, "/assets").status(), StatusCode::METHOD_NOT_ALLOWED);
        for method in [Method::OPTIONS, Method::GET, Method::DELETE] {
            assert_eq!(unknown_method(&method, UPLOADS).status(), StatusCode::FORBIDDEN, "{method}");
        }
    }

    #[test]
    fn a_panic_is_named_in_the_log() {
        assert_eq!(panic_text(&"boom"), "panic: boom");
        assert_eq!(panic_text(&"boom".to_owned()), "panic: boom");
        assert_eq!(panic_text(&7), "panic: of another type");
    }
}
