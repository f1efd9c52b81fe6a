//! Accounts and assets of a node that a worker in a process of its own asks. The caller's token goes to that node and to
//! nobody else.

use std::time::Duration;

use assetmesh_node::staging::{Content, Origin};
use axum::BoxError;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryFutureExt, TryStreamExt};
use http::header::WWW_AUTHENTICATE;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, Response, Url};
use serde::Deserialize;
use uuid::Uuid;

use super::inputs::{FoundInput, FoundInputs, INPUTS, NamedInputs};
use super::source::{Account, Input, Source};
use crate::bearer::bearer;
use crate::error::ApiError;

/// The node sits on this machine or beside it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longer than the node takes to ask its peers, and to fetch from them.
const QUIET_MAX: Duration = Duration::from_secs(30);
/// For all assets of an invocation, and more than any refusal.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A node, as its REST tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    client: Client,
    inputs: Url,
    ready: Url,
}

/// What a refusal says.
#[derive(Debug, Deserialize)]
struct Refused {
    detail: String,
}

impl Remote {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// The URL has no path of its own, or TLS cannot be set up.
    pub(crate) fn new(node: &Url) -> Result<Self, BoxError> {
        let at = |path: &str| {
            let mut url = node.clone();
            let mut segments = url.path_segments_mut().map_err(|()| "the URL of the node has no path")?;
            segments.pop_if_empty().extend(path.trim_start_matches('/').split('/'));
            drop(segments);
            Ok::<_, BoxError>(url)
        };
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(QUIET_MAX)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none());
        if node.scheme() == "http" {
            builder = builder.tls_certs_only([]);
        }
        Ok(Self { client: builder.build()?, inputs: at(INPUTS)?, ready: at("/readyz")? })
    }

    /// Whether the node answers and is ready.
    pub(crate) async fn is_ready(&self, within: Duration) -> bool {
        let answered = self.client.get(self.ready.clone()).timeout(within).send().await;
        answered.is_ok_and(|response| response.status().is_success())
    }

    async fn find(&self, bearer: &str, assets: &[Uuid]) -> Result<FoundInputs, ApiError> {
        let question = NamedInputs { asset_ids: assets.to_vec() };
        let asked = self.client.post(self.inputs.clone()).bearer_auth(bearer).json(&question);
        let response = asked.send().await.map_err(ApiError::node_unreachable)?;
        let (status, challenge) = (response.status(), response.headers().get(WWW_AUTHENTICATE).cloned());
        let text = body(response).await.map_err(ApiError::node_unreachable)?;
        if !status.is_success() {
            return Err(refusal(status, challenge, &text));
        }
        serde_json::from_slice(&text).map_err(ApiError::node_unreachable)
    }

    fn input(&self, bearer: &str, found: &FoundInput) -> Result<Input, ApiError> {
        let hash = found.blake3.parse().map_err(ApiError::node_unreachable)?;
        let origin = if found.is_here { Origin::Here } else { Origin::Elsewhere };
        let content = Content { asset: found.asset_id, hash, size: found.size, origin };
        let mut url = self.inputs.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&found.asset_id.to_string());
        }
        let asked = self.client.get(url).bearer_auth(bearer);
        let pieces = async move {
            let response = asked.send().await?.error_for_status()?;
            Ok::<_, BoxError>(response.bytes_stream().map_err(BoxError::from))
        };
        Ok(Input { content, pieces: pieces.try_flatten_stream().boxed() })
    }
}

/// A short answer.
async fn body(response: Response) -> Result<Vec<u8>, BoxError> {
    let mut text = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        text.extend_from_slice(&piece?);
        if text.len() > ANSWER_BYTES_MAX {
            return Err("the answer of the node is too long".into());
        }
    }
    Ok(text)
}

/// What the client did wrong, in the words of the node; what the node cannot do is a bad gateway.
fn refusal(status: StatusCode, challenge: Option<HeaderValue>, text: &[u8]) -> ApiError {
    let detail = serde_json::from_slice::<Refused>(text).ok().map(|refused| refused.detail);
    match detail {
        Some(detail) if status.is_client_error() => ApiError::of_the_node(status, detail, challenge),
        _ => ApiError::node_unreachable(format!("it answered {status}")),
    }
}

impl Source for Remote {
    fn admit<'a>(
        &'a self,
        headers: &'a HeaderMap,
        _known: &'a Extensions,
    ) -> BoxFuture<'a, Result<Account, ApiError>> {
        async move {
            let bearer = bearer(headers)?;
            let found = self.find(bearer, &[]).await?;
            Ok(Account { name: found.account, bearer: bearer.to_owned() })
        }
        .boxed()
    }

    fn resolve<'a>(
        &'a self,
        account: &'a Account,
        assets: &'a [Uuid],
    ) -> BoxFuture<'a, Result<Vec<Input>, ApiError>> {
        async move {
            let found = self.find(&account.bearer, assets).await?.assets;
            let is_asked_for = found.iter().map(|found| found.asset_id).eq(assets.iter().copied());
            if !is_asked_for {
                return Err(ApiError::node_unreachable("it answered about other assets"));
            }
            found.iter().map(|found| self.input(&account.bearer, found)).collect()
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_behind_a_path_is_asked_there() {
        let remote = Remote::new(&"http://host:1/mesh/".parse().unwrap()).unwrap();
        assert_eq!(remote.inputs.as_str(), "http://host:1/mesh/v2/nvcf/inputs");
        assert_eq!(remote.ready.as_str(), "http://host:1/mesh/readyz");
    }

    #[test]
    fn what_the_node_has_itself_is_not_taken_for_far() {
        let remote = Remote::new(&"http://host:1".parse().unwrap()).unwrap();
        let origin = |more: &str| {
            let (id, hash) = (Uuid::nil(), "0".repeat(64));
            let found = format!(r#"{{"assetId":"{id}","blake3":"{hash}","size":1{more}}}"#);
            remote.input("x", &serde_json::from_str(&found).unwrap()).unwrap().content.origin
        };
        assert_eq!(origin(r#","isHere":true"#), Origin::Here);
        assert_eq!(origin(r#","isHere":false"#), Origin::Elsewhere);
        assert_eq!(origin(""), Origin::Elsewhere, "a node that does not say");
    }

    #[test]
    fn only_what_the_client_did_wrong_is_passed_on() {
        let sentence = |status, text: &str| {
            let error = refusal(StatusCode::from_u16(status).unwrap(), None, text.as_bytes());
            error.sentence().to_owned()
        };
        let problem = r#"{"detail":"Asset 'x' does not exist","status":404}"#;
        assert_eq!(sentence(404, problem), "Asset 'x' does not exist");
        for (status, text) in [(500, problem), (404, "<html>"), (302, ""), (404, "{}")] {
            assert!(sentence(status, text).contains("node"), "{status} {text}");
        }
    }
}
