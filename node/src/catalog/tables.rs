//! The tables of `catalog.redb`: all their names, which carry a version, and how one row is found in them.
//! Reading a snapshot, finding candidates in it and changing it are in the files below.

mod candidates;
#[cfg(test)]
mod test_damage;
mod view;
mod write;

pub(super) use candidates::{Lengths, Snapshot};
pub(super) use view::View;
pub(super) use write::Tables;

use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::ids::{AssetId, RecordId};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::row::{self, Header};
use super::{Error, numbers};
use crate::storage::StoreError;

/// Row number → checksummed row.
const ASSETS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("assets-1");
/// Uri → row number. Unique.
const URIS: TableDefinition<'static, &[u8], u64> = TableDefinition::new("uris-1");
/// (Blob, row number that names it). A blob without a key here is unreferenced.
const HOLDERS: TableDefinition<'static, (&[u8; 32], u64), ()> = TableDefinition::new("blob-records-1");
/// The inverted index; see `index`.
const INDEX: TableDefinition<'static, &[u8], ()> = TableDefinition::new("index-1");
type MergedAt = (u64, u64, &'static [u8]);
/// How far `index-1` has got: the rows whose keys are all in it, the end of the rows that are being merged into it, and
/// the last key of those that is in it. Without it, a file has all keys in `index-1`.
const MERGED: TableDefinition<'static, (), MergedAt> = TableDefinition::new("index-merged-1");
/// Named counters; `next_row` is the number that the next row gets.
const COUNTERS: TableDefinition<'static, &str, u64> = TableDefinition::new("counters-1");
const NEXT_ROW: &str = "next_row";
/// Rows that could not be read when their keys were to be merged: a query by the index does not meet them.
const UNINDEXED: &str = "unindexed";

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Self {
        StoreError::from(error).into()
    }
}

/// One row as it was read: checked, and copied out of the store.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: u64,
    pub(super) header: Header,
    pub(super) document: Document,
}

impl Row {
    /// The blob that this row names, if its content is stored here.
    pub(super) fn blob(&self) -> Option<AssetId> {
        row::text(self.document.root(), "asset_id").parse().ok()
    }
}

/// Makes every table exist, so that a read of a new catalog finds them.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(ASSETS)?;
    transaction.open_table(URIS)?;
    transaction.open_table(HOLDERS)?;
    transaction.open_table(INDEX)?;
    transaction.open_table(MERGED)?;
    transaction.open_table(COUNTERS)?;
    Ok(())
}

fn find(
    uris: &impl ReadableTable<&'static [u8], u64>,
    assets: &impl ReadableTable<u64, &'static [u8]>,
    key: &str,
) -> Result<Option<Row>, Error> {
    if let Some(row) = find_uri(uris, assets, key)? {
        return Ok(Some(row));
    }
    let Ok(record) = Uuid::try_parse(key).map(RecordId) else {
        return Ok(None);
    };
    let number = numbers::row_number(record);
    let Some(bytes) = assets.get(number)? else {
        return Ok(None);
    };
    let row = decode(number, bytes.value())?;
    Ok((row.header.record == record).then_some(row))
}

fn find_uri(
    uris: &impl ReadableTable<&'static [u8], u64>,
    assets: &impl ReadableTable<u64, &'static [u8]>,
    uri: &str,
) -> Result<Option<Row>, Error> {
    let Some(number) = uris.get(uri.as_bytes())? else {
        return Ok(None);
    };
    let number = number.value();
    let row = fetch(assets, number)?;
    // The row itself says what its uri is: an index that disagrees is damaged, and is not believed.
    if row::text(row.document.root(), "asset_uri") == uri {
        Ok(Some(row))
    } else {
        Err(Error::damaged(number))
    }
}

/// A row that another table points to: its absence is damage.
fn fetch(assets: &impl ReadableTable<u64, &'static [u8]>, number: u64) -> Result<Row, Error> {
    let bytes = assets.get(number)?.ok_or_else(|| Error::damaged(number))?;
    decode(number, bytes.value())
}

/// Checks and copies one stored row.
pub(super) fn decode(number: u64, bytes: &[u8]) -> Result<Row, Error> {
    let (header, description) = row::decode(number, bytes).map_err(|_| Error::damaged(number))?;
    let document = Document::from_bytes(description.to_vec()).map_err(|_| Error::damaged(number))?;
    Ok(Row { number, header, document })
}

fn is_held(
    holders: &impl ReadableTable<(&'static [u8; 32], u64), ()>,
    blob: &AssetId,
) -> Result<bool, Error> {
    Ok(holders.range((blob.as_bytes(), 0)..=(blob.as_bytes(), u64::MAX))?.next().transpose()?.is_some())
}

/// The description inside checked row bytes, in place.
pub(super) fn description(number: u64, bytes: &[u8]) -> Result<(Header, ValueRef<'_>), Error> {
    let (header, description) = row::decode(number, bytes).map_err(|_| Error::damaged(number))?;
    Ok((header, ValueRef::from_stored(description)))
}
