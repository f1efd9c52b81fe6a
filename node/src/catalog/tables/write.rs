//! The changes of one write transaction: rows, what leads to them, and the keys that the index gets or loses.

use std::collections::BTreeMap;

use assetmesh_protocol::ids::AssetId;
use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    ASSETS, COUNTERS, HOLDERS, INDEX, MERGED, MergedAt, NEXT_ROW, Row, UNINDEXED, URIS, find, find_uri,
    is_held,
};
use crate::catalog::merge::{Ledger, Merged};
use crate::catalog::{Error, index, row};
use crate::storage::StoreError;

/// The tables of one write transaction.
pub(in crate::catalog) struct Tables<'t> {
    assets: Table<'t, u64, &'static [u8]>,
    uris: Table<'t, &'static [u8], u64>,
    holders: Table<'t, (&'static [u8; 32], u64), ()>,
    index: Table<'t, &'static [u8], ()>,
    counters: Table<'t, &'static str, u64>,
    /// Index keys to put in (true) or take out, of all changes of the transaction: in key order, one
    /// walk of the tree serves neighbours.
    keys: BTreeMap<Vec<u8>, bool>,
    merged: Table<'t, (), MergedAt>,
    /// Bytes of the rows that were written.
    row_bytes: usize,
}

impl<'t> Tables<'t> {
    pub(in crate::catalog) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            assets: transaction.open_table(ASSETS)?,
            uris: transaction.open_table(URIS)?,
            holders: transaction.open_table(HOLDERS)?,
            index: transaction.open_table(INDEX)?,
            counters: transaction.open_table(COUNTERS)?,
            keys: BTreeMap::new(),
            merged: transaction.open_table(MERGED)?,
            row_bytes: 0,
        })
    }

    pub(in crate::catalog) fn find(&self, key: &str) -> Result<Option<Row>, Error> {
        find(&self.uris, &self.assets, key)
    }

    /// The row under a uri, not under a record id.
    pub(in crate::catalog) fn find_uri(&self, uri: &str) -> Result<Option<Row>, Error> {
        find_uri(&self.uris, &self.assets, uri)
    }

    pub(in crate::catalog) fn is_held(&self, blob: &AssetId) -> Result<bool, Error> {
        is_held(&self.holders, blob)
    }

    pub(in crate::catalog) fn insert(&mut self, row: &Row) -> Result<(), StoreError> {
        self.put(row)?;
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
    pub(in crate::catalog) fn replace(&mut self, old: &Row, new: &Row) -> Result<(), StoreError> {
        self.put(new)?;
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

    pub(in crate::catalog) fn remove(&mut self, row: &Row) -> Result<(), StoreError> {
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

    fn put(&mut self, row: &Row) -> Result<(), StoreError> {
        let bytes = row::encode(row.number, &row.header, &row.document);
        self.row_bytes += bytes.len();
        self.assets.insert(row.number, bytes.as_slice())?;
        Ok(())
    }

    /// Completes the transaction: the index, which goes on with its merge if there is `room`, and the number that the
    /// next row gets.
    pub(in crate::catalog) fn finish(
        &mut self,
        next: u64,
        room: bool,
        ledger: &mut Ledger,
    ) -> Result<(), StoreError> {
        let keys = std::mem::take(&mut self.keys);
        ledger.advance(keys.len(), room, |key| self.index.insert(key, ()).map(drop))?;
        for (key, present) in keys {
            let Some(number) = index::number_of(&key) else { continue };
            if !ledger.merged().holds(number, &key) {
                ledger.change(number, key, present);
            } else if present {
                self.index.insert(key.as_slice(), ())?;
            } else {
                self.index.remove(key.as_slice())?;
            }
        }
        ledger.weigh(self.row_bytes);
        let Merged { rows, until, last } = ledger.merged();
        self.merged.insert((), (*rows, *until, last.as_slice()))?;
        self.counters.insert(NEXT_ROW, next)?;
        if ledger.unread() > 0 {
            let noted = self.counters.get(UNINDEXED)?.map_or(0, |rows| rows.value());
            self.counters.insert(UNINDEXED, noted.max(ledger.unread()))?;
        }
        Ok(())
    }
}
