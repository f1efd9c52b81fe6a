//! The table of what is kept of other nodes' content: one row a blob, written in the commit that stores its chunks.

use assetmesh_protocol::blob::BlobHead;
use assetmesh_protocol::ids::AssetId;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition};

use super::super::backend::BlobNumber;
use super::super::cache::{About, Entry};
use super::super::runs::Runs;
use crate::storage::StoreError;

/// (number, last use, room, size and facts, runs).
pub(super) type Row = (u64, u64, u64, &'static [u8], &'static [u8]);

/// Blobs of which something is kept: id → [`Row`].
pub(super) const CACHED: TableDefinition<&'static [u8; 32], Row> = TableDefinition::new("cached-1");

/// The length before an encoded head.
const LENGTH_BYTES: usize = 2;

/// All rows. One that is not understood is left out: its number is an orphan then.
pub(super) fn read(transaction: &ReadTransaction) -> Result<Vec<(AssetId, Entry)>, StoreError> {
    let table = transaction.open_table(CACHED)?;
    let mut entries = Vec::new();
    for row in table.iter()? {
        let (id, row) = row?;
        let (number, used, room, head, runs) = row.value();
        let head = head.get(LENGTH_BYTES..).and_then(|head| BlobHead::decode(head).ok());
        if let (Some(head), Some(runs)) = (head, Runs::decode(runs)) {
            let about = About { size: head.size, facts: head.facts() };
            let number = BlobNumber(number);
            entries.push((AssetId::from_bytes(*id.value()), Entry { number, about, runs, used, room }));
        }
    }
    Ok(entries)
}

/// Writes a row.
pub(super) fn write(
    table: &mut Table<'_, &'static [u8; 32], Row>,
    id: &AssetId,
    entry: &Entry,
) -> Result<(), StoreError> {
    let head = BlobHead::new(entry.about.size, &entry.about.facts).encode();
    let head = head.map_err(|error| StoreError::Damaged(error.to_string().into()))?;
    let runs = entry.runs.encode();
    table
        .insert(id.as_bytes(), (entry.number.0, entry.used, entry.room, head.as_slice(), runs.as_slice()))?;
    Ok(())
}
