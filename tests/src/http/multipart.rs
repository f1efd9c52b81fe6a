//! Multipart bodies with one fixed boundary. Nothing is escaped: tests send bad ones on purpose.

/// The boundary of all bodies made here.
pub const BOUNDARY: &str = "assetmesh-test-boundary-5f1c";

/// The `Content-Type` of all bodies made here.
pub const CONTENT_TYPE: &str = "multipart/form-data; boundary=assetmesh-test-boundary-5f1c";

/// A whole body. Each part is what follows `Content-Disposition: form-data; ` (with further header
/// lines, if any) and its bytes.
#[must_use]
pub fn body(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = unfinished(parts);
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// A body without its closing boundary.
#[must_use]
pub fn unfinished(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, bytes) in parts {
        let start = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(start.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_ends_with_its_closing_boundary() {
        let text = String::from_utf8(body(&[("name=\"a\"", b"1")])).unwrap();
        assert!(text.contains("form-data; name=\"a\"\r\n\r\n1\r\n--"));
        assert!(text.ends_with("--\r\n"));
        assert!(CONTENT_TYPE.ends_with(BOUNDARY));
    }
}
