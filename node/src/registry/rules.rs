//! The two rules that the map's convergence rests on. They are values, so that a simulation can break one on
//! purpose and see that it notices.

use assetmesh_protocol::registry::{TTL_MS_MAX, Verified};

/// How envelopes of one key replace each other, and how long a replacement lives.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether the first takes the place of the second. A strict total order on different bodies of one key.
    pub supersedes: fn(&Verified, &Verified) -> bool,
    /// The life of a new envelope in milliseconds.
    pub ttl_ms: fn(&Lifetime<'_>) -> u64,
}

/// What the life of a new envelope depends on.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime<'a> {
    /// When it is issued.
    pub issued_ms: u64,
    /// How long it should live by itself.
    pub wanted_ms: u64,
    /// How far clocks may differ.
    pub drift_ms: u64,
    /// Whether it deletes.
    pub deletes: bool,
    /// What it replaces.
    pub replaces: Option<&'a Verified>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { supersedes, ttl_ms }
    }
}

/// The larger (epoch, seq); of two bodies that claim the same, the one with the larger hash.
fn supersedes(new: &Verified, old: &Verified) -> bool {
    (new.version(), new.hash()) > (old.version(), old.hash())
}

/// Never dies before what it replaces, so that no replica that was absent can bring that back. A tombstone
/// outlives it by as much as clocks may differ.
fn ttl_ms(life: &Lifetime<'_>) -> u64 {
    let margin = if life.deletes { life.drift_ms } else { 0 };
    let outlive = life.replaces.map_or(0, |old| old.expires_ms().saturating_add(margin));
    life.wanted_ms.max(outlive.saturating_sub(life.issued_ms)).clamp(1, TTL_MS_MAX)
}
