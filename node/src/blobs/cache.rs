//! Which content of other nodes is kept, and what goes when there is no room: pure, owned by the writer thread.
//! It counts the room that chunks take in the file, because that is what the bound is about.

use std::collections::HashMap;
use std::ops::Range;

use assetmesh_protocol::asset::FileFacts;
use assetmesh_protocol::ids::AssetId;

use super::backend::{BlobNumber, PIECE_NODES};
use super::runs::Runs;
use super::tree::{GROUP_BYTES, NODE_BYTES, groups};

/// Runs of one blob. More would make a row that is slow to write; a client that wants so many single places gets
/// them, and they are not kept.
const RUNS_MAX: usize = 512;
/// Blobs. The one that was used least recently is looked for among all.
pub(crate) const ENTRIES_MAX: usize = 1 << 16;
/// How much more than needed goes when something must: an eviction looks at all entries.
const EVICTED_SHARE: u64 = 64;

/// What is known of a blob: its size is proven, the rest is a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) size: u64,
    pub(crate) facts: FileFacts,
}

/// A blob of which something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: BlobNumber,
    pub(crate) about: About,
    pub(crate) runs: Runs,
    /// When it was used last: only the order counts.
    pub(crate) used: u64,
    /// What it takes in the file.
    pub(crate) room: u64,
}

impl Entry {
    /// Whether every group is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.runs.groups() == groups(self.about.size)
    }

    /// Bytes of content that are here.
    pub(crate) fn bytes(&self) -> u64 {
        let size = self.about.size;
        let last = groups(size).saturating_sub(1);
        let has_last = u32::try_from(last).is_ok_and(|last| self.runs.around(last).is_some());
        let short = if has_last { (last + 1) * GROUP_BYTES as u64 - size } else { 0 };
        self.runs.groups() * GROUP_BYTES as u64 - short
    }
}

/// What to do so that groups may be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) number: BlobNumber,
    /// Those of the groups that are not here yet.
    pub(crate) parts: Vec<Range<u32>>,
    /// Blobs that make way.
    pub(crate) evicted: Vec<(AssetId, BlobNumber)>,
}

/// What is kept, within a bound.
#[derive(Debug)]
pub(crate) struct Cache {
    room_max: u64,
    entries: HashMap<AssetId, Entry>,
    room: u64,
}

/// The room that a value takes which does not share its page.
pub(crate) fn room_of(bytes: u64) -> u64 {
    (bytes + 32).next_power_of_two().max(4096)
}

/// The room of a whole outboard.
fn outboard_room(size: u64) -> u64 {
    let nodes = groups(size).saturating_sub(1);
    nodes.div_ceil(PIECE_NODES as u64) * room_of((PIECE_NODES * NODE_BYTES) as u64)
}

fn bytes_of(groups: &Range<u32>, size: u64) -> u64 {
    let group = GROUP_BYTES as u64;
    (u64::from(groups.end) * group).min(size).saturating_sub(u64::from(groups.start) * group)
}

impl Cache {
    /// With what an earlier run has kept.
    pub(crate) fn new(room_max: u64, entries: impl IntoIterator<Item = (AssetId, Entry)>) -> Self {
        let entries: HashMap<_, _> = entries.into_iter().collect();
        let room = entries.values().map(|entry| entry.room).sum();
        Self { room_max, entries, room }
    }

    /// The room that all takes.
    pub(crate) fn room(&self) -> u64 {
        self.room
    }

    /// The most that it may take.
    pub(crate) fn room_max(&self) -> u64 {
        self.room_max
    }

    pub(crate) fn get(&self, id: &AssetId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&AssetId, &Entry)> {
        self.entries.iter()
    }

    /// Notes when a blob was used. True if that is news.
    pub(crate) fn note_use(&mut self, id: &AssetId, used: u64) -> bool {
        let Some(entry) = self.entries.get_mut(id).filter(|entry| entry.used < used) else { return false };
        entry.used = used;
        true
    }

    /// Takes groups in, if there is room for them or others that nobody uses can make way. `fresh` names a blob of
    /// which nothing is here. Changes nothing if it refuses.
    pub(crate) fn admit(
        &mut self,
        (id, about): (&AssetId, &About),
        wanted: Range<u32>,
        (now, fresh): (u64, BlobNumber),
        is_busy: impl Fn(&AssetId) -> bool,
    ) -> Option<Admitted> {
        let own = outboard_room(about.size);
        // Chunks are rounded up, by some percent of large content.
        let whole = room_of(about.size).min(about.size.saturating_add(about.size / 16));
        if whole.saturating_add(own) > self.room_max {
            return None;
        }
        let known = self.entries.get(id);
        let mut runs = known.map(|entry| entry.runs.clone()).unwrap_or_default();
        let parts = runs.missing(wanted);
        parts.iter().for_each(|part| runs.insert(part.clone()));
        if runs.count() > RUNS_MAX {
            return None;
        }
        let number = known.map_or(fresh, |entry| entry.number);
        let content: u64 = parts.iter().map(|part| room_of(bytes_of(part, about.size))).sum();
        let more = content + if known.is_some() { 0 } else { own };
        let is_crowded = known.is_none() && self.entries.len() >= ENTRIES_MAX;
        let over = (self.room + more).saturating_sub(self.room_max);
        let evicted = if over > 0 || is_crowded {
            let share = self.room_max / EVICTED_SHARE;
            self.evict(over, share.max(over), |other| other == id || is_busy(other))?
        } else {
            Vec::new()
        };
        let entry = self.entries.entry(*id).or_insert_with(|| Entry {
            number,
            about: about.clone(),
            runs: Runs::default(),
            used: now,
            room: 0,
        });
        entry.runs = runs;
        entry.used = entry.used.max(now);
        entry.room += more;
        self.room += more;
        Some(Admitted { number, parts, evicted })
    }

    /// Lets blobs go until `wanted` bytes of room are free, the least recently used first; nothing if not even
    /// `least` can be had.
    fn evict(
        &mut self,
        least: u64,
        wanted: u64,
        is_busy: impl Fn(&AssetId) -> bool,
    ) -> Option<Vec<(AssetId, BlobNumber)>> {
        let free = self.entries.iter().filter(|(id, _)| !is_busy(id));
        let mut free: Vec<(u64, AssetId, u64)> =
            free.map(|(id, entry)| (entry.used, *id, entry.room)).collect();
        free.sort_unstable();
        let mut sum = 0;
        let count = free.iter().take_while(|(_, _, room)| {
            let goes = sum < wanted.max(1);
            sum += if goes { *room } else { 0 };
            goes
        });
        let count = count.count();
        if count == 0 || sum < least {
            return None;
        }
        free.truncate(count);
        Some(free.iter().filter_map(|(_, id, _)| Some((*id, self.forget(id)?.number))).collect())
    }

    /// Lets go what was used least recently, to free so much room; less if there is no more.
    pub(crate) fn shrink(
        &mut self,
        bytes: u64,
        is_busy: impl Fn(&AssetId) -> bool,
    ) -> Vec<(AssetId, BlobNumber)> {
        self.evict(0, bytes, is_busy).unwrap_or_default()
    }

    /// Lets a blob go.
    pub(crate) fn forget(&mut self, id: &AssetId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.room -= entry.room;
        Some(entry)
    }

    /// Blobs of which something is missing, and that nobody has used since.
    pub(crate) fn stale(&self, since: u64) -> Vec<AssetId> {
        let stale = self.entries.iter().filter(|(_, entry)| entry.used < since && !entry.is_whole());
        stale.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests;
