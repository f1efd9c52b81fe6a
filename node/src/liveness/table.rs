//! What one node holds of each member: its state, the newest claim about it, when it was last heard.
//! It decides nothing; it keeps the fingerprints of all claims in step with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::liveness::{BUCKETS, Claim, Standing};

use super::PeerState;
use super::random::mix;
use super::ring::Slot;

/// One member, as this node sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) key: NodeKey,
    pub(super) state: PeerState,
    /// When it came into this state.
    pub(super) since: Duration,
    /// When it last answered, directly or by a proof. Never for one that is only known from the registry.
    pub(super) heard: Option<Duration>,
    /// True if it last answered through another node, and not directly.
    pub(super) relayed: bool,
    /// The newest accepted claim about it.
    pub(super) claim: Option<Arc<Claim>>,
    /// When it was last told what others say of it.
    pub(super) told: Option<Duration>,
    /// Since when its announcements are counted, and how many there were.
    pub(super) announced: (Duration, u32),
}

impl Peer {
    /// The life of it that is known.
    pub(super) fn incarnation(&self) -> u64 {
        self.claim.as_ref().map_or(0, |claim| claim.incarnation)
    }

    /// What the newest claim says.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.claim.as_ref().map(|claim| claim.standing)
    }
}

/// All members but this node.
#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Option<Peer>>,
    index: BTreeMap<NodeKey, Slot>,
    free: Vec<Slot>,
    buckets: [u64; BUCKETS],
}

/// Which fingerprint a node's claim belongs to.
pub(super) const fn bucket_of(key: &NodeKey) -> usize {
    (key.0[0] >> 2) as usize
}

/// What a claim adds to its fingerprint. Who signed it does not count: the first two of four monitors differ from
/// place to place.
fn fingerprint(claim: &Claim) -> u64 {
    let mut hash = claim.incarnation ^ ((claim.standing as u64 + 1) << 61);
    for part in claim.target.0.as_chunks::<8>().0 {
        hash = mix(hash ^ u64::from_le_bytes(*part));
    }
    hash
}

impl Table {
    /// An empty table that gives out slots from `first` on.
    pub(super) fn new(first: Slot) -> Self {
        let slots = (0..first).map(|_| None).collect();
        Self { slots, index: BTreeMap::new(), free: Vec::new(), buckets: [0; BUCKETS] }
    }

    /// Adds a member that was never heard.
    pub(super) fn insert(&mut self, key: NodeKey, now: Duration) -> Slot {
        let peer = Peer {
            key,
            state: PeerState::Down,
            since: now,
            heard: None,
            relayed: false,
            claim: None,
            told: None,
            announced: (now, 0),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            Slot::try_from(self.slots.len() - 1).expect("fewer members than a u32 counts")
        });
        self.slots[slot as usize] = Some(peer);
        self.index.insert(key, slot);
        slot
    }

    /// Forgets a member.
    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(peer) = self.slots[slot as usize].take() {
            self.index.remove(&peer.key);
            self.free.push(slot);
            if let Some(claim) = peer.claim {
                self.note(&claim);
            }
        }
    }

    pub(super) fn find(&self, key: &NodeKey) -> Option<Slot> {
        self.index.get(key).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Peer> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Peer> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// All members in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Peer)> {
        self.index.values().filter_map(|&slot| Some((slot, self.get(slot)?)))
    }

    /// Replaces the claim about a member.
    pub(super) fn set_claim(&mut self, slot: Slot, claim: Arc<Claim>) {
        self.note(&claim);
        let former = self.get_mut(slot).and_then(|peer| peer.claim.replace(claim));
        if let Some(former) = former {
            self.note(&former);
        }
    }

    /// Puts a claim into its fingerprint, or takes it out again.
    pub(super) fn note(&mut self, claim: &Claim) {
        self.buckets[bucket_of(&claim.target)] ^= fingerprint(claim);
    }

    /// The fingerprints of all claims.
    pub(super) const fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1);

    fn claim(target: NodeKey, incarnation: u64, standing: Standing) -> Arc<Claim> {
        Arc::new(Claim { target, incarnation, standing, signed: Vec::new() })
    }

    #[test]
    fn fingerprints_follow_the_claims_and_nothing_else() {
        let (one, two) = (NodeKey([7; 32]), NodeKey([200; 32]));
        let mut table = Table::new(1);
        let (first, second) = (table.insert(one, NOW), table.insert(two, NOW));
        assert_eq!(table.buckets(), &[0; BUCKETS]);
        table.set_claim(first, claim(one, 5, Standing::Alive));
        table.set_claim(second, claim(two, 5, Standing::Alive));
        let both = *table.buckets();
        assert_ne!(both[bucket_of(&one)], 0);
        table.set_claim(second, claim(two, 5, Standing::Down));
        assert_ne!(table.buckets()[bucket_of(&two)], both[bucket_of(&two)]);
        table.set_claim(second, claim(two, 5, Standing::Alive));
        assert_eq!(table.buckets(), &both);
        table.remove(second);
        table.remove(first);
        assert_eq!(table.buckets(), &[0; BUCKETS]);
    }

    #[test]
    fn fingerprints_never_change_between_versions() {
        let target = NodeKey([7; 32]);
        assert_eq!(fingerprint(&claim(target, 5, Standing::Suspect)), 8_535_064_011_308_136_979);
    }

    #[test]
    fn slots_are_used_again() {
        let mut table = Table::new(1);
        let first = table.insert(NodeKey([1; 32]), NOW);
        assert_eq!(first, 1);
        table.remove(first);
        assert_eq!(table.insert(NodeKey([2; 32]), NOW), first);
        assert_eq!((table.len(), table.find(&NodeKey([1; 32]))), (1, None));
    }
}
