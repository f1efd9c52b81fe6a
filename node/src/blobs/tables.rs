//! The tables of `blobs.redb`, and the store of blobs over them.

use std::collections::BTreeMap;
use std::ops::RangeBounds;

use assetmesh_protocol::ids::AssetId;
use bytes::Bytes;
use redb::{
    Key, OwnedAccessGuard, ReadOnlyTable, ReadTransaction, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};

use super::backend::{Backend, BlobNumber, Change, Found, Place, piece_bytes, place_of_node};
use super::cache::{Entry, room_of};
use super::tree::Node;
use super::{Error, Stats};
use crate::storage::{Purpose, Store, StoreError, Sync, self_proving};
use cached::CACHED;

mod cached;

type Id = &'static [u8; 32];
type ChunkKey = (u64, u32);

/// Large blobs: id → (size, number).
const BLOBS: TableDefinition<Id, (u64, u64)> = TableDefinition::new("blobs-1");
/// Small blobs: id → content.
const SMALL: TableDefinition<Id, &[u8]> = TableDefinition::new("small-1");
/// (number, first group) → content from there on: 63 groups, or fewer where the upload stalled or ended.
const CHUNKS: TableDefinition<ChunkKey, &[u8]> = TableDefinition::new("chunks-1");
/// (number, index) → 255 nodes of an outboard; the last piece may be shorter.
const PIECES: TableDefinition<ChunkKey, &[u8]> = TableDefinition::new("outboards-1");
/// Numbers whose chunks belong to no blob: not yet, or no longer.
const UNFINISHED: TableDefinition<u64, ()> = TableDefinition::new("unfinished-1");
/// Totals, kept with each commit.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters-1");

/// Content that is not in chunks takes part of a page; this much is added for its key and place.
const ROW_BYTES: u64 = 64;

/// Blobs in one database file.
#[derive(Debug)]
pub(crate) struct Tables {
    store: Store,
}

impl Tables {
    /// Makes the tables where they are absent.
    pub(crate) fn new(store: Store) -> Result<Self, Error> {
        store.update(Sync::Now, |transaction| {
            Writing::open(transaction)?;
            Ok::<_, StoreError>(())
        })?;
        Ok(Self { store })
    }

    fn view<T>(&self, work: impl Fn(&ReadTransaction) -> Result<T, StoreError>) -> Result<T, Error> {
        Ok(self.store.view(work)?)
    }
}

impl Backend for Tables {
    fn apply(&self, session: u64, changes: &[Change], durable: bool) -> Result<(), Error> {
        let sync = if durable { Sync::Now } else { Sync::Later };
        self.store.update_within(session, sync, |transaction| {
            let mut tables = Writing::open(transaction)?;
            changes.iter().try_for_each(|change| tables.apply(change))?;
            tables.close()
        })?;
        Ok(())
    }

    fn clear(&self, number: BlobNumber, limit: usize) -> Result<bool, Error> {
        let done = self.store.update(Sync::Now, |transaction| {
            let mut tables = Writing::open(transaction)?;
            let done = tables.clear(number, limit)?;
            tables.close()?;
            Ok::<_, StoreError>(done)
        })?;
        Ok(done)
    }

    fn session(&self) -> Result<u64, Error> {
        Ok(self.store.session_number()?)
    }

    fn room(&self, bytes: u64) -> Result<(), Error> {
        if self.store.room(Purpose::Bulk, bytes).is_ok() {
            return Ok(());
        }
        // Deletes leave holes inside the file that the device does not know of.
        let used = self.view(|transaction| counter(transaction, "taken"))?;
        let space = self.store.space()?;
        let inside = space.taken.saturating_sub(used + used / 64 + (128 << 10));
        let floor = self.store.reserve(space, Purpose::Bulk) / 4 * 3;
        if inside >= bytes && space.free >= floor { Ok(()) } else { Err(Error::Full) }
    }

