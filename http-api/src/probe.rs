//! Asking another service whether it is healthy. A client of this node chooses whom, so the probe must not become
//! a way into places that the client cannot reach: every address is checked, and the one that was checked is called.

mod address;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::document::{Document, ValueRef};
use http::StatusCode;
use http::header::{ACCEPT, LOCATION};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Response, Url, redirect};
use tokio::sync::Semaphore;
use url::Host;

pub use address::Reach;

/// All of one probe, redirects included. An answer is promised within 3 s.
const TIME_MAX: Duration = Duration::from_millis(2_700);
/// A health answer is a few words.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// As much of a bad health answer as its reason may need.
const SAID_CHARS_MAX: usize = 200;
/// As many as usual clients follow for something so simple.
const REDIRECTS_MAX: usize = 5;
/// Each costs a socket and a resolver's thread for seconds.
const PROBES_MAX: usize = 64;

/// Why there is no health answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwell {
    #[error("the public URL is not an http or https URL: {0}")]
    Url(String),
    #[error("{host} is not called: it is {why}")]
    Refused { host: String, why: &'static str },
    #[error("{0} does not resolve to an address")]
    Unresolved(String),
    #[error("{0} cannot be reached")]
    Unreachable(String),
    #[error("{host} did not answer within {} s", TIME_MAX.as_secs_f32())]
    Late { host: String },
    #[error("{host} answers with status {}", status.as_u16())]
    Status { host: String, status: StatusCode },
    #[error("{host} answers with more than {BODY_BYTES_MAX} bytes")]
    TooLong { host: String },
    #[error("{host} does not answer with JSON: {reason}")]
    NotJson { host: String, reason: String },
    #[error("{host} says that it is not healthy: {said}")]
    SaysNo { host: String, said: String },
    #[error("more than {REDIRECTS_MAX} redirects")]
    Redirects,
    #[error("too many probes are running already")]
    Busy,
}

impl Unwell {
    /// A word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Url(_) => "bad_public_url",
            Self::Refused { .. } => "address_refused",
            Self::Unresolved(_) | Self::Unreachable(_) => "unreachable",
            Self::Late { .. } => "timeout",
            Self::Status { .. }
            | Self::TooLong { .. }
            | Self::NotJson { .. }
            | Self::SaysNo { .. }
            | Self::Redirects => "unhealthy",
            Self::Busy => "busy",
        }
    }
}

/// Asks for health. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Prober {
    client: Client,
    reach: Reach,
    running: Arc<Semaphore>,
}

impl Prober {
    /// A prober that calls only what `reach` allows.
    pub(crate) fn new(reach: Reach) -> Self {
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .dns_resolver(Arc::new(Checked(reach)))
            .pool_max_idle_per_host(0)
            .http1_only()
            .user_agent(concat!("assetmesh/", env!("CARGO_PKG_VERSION")))
            .build()
            .expect("fixed settings make a client");
        Self { client, reach, running: Arc::new(Semaphore::new(PROBES_MAX)) }
    }

    /// What `<public_url>/health` answers.
    pub(crate) async fn probe(&self, public_url: &str) -> Result<Document, Unwell> {
        let _running = self.running.try_acquire().map_err(|_| Unwell::Busy)?;
        let url = health_url(public_url)?;
        let host = host_of(&url);
        tokio::time::timeout(TIME_MAX, self.follow(url)).await.map_err(|_| Unwell::Late { host })?
    }

    async fn follow(&self, mut url: Url) -> Result<Document, Unwell> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.get(url.clone()).await?;
            match target(&url, &response) {
                Some(next) => url = checked_url(&next)?,
                None => return read(host_of(&url), response).await,
            }
        }
        Err(Unwell::Redirects)
    }

    async fn get(&self, url: Url) -> Result<Response, Unwell> {
        let host = host_of(&url);
        // A literal address never comes to the resolver.
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(why) = literal.and_then(|address| self.reach.objection(address)) {
            return Err(Unwell::Refused { host, why });
        }
        let sent = self.client.get(url).header(ACCEPT, "application/json").send().await;
        sent.map_err(|error| match cause(&error) {
            Some(NoAddress::Refused { address, why }) => {
                Unwell::Refused { host: format!("{host} ({address})"), why }
            }
            Some(NoAddress::Unresolved) => Unwell::Unresolved(host),
            None => Unwell::Unreachable(host),
        })
    }
}

/// The URL to ask, out of what an entry says of itself.
fn health_url(public_url: &str) -> Result<Url, Unwell> {
    let mut url = checked_url(public_url)?;
    url.set_query(None);
    url.set_fragment(None);
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().push("health");
    }
    Ok(url)
}

/// An http or https URL, without credentials: nobody's name and password is sent on behalf of another.
fn checked_url(text: &str) -> Result<Url, Unwell> {
    let bad = |reason: &str| Unwell::Url(format!("{text:?}: {reason}"));
    let mut url = Url::parse(text.trim()).map_err(|error| bad(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(bad("the scheme must be http or https"));
    }
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| bad("it names no host"))?;
    Ok(url)
}

/// Where a redirect leads.
fn target(from: &Url, response: &Response) -> Option<String> {
    let moved = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| moved)?.to_str().ok()?;
    Some(from.join(location).map_or_else(|_| location.to_owned(), String::from))
}

async fn read(host: String, mut response: Response) -> Result<Document, Unwell> {
    let status = response.status();
    if !status.is_success() {
        return Err(Unwell::Status { host, status });
    }
    let mut text = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) if text.len() + piece.len() > BODY_BYTES_MAX => {
                return Err(Unwell::TooLong { host });
            }
            Ok(Some(piece)) => text.extend_from_slice(&piece),
            Ok(None) => break,
            Err(_) => return Err(Unwell::Unreachable(host)),
        }
    }
    match Document::from_json(&text) {
        Err(error) => Err(Unwell::NotJson { host, reason: error.to_string() }),
        Ok(health) if says_no(&health) => {
            let said = health.to_json().chars().take(SAID_CHARS_MAX).collect();
            Err(Unwell::SaysNo { host, said })
        }
        Ok(health) => Ok(health),
    }
}

/// Whether a health answer of this API's kind tells of a failure under a status of success, as the original did.
fn says_no(health: &Document) -> bool {
    let success = health.root().as_object().and_then(|object| object.get("success"));
    matches!(success, Some(ValueRef::Bool(false)))
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Why a name gives no address to call.
#[derive(Debug, Clone, thiserror::Error)]
enum NoAddress {
    #[error("{address} is not called: it is {why}")]
    Refused { address: IpAddr, why: &'static str },
    #[error("no address")]
    Unresolved,
}

/// What our resolver said, from the depths of the client's error.
fn cause(error: &reqwest::Error) -> Option<NoAddress> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(found) = error.downcast_ref::<NoAddress>() {
            return Some(found.clone());
        }
        source = error.source();
    }
    None
}

/// Resolves a name once and gives on the addresses that may be called: the client connects to one of them, so that
/// a name that changes meanwhile changes nothing. One forbidden address spoils the name.
#[derive(Debug)]
struct Checked(Reach);

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| NoAddress::Unresolved)?;
            let addresses: Vec<SocketAddr> = found.collect();
            for address in addresses.iter().map(SocketAddr::ip) {
                if let Some(why) = reach.objection(address) {
                    return Err(NoAddress::Refused { address, why }.into());
                }
            }
            if addresses.is_empty() {
                return Err(NoAddress::Unresolved.into());
            }
            Ok::<Addrs, _>(Box::new(addresses.into_iter()))
        })
    }
}

#[cfg(test)]
mod tests;
