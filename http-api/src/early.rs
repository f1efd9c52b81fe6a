//! Refusals that the HTTP library sends by itself, before there is a request that a handler could see.
//! Their bodies are empty; here they get the body that every refusal has.

use http::StatusCode;
use uuid::Uuid;

use crate::error::ApiError;

/// The answer to send instead, if these are the bytes of a refusal without a body.
///
/// No answer of ours is mistaken for one: each of our refusals has a body.
pub(crate) fn reworded(bytes: &[u8]) -> Option<Vec<u8>> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    if !matches!(line.first(), Some(b'4' | b'5')) {
        return None;
    }
    let head = std::str::from_utf8(bytes).ok()?.strip_suffix("\r\n\r\n")?;
    let is_empty = |line: &str| line.eq_ignore_ascii_case("content-length: 0");
    if head.contains("\r\n\r\n") || !head.lines().any(is_empty) {
        return None;
    }
    let status = StatusCode::from_bytes(line.get(..3)?).ok()?;
    let body = ApiError::unreadable(status).json(false);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         x-content-type-options: nosniff\r\nx-request-id: {}\r\nconnection: close\r\n\r\n",
        body.len(),
        Uuid::new_v4(),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_a_body_gets_one() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let answer = String::from_utf8(reworded(bare).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(json["code"], "headers_too_large");
    }

    #[test]
    fn every_other_answer_stays_as_it_is() {
        for bytes in [
            &b""[..],
            b"HTTP/1.1 100 Continue\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 4",
            b"HTTP/1.1 4\xff\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(reworded(bytes), None, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
