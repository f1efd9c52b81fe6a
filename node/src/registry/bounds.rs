//! How much the registry holds, and of whom: the bounds, and each owner's account. Pure.

use std::collections::HashMap;

use assetmesh_protocol::ids::NodeKey;
use assetmesh_protocol::registry::Verified;

use super::map::Map;

/// The bounds that a node sets, for its own entries and for those of others alike.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Entries of one owner, its node record included. 1 000: a catalogue of registries, not of assets.
    pub entries_per_owner: u32,
    /// Envelopes of one owner, tombstones included. 4 096: four generations of entries within one lifetime.
    pub records_per_owner: u32,
    /// Envelopes in all. 100 000: what a hundred owners may have at most, and about 100 MiB of typical entries.
    pub records: usize,
    /// Envelopes in all that are not node records. 90 000: however many entries there are, nodes can join.
    pub entries: usize,
    /// Bytes of all bodies. 128 MiB: 100 000 bodies of 8 KiB would be six times as much.
    pub bytes: u64,
    /// Updates of one owner a minute in the long run. 600: ten a second is more than people and scripts need.
    pub updates_per_minute: u32,
    /// Updates of one owner at once. 1 200: a new owner can import all its entries.
    pub updates_burst: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            entries_per_owner: 1_000,
            records_per_owner: 4_096,
            records: 100_000,
            entries: 90_000,
            bytes: 128 * 1024 * 1024,
            updates_per_minute: 600,
            updates_burst: 1_200,
        }
    }
}

/// Which bound stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// Live entries of the owner.
    EntriesOfOwner,
    /// Envelopes of the owner, tombstones included.
    RecordsOfOwner,
    /// Envelopes in all.
    Records,
    /// Bytes in all.
    Bytes,
}

/// What each owner has, and how fast it changes it.
#[derive(Debug)]
pub(super) struct Accounts {
    bounds: Bounds,
    of: HashMap<NodeKey, Account>,
    /// Envelopes of all owners that are not node records.
    entries: usize,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    records: u32,
    live: u32,
    /// Thousandths of an update.
    tokens: u64,
    counted_ms: u64,
}

const MILLI: u64 = 1000;

impl Accounts {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, of: HashMap::new(), entries: 0 }
    }

    pub(super) const fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// How much a bound allows.
    pub(super) fn max(&self, bound: Bound) -> u64 {
        let bounds = &self.bounds;
        match bound {
            Bound::EntriesOfOwner => bounds.entries_per_owner.into(),
            Bound::RecordsOfOwner => bounds.records_per_owner.into(),
            Bound::Records => bounds.entries as u64,
            Bound::Bytes => bounds.bytes,
        }
    }

    /// Whether one more envelope fits in the place of another. `coming` more of the same owner are on their way.
    pub(super) fn admits(
        &self,
        map: &Map,
        new: &Verified,
        old: Option<&Verified>,
        coming: u32,
    ) -> Result<(), Bound> {
        let bounds = &self.bounds;
        let account = self.of.get(&new.owner());
        let (records, live) = account.map_or((0, 0), |account| (account.records, account.live));
        let (records, live) = (records.saturating_add(coming), live.saturating_add(coming));
        let was_live = old.is_some_and(|old| !old.is_deleted());
        if !new.is_deleted() && !was_live && live >= bounds.entries_per_owner {
            return Err(Bound::EntriesOfOwner);
        }
        let growth = new.envelope().body.len().saturating_sub(old.map_or(0, |old| old.envelope().body.len()));
        if growth > 0 && map.bytes().saturating_add(growth as u64) > bounds.bytes {
            return Err(Bound::Bytes);
        }
        if old.is_some() {
            return Ok(());
        }
        if records >= bounds.records_per_owner {
            return Err(Bound::RecordsOfOwner);
        }
        let full = map.len() >= bounds.records || (!new.is_node() && self.entries >= bounds.entries);
        if full { Err(Bound::Records) } else { Ok(()) }
    }

    /// Whether an owner may change something now. It is counted with [`Accounts::spend`].
    pub(super) fn may_update(&self, owner: &NodeKey, now_ms: u64) -> bool {
        self.tokens(owner, now_ms) >= MILLI
    }

    /// Whether an owner may change something for others: they cannot use up what its own clients need.
    pub(super) fn may_update_for_others(&self, owner: &NodeKey, now_ms: u64) -> bool {
        self.tokens(owner, now_ms) >= self.burst() / 2 + MILLI
    }

    fn tokens(&self, owner: &NodeKey, now_ms: u64) -> u64 {
        // Who has nothing yet begins with a full bucket.
        self.of.get(owner).map_or(self.burst(), |account| account.filled(&self.bounds, now_ms))
    }

    fn burst(&self) -> u64 {
        u64::from(self.bounds.updates_burst) * MILLI
    }

    /// Counts an update of an owner.
    pub(super) fn spend(&mut self, owner: &NodeKey, now_ms: u64) {
        let fresh = self.fresh(now_ms);
        let account = self.of.entry(*owner).or_insert(fresh);
        account.tokens = account.filled(&self.bounds, now_ms).saturating_sub(MILLI);
        account.counted_ms = now_ms;
    }

    /// Books an envelope that was put into the map.
    pub(super) fn add(&mut self, record: &Verified, now_ms: u64) {
        let fresh = self.fresh(now_ms);
        let account = self.of.entry(record.owner()).or_insert(fresh);
        account.records += 1;
        account.live += u32::from(!record.is_deleted());
        self.entries += usize::from(!record.is_node());
    }

    fn fresh(&self, now_ms: u64) -> Account {
        Account { records: 0, live: 0, tokens: self.burst(), counted_ms: now_ms }
    }

    /// Books an envelope that was taken out of the map. `goes` says that none takes its place.
    pub(super) fn subtract(&mut self, record: &Verified, goes: bool) {
        self.entries -= usize::from(!record.is_node());
        let Some(account) = self.of.get_mut(&record.owner()) else { return };
        account.records -= 1;
        account.live -= u32::from(!record.is_deleted());
        if goes && account.records == 0 {
            self.of.remove(&record.owner());
        }
    }
}

impl Account {
    fn filled(&self, bounds: &Bounds, now_ms: u64) -> u64 {
        let gained =
            now_ms.saturating_sub(self.counted_ms).saturating_mul(u64::from(bounds.updates_per_minute));
        // A minute has 60 000 ms, and an update 1 000 thousandths.
        self.tokens.saturating_add(gained / 60).min(u64::from(bounds.updates_burst) * MILLI)
    }
}
