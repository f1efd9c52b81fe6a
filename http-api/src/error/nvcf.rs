//! Refusals of the NVCF routes: which error of input assets has which status, and the two forms in which these routes tell
//! a refusal: problem JSON (RFC 9457), and for uploads the XML of S3, because that is what their clients read.

use std::fmt::Write;

use assetmesh_node::nvcf;
use axum::body::Body;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::ApiError;

/// Every path of these routes begins so.
const ROOT: &str = "/v2/nvcf/";
/// Where content is uploaded.
pub(crate) const UPLOADS: &str = "/v2/nvcf/uploads/";
/// A client whose account has too much may look again after a sweep.
const QUOTA_RETRY: HeaderValue = HeaderValue::from_static("60");

/// The body of a refusal of an NVCF route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem<'a> {
    /// A word for programs; it follows from the status.
    #[serde(rename = "type")]
    #[schema(example = "urn:nv-boot:problem-details:not-found")]
    kind: String,
    /// The name of the status.
    #[schema(example = "Not Found")]
    title: &'a str,
    /// The status again.
    status: u16,
    /// A sentence for people.
    detail: &'a str,
    /// The path that was asked.
    #[schema(example = "/v2/nvcf/assets")]
    instance: &'a str,
}

/// In which form a path tells its refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As the original did: `success`, `error`, `code`.
    Plain,
    /// Problem JSON.
    Problem,
    /// The XML of S3.
    Xml,
}

impl Form {
    /// The form of a path.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with(UPLOADS) {
            Self::Xml
        } else if path.starts_with(ROOT) {
            Self::Problem
        } else {
            Self::Plain
        }
    }
}

impl ApiError {
    /// The upload URL does not give this right (403).
    pub(crate) fn bad_signature() -> Self {
        Self::forbidden("the signature of the URL does not match the request")
    }

    /// A header of an upload is not what was announced (400).
    pub(crate) fn header_mismatch(name: &str, wanted: &str) -> Self {
        let sentence = match wanted {
            "" => format!("the asset was created without a description, so {name} must be empty"),
            wanted => format!("{name} must be {wanted:?}, as the asset was created"),
        };
        Self::bad_request("header_mismatch", sentence)
    }

    /// An upload says that its body is not the content as it is (400).
    pub(crate) fn not_as_it_is(header: &str, what: &str) -> Self {
        let sentence = format!("{header} says that the body is {what}: send the whole content as it is");
        Self::bad_request("not_as_it_is", sentence)
    }

    /// The answer as problem JSON.
    pub(crate) fn problem(&self, instance: &str) -> Response {
        let title = self.0.status.canonical_reason().unwrap_or("Error");
        let problem = Problem {
            kind: format!("urn:nv-boot:problem-details:{}", title.to_ascii_lowercase().replace(' ', "-")),
            title,
            status: self.0.status.as_u16(),
            detail: &self.0.sentence,
            instance,
        };
        let text = serde_json::to_vec(&problem).expect("some strings and a number are JSON");
        self.answer("application/problem+json", text)
    }

    /// The answer as S3 gives it.
    pub(crate) fn xml(&self) -> Response {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>{}</Message></Error>",
            self.s3_code(),
            escaped(&self.0.sentence)
        );
        self.answer("application/xml", text.into_bytes())
    }

    fn answer(&self, media_type: &'static str, text: Vec<u8>) -> Response {
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.0.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some((name, value)) = self.0.header.clone() {
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// The word of S3 that comes nearest.
    fn s3_code(&self) -> &'static str {
        match (self.0.code, self.0.status) {
            ("header_mismatch", _) => "SignatureDoesNotMatch",
            ("broken_body", _) => "IncompleteBody",
            (_, StatusCode::FORBIDDEN) => "AccessDenied",
            (_, StatusCode::NOT_FOUND) => "NoSuchKey",
            (_, StatusCode::METHOD_NOT_ALLOWED) => "MethodNotAllowed",
            (_, StatusCode::REQUEST_TIMEOUT) => "RequestTimeout",
            (_, StatusCode::CONFLICT) => "ObjectAlreadyExists",
            (_, StatusCode::PAYLOAD_TOO_LARGE) => "EntityTooLarge",
            (_, StatusCode::SERVICE_UNAVAILABLE) => "SlowDown",
            (_, StatusCode::INSUFFICIENT_STORAGE) => "InsufficientStorage",
            (_, status) if status.is_server_error() => "InternalError",
            _ => "InvalidRequest",
        }
    }
}

