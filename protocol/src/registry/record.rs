//! What a signed body says, and the key under which it is kept.

use std::fmt;

use super::entry_id::EntryId;
use super::payload::Payload;
use crate::codec::{Decode, Encode};
use crate::ids::NodeKey;

/// Orders the envelopes of one key. The owner alone counts: no other clock takes part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Version {
    /// Raised when the owner's clock went back.
    pub epoch: u64,
    /// The owner's hybrid logical clock: its time in milliseconds, or one more than the last.
    pub seq: u64,
}

/// One statement of an owner about one of its entries.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Who says it.
    pub owner: NodeKey,
    /// About which entry.
    pub entry: EntryId,
    /// After what.
    pub version: Version,
    /// When, by the owner's clock, in milliseconds since 1970.
    pub issued_ms: u64,
    /// For how long it holds, in milliseconds.
    pub ttl_ms: u64,
    /// What.
    pub payload: Payload,
}

/// Names one (owner, entry id) in 16 bytes. The first half follows from the entry id alone, so that entries of
/// several owners under one id lie side by side; the first byte is the bucket of anti-entropy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct RecordKey(pub [u8; 16]);

impl RecordKey {
    /// The key of an owner's entry.
    #[must_use]
    pub fn of(owner: &NodeKey, entry: &EntryId) -> Self {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&half_of_entry(entry));
        let mut hasher = blake3::Hasher::new_derive_key("assetmesh 2026 registry owner and entry");
        hasher.update(&owner.0).update(entry.as_str().as_bytes());
        key[8..].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        Self(key)
    }

    /// The first and last key that an entry id can have, whoever owns it.
    #[must_use]
    pub fn range_of(entry: &EntryId) -> (Self, Self) {
        let (mut first, mut last) = ([0; 16], [u8::MAX; 16]);
        let half = half_of_entry(entry);
        first[..8].copy_from_slice(&half);
        last[..8].copy_from_slice(&half);
        (Self(first), Self(last))
    }

    /// Its bucket of anti-entropy.
    #[must_use]
    pub const fn bucket(&self) -> u8 {
        self.0[0]
    }
}

fn half_of_entry(entry: &EntryId) -> [u8; 8] {
    let hash = blake3::derive_key("assetmesh 2026 registry entry id", entry.as_str().as_bytes());
    let mut half = [0; 8];
    half.copy_from_slice(&hash[..8]);
    half
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
