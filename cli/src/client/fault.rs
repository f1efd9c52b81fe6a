//! What went wrong between client and node: the one place where a status or a transport error becomes a [`Fault`].

use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};
use serde_json::Value;

use super::text;
use crate::exit::{Again, Exit, Fault};
use crate::output::printable;

/// An error page of some proxy may be long; its beginning tells enough.
const SENTENCE_CHARS_MAX: usize = 500;

/// The fault that an error answer tells of.
pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let code = text(&answer, "code");
    let sentence = sentence(&answer, body, status);
    let number = status.as_u16();
    let told = if code.is_empty() {
        format!("{sentence} ({number})")
    } else {
        format!("{sentence} ({number} {code})")
    };
    if let Some(silent) = silent_nodes(&answer).filter(|_| status == StatusCode::NOT_FOUND) {
        let told = format!("{told}; but {silent} did not answer, and may have it");
        return Fault::new(Exit::Unreachable, printable(&told)).worth(Again::Lost);
    }
    let fault = Fault::new(kind(status, code), printable(&told));
    match (status, retry_after(headers)) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(pause)) => {
            fault.worth(Again::Refused(pause))
        }
        (StatusCode::BAD_GATEWAY, _) => fault.worth(Again::Lost),
        _ => fault,
    }
}

fn sentence(answer: &Value, body: &[u8], status: StatusCode) -> String {
    let known = [text(answer, "error"), text(answer, "message"), text(answer, "detail")];
    if let Some(sentence) = known.into_iter().find(|sentence| !sentence.is_empty()) {
        return sentence.to_owned();
    }
    match String::from_utf8_lossy(body).trim() {
        "" => status.canonical_reason().unwrap_or("the node refused").to_owned(),
        page => page.chars().take(SENTENCE_CHARS_MAX).collect(),
    }
}

/// The nodes that an answer without a full search names.
fn silent_nodes(answer: &Value) -> Option<String> {
    let federation = answer.get("federation").filter(|federation| federation["complete"] == false)?;
    let missing = federation["missing"].as_array().map_or(&[][..], Vec::as_slice);
    let named = missing.iter().map(|node| match text(node, "name") {
        "" => text(node, "assets_db_id"),
        name => name,
    });
    let named: Vec<_> = named.collect();
    Some(if named.is_empty() { "some node".to_owned() } else { named.join(", ") })
}

fn kind(status: StatusCode, code: &str) -> Exit {
    match (status.as_u16(), code) {
        (_, "integrity") => Exit::Integrity,
        (401 | 403, _) => Exit::NotAllowed,
        (404 | 410, _) => Exit::NotFound,
        (408 | 502..=504, _) => Exit::Unreachable,
        (409 | 412, _) => Exit::Conflict,
        (413 | 429 | 507, _) => Exit::TooLarge,
        (400..=499, _) => Exit::Usage,
        _ => Exit::Unexpected,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The fault of a request that got no answer, or only a part of one.
pub(super) fn of_transport(base: &Url, error: &reqwest::Error) -> Fault {
    let cause = root_cause(error);
    if error.is_connect() {
        let advice = "start one with `assetmesh node run`, or name another with --node";
        let sentence = format!("cannot reach a node at {base} ({cause}): {advice}");
        return Fault::new(Exit::Unreachable, sentence).worth(Again::Unreached);
    }
    if error.is_builder() {
        return Fault::new(Exit::Unexpected, format!("cannot send the request: {cause}"));
    }
    Fault::new(Exit::Unreachable, format!("the connection to {base} was lost: {cause}")).worth(Again::Lost)
}

/// The fault of a node that says nothing.
pub(super) fn silent(base: &Url, waited: Duration) -> Fault {
    Fault::new(Exit::Unreachable, format!("{base} was silent for {waited:?}")).worth(Again::Lost)
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(400, "bad_filter", Exit::Usage)]
    #[case(401, "", Exit::NotAllowed)]
    #[case(403, "", Exit::NotAllowed)]
    #[case(404, "not_found", Exit::NotFound)]
    #[case(409, "exists", Exit::Conflict)]
    #[case(413, "", Exit::TooLarge)]
    #[case(415, "", Exit::Usage)]
    #[case(416, "", Exit::Usage)]
    #[case(500, "internal", Exit::Unexpected)]
    #[case(500, "integrity", Exit::Integrity)]
    #[case(503, "busy", Exit::Unreachable)]
    #[case(504, "deadline", Exit::Unreachable)]
    #[case(507, "full", Exit::TooLarge)]
    fn a_status_has_its_exit_code(#[case] status: u16, #[case] code: &str, #[case] exit: Exit) {
        assert_eq!(kind(StatusCode::from_u16(status).unwrap(), code), exit);
    }

    #[test]
    fn the_nodes_own_sentence_is_shown() {
        let body = br#"{"success":false,"error":"unknown operator: $near","code":"bad_filter"}"#;
        let fault = of_answer(StatusCode::BAD_REQUEST, &HeaderMap::new(), body);
        assert_eq!(fault.to_string(), "unknown operator: $near (400 bad_filter)");
        let fault = of_answer(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<h1>\x1b[31mBad</h1>");
        assert_eq!(fault.to_string(), "<h1>\\u{1b}[31mBad</h1> (502)");
        let fault = of_answer(StatusCode::NOT_FOUND, &HeaderMap::new(), b"");
        assert_eq!(fault.to_string(), "Not Found (404)");
    }

    #[test]
    fn what_a_silent_node_may_have_is_not_said_to_be_nowhere() {
        let body = |complete: bool| {
            let missing = json!([{"name": "n2", "assets_db_id": "i2"}, {"name": "", "assets_db_id": "i3"}]);
            json!({"error": "No document found", "code": "not_found",
                "federation": {"complete": complete, "missing": missing}})
            .to_string()
        };
        let fault = |body: &str| of_answer(StatusCode::NOT_FOUND, &HeaderMap::new(), body.as_bytes());
        let silent = fault(&body(false));
        assert_eq!((silent.exit(), silent.again()), (Exit::Unreachable, Again::Lost));
        assert!(silent.to_string().contains("n2, i3 did not answer"), "{silent}");
        assert_eq!(fault(&body(true)).exit(), Exit::NotFound);
    }

    #[test]
    fn a_busy_node_is_asked_again_when_it_says_so() {
        let mut headers = HeaderMap::new();
        let busy = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(of_answer(busy, &headers, b"").again(), Again::Never);
        headers.insert(RETRY_AFTER, "2".parse().unwrap());
        assert_eq!(of_answer(busy, &headers, b"").again(), Again::Refused(Duration::from_secs(2)));
        assert_eq!(of_answer(StatusCode::NOT_FOUND, &headers, b"").again(), Again::Never);
    }
}