/// A text between XML tags.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '"' | '\'' => {
                // Writing to a string does not fail.
                write!(safe, "&#{};", u32::from(character)).ok();
            }
            control if control.is_control() => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

impl From<nvcf::Error> for ApiError {
    fn from(error: nvcf::Error) -> Self {
        use nvcf::Error;
        let sentence = error.to_string();
        match error {
            Error::NotFound(_) | Error::Unanswered { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
            }
            Error::ContentType => Self::bad_request("bad_content_type", sentence),
            Error::Description => Self::bad_request("bad_description", sentence),
            Error::TooManyWaiting(_) | Error::TooManyAssets(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "quota", sentence).with(RETRY_AFTER, QUOTA_RETRY)
            }
            Error::TooManyBytes(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "quota", sentence).with(RETRY_AFTER, QUOTA_RETRY)
            }
            Error::TooLarge(bytes_max) => Self::too_large("the content", bytes_max),
            Error::Refused(_) => Self::forbidden(sentence),
            Error::OtherContent => Self::new(StatusCode::CONFLICT, "conflict", sentence),
            Error::Full => Self::full(),
            Error::Busy => Self::busy(),
            Error::Damaged(_) => Self::integrity(sentence),
            Error::Failed(_) | Error::Stopped => Self::stopped(sentence),
            Error::Blobs(error) => error.into(),
            Error::Fetch(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_problem_has_all_five_members() {
        let response = ApiError::not_found("nothing \"here\"").problem("/v2/nvcf/assets/x");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let expect = r#"{"type":"urn:nv-boot:problem-details:not-found","title":"Not Found","status":404,"detail":"nothing \"here\"","instance":"/v2/nvcf/assets/x"}"#;
        assert_eq!(text(response).await, expect);
    }

    #[tokio::test]
    async fn nothing_that_a_client_said_becomes_markup() {
        let response = ApiError::header_mismatch("X", "</Message><Evil a='1'>&\u{1}").xml();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[CONTENT_TYPE]),
            (400, &HeaderValue::from_static("application/xml"))
        );
        let text = text(response).await;
        assert!(!text.contains("<Evil") && text.contains("<Code>SignatureDoesNotMatch</Code>"), "{text}");
        assert_eq!(text.matches('<').count(), 7, "{text}");
    }

    #[test]
    fn each_path_has_its_form() {
        let table = [
            ("/v2/nvcf/assets", Form::Problem),
            ("/v2/nvcf/uploads/a/b", Form::Xml),
            ("/v2/nvcf/pexec/functions/x", Form::Problem),
            ("/v2/nvcfx", Form::Plain),
            ("/assets", Form::Plain),
        ];
        for (path, form) in table {
            assert_eq!(Form::of(path), form, "{path}");
        }
    }

    #[test]
    fn each_error_of_input_assets_has_its_status() {
        let id = uuid::Uuid::nil();
        let table = [
            (nvcf::Error::NotFound(id), 404),
            (nvcf::Error::Unanswered { id, silence: nvcf::Silence::default() }, 404),
            (nvcf::Error::ContentType, 400),
            (nvcf::Error::Description, 400),
            (nvcf::Error::TooManyWaiting(1), 429),
            (nvcf::Error::TooManyAssets(1), 429),
            (nvcf::Error::TooManyBytes(1), 507),
            (nvcf::Error::TooLarge(1), 413),
            (nvcf::Error::Refused(nvcf::Refusal::Gone), 403),
            (nvcf::Error::OtherContent, 409),
            (nvcf::Error::Full, 507),
            (nvcf::Error::Busy, 503),
            (nvcf::Error::Damaged(String::new()), 500),
            (nvcf::Error::Stopped, 503),
        ];
        for (error, status) in table {
            assert_eq!(ApiError::from(error.clone()).0.status.as_u16(), status, "{error:?}");
        }
    }
}