    fn find(&self, id: &AssetId) -> Result<Option<Found>, Error> {
        self.view(|transaction| {
            let small = with_proving(transaction, SMALL, |small| {
                Ok(small.get(id.as_bytes())?.map(|row| row.value().len() as u64))
            })?;
            if let Some(size) = small {
                return Ok(Some(Found { size, place: Place::Small }));
            }
            let row = transaction.open_table(BLOBS)?.get(id.as_bytes())?;
            Ok(row.map(|row| large(row.value())))
        })
    }

    fn small(&self, id: &AssetId) -> Result<Option<Bytes>, Error> {
        self.view(|transaction| {
            with_proving(transaction, SMALL, |small| {
                Ok(small.get(id.as_bytes())?.map(|row| Bytes::copy_from_slice(row.value())))
            })
        })
    }

    fn chunk(&self, number: BlobNumber, group: u32) -> Result<Option<(u32, Bytes)>, Error> {
        self.view(|transaction| {
            let range = (number.0, 0)..=(number.0, group);
            with_proving(transaction, CHUNKS, |chunks| {
                let row = chunks.range_owned(range)?.next_back().transpose()?;
                Ok(row.map(|(key, bytes)| (key.value().1, Bytes::from_owner(Row(bytes)))))
            })
        })
    }

    fn piece(&self, number: BlobNumber, index: u32) -> Result<Option<Bytes>, Error> {
        self.view(|transaction| {
            with_proving(transaction, PIECES, |pieces| {
                Ok(pieces.get((number.0, index))?.map(|row| Bytes::copy_from_slice(row.value())))
            })
        })
    }

    fn stats(&self) -> Result<Stats, Error> {
        self.view(|transaction| {
            Ok(Stats { blobs: counter(transaction, "blobs")?, bytes: counter(transaction, "bytes")? })
        })
    }

    fn list(&self, after: Option<&AssetId>, limit: usize) -> Result<Vec<(AssetId, Found)>, Error> {
        self.view(|transaction| {
            let from =
                after.map_or(std::ops::Bound::Unbounded, |id| std::ops::Bound::Excluded(id.as_bytes()));
            let range = (from, std::ops::Bound::Unbounded);
            let mut found = Vec::new();
            with_proving(transaction, SMALL, |small| {
                for row in small.range::<&[u8; 32]>(range)?.take(limit) {
                    let (id, content) = row?;
                    let size = content.value().len() as u64;
                    found.push((AssetId::from_bytes(*id.value()), Found { size, place: Place::Small }));
                }
                Ok(())
            })?;
            for row in transaction.open_table(BLOBS)?.range::<&[u8; 32]>(range)?.take(limit) {
                let (id, row) = row?;
                found.push((AssetId::from_bytes(*id.value()), large(row.value())));
            }
            found.sort_unstable_by_key(|(id, _)| *id);
            found.truncate(limit);
            Ok(found)
        })
    }

    fn unfinished(&self) -> Result<Vec<BlobNumber>, Error> {
        self.view(|transaction| {
            let table = transaction.open_table(UNFINISHED)?;
            table.iter()?.map(|row| Ok(BlobNumber(row?.0.value()))).collect()
        })
    }

    fn next_used(&self, from: BlobNumber) -> Result<Option<BlobNumber>, Error> {
        self.view(|transaction| {
            let mut lowest = None;
            for table in [CHUNKS, PIECES] {
                let first = with_proving(transaction, table, |table| {
                    let row = table.range((from.0, 0)..)?.next().transpose()?;
                    Ok(row.map(|(key, _)| key.value().0))
                })?;
                lowest = lowest.into_iter().chain(first).min();
            }
            Ok(lowest.map(BlobNumber))
        })
    }

    fn cached(&self) -> Result<Vec<(AssetId, Entry)>, Error> {
        self.view(cached::read)
    }

