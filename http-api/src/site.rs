//! Whether a request comes from a page of another site. A browser sends to this node what any page tells it to, and a
//! name that was the page's own a moment ago may now lead here (DNS rebinding); neither is the user's wish.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Under which names the node is known, beside its addresses and `localhost`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OwnSite {
    /// Host and port of the public URL.
    public: Option<Place>,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Foreign {
    /// A page of another site sent it.
    #[error(
        "a page of another site sent this; only pages of this node's own address may change anything here"
    )]
    Page,
    /// It was sent to a name that is not the node's.
    #[error(
        "the Host header names neither an address, nor localhost, nor the host of this node's public URL (see --public-url)"
    )]
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

impl Place {
    fn of(authority: &Authority) -> Self {
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        Self { host, port: authority.port_u16() }
    }

    fn parse(text: &str) -> Option<Self> {
        text.parse::<Authority>()
            .ok()
            .filter(|authority| !authority.as_str().contains('@'))
            .map(|a| Self::of(&a))
    }

    /// Whether a name server has no say in where this leads.
    fn is_fixed(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || bare.parse::<IpAddr>().is_ok()
    }

    fn is(&self, other: &Self, default_port: Option<u16>) -> bool {
        self.host == other.host && self.port.or(default_port) == other.port.or(default_port)
    }
}

impl OwnSite {
    /// The site of a node with this public URL.
    pub(crate) fn new(public_url: &str) -> Self {
        let uri = public_url.parse::<Uri>().ok();
        let public = uri.as_ref().and_then(Uri::authority).map(|authority| Place {
            port: authority.port_u16().or(default_port(uri.as_ref().and_then(Uri::scheme_str))),
            ..Place::of(authority)
        });
        Self { public }
    }

    /// Refuses what a browser sends for a page of another site. Clients that are no browsers send no such headers, and
    /// may call the node by any name.
    pub(crate) fn check_page(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Foreign> {
        let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
        let relation = headers.get(SEC_FETCH_SITE).map(|value| value.to_str().unwrap_or_default());
        if origins.is_empty() && relation.is_none() {
            return Ok(());
        }
        if !matches!(relation, None | Some("same-origin" | "none")) {
            return Err(Foreign::Page);
        }
        self.check_host(headers, uri)?;
        let hosts = hosts(headers, uri).ok_or(Foreign::Host)?;
        let own = |text: &str| {
            let (scheme, authority) = text.split_once("://").unwrap_or_default();
            let (origin, default) = (Place::parse(authority), default_port(Some(scheme)));
            origin
                .is_some_and(|origin| hosts.iter().chain(&self.public).any(|place| origin.is(place, default)))
        };
        let is_own = origins.iter().all(|origin| origin.to_str().is_ok_and(own));
        if is_own { Ok(()) } else { Err(Foreign::Page) }
    }

    /// Refuses a request that was sent to a name that is not known to be the node's.
    pub(crate) fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Foreign> {
        let hosts = hosts(headers, uri).ok_or(Foreign::Host)?;
        let is_public = |host: &Place| self.public.as_ref().is_some_and(|public| public.host == host.host);
        if hosts.iter().all(|host| host.is_fixed() || is_public(host)) { Ok(()) } else { Err(Foreign::Host) }
    }
}

/// Every host that the request names; `None` if one cannot be read.
fn hosts(headers: &HeaderMap, uri: &Uri) -> Option<Vec<Place>> {
    let named = headers.get_all(HOST).iter().map(|value| value.to_str().ok().and_then(Place::parse));
    named.chain(uri.authority().map(|authority| Some(Place::of(authority)))).collect()
}

fn default_port(scheme: Option<&str>) -> Option<u16> {
    match scheme {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn page(pairs: &[(&'static str, &str)]) -> Result<(), Foreign> {
        OwnSite::new("https://assets.example.org").check_page(&headers(pairs), &Uri::from_static("/asset"))
    }

    #[rstest]
    #[case::no_browser(&[("host", "any.name:4000")])]
    #[case::nothing_at_all(&[])]
    #[case::own_viewer(&[("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1:4000")])]
    #[case::ipv6(&[("host", "[::1]:4000"), ("origin", "http://[::1]:4000"), ("sec-fetch-site", "same-origin")])]
    #[case::localhost(&[("host", "LocalHost:4000"), ("origin", "http://localhost:4000")])]
    #[case::behind_a_proxy(&[("host", "assets.example.org"), ("origin", "https://assets.example.org")])]
    #[case::behind_a_proxy_that_renames(&[("host", "127.0.0.1:4000"), ("origin", "https://assets.example.org")])]
    #[case::default_port(&[("host", "10.0.0.1:80"), ("origin", "http://10.0.0.1")])]
    #[case::typed_by_the_user(&[("host", "127.0.0.1:4000"), ("sec-fetch-site", "none")])]
    fn own_pages_and_other_programs_pass(#[case] pairs: &[(&'static str, &str)]) {
        assert_eq!(page(pairs), Ok(()));
    }

    #[rstest]
    #[case::other_site(&[("host", "127.0.0.1:4000"), ("origin", "https://evil.example")])]
    #[case::other_port(&[("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1:3000")])]
    #[case::no_port(&[("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1")])]
    #[case::hidden(&[("host", "127.0.0.1:4000"), ("origin", "null")])]
    #[case::nonsense(&[("host", "127.0.0.1:4000"), ("origin", "127.0.0.1:4000")])]
    #[case::user(&[("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1:4000@evil.example")])]
    #[case::suffix(&[("host", "127.0.0.1:4000"), ("origin", "http://127.0.0.1:4000.evil.example")])]
    #[case::two(&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1"), ("origin", "http://evil.example")])]
    #[case::told_by_fetch(&[("host", "127.0.0.1:4000"), ("sec-fetch-site", "cross-site")])]
    #[case::sister(&[("host", "assets.example.org"), ("sec-fetch-site", "same-site")])]
    fn pages_of_other_sites_are_refused(#[case] pairs: &[(&'static str, &str)]) {
        assert_eq!(page(pairs), Err(Foreign::Page));
    }

    #[rstest]
    #[case(&[("host", "evil.example:4000"), ("origin", "http://evil.example:4000")])]
    #[case(&[("host", "evil.example:4000"), ("sec-fetch-site", "same-origin")])]
    #[case(&[("host", "127.0.0.1.evil.example"), ("origin", "http://127.0.0.1.evil.example")])]
    #[case(&[("host", "a b"), ("origin", "http://a b")])]
    fn a_name_that_was_made_to_lead_here_is_refused(#[case] pairs: &[(&'static str, &str)]) {
        assert_eq!(page(pairs), Err(Foreign::Host));
    }

    #[test]
    fn an_operator_calls_the_node_by_an_address_or_its_own_name() {
        let site = OwnSite::new("https://assets.example.org:8443/mesh");
        let check = |host| site.check_host(&headers(&[("host", host)]), &Uri::from_static("/x"));
        for host in ["127.0.0.1", "[::1]:4000", "localhost.", "ASSETS.example.org", "assets.example.org:1"] {
            assert_eq!(check(host), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "assets.example.org.evil.example", "localhost.evil.example", "u@localhost"]
        {
            assert_eq!(check(host), Err(Foreign::Host), "{host}");
        }
        let in_line =
            site.check_host(&headers(&[("host", "127.0.0.1")]), &Uri::from_static("http://evil.example/x"));
        assert_eq!(in_line, Err(Foreign::Host));
        assert_eq!(site.check_host(&HeaderMap::new(), &Uri::from_static("/x")), Ok(()));
    }
}
