//! Permits for changes that one node hands to another: proof that the owner was there a moment ago. A change that comes
//! without a fresh one was sent long ago, and whoever sent it has given it up. It keeps no list.

use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;

/// How long a permit is good: less than an asker waits for the answer to its change, so that nothing is begun for an
/// asker that has given up.
pub(crate) const GOOD_FOR: Duration = Duration::from_secs(4);

/// Gives permits and knows its own.
#[derive(Debug)]
pub(crate) struct Permits {
    secret: [u8; 32],
    start: Instant,
}

impl Permits {
    /// Permits of this start of the node: nothing that an earlier one gave holds.
    pub(crate) fn new() -> Self {
        let mut secret = [0; 32];
        secret[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        secret[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        Self { secret, start: Instant::now() }
    }

    /// A permit for one peer: when it was given, and a keyed hash of that.
    pub(crate) fn give(&self, to: &NodeKey, now: Instant) -> [u8; 16] {
        let given = u64::try_from((now - self.start).as_millis()).unwrap_or(u64::MAX);
        self.permit(to, given)
    }

    /// Whether this is a permit of that peer that is still good.
    pub(crate) fn holds(&self, of: &NodeKey, permit: &[u8; 16], now: Instant) -> bool {
        let mut given = [0; 8];
        given.copy_from_slice(&permit[..8]);
        let given = u64::from_le_bytes(given);
        let is_own =
            blake3::Hash::from_bytes(wide(self.permit(of, given))) == blake3::Hash::from_bytes(wide(*permit));
        let age = (now - self.start).checked_sub(Duration::from_millis(given));
        is_own && age.is_some_and(|age| age <= GOOD_FOR)
    }

    fn permit(&self, peer: &NodeKey, given: u64) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(peer.as_bytes()).update(&given.to_le_bytes());
        let mut permit = [0; 16];
        permit[..8].copy_from_slice(&given.to_le_bytes());
        permit[8..].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        permit
    }
}

/// As a hash it is compared in constant time.
fn wide(permit: [u8; 16]) -> [u8; 32] {
    let mut wide = [0; 32];
    wide[..16].copy_from_slice(&permit);
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_is_good_for_its_peer_and_for_a_while() {
        let (start, peer, other) = (Instant::now(), NodeKey([1; 32]), NodeKey([2; 32]));
        let permits = Permits { secret: [7; 32], start };
        let now = start + Duration::from_secs(100);
        let permit = permits.give(&peer, now);
        assert!(permits.holds(&peer, &permit, now));
        assert!(permits.holds(&peer, &permit, now + GOOD_FOR - Duration::from_millis(1)));
        assert!(!permits.holds(&peer, &permit, now + GOOD_FOR + Duration::from_millis(2)));
        assert!(!permits.holds(&peer, &permit, now - Duration::from_secs(1)));
        assert!(!permits.holds(&other, &permit, now));
        assert!(!Permits::new().holds(&peer, &permit, now));
        for at in 0..16 {
            let mut forged = permit;
            forged[at] ^= 1;
            assert!(!permits.holds(&peer, &forged, now), "{at}");
        }
        assert!(!permits.holds(&peer, &[0; 16], start));
    }
}
