//! Success in its envelope. Rows are written straight from their stored form: no tree of values.

use assetmesh_protocol::document::Document;
use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::error::ApiError;

/// A JSON text under construction: an object whose members are appended in order.
#[derive(Debug)]
pub(crate) struct Answer {
    text: Vec<u8>,
}

impl Answer {
    /// Begins `{"success":true`.
    pub(crate) fn new() -> Self {
        Self { text: b"{\"success\":true".to_vec() }
    }

    /// Appends a member of any serialisable type.
    pub(crate) fn member(mut self, name: &str, value: &impl Serialize) -> Result<Self, ApiError> {
        self.name(name);
        serde_json::to_writer(&mut self.text, value).map_err(ApiError::internal)?;
        Ok(self)
    }

    /// Appends a member that is a stored document.
    pub(crate) fn document(mut self, name: &str, document: &Document) -> Self {
        self.name(name);
        document.root().write_json(&mut self.text);
        self
    }

    /// Appends a member that is a list of stored documents.
    pub(crate) fn documents<'a>(mut self, name: &str, documents: impl Iterator<Item = &'a Document>) -> Self {
        self.name(name);
        self.text.push(b'[');
        for (at, document) in documents.enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            document.root().write_json(&mut self.text);
        }
        self.text.push(b']');
        self
    }

    /// Ends the object and sends it.
    pub(crate) fn send(mut self, status: StatusCode) -> Response {
        self.text.push(b'}');
        json(status, self.text)
    }

    /// Names are ours and need no escapes.
    fn name(&mut self, name: &str) {
        self.text.extend_from_slice(b",\"");
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }
}

/// A JSON text as an answer.
pub(crate) fn json(status: StatusCode, text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn members_are_written_in_order() {
        let row = Document::from_json(b"{\"b\":1,\"a\":\"\\\"\"}").unwrap();
        let answer = Answer::new()
            .documents("data", [&row, &row].into_iter())
            .member("next_cursor", &None::<String>)
            .unwrap()
            .document("one", &row);
        let response = answer.send(StatusCode::CREATED);
        assert_eq!(response.status(), 201);
        let text = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let row = r#"{"b":1,"a":"\""}"#;
        let expect = format!(r#"{{"success":true,"data":[{row},{row}],"next_cursor":null,"one":{row}}}"#);
        assert_eq!(text, expect.as_bytes());
    }
}
