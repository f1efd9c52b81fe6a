//! Settings as checked values: each parses from the same text on the command line, in the environment and in the file.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;
use std::time::Duration;

use assetmesh_http_api::Reach;
use assetmesh_node::tokens::{NotAnIssuer, Trusted};
use assetmesh_protocol::network::{NetworkName, NetworkNameError};
use jiff::SignedDuration;
use reqwest::Url;
use serde::Deserialize;

/// A text that is no value of its kind; the message says what one looks like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unfit(String);

/// An address to listen on, such as `127.0.0.1:4000` or `localhost:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Listen(pub(crate) SocketAddr);

impl FromStr for Listen {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit = || {
            Unfit(format!(
                "`{text}` is not an address and port such as 127.0.0.1:4000 (port 0 takes any free one)"
            ))
        };
        let address = text.to_socket_addrs().map_err(|_| unfit())?.next().ok_or_else(unfit)?;
        Ok(Self(address))
    }
}

/// Where a node answers, such as `http://127.0.0.1:4000`; a path in front of the routes is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct NodeUrl(pub(crate) Url);

impl FromStr for NodeUrl {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit =
            || Unfit(format!("`{text}` is not an http:// or https:// URL such as http://127.0.0.1:4000"));
        let url: Url = text.parse().map_err(|_| unfit())?;
        let plain =
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
        if plain && url.has_host() { Ok(Self(url)) } else { Err(unfit()) }
    }
}

/// The URL that a node tells others to reach it at. Everybody in the federation reads it, so it holds no password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PublicUrl(pub(crate) NodeUrl);

impl FromStr for PublicUrl {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let url: NodeUrl = text.parse()?;
        if url.0.username().is_empty() && url.0.password().is_none() {
            Ok(Self(url))
        } else {
            Err(Unfit("a public URL is told to everybody and must not hold a name or password".to_owned()))
        }
    }
}

/// A length of time, such as `30s` or `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Duration);

impl FromStr for Span {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit = || Unfit(format!("`{text}` is not a length of time above zero such as 30s, 5m or 1h"));
        let span: SignedDuration = text.parse().map_err(|_| unfit())?;
        let span = Duration::try_from(span).map_err(|_| unfit())?;
        if span.is_zero() { Err(unfit()) } else { Ok(Self(span)) }
    }
}

/// How many bytes: `512`, `64KiB`, `5GB`; powers of 1024, or of 1000 without the `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        let unfit = || Unfit(format!("`{text}` is not a size such as 512KiB, 64MiB or 5GB"));
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let number: u64 = number.parse().map_err(|_| unfit())?;
        let bytes = unit_bytes(unit.trim()).and_then(|unit| number.checked_mul(unit));
        bytes.map(Self).ok_or_else(unfit)
    }
}

fn unit_bytes(unit: &str) -> Option<u64> {
    let (base, prefix): (u64, &str) = match unit.strip_suffix("iB") {
        Some(prefix) => (1024, prefix),
        None => (1000, unit.strip_suffix('B').unwrap_or(unit)),
    };
    let power = ["", "K", "M", "G", "T"].iter().position(|known| known.eq_ignore_ascii_case(prefix))?;
    base.checked_pow(u32::try_from(power).ok()?)
}

/// The name of a federation.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Network(pub(crate) NetworkName);

impl FromStr for Network {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        text.parse().map(Self).map_err(|error: NetworkNameError| Unfit(error.to_string()))
    }
}

/// Whom a health probe may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ProbeReach {
    /// Any host, private networks and this machine included; never link-local or metadata addresses
    Any,
    /// Hosts of the public internet only
    Public,
}

impl FromStr for ProbeReach {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "any" => Ok(Self::Any),
            "public" => Ok(Self::Public),
            _ => Err(Unfit(format!("`{text}` is not a reach of probes: any or public"))),
        }
    }
}

impl From<ProbeReach> for Reach {
    fn from(reach: ProbeReach) -> Self {
        match reach {
            ProbeReach::Any => Self::Any,
            ProbeReach::Public => Self::Public,
        }
    }
}

