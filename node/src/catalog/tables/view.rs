//! One snapshot of the catalog: rows, uris, references, and `index-1` as it lies on disk. For where the rows of a query
//! are found, see `candidates`: `index-1` alone does not know the newest rows.

use std::ops::Range;

use assetmesh_protocol::ids::{AssetId, RecordId};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata, TableError};

use super::{
    ASSETS, COUNTERS, HOLDERS, INDEX, MERGED, MergedAt, NEXT_ROW, Row, UNINDEXED, URIS, decode, fetch, find,
    is_held,
};
use crate::catalog::merge::Merged;
use crate::catalog::{Error, row};
use crate::storage::{self, StoreError};

/// Damaged row numbers that one scan steps over before it gives up: finding their ends costs time.
const LOST_MAX: u64 = 20_000;

/// A consistent view of the catalog.
pub(in crate::catalog) struct View {
    pub(super) assets: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) uris: ReadOnlyTable<&'static [u8], u64>,
    pub(super) holders: ReadOnlyTable<(&'static [u8; 32], u64), ()>,
    pub(super) index: ReadOnlyTable<&'static [u8], ()>,
    counters: ReadOnlyTable<&'static str, u64>,
    /// Absent in a file from before it was kept. Where it is damaged, rows are still read.
    merged: Result<Option<ReadOnlyTable<(), MergedAt>>, StoreError>,
}

impl View {
    pub(in crate::catalog) fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            assets: transaction.open_table(ASSETS)?,
            uris: transaction.open_table(URIS)?,
            holders: transaction.open_table(HOLDERS)?,
            index: transaction.open_table(INDEX)?,
            counters: transaction.open_table(COUNTERS)?,
            merged: storage::guard(|| match transaction.open_table(MERGED) {
                Err(TableError::TableDoesNotExist(_)) => Ok(None),
                opened => Ok(Some(opened?)),
            }),
        })
    }

    pub(in crate::catalog) fn rows(&self) -> Result<u64, StoreError> {
        Ok(self.assets.len()?)
    }

    /// The number that the next row gets, and the id of the last row if it can be read.
    pub(in crate::catalog) fn numbering(&self) -> Result<(u64, Option<RecordId>), StoreError> {
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

    /// Rows that count as merged and have no keys, because they could not be read then.
    pub(in crate::catalog) fn unindexed(&self) -> Result<u64, StoreError> {
        Ok(self.counters.get(UNINDEXED)?.map_or(0, |rows| rows.value()))
    }

    /// How far the index on disk has got.
    pub(in crate::catalog) fn merged(&self) -> Result<Merged, StoreError> {
        let stored = match self.merged.as_ref().map_err(StoreError::clone)? {
            None => None,
            Some(table) => table.get(())?.map(|place| {
                let (rows, until, last) = place.value();
                Merged { rows, until, last: last.to_vec() }
            }),
        };
        stored.map_or_else(|| Ok(Merged::all(self.numbering()?.0)), Ok)
    }

    /// A row number below which every row that can be read has a lesser record id than this one.
    pub(in crate::catalog) fn first_since(&self, record: RecordId) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.numbering()?.0);
        while low < high {
            let middle = low + (high - low) / 2;
            let rows = self.assets.range(middle..high)?;
            let mut readable = rows.filter_map(|entry| match entry {
                Ok((number, bytes)) => {
                    let header = row::decode(number.value(), bytes.value()).ok()?.0;
                    Some(Ok((number.value(), header.record)))
                }
                Err(error) => Some(Err(error)),
            });
            match readable.next().transpose()? {
                Some((number, found)) if found < record => low = number + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The row of a uri or record id.
    pub(in crate::catalog) fn find(&self, key: &str) -> Result<Option<Row>, Error> {
        find(&self.uris, &self.assets, key)
    }

    /// Some row that names a blob.
    pub(in crate::catalog) fn holder(&self, blob: &AssetId) -> Result<Option<Row>, Error> {
        let first = self.holders.range((blob.as_bytes(), 0)..=(blob.as_bytes(), u64::MAX))?.next();
        match first {
            None => Ok(None),
            Some(entry) => fetch(&self.assets, entry?.0.value().1).map(Some),
        }
    }

    /// Whether any row names a blob.
    pub(in crate::catalog) fn is_held(&self, blob: &AssetId) -> Result<bool, Error> {
        is_held(&self.holders, blob)
    }

    /// Whether this row is listed as naming this blob.
    pub(in crate::catalog) fn is_held_by(&self, blob: &AssetId, number: u64) -> Result<bool, StoreError> {
        Ok(self.holders.get((blob.as_bytes(), number))?.is_some())
    }

    /// One row by its number.
    pub(in crate::catalog) fn row(&self, number: u64) -> Result<Option<Row>, Error> {
        self.assets.get(number)?.map(|bytes| decode(number, bytes.value())).transpose()
    }

    /// Calls `visit` with each row of a range that can be read, in row order, until it says stop. Returns
    /// how many row numbers lie on damaged pages: around such a page the range is halved until all that
    /// lies beside it has been read.
    pub(in crate::catalog) fn scan(
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
    /// Calls `visit` with each of the given rows that is still there.
    pub(in crate::catalog) fn each(
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

    /// Calls `visit` with every uri and its row number.
    pub(in crate::catalog) fn each_uri(&self, mut visit: impl FnMut(&[u8], u64)) -> Result<(), StoreError> {
        for entry in self.uris.range::<&[u8]>(..)? {
            let (uri, number) = entry?;
            visit(uri.value(), number.value());
        }
        Ok(())
    }

    /// Calls `visit` with every blob and a row number that names it.
    pub(in crate::catalog) fn each_holder(
        &self,
        mut visit: impl FnMut(AssetId, u64),
    ) -> Result<(), StoreError> {
        for entry in self.holders.range::<(&[u8; 32], u64)>(..)? {
            let key = entry?.0;
            let (blob, number) = key.value();
            visit(AssetId::from_bytes(*blob), number);
        }
        Ok(())
    }

    /// Calls `visit` with every index key.
    pub(in crate::catalog) fn each_index_key(&self, mut visit: impl FnMut(&[u8])) -> Result<(), StoreError> {
        for entry in self.index.range::<&[u8]>(..)? {
            visit(entry?.0.value());
        }
        Ok(())
    }

    /// Whether one index key is there.
    pub(in crate::catalog) fn has_index_key(&self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.index.get(key)?.is_some())
    }
}
