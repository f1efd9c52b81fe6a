//! Who holds which blob, and what is to be cleared: pure, owned by the writer thread.

use std::collections::{HashMap, VecDeque};

use assetmesh_protocol::ids::AssetId;

use super::backend::BlobNumber;

/// A number whose chunks are to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clearing {
    /// The number.
    pub(crate) number: BlobNumber,
    /// The blob that it was, if readers may still be reading it.
    pub(crate) id: Option<AssetId>,
}

/// The writer's memory. Only the writer gives leases, so what it checks here stays true while it acts.
#[derive(Debug, Default)]
pub(crate) struct State {
    leases: HashMap<AssetId, u32>,
    clearing: VecDeque<Clearing>,
}

impl State {
    /// Counts one more lease.
    pub(crate) fn lease(&mut self, id: AssetId) {
        *self.leases.entry(id).or_default() += 1;
    }

    /// Counts one lease less. True if it was the last: whether the blob stays must be asked now.
    pub(crate) fn give_back(&mut self, id: &AssetId) -> bool {
        let Some(count) = self.leases.get_mut(id) else { return false };
        *count -= 1;
        if *count > 0 {
            return false;
        }
        self.leases.remove(id);
        true
    }

    /// Whether somebody is about to write a record for the blob.
    pub(crate) fn is_leased(&self, id: &AssetId) -> bool {
        self.leases.contains_key(id)
    }

    /// Notes that the chunks of a number are to go.
    pub(crate) fn clear_later(&mut self, clearing: Clearing) {
        self.clearing.push_back(clearing);
    }

    /// The next number to clear that no reader is on; it leaves the queue.
    pub(crate) fn next_to_clear(&mut self, is_read: impl Fn(&AssetId) -> bool) -> Option<Clearing> {
        let at = self.clearing.iter().position(|entry| !entry.id.as_ref().is_some_and(&is_read))?;
        self.clearing.remove(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AssetId {
        AssetId::of(text.as_bytes())
    }

    #[test]
    fn only_the_last_lease_asks() {
        let mut state = State::default();
        state.lease(id("a"));
        state.lease(id("a"));
        assert!(!state.give_back(&id("a")));
        assert!(state.is_leased(&id("a")));
        assert!(state.give_back(&id("a")));
        assert!(!state.is_leased(&id("a")));
        assert!(!state.give_back(&id("a")));
    }

    #[test]
    fn a_number_that_is_read_waits_and_others_go_first() {
        let mut state = State::default();
        let read = Clearing { number: BlobNumber(1), id: Some(id("read")) };
        let free = Clearing { number: BlobNumber(2), id: Some(id("free")) };
        let orphan = Clearing { number: BlobNumber(3), id: None };
        [read, free, orphan].into_iter().for_each(|entry| state.clear_later(entry));
        let is_read = |other: &AssetId| *other == id("read");
        assert_eq!(state.next_to_clear(is_read), Some(free));
        assert_eq!(state.next_to_clear(is_read), Some(orphan));
        assert_eq!(state.next_to_clear(is_read), None);
        assert_eq!(state.next_to_clear(|_| false), Some(read));
    }
}
