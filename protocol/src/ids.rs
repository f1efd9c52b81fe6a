//! Identifiers: what names content, records and nodes. They only parse and print.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::codec::{Decode, Encode};

/// The BLAKE3 hash of some content: 64 lower-case hex characters in text.
/// Anyone who holds the bytes can check it. Source: the BLAKE3 paper, default 32-byte output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetId([u8; 32]);

/// A text that is not 64 lower-case hex characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an asset id is the BLAKE3 hash of the content: 64 hex characters")]
pub struct NotAnAssetId;

impl AssetId {
    /// The id of content that is whole in memory.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(blake3::hash(content).into())
    }

    /// Takes the raw hash.
    #[must_use]
    pub const fn from_bytes(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// The raw hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for AssetId {
    fn from(hash: blake3::Hash) -> Self {
        Self(hash.into())
    }
}

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AssetId {
    type Err = NotAnAssetId;

    /// Accepts exactly the printed form, so that one content has one name.
    fn from_str(text: &str) -> Result<Self, NotAnAssetId> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NotAnAssetId);
        }
        blake3::Hash::from_hex(text).map(Self::from).map_err(|_| NotAnAssetId)
    }
}

/// Names one record of one node: a UUIDv7, so that order of ids is order of insertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub Uuid);

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

/// Names one node's asset database: a UUIDv8 made of its public key, so that nobody can take another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AssetsDbId(pub Uuid);

impl AssetsDbId {
    /// Derives the id: the first 16 bytes of BLAKE3, keyed by a domain string, over the encoded public key.
    #[must_use]
    pub fn of_public_key(encoded: &[u8]) -> Self {
        let hash = blake3::derive_key("assetmesh 2026 assets_db_id of a node's public key", encoded);
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Self(Uuid::new_v8(id))
    }
}

impl fmt::Display for AssetsDbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

/// A node's ed25519 public key (RFC 8032), raw. It is how nodes name each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct NodeKey(pub [u8; 32]);

/// A text that is not 64 lower-case hex characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a node key is an ed25519 public key: 64 lower-case hex characters")]
pub struct NotANodeKey;

/// What stands before the raw key in libp2p's protobuf form: key type ed25519, then 32 bytes of data.
const ENCODED_KEY_START: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

impl NodeKey {
    /// The raw key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key in libp2p's protobuf form, of which a `PeerId` and the `assets_db_id` are made.
    #[must_use]
    pub fn encoded(&self) -> [u8; 36] {
        let mut encoded = [0; 36];
        encoded[..4].copy_from_slice(&ENCODED_KEY_START);
        encoded[4..].copy_from_slice(&self.0);
        encoded
    }

    /// Takes the key out of libp2p's protobuf form; `None` if it is of another kind.
    #[must_use]
    pub fn from_encoded(encoded: &[u8]) -> Option<Self> {
        let raw = encoded.strip_prefix(&ENCODED_KEY_START)?;
        raw.try_into().ok().map(Self)
    }

    /// The name of this node's asset database.
    #[must_use]
    pub fn assets_db_id(&self) -> AssetsDbId {
        AssetsDbId::of_public_key(&self.encoded())
    }
}

impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for NodeKey {
    type Err = NotANodeKey;

    /// Accepts exactly the printed form, so that one key has one name.
    fn from_str(text: &str) -> Result<Self, NotANodeKey> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(NotANodeKey);
        }
        blake3::Hash::from_hex(text).map(|key| Self(key.into())).map_err(|_| NotANodeKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_id_reads_back_as_printed() {
        let id = AssetId::of(b"abc");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().len(), 64);
    }

    #[test]
    fn other_texts_are_no_asset_ids() {
        let upper = AssetId::of(b"abc").to_string().to_uppercase();
        for text in ["", "abc", "../../etc/passwd", &"g".repeat(64), &"a".repeat(65), &upper] {
            assert_eq!(text.parse::<AssetId>(), Err(NotAnAssetId), "{text}");
        }
    }

    #[test]
    fn a_database_id_is_a_uuid_v8_of_its_key() {
        let id = AssetsDbId::of_public_key(b"key");
        assert_eq!(id.0.get_version_num(), 8);
        assert_ne!(id, AssetsDbId::of_public_key(b"kez"));
    }

    #[test]
    fn a_node_key_reads_back_as_printed_and_as_encoded() {
        let key = NodeKey([0xa5; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(NodeKey::from_encoded(&key.encoded()), Some(key));
        assert_eq!(key.assets_db_id(), AssetsDbId::of_public_key(&key.encoded()));
    }

    #[test]
    fn other_texts_and_kinds_of_keys_are_no_node_keys() {
        let upper = "A5".repeat(32);
        for text in ["", "a5", &"g".repeat(64), &"a".repeat(66), &upper] {
            assert_eq!(text.parse::<NodeKey>(), Err(NotANodeKey), "{text}");
        }
        let encoded = NodeKey([1; 32]).encoded();
        let mut other_kind = encoded;
        other_kind[1] = 2;
        for bytes in [&encoded[..35], &other_kind, &[], &[&encoded[..], &[0]].concat()] {
            assert_eq!(NodeKey::from_encoded(bytes), None);
        }
    }

    #[test]
    fn a_node_key_crosses_the_wire_as_its_raw_bytes() {
        let bytes = crate::codec::encode(&NodeKey([7; 32])).unwrap();
        assert_eq!(bytes, [&[crate::codec::VERSION][..], &[7; 32]].concat());
        assert_eq!(crate::codec::decode::<NodeKey>(&bytes).unwrap(), NodeKey([7; 32]));
    }
}
