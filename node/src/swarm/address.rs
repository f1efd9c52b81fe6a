//! Names on the peer network: multiaddrs that this node can use, and a peer's key in libp2p's form.

use std::net::IpAddr;

use assetmesh_protocol::ids::NodeKey;
use libp2p::multiaddr::{Multiaddr, Protocol};
use libp2p::{PeerId, multihash};

/// Longest text of an address, in bytes: a DNS name has at most 253.
const ADDRESS_BYTES_MAX: usize = 512;
/// The multihash code that means "not hashed": how a `PeerId` holds a short key.
const IDENTITY_CODE: u64 = 0;

/// Where a peer listens, and who it is if the text said so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    /// Host and port; never `/p2p`.
    pub(super) at: Multiaddr,
    /// Who is expected there.
    pub(super) peer: Option<NodeKey>,
}

/// Why a text is no address that this node can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    /// The text is longer than any address.
    #[error("it is longer than {ADDRESS_BYTES_MAX} bytes")]
    TooLong,
    /// The text is no multiaddr at all.
    #[error("it is not a multiaddr ({0}); one looks like /ip4/192.0.2.7/tcp/4001")]
    NotAMultiaddr(String),
    /// A multiaddr of another kind.
    #[error("only /ip4, /ip6, /dns, /dns4 or /dns6 followed by /tcp and a port are supported")]
    Unsupported,
    /// Nobody can be reached there.
    #[error("nobody can be reached at {0}")]
    NotAHost(IpAddr),
    /// Port 0 cannot be dialled.
    #[error("port 0 cannot be dialled")]
    NoPort,
    /// The part after `/p2p/` is no ed25519 key.
    #[error("the part after /p2p/ is not the id of a node")]
    NotANode,
    /// A listener has no `/p2p` part and no name.
    #[error("an address to listen on is /ip4 or /ip6 followed by /tcp and a port, and nothing else")]
    NotAListener,
}

impl Address {
    /// Reads an address that can be dialled.
    pub(super) fn to_dial(text: &str) -> Result<Self, AddressError> {
        Self::dialable(&parse(text)?)
    }

    /// Takes an address that can be dialled.
    pub(super) fn dialable(address: &Multiaddr) -> Result<Self, AddressError> {
        let mut parts = address.iter();
        let host = parts.next().ok_or(AddressError::Unsupported)?;
        let at = Multiaddr::empty().with(reachable(host)?);
        let port = match parts.next() {
            Some(Protocol::Tcp(0)) => return Err(AddressError::NoPort),
            Some(Protocol::Tcp(port)) => port,
            _ => return Err(AddressError::Unsupported),
        };
        let peer = match parts.next() {
            None => None,
            Some(Protocol::P2p(id)) => Some(node_key(&id).ok_or(AddressError::NotANode)?),
            Some(_) => return Err(AddressError::Unsupported),
        };
        if parts.next().is_some() {
            return Err(AddressError::Unsupported);
        }
        Ok(Self { at: at.with(Protocol::Tcp(port)), peer })
    }
}

/// Reads an address that can be listened on.
pub(super) fn to_listen(text: &str) -> Result<Multiaddr, AddressError> {
    let address = parse(text)?;
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    match parts[..] {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)] => Ok(address),
        _ => Err(AddressError::NotAListener),
    }
}

/// The IP address and port of a multiaddr that begins with them.
pub(super) fn socket(address: &Multiaddr) -> Option<(IpAddr, u16)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((ip, port)),
        _ => None,
    }
}

/// A peer's key; `None` if it is not an ed25519 key.
pub(super) fn node_key(id: &PeerId) -> Option<NodeKey> {
    let hash = id.as_ref();
    if hash.code() == IDENTITY_CODE { NodeKey::from_encoded(hash.digest()) } else { None }
}

/// A key as libp2p names it.
pub(super) fn peer_id(key: NodeKey) -> PeerId {
    let hash =
        multihash::Multihash::wrap(IDENTITY_CODE, &key.encoded()).expect("36 bytes fit in a multihash");
    PeerId::from_multihash(hash).expect("an unhashed key of 36 bytes is a PeerId")
}

