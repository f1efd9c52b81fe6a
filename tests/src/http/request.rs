//! Requests as bytes: a head, and a body that is whole in memory.

use std::fmt::Write;

use serde_json::Value;

use super::multipart;

/// The methods that the tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: the answer has no body.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH: nothing offers it.
    Patch,
}

impl Method {
    /// As it stands on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Patch => "PATCH",
        }
    }

    /// Reads a name as recorded.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        const ALL: [Method; 7] = [
            Method::Get,
            Method::Head,
            Method::Post,
            Method::Put,
            Method::Delete,
            Method::Options,
            Method::Patch,
        ];
        ALL.into_iter().find(|method| method.name() == name)
    }
}

/// One request. Nothing in it is checked or escaped: tests send bad ones on purpose.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET target`
    #[must_use]
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::Get, target)
    }

    /// A request with a JSON body.
    #[must_use]
    pub fn json(method: Method, target: impl Into<String>, body: &Value) -> Self {
        Self::new(method, target)
            .with_header("Content-Type", "application/json")
            .with_body(body.to_string().into_bytes())
    }

    /// `POST /upload_asset` as curl sends it: the file first, then its description.
    #[must_use]
    pub fn upload(file_name: &str, content: &[u8], description: &Value) -> Self {
        let octets = "Content-Type: application/octet-stream";
        let file = format!("name=\"asset\"; filename=\"{file_name}\"\r\n{octets}");
        let description = description.to_string();
        let parts = [(file.as_str(), content), ("name=\"asset_metadata\"", description.as_bytes())];
        Self::new(Method::Post, "/upload_asset")
            .with_header("Content-Type", multipart::CONTENT_TYPE)
            .with_body(multipart::body(&parts))
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends a token, in place of one that was set before.
    #[must_use]
    pub fn with_bearer(mut self, token: &str) -> Self {
        self.headers.retain(|(name, _)| name != "Authorization");
        self.with_header("Authorization", &format!("Bearer {token}"))
    }

    /// Sets the body, whose length is announced.
    #[must_use]
    pub fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// How it is called.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// What it calls.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The bytes after the head.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The head with its closing empty line.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method.name(), self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let given = |wanted: &str| self.headers.iter().any(|(name, _)| name == wanted);
        let has_body = !self.body.is_empty() || matches!(self.method, Method::Post | Method::Put);
        if has_body && !given("Content-Length") && !given("Transfer-Encoding") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

/// One path segment: everything but unreserved characters is percent-encoded.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_body_is_announced_unless_the_test_lies() {
        let head = |request: Request| String::from_utf8(request.head()).unwrap();
        let post = || Request::new(Method::Post, "/x").with_body(b"abc".to_vec());
        assert!(head(post()).contains("Content-Length: 3\r\n"));
        assert!(!head(post().with_header("Content-Length", "9")).contains("Content-Length: 3\r\n"));
        assert!(!head(Request::get("/x")).contains("Content-Length"));
    }

    #[test]
    fn a_segment_keeps_only_unreserved_characters() {
        assert_eq!(encode_segment("a b/é:1-t"), "a%20b%2F%C3%A9%3A1-t");
    }

    #[test]
    fn method_names_read_back() {
        assert_eq!(Method::named("PATCH"), Some(Method::Patch));
        assert_eq!(Method::named("patch"), None);
    }
}
