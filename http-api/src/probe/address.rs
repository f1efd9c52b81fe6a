//! Which addresses a health probe may call. Pure. A client chooses the target, so an address counts by where its
//! packets would really go, however it is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far a health probe may reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any host, this machine and private networks included; never link-local or metadata addresses.
    /// The default, because most federations live in private networks.
    #[default]
    Any,
    /// Hosts of the public internet only.
    Public,
}

/// Addresses at which clouds serve credentials to whoever asks, outside of the link-local block.
const METADATA_V4: [Ipv4Addr; 2] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
];
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254), // Amazon EC2
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),   // Google Cloud
];

impl Reach {
    /// Why an address is not called; `None` if it may be.
    pub(crate) fn objection(self, address: IpAddr) -> Option<&'static str> {
        match address {
            IpAddr::V4(address) => self.objection_v4(address),
            IpAddr::V6(address) => self.objection_v6(address),
        }
    }

    /// Blocks: the special-purpose registry of RFC 6890 and its successors.
    fn objection_v4(self, address: Ipv4Addr) -> Option<&'static str> {
        let [a, b, c, _] = address.octets();
        let never = match (a, b, c) {
            (0, ..) => Some("an address of no host"),
            (169, 254, _) => Some("a link-local address"),
            (192, 0, 0) => Some("a reserved address"),
            (224..=239, ..) => Some("a multicast address"),
            (240..=255, ..) => Some("a reserved address"),
            _ if METADATA_V4.contains(&address) => Some("a metadata address of a cloud"),
            _ => None,
        };
        never.or(match (self, a, b, c) {
            (Self::Any, ..) => None,
            (_, 127, ..) => Some("a loopback address"),
            (_, 10, ..) | (_, 172, 16..=31, _) | (_, 192, 168, _) | (_, 100, 64..=127, _) => {
                Some("a private address")
            }
            (_, 192, 0, 2)
            | (_, 198, 51, 100)
            | (_, 203, 0, 113)
            | (_, 198, 18..=19, _)
            | (_, 192, 88, 99) => Some("a reserved address"),
            _ => None,
        })
    }

    fn objection_v6(self, address: Ipv6Addr) -> Option<&'static str> {
        if let Some(inner) = embedded(address) {
            return self.objection_v4(inner);
        }
        let segments = address.segments();
        let never = match segments {
            [0, 0, 0, 0, 0, 0, 0, 0] => Some("an address of no host"),
            [0xfe80..=0xfebf, ..] => Some("a link-local address"),
            [0xfec0..=0xfeff, ..] => Some("a site-local address"),
            [0xff00..=0xffff, ..] => Some("a multicast address"),
            // Teredo: the client inside is hidden, and behind a relay.
            [0x2001, 0, ..] => Some("a tunnel address"),
            _ if METADATA_V6.contains(&address) => Some("a metadata address of a cloud"),
            _ => None,
        };
        never.or(match (self, segments) {
            (Self::Any, _) => None,
            (_, [0, 0, 0, 0, 0, 0, 0, 1]) => Some("a loopback address"),
            (_, [0xfc00..=0xfdff, ..]) => Some("a private address"),
            (_, [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] | [0x3ff0..=0x3fff, ..] | [0x5f00, ..]) => {
                Some("a reserved address")
            }
            _ => None,
        })
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped and compatible (RFC 4291), translated by NAT64
/// (RFC 6052, RFC 8215), or carried by 6to4 (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0xffff | 0, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0 | 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn objection(reach: Reach, text: &str) -> Option<&'static str> {
        reach.objection(text.parse().unwrap())
    }

    #[rstest]
    #[case("169.254.169.254")]
    #[case("169.254.0.1")]
    #[case("::ffff:169.254.169.254")]
    #[case("::169.254.169.254")]
    #[case("::ffff:0:169.254.169.254")]
    #[case("64:ff9b::169.254.169.254")]
    #[case("64:ff9b:1::a9fe:a9fe")]
    #[case("2002:a9fe:a9fe::1")]
    #[case("2001:0:1::1")]
    #[case("fe80::1")]
    #[case("febf::1")]
    #[case("fec0::1")]
    #[case("fd00:ec2::254")]
    #[case("fd20:ce::254")]
    #[case("100.100.100.200")]
    #[case("::ffff:100.100.100.200")]
    #[case("168.63.129.16")]
    #[case("192.0.0.192")]
    #[case("0.0.0.0")]
    #[case("0.1.2.3")]
    #[case("::")]
    #[case("224.0.0.1")]
    #[case("ff02::1")]
    #[case("255.255.255.255")]
    fn some_addresses_are_never_called(#[case] text: &str) {
        assert!(objection(Reach::Any, text).is_some(), "{text}");
        assert!(objection(Reach::Public, text).is_some(), "{text}");
    }

    #[rstest]
    #[case("127.0.0.1")]
    #[case("127.255.0.9")]
    #[case("::1")]
    #[case("::ffff:127.0.0.1")]
    #[case("10.0.0.1")]
    #[case("172.16.0.1")]
    #[case("172.31.255.255")]
    #[case("192.168.1.1")]
    #[case("100.64.0.1")]
    #[case("fc00::1")]
    #[case("fdff::1")]
    #[case("64:ff9b::10.0.0.1")]
    #[case("192.0.2.1")]
    #[case("198.18.0.1")]
    #[case("2001:db8::1")]
    fn private_addresses_are_called_unless_only_public_ones_may_be(#[case] text: &str) {
        assert_eq!(objection(Reach::Any, text), None, "{text}");
        assert!(objection(Reach::Public, text).is_some(), "{text}");
    }

    #[rstest]
    #[case("1.1.1.1")]
    #[case("172.32.0.1")]
    #[case("172.15.0.1")]
    #[case("169.253.1.1")]
    #[case("100.128.0.1")]
    #[case("192.0.1.1")]
    #[case("2606:4700::1111")]
    #[case("::ffff:1.1.1.1")]
    #[case("2002:101:101::1")]
    fn public_addresses_are_called(#[case] text: &str) {
        assert_eq!(objection(Reach::Public, text), None, "{text}");
    }
}
