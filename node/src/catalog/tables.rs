//! The tables of `catalog.redb` and what one transaction does with them. All table names are here, and carry a version.

use std::collections::BTreeMap;
use std::ops::Range;

use assetmesh_protocol::document::{Document, ValueRef};
use assetmesh_protocol::ids::{AssetId, RecordId};
use redb::{
    ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};
use uuid::Uuid;

use super::plan::{Postings, Source};
use super::row::{self, Header};
use super::{Error, index, numbers};
use crate::storage::{self, StoreError};

/// Row number → checksummed row.
const ASSETS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("assets-1");
/// Uri → row number. Unique.
const URIS: TableDefinition<'static, &[u8], u64> = TableDefinition::new("uris-1");
/// (Blob, row number that names it). A blob without a key here is unreferenced.
const HOLDERS: TableDefinition<'static, (&[u8; 32], u64), ()> = TableDefinition::new("blob-records-1");
/// The inverted index; see `index`.
const INDEX: TableDefinition<'static, &[u8], ()> = TableDefinition::new("index-1");
/// Named counters; `next_row` is the number that the next row gets.
const COUNTERS: TableDefinition<'static, &str, u64> = TableDefinition::new("counters-1");
const NEXT_ROW: &str = "next_row";

/// Damaged row numbers that one scan steps over before it gives up: finding their ends costs time.
const LOST_MAX: u64 = 20_000;

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
    transaction.open_table(COUNTERS)?;
    Ok(())
}

