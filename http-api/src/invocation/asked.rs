//! What an invocation asks for in its headers. Pure: nothing is looked up.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use uuid::Uuid;

pub(crate) const ASSET_REFERENCES: HeaderName = HeaderName::from_static("nvcf-input-asset-references");
pub(crate) const POLL_SECONDS: HeaderName = HeaderName::from_static("nvcf-poll-seconds");
/// As NVIDIA's ngcsdk spells it.
const POLL_SECONDS_OF_NGCSDK: HeaderName = HeaderName::from_static("nvcf-poll_seconds");
const POLL_DEFAULT: Duration = Duration::from_secs(60);
const POLL_MAX: u64 = 3600;

/// Why the headers of an invocation are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskedError {
    #[error("NVCF-INPUT-ASSET-REFERENCES: `{0}` is no asset id")]
    Reference(String),
    #[error("NVCF-POLL-SECONDS must be one whole number from 1 to {POLL_MAX}")]
    PollSeconds,
}

/// The assets that the header names, each once, in order. The header may be there several times, with several ids each.
pub(crate) fn references(headers: &HeaderMap) -> Result<Vec<Uuid>, AskedError> {
    let mut found = Vec::new();
    for value in headers.get_all(ASSET_REFERENCES) {
        let text = String::from_utf8_lossy(value.as_bytes());
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let id = asset_id(word).ok_or_else(|| AskedError::Reference(shown(word)))?;
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    Ok(found)
}

/// The form that asset ids are given out in; capitals are fine, other forms of a UUID are not.
fn asset_id(word: &str) -> Option<Uuid> {
    Uuid::try_parse(word).ok().filter(|id| id.to_string().eq_ignore_ascii_case(word))
}

/// Enough of a wrong word to find it.
fn shown(word: &str) -> String {
    word.chars().take(64).collect()
}

/// How long the client waits for an answer before it asks again.
pub(crate) fn poll_time(headers: &HeaderMap) -> Result<Duration, AskedError> {
    let mut values = headers.get_all(POLL_SECONDS).iter().chain(headers.get_all(POLL_SECONDS_OF_NGCSDK));
    let Some(value) = values.next() else { return Ok(POLL_DEFAULT) };
    if values.next().is_some() {
        return Err(AskedError::PollSeconds);
    }
    let text = value.to_str().ok().map(str::trim);
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let seconds =
        digits.and_then(|digits| digits.parse().ok()).filter(|seconds| (1..=POLL_MAX).contains(seconds));
    seconds.map(Duration::from_secs).ok_or(AskedError::PollSeconds)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    const A: &str = "38652fac-b7ee-11ed-afa1-0242ac120002";
    const B: &str = "386531f0-b7ee-11ed-afa1-0242ac120003";

    fn headers(name: HeaderName, values: &[&[u8]]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[rstest]
    #[case(&[], &[])]
    #[case(&[""], &[])]
    #[case(&[" , ,,"], &[])]
    #[case(&[A], &[A])]
    #[case(&["38652fac-b7ee-11ed-afa1-0242ac120002, 386531f0-b7ee-11ed-afa1-0242ac120003"], &[A, B])]
    #[case(&[B, A], &[B, A])]
    #[case(&[" 386531f0-b7ee-11ed-afa1-0242ac120003 ,,", A, B], &[B, A])]
    #[case(&["38652FAC-B7EE-11ED-AFA1-0242AC120002", A], &[A])]
    fn references_come_in_order_and_once(#[case] values: &[&str], #[case] expect: &[&str]) {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        let found = references(&headers(ASSET_REFERENCES, &values)).unwrap();
        assert_eq!(found.iter().map(Uuid::to_string).collect::<Vec<_>>(), expect);
    }

    #[rstest]
    #[case(b"cat.png")]
    #[case(b"38652fac-b7ee-11ed-afa1-0242ac120002 386531f0-b7ee-11ed-afa1-0242ac120003")]
    #[case(b"38652fac-b7ee-11ed-afa1-0242ac120002;")]
    #[case(b"38652facb7ee11edafa10242ac120002")]
    #[case(b"{38652fac-b7ee-11ed-afa1-0242ac120002}")]
    #[case(b"urn:uuid:38652fac-b7ee-11ed-afa1-0242ac120002")]
    #[case(b"../38652fac-b7ee-11ed-afa1-0242ac120002")]
    #[case(b"38652fac-b7ee-11ed-afa1-0242ac120002, nope")]
    #[case(b"\xff\xfe")]
    fn what_is_no_asset_id_is_named(#[case] value: &[u8]) {
        assert!(references(&headers(ASSET_REFERENCES, &[value])).is_err());
    }

    #[rstest]
    #[case("1", 1)]
    #[case("3600", 3600)]
    #[case(" 5 ", 5)]
    fn the_poll_time_is_a_number_of_seconds(#[case] value: &str, #[case] expect: u64) {
        for name in [POLL_SECONDS, POLL_SECONDS_OF_NGCSDK] {
            let asked = poll_time(&headers(name, &[value.as_bytes()])).unwrap();
            assert_eq!(asked, Duration::from_secs(expect));
        }
        assert_eq!(poll_time(&HeaderMap::new()).unwrap(), POLL_DEFAULT);
    }

    #[rstest]
    #[case(&["0"])]
    #[case(&["3601"])]
    #[case(&["-1"])]
    #[case(&["+5"])]
    #[case(&["1.5"])]
    #[case(&[""])]
    #[case(&["99999999999999999999"])]
    #[case(&["5", "5"])]
    fn any_other_poll_time_is_refused(#[case] values: &[&str]) {
        let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
        assert_eq!(poll_time(&headers(POLL_SECONDS, &values)), Err(AskedError::PollSeconds));
    }
}
