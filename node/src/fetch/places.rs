//! Room on the link to each provider: only so many streams are open to one peer, because one too many would end the
//! whole connection. Who finds no room waits, first come first served; heads never wait for ranges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use assetmesh_protocol::ids::NodeKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::swarm::SERVED_STREAMS_PER_PEER_MAX;

/// Questions to one peer whether it holds a blob: short ones.
const HEADS_PER_PEER: usize = 16;
/// Ranges from one peer. Fewer together than it serves, which counts a stream a little longer than we do.
const RANGES_PER_PEER: usize = 40;
const _: () = assert!(HEADS_PER_PEER + RANGES_PER_PEER < SERVED_STREAMS_PER_PEER_MAX);
/// Peers that are remembered before those that nobody asks are forgotten.
const PEERS: usize = 256;

/// A place on a link, as long as it is held.
pub(super) type Place = Option<OwnedSemaphorePermit>;

/// All places.
#[derive(Debug, Default)]
pub(super) struct Places {
    of: Mutex<HashMap<NodeKey, Link>>,
}

#[derive(Debug, Clone)]
struct Link {
    heads: Arc<Semaphore>,
    ranges: Arc<Semaphore>,
}

impl Places {
    /// Waits for a place to ask a peer whether it holds a blob.
    pub(super) async fn head(&self, peer: NodeKey) -> Place {
        // No semaphore is ever closed.
        self.link(peer).heads.acquire_owned().await.ok()
    }

    /// Waits for a place to have a peer bring a range.
    pub(super) async fn range(&self, peer: NodeKey) -> Place {
        self.link(peer).ranges.acquire_owned().await.ok()
    }

    fn link(&self, peer: NodeKey) -> Link {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.len() >= PEERS && !of.contains_key(&peer) {
            of.retain(|_, link| link.is_used());
        }
        of.entry(peer).or_insert_with(Link::new).clone()
    }
}

impl Link {
    fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { heads: places(HEADS_PER_PEER), ranges: places(RANGES_PER_PEER) }
    }

    /// Whoever waits or has a place holds a semaphore.
    fn is_used(&self) -> bool {
        Arc::strong_count(&self.heads) > 1 || Arc::strong_count(&self.ranges) > 1
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn peer(number: usize) -> NodeKey {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        NodeKey(key)
    }

    #[test]
    fn ranges_wait_for_each_other_and_heads_do_not_wait_for_them() {
        let places = Places::default();
        let range = |number| places.range(peer(number)).now_or_never();
        let mut held: Vec<_> = (0..RANGES_PER_PEER).map(|_| range(1).unwrap()).collect();
        assert!(held.iter().all(Option::is_some) && range(1).is_none());
        assert!(places.head(peer(1)).now_or_never().flatten().is_some());
        assert!(range(2).flatten().is_some(), "another peer has its own");
        held.pop();
        assert!(range(1).flatten().is_some());
    }

    #[test]
    fn a_peer_is_forgotten_only_when_nobody_asks_it() {
        let places = Places::default();
        let held = places.range(peer(0)).now_or_never().unwrap();
        for number in 1..4 * PEERS {
            drop(places.head(peer(number)).now_or_never());
        }
        let remembered = places.of.lock().unwrap();
        assert!(remembered.len() <= PEERS && remembered.contains_key(&peer(0)));
        drop(held);
    }
}