/// A consistent view of the catalog.
pub(super) struct View {
    assets: ReadOnlyTable<u64, &'static [u8]>,
    uris: ReadOnlyTable<&'static [u8], u64>,
    holders: ReadOnlyTable<(&'static [u8; 32], u64), ()>,
    index: ReadOnlyTable<&'static [u8], ()>,
    counters: ReadOnlyTable<&'static str, u64>,
}

impl View {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            assets: transaction.open_table(ASSETS)?,
            uris: transaction.open_table(URIS)?,
            holders: transaction.open_table(HOLDERS)?,
            index: transaction.open_table(INDEX)?,
            counters: transaction.open_table(COUNTERS)?,
        })
    }

    pub(super) fn rows(&self) -> Result<u64, StoreError> {
        Ok(self.assets.len()?)
    }

    /// The number that the next row gets, and the id of the last row if it can be read.
    pub(super) fn numbering(&self) -> Result<(u64, Option<RecordId>), StoreError> {
        let last = storage::guard(|| {
            Ok::<_, StoreError>(self.assets.last()?.map(|(number, bytes)| {
                let row = row::decode(number.value(), bytes.value());
                (number.value(), row.ok().map(|(header, _)| header.record))
            }))
        });
        let counted = storage::guard(|| Ok(self.counters.get(NEXT_ROW)?.map_or(0, |next| next.value())));
        // Either says enough, so that a damaged page under one of them does not keep the rest from being read.
        let (last, counted) = match (last, counted) {
            (Err(StoreError::Damaged(_)), Ok(counted)) => (None, counted),
            (Ok(last), Err(StoreError::Damaged(_))) => (last, 0),
            (last, counted) => (last?, counted?),
        };
        let after_last = last.as_ref().map_or(0, |(number, _)| number + 1);
        Ok((counted.max(after_last), last.and_then(|(_, record)| record)))
    }

    /// The row of a uri or record id.
    pub(super) fn find(&self, key: &str) -> Result<Option<Row>, Error> {
        find(&self.uris, &self.assets, key)
    }

    /// Some row that names a blob.
    pub(super) fn holder(&self, blob: &AssetId) -> Result<Option<Row>, Error> {
        let first = self.holders.range((blob.as_bytes(), 0)..=(blob.as_bytes(), u64::MAX))?.next();
        match first {
            None => Ok(None),
            Some(entry) => fetch(&self.assets, entry?.0.value().1).map(Some),
        }
    }

    /// Whether any row names a blob.
    pub(super) fn is_held(&self, blob: &AssetId) -> Result<bool, Error> {
        is_held(&self.holders, blob)
    }

    /// Whether this row is listed as naming this blob.
    pub(super) fn is_held_by(&self, blob: &AssetId, number: u64) -> Result<bool, StoreError> {
        Ok(self.holders.get((blob.as_bytes(), number))?.is_some())
    }

    /// One row by its number.
    pub(super) fn row(&self, number: u64) -> Result<Option<Row>, Error> {
        self.assets.get(number)?.map(|bytes| decode(number, bytes.value())).transpose()
    }

    /// Calls `visit` with each row of a range that can be read, in row order, until it says stop. Returns
    /// how many row numbers lie on damaged pages: around such a page the range is halved until all that
    /// lies beside it has been read.
    pub(super) fn scan(
        &self,
        rows: Range<u64>,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<u64, Error> {
        let (mut open, mut lost) = (vec![rows], 0);
        while let Some(rows) = open.pop() {
            let mut next = rows.start;
            match storage::guard(|| self.walk(rows.clone(), &mut next, &mut visit)) {
                Ok(true) => {}
                Ok(false) => break,
                Err(Error::Damaged(_)) if rows.end - next > 1 => {
                    let middle = next + (rows.end - next) / 2;
                    open.extend([middle..rows.end, next..middle]);
                }
                Err(Error::Damaged(_)) if lost < LOST_MAX => lost += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }

    /// Visits until the end (true) or until the visitor says stop. `next` follows the last row visited.
    fn walk(
        &self,
        rows: Range<u64>,
        next: &mut u64,
        visit: &mut impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<bool, Error> {
        for entry in self.assets.range(rows)? {
            let (number, bytes) = entry?;
            *next = number.value() + 1;
            if !visit(number.value(), bytes.value())? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Calls `visit` with each row of one run of index keys from row `first` on, in row order.
    pub(super) fn stream(
        &self,
        prefix: &[u8],
        first: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let (low, high) = (index::with_number(prefix, first), index::with_number(prefix, u64::MAX));
        for entry in self.index.range(low.as_slice()..=high.as_slice())? {
            let key = entry?.0;
            if key.value().len() != low.len() {
                continue;
            }
            let Some(number) = index::number_of(key.value()) else { continue };
            if let Some(bytes) = self.assets.get(number)?
                && !visit(number, bytes.value())?
            {
                break;
            }
        }
        Ok(())
    }

    /// Calls `visit` with each of the given rows that is still there.
    pub(super) fn each(
        &self,
        numbers: &[u64],
        mut visit: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        for &number in numbers {
            if let Some(bytes) = self.assets.get(number)?
                && !visit(number, bytes.value())?
            {
                break;
            }
        }
        Ok(())
    }

    /// All row numbers of some sources, ascending, each once.
    pub(super) fn gather(&self, sources: &[Source], first: u64) -> Result<Vec<u64>, StoreError> {
        let mut numbers = Vec::new();
        for source in sources {
            self.visit_source(source, &mut |number| {
                numbers.push(number);
                true
            })?;
        }
        numbers.retain(|&number| number >= first);
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    fn visit_source(&self, source: &Source, visit: &mut dyn FnMut(u64) -> bool) -> Result<(), StoreError> {
        match source {
            Source::Uri(uri) => {
                if let Some(number) = self.uris.get(uri.as_bytes())? {
                    visit(number.value());
                }
            }
            Source::Holders(blob) => {
                for entry in self.holders.range((blob.as_bytes(), 0)..=(blob.as_bytes(), u64::MAX))? {
                    if !visit(entry?.0.value().1) {
                        break;
                    }
                }
            }
            Source::Run(prefix) => {
                let (first, last) = (index::with_number(prefix, 0), index::with_number(prefix, u64::MAX));
                self.visit_keys(&first, &last, visit)?;
            }
            Source::Range(first, last) => self.visit_keys(first, last, visit)?,
        }
        Ok(())
    }

    fn visit_keys(
        &self,
        first: &[u8],
        last: &[u8],
        visit: &mut dyn FnMut(u64) -> bool,
    ) -> Result<(), StoreError> {
        for entry in self.index.range(first..=last)? {
            if let Some(number) = index::number_of(entry?.0.value())
                && !visit(number)
            {
                break;
            }
        }
        Ok(())
    }

    /// Calls `visit` with every uri and its row number.
    pub(super) fn each_uri(&self, mut visit: impl FnMut(&[u8], u64)) -> Result<(), StoreError> {
        for entry in self.uris.range::<&[u8]>(..)? {
            let (uri, number) = entry?;
            visit(uri.value(), number.value());
        }
        Ok(())
    }

    /// Calls `visit` with every blob and a row number that names it.
    pub(super) fn each_holder(&self, mut visit: impl FnMut(AssetId, u64)) -> Result<(), StoreError> {
        for entry in self.holders.range::<(&[u8; 32], u64)>(..)? {
            let key = entry?.0;
            let (blob, number) = key.value();
            visit(AssetId::from_bytes(*blob), number);
        }
        Ok(())
    }

    /// Calls `visit` with every index key.
    pub(super) fn each_index_key(&self, mut visit: impl FnMut(&[u8])) -> Result<(), StoreError> {
        for entry in self.index.range::<&[u8]>(..)? {
            visit(entry?.0.value());
        }
        Ok(())
    }

    /// Whether one index key is there.
    pub(super) fn has_index_key(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.index.get(key)?.is_some())
    }
}

/// Rows counted for an exact figure before a run's length is guessed from how far it got.
const SAMPLE: u64 = 4096;

/// The planner's view of list lengths.
pub(super) struct Lengths<'v> {
    view: &'v View,
    rows: u64,
}

impl<'v> Lengths<'v> {
    pub(super) fn of(view: &'v View) -> Result<Self, StoreError> {
        Ok(Self { view, rows: view.rows()? })
    }
}

impl Postings for Lengths<'_> {
    type Error = StoreError;

    fn rows(&self) -> u64 {
        self.rows
    }

    fn estimate(&self, source: &Source, enough: u64) -> Result<u64, StoreError> {
        let sampled = matches!(source, Source::Run(_)) && enough > SAMPLE;
        let limit = if sampled { SAMPLE } else { enough };
        let (mut count, mut first, mut last) = (0, None, 0);
        self.view.visit_source(source, &mut |number| {
            count += 1;
            first.get_or_insert(number);
            last = number;
            count < limit
        })?;
        // A run lies in row order, so that the part of all rows it has covered tells about how long it is.
        let span = last.saturating_sub(first.unwrap_or(last)) + 1;
        let guessed = sampled && count == SAMPLE;
        Ok(if guessed { (count.saturating_mul(self.rows) / span.max(1)).max(count) } else { count })
    }
}

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    assets: Table<'t, u64, &'static [u8]>,
    uris: Table<'t, &'static [u8], u64>,
    holders: Table<'t, (&'static [u8; 32], u64), ()>,
    index: Table<'t, &'static [u8], ()>,
    counters: Table<'t, &'static str, u64>,
    /// Index keys to put in (true) or take out, of all changes of the transaction: in key order, one
    /// walk of the tree serves neighbours.
    keys: BTreeMap<Vec<u8>, bool>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            assets: transaction.open_table(ASSETS)?,
            uris: transaction.open_table(URIS)?,
            holders: transaction.open_table(HOLDERS)?,
            index: transaction.open_table(INDEX)?,
            counters: transaction.open_table(COUNTERS)?,
            keys: BTreeMap::new(),
        })
    }

    pub(super) fn find(&self, key: &str) -> Result<Option<Row>, Error> {
        find(&self.uris, &self.assets, key)
    }

    /// The row under a uri, not under a record id.
    pub(super) fn find_uri(&self, uri: &str) -> Result<Option<Row>, Error> {
        find_uri(&self.uris, &self.assets, uri)
    }

    pub(super) fn is_held(&self, blob: &AssetId) -> Result<bool, Error> {
        is_held(&self.holders, blob)
    }

    pub(super) fn insert(&mut self, row: &Row) -> Result<(), StoreError> {
        self.assets.insert(row.number, row::encode(row.number, &row.header, &row.document).as_slice())?;
        let uri = row::text(row.document.root(), "asset_uri");
        if !uri.is_empty() {
            self.uris.insert(uri.as_bytes(), row.number)?;
        }
        if let Some(blob) = row.blob() {
            self.holders.insert((blob.as_bytes(), row.number), ())?;
        }
        self.keys.extend(index::keys(row.number, row.document.root()).into_iter().map(|key| (key, true)));
        Ok(())
    }

    /// Puts a new description under the same row number; touches only what differs.
    pub(super) fn replace(&mut self, old: &Row, new: &Row) -> Result<(), StoreError> {
        self.assets.insert(new.number, row::encode(new.number, &new.header, &new.document).as_slice())?;
        let (old_uri, new_uri) =
            (row::text(old.document.root(), "asset_uri"), row::text(new.document.root(), "asset_uri"));
        if old_uri != new_uri {
            self.uris.remove(old_uri.as_bytes())?;
            if !new_uri.is_empty() {
                self.uris.insert(new_uri.as_bytes(), new.number)?;
            }
        }
        let old_keys = index::keys(old.number, old.document.root());
        let new_keys = index::keys(new.number, new.document.root());
        self.keys.extend(old_keys.difference(&new_keys).map(|key| (key.clone(), false)));
        self.keys.extend(new_keys.difference(&old_keys).map(|key| (key.clone(), true)));
        Ok(())
    }

    pub(super) fn remove(&mut self, row: &Row) -> Result<(), StoreError> {
        self.assets.remove(row.number)?;
        let uri = row::text(row.document.root(), "asset_uri");
        if !uri.is_empty() {
            self.uris.remove(uri.as_bytes())?;
        }
        if let Some(blob) = row.blob() {
            self.holders.remove((blob.as_bytes(), row.number))?;
        }
        self.keys.extend(index::keys(row.number, row.document.root()).into_iter().map(|key| (key, false)));
        Ok(())
    }

    /// Completes the transaction: the index, and the number that the next row gets.
    pub(super) fn finish(&mut self, next: u64) -> Result<(), StoreError> {
        for (key, present) in std::mem::take(&mut self.keys) {
            if present {
                self.index.insert(key.as_slice(), ())?;
            } else {
                self.index.remove(key.as_slice())?;
            }
        }
        self.counters.insert(NEXT_ROW, next)?;
        Ok(())
    }
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
