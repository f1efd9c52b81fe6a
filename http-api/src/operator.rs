//! What only the operator of a node may ask, and who that is.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientAddr(pub(crate) Option<SocketAddr>);

impl ClientAddr {
    /// Whether the client sits at this machine: on a node without tokens, that is what makes an operator.
    pub(crate) fn is_operator(self) -> bool {
        self.0.is_some_and(|address| address.ip().to_canonical().is_loopback())
    }
}

/// What proxies add to what they hand on.
const FORWARDED: [HeaderName; 3] =
    [HeaderName::from_static("x-forwarded-for"), http::header::FORWARDED, http::header::VIA];

/// Whether a request comes from somebody who sits at this machine. A proxy here brings requests from anywhere.
pub(crate) fn is_local(client: Option<&ClientAddr>, headers: &HeaderMap) -> bool {
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name));
    !is_forwarded && client.is_some_and(|client| client.is_operator())
}

/// The nodes that a node shall not talk to. The list takes the place of the one before.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Blocked {
    /// Names their asset databases.
    pub(crate) assets_db_ids: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_sits_at_this_machine() {
        let is_operator = |text: &str| ClientAddr(Some(text.parse().unwrap())).is_operator();
        assert!(is_operator("127.0.0.1:1") && is_operator("[::1]:1") && is_operator("[::ffff:127.0.0.1]:1"));
        assert!(!is_operator("10.0.0.1:1") && !is_operator("[::ffff:10.0.0.1]:1"));
        assert!(!ClientAddr(None).is_operator());
    }

    #[test]
    fn what_a_proxy_hands_on_comes_from_anywhere() {
        let here = ClientAddr(Some("127.0.0.1:1".parse().unwrap()));
        let there = ClientAddr(Some("10.0.0.1:1".parse().unwrap()));
        let mut headers = HeaderMap::new();
        assert!(is_local(Some(&here), &headers));
        assert!(!is_local(Some(&there), &headers) && !is_local(None, &headers));
        headers.insert("x-forwarded-for", "127.0.0.1".parse().unwrap());
        assert!(!is_local(Some(&here), &headers));
    }
}