    fn free_number(&self) -> Result<BlobNumber, Error> {
        self.view(|transaction| {
            let last_of = |table: TableDefinition<'_, ChunkKey, &'static [u8]>| {
                with_proving(transaction, table, |table| Ok(table.last()?.map(|(key, _)| key.value().0)))
            };
            let (chunks, pieces) = (last_of(CHUNKS)?, last_of(PIECES)?);
            let marks = transaction.open_table(UNFINISHED)?.last()?.map(|(key, _)| key.value());
            let kept = cached::read(transaction)?.into_iter().map(|(_, entry)| entry.number.0).max();
            let highest = [chunks, pieces, marks, kept].into_iter().flatten().max();
            Ok(BlobNumber(highest.map_or(0, |number| number + 1)))
        })
    }
}

/// Opens a table of values that prove themselves, and looks into it.
fn with_proving<K: Key + 'static, T>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, &'static [u8]>,
    look: impl FnOnce(ReadOnlyTable<K, &'static [u8]>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    self_proving::<K, _>(|| look(transaction.open_table(table)?))
}

fn large((size, number): (u64, u64)) -> Found {
    Found { size, place: Place::Large(BlobNumber(number)) }
}

fn counter(transaction: &ReadTransaction, name: &str) -> Result<u64, StoreError> {
    Ok(transaction.open_table(COUNTERS)?.get(name)?.map_or(0, |value| value.value()))
}

/// A stored value that stays where the database has it.
struct Row(OwnedAccessGuard<&'static [u8]>);

impl AsRef<[u8]> for Row {
    fn as_ref(&self) -> &[u8] {
        self.0.value()
    }
}

/// How the totals change in one commit.
#[derive(Debug, Default)]
struct Totals {
    blobs: i64,
    bytes: i64,
    /// Room in the file, rounded as the database rounds.
    taken: i64,
}

/// All tables, open for one commit.
struct Writing<'a> {
    blobs: Table<'a, Id, (u64, u64)>,
    small: Table<'a, Id, &'static [u8]>,
    chunks: Table<'a, ChunkKey, &'static [u8]>,
    pieces: Table<'a, ChunkKey, &'static [u8]>,
    unfinished: Table<'a, u64, ()>,
    cached: Table<'a, Id, cached::Row>,
    counters: Table<'a, &'static str, u64>,
    totals: Totals,
}

