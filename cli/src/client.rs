//! The HTTP client of the verbs: where the node is, who asks, how long to wait, and what an error answer means.
//! It knows no verb and no asset.

mod fault;
mod retry;

use std::time::Duration;

use anyhow::Context as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde_json::Value;

pub(crate) use self::retry::Retry;
use crate::exit::{Exit, Fault};
use crate::settings::ClientSettings;

/// Long enough for a far node, short enough to be told soon that there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest JSON answer that is read: a page of 1000 descriptions of 1 MiB would be more than anyone can use.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A way to one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    idle_timeout: Duration,
    retries: u32,
}

impl Client {
    /// Prepares a client; nothing is sent yet.
    pub(crate) fn new(settings: &ClientSettings) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| Fault::usage("the token holds characters that no token has"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("assetmesh/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if settings.node.0.scheme() == "http" {
            // No redirect is followed, so no certificate is ever needed: a machine without any may still ask.
            builder = builder.tls_certs_only([]);
        }
        Ok(Self {
            http: builder.build().context("cannot prepare an HTTP client")?,
            base: settings.node.0.clone(),
            idle_timeout: settings.idle_timeout,
            retries: settings.retries,
        })
    }

    /// The URL of a route. Each part becomes one path segment, so a `/` or `..` in a name stays in the name.
    pub(crate) fn url(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(parts);
        }
        url
    }

    /// The longest wait without a byte in either direction.
    pub(crate) fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// A fresh count of attempts, for a request that does no harm when it is done twice.
    pub(crate) fn retry(&self) -> Retry {
        Retry::new(self.retries, true)
    }

    /// A request that the caller finishes; its answer must go through [`Client::send`].
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request and waits for the head of its answer. An error answer becomes a [`Fault`].
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let answer = tokio::time::timeout(self.idle_timeout, request.send()).await;
        let response = answer.map_err(|_| self.silent())?.map_err(|error| self.lost(&error))?;
        self.check(response).await
    }

    /// Passes a good answer on and turns an error answer into a [`Fault`].
    pub(crate) async fn check(&self, response: Response) -> Result<Response, Fault> {
        if response.status().is_success() {
            return Ok(response);
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await.unwrap_or_default();
        Err(fault::of_answer(status, &headers, &body))
    }

    /// Asks for JSON, again if the connection is lost: only for requests that may be done twice.
    pub(crate) async fn ask(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value, Fault> {
        self.repeat(self.retry(), &method, &url, body).await
    }

    /// Sends a change and reads the JSON of its answer. Sent again only if the node surely did nothing.
    pub(crate) async fn change(
        &self,
        method: Method,
        url: Url,
        body: Option<&Value>,
    ) -> Result<Value, Fault> {
        self.repeat(Retry::new(self.retries, false), &method, &url, body).await
    }

    async fn repeat(
        &self,
        mut retry: Retry,
        method: &Method,
        url: &Url,
        body: Option<&Value>,
    ) -> Result<Value, Fault> {
        loop {
            match self.ask_once(method.clone(), url.clone(), body).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => retry.pause_after(fault).await?,
            }
        }
    }

    async fn ask_once(&self, method: Method, url: Url, body: Option<&Value>) -> Result<Value, Fault> {
        let mut request = self.request(method, url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request).await?;
        self.json(response).await
    }

    /// Reads an answer's JSON.
    pub(crate) async fn json(&self, response: Response) -> Result<Value, Fault> {
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|error| {
            Fault::new(
                Exit::Unexpected,
                format!(
                    "{} answered something that is not JSON ({error}); is it an assetmesh node?",
                    self.base
                ),
            )
        })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Fault::new(Exit::TooLarge, "the answer is too large: use a smaller --limit"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The next bytes of an answer; `None` at its clean end.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, Fault> {
        let chunk = tokio::time::timeout(self.idle_timeout, response.chunk()).await;
        chunk.map_err(|_| self.silent())?.map_err(|error| self.lost(&error))
    }

    /// The fault of a node that says nothing for too long.
    pub(crate) fn silent(&self) -> Fault {
        fault::silent(&self.base, self.idle_timeout)
    }

    /// The fault of a request that got no answer.
    pub(crate) fn lost(&self, error: &reqwest::Error) -> Fault {
        fault::of_transport(&self.base, error)
    }
}

/// A text member of an answer, or an empty text.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(node: &str) -> Client {
        let settings = ClientSettings {
            node: node.parse().unwrap(),
            token: None,
            idle_timeout: Duration::from_secs(1),
            retries: 0,
        };
        Client::new(&settings).unwrap()
    }

    #[test]
    fn a_name_never_leaves_its_path_segment() {
        let client = client("http://h:1/mesh/");
        let url = client.url(&["asset", "../a b//c?d#e%2F:1-é"]);
        assert_eq!(url.as_str(), "http://h:1/mesh/asset/..%2Fa%20b%2F%2Fc%3Fd%23e%252F:1-%C3%A9");
    }

    #[test]
    fn a_token_that_is_no_header_is_refused() {
        let settings = ClientSettings {
            node: "http://h".parse().unwrap(),
            token: Some("a\nb".to_owned()),
            idle_timeout: Duration::from_secs(1),
            retries: 0,
        };
        assert!(Client::new(&settings).unwrap_err().to_string().contains("token"));
    }
}
