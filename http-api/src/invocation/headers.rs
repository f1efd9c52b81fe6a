//! Which headers cross from a client to a container and back. Pure.
//!
//! Every `NVCF-*` name belongs to the worker: what a client sends under one never reaches a container, also not in a
//! spelling that a container could take for it.

use std::path::Path;

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
};
use http::header::{COOKIE, PROXY_AUTHENTICATE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use uuid::Uuid;

use super::functions::Function;

pub(crate) const REQID: HeaderName = HeaderName::from_static("nvcf-reqid");
pub(crate) const STATUS: HeaderName = HeaderName::from_static("nvcf-status");
const ASSET_DIR: HeaderName = HeaderName::from_static("nvcf-asset-dir");
const ASSET_IDS: HeaderName = HeaderName::from_static("nvcf-function-asset-ids");
const SUB: HeaderName = HeaderName::from_static("nvcf-sub");
const NCAID: HeaderName = HeaderName::from_static("nvcf-ncaid");
const FUNCTION_ID: HeaderName = HeaderName::from_static("nvcf-function-id");
const FUNCTION_NAME: HeaderName = HeaderName::from_static("nvcf-function-name");
const FUNCTION_VERSION_ID: HeaderName = HeaderName::from_static("nvcf-function-version-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What the worker sets, in the spelling of the wire.
pub(crate) const OWNED: [&str; 8] = [
    "NVCF-REQID",
    "NVCF-ASSET-DIR",
    "NVCF-FUNCTION-ASSET-IDS",
    "NVCF-SUB",
    "NVCF-NCAID",
    "NVCF-FUNCTION-ID",
    "NVCF-FUNCTION-NAME",
    "NVCF-FUNCTION-VERSION-ID",
];

/// What belongs to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a container is told of an invocation.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    pub(crate) request: Uuid,
    pub(crate) folder: &'a Path,
    pub(crate) assets: &'a [Uuid],
    pub(crate) account: &'a str,
    pub(crate) function: &'a Function,
}

/// The headers of a container's request; `None` if a value cannot stand in a header.
pub(crate) fn to_container(client: &HeaderMap, told: &Told<'_>) -> Option<HeaderMap> {
    let mut headers = without_connection(client);
    // Credentials are meant for this node; the length is told by the body itself.
    for name in [AUTHORIZATION, COOKIE, HOST, EXPECT, CONTENT_LENGTH] {
        headers.remove(name);
    }
    remove_all(&mut headers, |name| is_nvcf(name.as_str()));
    let value = |text: &str| HeaderValue::try_from(text).ok();
    let folder = HeaderValue::from_bytes(told.folder.as_os_str().as_encoded_bytes()).ok()?;
    headers.insert(HOST, value(told.function.target.authority.as_str())?);
    headers.insert(REQID, value(&told.request.to_string())?);
    headers.insert(ASSET_DIR, folder);
    if !told.assets.is_empty() {
        let ids: Vec<String> = told.assets.iter().map(Uuid::to_string).collect();
        headers.insert(ASSET_IDS, value(&ids.join(","))?);
    }
    headers.insert(SUB, value(told.account)?);
    headers.insert(NCAID, value(told.account)?);
    headers.insert(FUNCTION_ID, told.function.id.clone());
    headers.insert(FUNCTION_NAME, told.function.name.clone());
    headers.insert(FUNCTION_VERSION_ID, told.function.version_id.clone());
    Some(headers)
}

/// Gateways of containers make `_` of `-` and the other way round.
fn is_nvcf(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start == "nvcf-" || start == "nvcf_")
}

/// The headers of a client's answer.
pub(crate) fn to_client(container: &HeaderMap, request: Uuid, status: StatusCode) -> HeaderMap {
    let mut headers = without_connection(container);
    mark(&mut headers, request, if status.is_success() { "fulfilled" } else { "errored" });
    headers
}

/// Says which invocation an answer belongs to, and how far it is.
pub(crate) fn mark(headers: &mut HeaderMap, request: Uuid, status: &'static str) {
    if let Ok(id) = HeaderValue::try_from(request.to_string()) {
        headers.insert(REQID, id);
    }
    headers.insert(STATUS, HeaderValue::from_static(status));
}

fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let lists = headers.get_all(CONNECTION).into_iter().filter_map(|list| list.to_str().ok());
    let named: Vec<HeaderName> =
        lists.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    let mut kept = headers.clone();
    remove_all(&mut kept, |name| HOP_BY_HOP.contains(name) || named.contains(name));
    kept
}

fn remove_all(headers: &mut HeaderMap, is_dropped: impl Fn(&HeaderName) -> bool) {
    let dropped: Vec<HeaderName> = headers.keys().filter(|name| is_dropped(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::functions::{FunctionConfig, Functions};
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn functions() -> Functions {
        let url = "http://127.0.0.1:8000/infer".to_owned();
        let config =
            FunctionConfig { id: ID, version_id: Some("v".to_owned()), name: Some("f".to_owned()), url };
        Functions::new(&[config]).unwrap()
    }

    fn sent(client: &[(&'static str, &'static str)], assets: &[Uuid]) -> HeaderMap {
        let functions = functions();
        let told = Told {
            request: Uuid::from_u128(9),
            folder: Path::new("/var/inf/é"),
            assets,
            account: "acme",
            function: functions.find(ID, None).unwrap(),
        };
        to_container(&map(client), &told).unwrap()
    }

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_container_is_told_what_the_page_promises() {
        let headers = sent(&[("content-type", "image/png"), ("x-mine", "1"), ("accept", "*/*")], &[ID]);
        assert_eq!(headers["nvcf-reqid"], Uuid::from_u128(9).to_string());
        assert_eq!(headers["nvcf-asset-dir"].as_bytes(), "/var/inf/é".as_bytes());
        assert_eq!(headers["nvcf-function-asset-ids"], ID.to_string());
        assert_eq!(
            (&headers["nvcf-sub"], &headers["nvcf-ncaid"]),
            (&headers["nvcf-ncaid"], &headers["nvcf-sub"])
        );
        assert_eq!(headers["nvcf-function-version-id"], "v");
        assert_eq!(headers["host"], "127.0.0.1:8000");
        assert_eq!(
            (&headers["content-type"], &headers["x-mine"]),
            (&map(&[("a", "image/png")])["a"], &map(&[("a", "1")])["a"])
        );
        assert!(!sent(&[], &[]).contains_key("nvcf-function-asset-ids"));
        assert_eq!(sent(&[], &[ID, Uuid::nil()])["nvcf-function-asset-ids"], format!("{ID},{}", Uuid::nil()));
    }

    #[rstest]
    #[case("nvcf-asset-dir")]
    #[case("nvcf_asset_dir")]
    #[case("nvcf-asset_dir")]
    #[case("nvcf-function-asset-ids")]
    #[case("nvcf-large-output-dir")]
    #[case("nvcf-input-asset-references")]
    #[case("nvcf-poll_seconds")]
    #[case("authorization")]
    #[case("proxy-authorization")]
    #[case("cookie")]
    #[case("expect")]
    #[case("connection")]
    #[case("keep-alive")]
    #[case("te")]
    #[case("upgrade")]
    #[case("transfer-encoding")]
    #[case("content-length")]
    fn what_is_not_for_the_container_stays_here(#[case] name: &'static str) {
        let headers = sent(&[(name, "/etc"), (name, "/etc"), ("host", "evil")], &[]);
        assert!(headers.values().all(|value| value != "/etc" && value != "evil"), "{headers:?}");
    }

    #[test]
    fn headers_of_the_connection_stay_on_it() {
        let client = map(&[("connection", "close, X-Once"), ("x-once", "1"), ("x-mine", "1")]);
        let kept = without_connection(&client);
        assert_eq!(kept.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-mine"]);
    }

    #[test]
    fn an_answer_says_how_it_ended_whatever_the_container_says() {
        let container = map(&[("nvcf-status", "x"), ("nvcf-reqid", "x"), ("x-mine", "1"), ("te", "x")]);
        let headers = to_client(&container, ID, StatusCode::OK);
        assert_eq!((headers["nvcf-status"].as_bytes(), headers.len()), (&b"fulfilled"[..], 3));
        assert_eq!(headers["nvcf-reqid"], ID.to_string());
        let errored = to_client(&container, ID, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(errored["nvcf-status"], "errored");
    }
}