impl<'a> Writing<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            blobs: transaction.open_table(BLOBS)?,
            small: transaction.open_table(SMALL)?,
            chunks: transaction.open_table(CHUNKS)?,
            pieces: transaction.open_table(PIECES)?,
            unfinished: transaction.open_table(UNFINISHED)?,
            cached: transaction.open_table(CACHED)?,
            counters: transaction.open_table(COUNTERS)?,
            totals: Totals::default(),
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::Begin { number } => {
                self.unfinished.insert(number.0, ())?;
            }
            Change::Chunk { number, first_group, bytes } => {
                self.totals.taken += rounded(bytes.len());
                let key = (number.0, *first_group);
                // The one copy: from the upload's buffer into the page.
                self_proving::<ChunkKey, _>(|| self.chunks.insert_reserve(key, bytes.len()))?
                    .as_mut()
                    .copy_from_slice(bytes);
            }
            Change::Piece { number, index, bytes } => {
                self.totals.taken += rounded(bytes.len());
                put(&mut self.pieces, (number.0, *index), bytes)?;
            }
            Change::Finish { number, id, size } => {
                self.unfinished.remove(number.0)?;
                self.blobs.insert(id.as_bytes(), (*size, number.0))?;
                self.totals.blobs += 1;
                self.totals.bytes += *size as i64;
            }
            Change::Small { id, bytes } => {
                self_proving::<Id, _>(|| self.small.insert(id.as_bytes(), &**bytes).map(drop))?;
                self.totals.blobs += 1;
                self.totals.bytes += bytes.len() as i64;
                self.totals.taken += bytes.len() as i64 + ROW_BYTES as i64;
            }
            Change::Forget { id } => self.forget(id)?,
            Change::Nodes { number, total, nodes } => {
                self_proving::<ChunkKey, _>(|| self.write_nodes(*number, *total, nodes))?;
            }
            Change::Overwrite { number, first_group, bytes } => {
                put(&mut self.chunks, (number.0, *first_group), bytes)?;
            }
            Change::Keep { id, entry } => cached::write(&mut self.cached, id, entry)?,
            Change::Drop { id, number } => {
                self.cached.remove(id.as_bytes())?;
                self.unfinished.insert(number.0, ())?;
            }
        }
        Ok(())
    }

    fn write_nodes(&mut self, number: BlobNumber, total: u64, nodes: &[Node]) -> Result<(), StoreError> {
        let mut by_piece: BTreeMap<u32, Vec<(usize, &[u8])>> = BTreeMap::new();
        for (node, bytes) in nodes.iter().filter(|(node, _)| *node < total) {
            if let Some((piece, at)) = place_of_node(*node) {
                by_piece.entry(piece).or_default().push((at, bytes));
            }
        }
        for (piece, nodes) in by_piece {
            let length = piece_bytes(piece, total);
            let known = self.pieces.get((number.0, piece))?.map(|piece| piece.value().to_vec());
            if known.is_none() {
                self.totals.taken += rounded(length);
            }
            let mut bytes = known.unwrap_or_default();
            bytes.resize(length, 0);
            for (at, node) in nodes {
                bytes[at..at + node.len()].copy_from_slice(node);
            }
            self.pieces.insert((number.0, piece), bytes.as_slice())?;
        }
        Ok(())
    }

    fn forget(&mut self, id: &AssetId) -> Result<(), StoreError> {
        if let Some(content) = self_proving::<Id, _>(|| self.small.remove(id.as_bytes()))? {
            let len = content.value().len() as i64;
            self.totals.blobs -= 1;
            self.totals.bytes -= len;
            self.totals.taken -= len + ROW_BYTES as i64;
        }
        if let Some(row) = self.blobs.remove(id.as_bytes())? {
            let (size, number) = row.value();
            self.unfinished.insert(number, ())?;
            self.totals.blobs -= 1;
            self.totals.bytes -= size as i64;
        }
        Ok(())
    }

    fn clear(&mut self, number: BlobNumber, limit: usize) -> Result<bool, StoreError> {
        let mut left = limit;
        for table in [&mut self.chunks, &mut self.pieces] {
            let range = (number.0, 0)..=(number.0, u32::MAX);
            let (count, taken) = self_proving::<ChunkKey, _>(|| remove_some(table, range, left))?;
            left -= count;
            self.totals.taken -= taken;
        }
        if left > 0 {
            self.unfinished.remove(number.0)?;
        }
        Ok(left > 0)
    }

    fn close(mut self) -> Result<(), StoreError> {
        let Totals { blobs, bytes, taken } = self.totals;
        for (name, change) in [("blobs", blobs), ("bytes", bytes), ("taken", taken)] {
            if change != 0 {
                let before = self.counters.get(name)?.map_or(0, |value| value.value());
                self.counters.insert(name, before.saturating_add_signed(change))?;
            }
        }
        Ok(())
    }
}

fn put(
    table: &mut Table<'_, ChunkKey, &'static [u8]>,
    key: ChunkKey,
    bytes: &[u8],
) -> Result<(), StoreError> {
    Ok(self_proving::<ChunkKey, _>(|| table.insert(key, bytes).map(drop))?)
}

/// Removes the first `limit` rows of a range. Returns their number and the room they took.
fn remove_some(
    table: &mut Table<'_, ChunkKey, &'static [u8]>,
    range: impl RangeBounds<ChunkKey> + 'static,
    limit: usize,
) -> Result<(usize, i64), StoreError> {
    let mut keys = Vec::new();
    for row in table.range(range)?.take(limit) {
        keys.push(row?.0.value());
    }
    let mut taken = 0;
    for key in &keys {
        taken += table.remove(key)?.map_or(0, |row| rounded(row.value().len()));
    }
    Ok((keys.len(), taken))
}

/// What the database takes for a value that does not share its page.
fn rounded(len: usize) -> i64 {
    room_of(len as u64) as i64
}