/// Whether only this machine reaches what listens there.
pub(super) fn is_loopback(text: &str) -> bool {
    let Ok(address) = parse(text) else { return false };
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

fn parse(text: &str) -> Result<Multiaddr, AddressError> {
    if text.len() > ADDRESS_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    text.parse().map_err(|error: libp2p::multiaddr::Error| AddressError::NotAMultiaddr(error.to_string()))
}

fn reachable(host: Protocol<'_>) -> Result<Protocol<'_>, AddressError> {
    let ip = match &host {
        Protocol::Ip4(ip) if ip.is_broadcast() => return Err(AddressError::NotAHost(IpAddr::V4(*ip))),
        Protocol::Ip4(ip) => IpAddr::V4(*ip),
        Protocol::Ip6(ip) => IpAddr::V6(*ip),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) if !name.is_empty() => {
            return Ok(host);
        }
        _ => return Err(AddressError::Unsupported),
    };
    if ip.is_unspecified() || ip.is_multicast() { Err(AddressError::NotAHost(ip)) } else { Ok(host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X";

    #[test]
    fn a_key_and_its_peer_id_name_each_other() {
        let id: PeerId = ID.parse().unwrap();
        let key = node_key(&id).unwrap();
        assert_eq!(peer_id(key), id);
        assert_eq!(node_key(&peer_id(NodeKey([0xff; 32]))), Some(NodeKey([0xff; 32])));
    }

    #[test]
    fn a_hashed_key_names_no_node() {
        let id: PeerId = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert_eq!(node_key(&id), None);
    }

    #[test]
    fn good_addresses_are_taken_apart() {
        for at in ["/ip4/192.0.2.7/tcp/4001", "/ip6/::1/tcp/1", "/dns4/a.example/tcp/9", "/dns/b/tcp/9"] {
            assert_eq!(Address::to_dial(at), Ok(Address { at: at.parse().unwrap(), peer: None }));
            let with_peer = Address::to_dial(&format!("{at}/p2p/{ID}")).unwrap();
            assert_eq!(with_peer.at.to_string(), at);
            assert_eq!(with_peer.peer.map(peer_id), Some(ID.parse().unwrap()));
        }
    }

    #[test]
    fn a_bad_address_is_told_what_is_wrong() {
        let cases = [
            ("", AddressError::Unsupported),
            ("/ip4/192.0.2.7", AddressError::Unsupported),
            ("/ip4/192.0.2.7/udp/4001", AddressError::Unsupported),
            ("/ip4/192.0.2.7/tcp/4001/ws", AddressError::Unsupported),
            ("/ip4/192.0.2.7/tcp/0", AddressError::NoPort),
            ("/ip4/0.0.0.0/tcp/4001", AddressError::NotAHost("0.0.0.0".parse().unwrap())),
            ("/ip4/255.255.255.255/tcp/4001", AddressError::NotAHost("255.255.255.255".parse().unwrap())),
            ("/ip6/ff02::1/tcp/4001", AddressError::NotAHost("ff02::1".parse().unwrap())),
            (
                "/ip4/192.0.2.7/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                AddressError::NotANode,
            ),
        ];
        for (text, fault) in cases {
            assert_eq!(Address::to_dial(text), Err(fault), "{text}");
        }
        assert_eq!(Address::to_dial(&"/".repeat(513)), Err(AddressError::TooLong));
        for text in ["192.0.2.7:4001", "/ip4/300.0.0.1/tcp/1", "/ip4/192.0.2.7/tcp/70000", "/nonsense"] {
            assert!(matches!(Address::to_dial(text), Err(AddressError::NotAMultiaddr(_))), "{text}");
        }
    }

    #[test]
    fn only_plain_addresses_are_listened_on() {
        for good in ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/4001", "/ip4/127.0.0.1/tcp/4001"] {
            assert!(to_listen(good).is_ok(), "{good}");
        }
        let with_peer = format!("/ip4/127.0.0.1/tcp/1/p2p/{ID}");
        for bad in ["/dns4/localhost/tcp/1", "/ip4/127.0.0.1", &with_peer] {
            assert_eq!(to_listen(bad), Err(AddressError::NotAListener), "{bad}");
        }
    }

    #[test]
    fn the_socket_of_an_address_is_its_ip_and_port() {
        assert_eq!(socket(&"/ip4/10.0.0.1/tcp/9".parse().unwrap()), Some(("10.0.0.1".parse().unwrap(), 9)));
        assert_eq!(socket(&"/dns4/a/tcp/9".parse().unwrap()), None);
    }
}