/// Whose changes of this node's assets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RemoteWrites {
    /// Only those of clients of this node
    Deny,
    /// Also those that other members of the federation hand on
    Members,
}

impl FromStr for RemoteWrites {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "deny" => Ok(Self::Deny),
            "members" => Ok(Self::Members),
            _ => Err(Unfit(format!("`{text}` does not say whose changes are taken: deny or members"))),
        }
    }
}

/// Who may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AuthMode {
    /// Anybody
    None,
    /// Who brings a token with the right scope
    Token,
}

impl FromStr for AuthMode {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "none" => Ok(Self::None),
            "token" => Ok(Self::Token),
            _ => Err(Unfit(format!("`{text}` does not say who may write: none or token"))),
        }
    }
}

/// Who may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadsMode {
    /// Anybody
    Open,
    /// Who brings a token that may read
    Token,
}

impl FromStr for ReadsMode {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "open" => Ok(Self::Open),
            "token" => Ok(Self::Token),
            _ => Err(Unfit(format!("`{text}` does not say who may read: open or token"))),
        }
    }
}

/// A node whose tokens are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Issuer(pub(crate) Trusted);

impl FromStr for Issuer {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        text.parse().map(Self).map_err(|error: NotAnIssuer| Unfit(error.to_string()))
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// One readable line an event.
    Text,
    /// One JSON object an event.
    Json,
}

impl FromStr for LogFormat {
    type Err = Unfit;

    fn from_str(text: &str) -> Result<Self, Unfit> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Unfit(format!("`{text}` is not a log format: text or json"))),
        }
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Lets a value that parses from text stand in the settings file as a string.
macro_rules! from_string {
    ($($kind:ty),+) => {$(
        impl TryFrom<String> for $kind {
            type Error = Unfit;

            fn try_from(text: String) -> Result<Self, Unfit> {
                text.parse()
            }
        }
    )+};
}

from_string!(Listen, Network, NodeUrl, PublicUrl, Span, ByteSize, Issuer);

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_public_url_holds_no_name_and_no_password() {
        assert!("https://a.example/mesh".parse::<PublicUrl>().is_ok());
        for text in ["http://u:p@h:1", "http://u@h", "http://:p@h", "ftp://h"] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }

    #[rstest]
    #[case("512", 512)]
    #[case("64KiB", 65_536)]
    #[case("64 MiB", 64 << 20)]
    #[case("5GB", 5_000_000_000)]
    #[case("1t", 1_000_000_000_000)]
    fn sizes_are_read_with_their_unit(#[case] text: &str, #[case] bytes: u64) {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)));
    }

    #[rstest]
    #[case("")]
    #[case("MiB")]
    #[case("-1")]
    #[case("1.5XB")]
    #[case("99999999999TiB")]
    fn other_texts_are_no_sizes(#[case] text: &str) {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }

    #[rstest]
    #[case("30s", 30)]
    #[case("5m", 300)]
    #[case("1h 30m", 5400)]
    fn spans_are_read_with_their_unit(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))));
    }

    #[rstest]
    #[case("0s")]
    #[case("-5s")]
    #[case("30")]
    #[case("soon")]
    fn other_texts_are_no_spans(#[case] text: &str) {
        assert!(text.parse::<Span>().is_err(), "{text}");
    }

    #[rstest]
    #[case("http://127.0.0.1:4000", true)]
    #[case("https://assets.example/mesh/", true)]
    #[case("127.0.0.1:4000", false)]
    #[case("ftp://x", false)]
    #[case("http://x/?a=1", false)]
    fn a_node_url_is_http_without_a_query(#[case] text: &str, #[case] fits: bool) {
        assert_eq!(text.parse::<NodeUrl>().is_ok(), fits, "{text}");
    }

    #[rstest]
    #[case("127.0.0.1:0", true)]
    #[case("[::1]:4000", true)]
    #[case("localhost:4000", true)]
    #[case("4000", false)]
    #[case("127.0.0.1:70000", false)]
    fn a_listening_address_has_a_port(#[case] text: &str, #[case] fits: bool) {
        assert_eq!(text.parse::<Listen>().is_ok(), fits, "{text}");
    }
}
