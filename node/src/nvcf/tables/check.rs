//! Checks the tables of input assets against each other, for `assetmesh verify`. It mends nothing.

use assetmesh_protocol::ids::AssetId;
use redb::{ReadTransaction, ReadableTable, TableError, TableHandle};

use super::{ASSETS, DUE, HOLDERS, Key, Row, Rows, UPLOADS};
use crate::nvcf::Error;
use crate::storage::StoreError;

/// What was found: a sentence for each fault, and the blob of each whole asset.
#[derive(Debug, Default)]
pub(in crate::nvcf) struct Found {
    pub(in crate::nvcf) faults: Vec<String>,
    pub(in crate::nvcf) blobs: Vec<AssetId>,
}

/// Checks all tables. A file from before there were input assets has none, and is sound.
pub(in crate::nvcf) fn check(transaction: &ReadTransaction) -> Result<Found, Error> {
    let mut found = Found::default();
    match transaction.open_table(UPLOADS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(found),
        opened => opened.map_err(StoreError::from)?,
    };
    rows(transaction, UPLOADS, &mut found)?;
    rows(transaction, ASSETS, &mut found)?;
    holders(transaction, &mut found)?;
    due(transaction, &mut found)?;
    Ok(found)
}

fn rows(transaction: &ReadTransaction, table: Rows, found: &mut Found) -> Result<(), Error> {
    let holders = transaction.open_table(HOLDERS).map_err(StoreError::from)?;
    let due = transaction.open_table(DUE).map_err(StoreError::from)?;
    let is_uploaded = table.name() == ASSETS.name();
    for entry in transaction.open_table(table).map_err(StoreError::from)?.iter()? {
        let (key, bytes) = entry?;
        let key = Key(*key.value());
        let mut fault = |what: &str| found.faults.push(format!("input asset {}: {what}", key.id()));
        let Ok(row) = Row::decode(&key, bytes.value()) else {
            fault("its row is damaged");
            continue;
        };
        if row.content.is_some() != is_uploaded {
            fault("it stands in the wrong table");
        }
        if due.get((row.due(), &key.0))?.is_none() {
            fault("its end is not noted");
        }
        if let Some(content) = row.content {
            if holders.get((content.blob.as_bytes(), &key.0))?.is_none() {
                fault("its blob does not know of it");
            }
            found.blobs.push(content.blob);
        }
    }
    Ok(())
}

fn holders(transaction: &ReadTransaction, found: &mut Found) -> Result<(), Error> {
    let assets = transaction.open_table(ASSETS).map_err(StoreError::from)?;
    for entry in transaction.open_table(HOLDERS).map_err(StoreError::from)?.iter()? {
        let (entry, _) = entry?;
        let (blob, key) = entry.value();
        let (blob, key) = (AssetId::from_bytes(*blob), Key(*key));
        let row = assets.get(&key.0)?;
        let named = row.map(|bytes| Row::decode(&key, bytes.value()).ok().and_then(|row| row.content));
        // A damaged row was reported with its table.
        if named.is_none_or(|content| content.is_some_and(|content| content.blob != blob)) {
            found.faults.push(format!("input asset {}: it does not have blob {blob}", key.id()));
        }
    }
    Ok(())
}

fn due(transaction: &ReadTransaction, found: &mut Found) -> Result<(), Error> {
    let uploads = transaction.open_table(UPLOADS).map_err(StoreError::from)?;
    let assets = transaction.open_table(ASSETS).map_err(StoreError::from)?;
    for entry in transaction.open_table(DUE).map_err(StoreError::from)?.iter()? {
        let (entry, _) = entry?;
        let (time, key) = entry.value();
        let key = Key(*key);
        let row = match assets.get(&key.0)? {
            Some(bytes) => Some(Row::decode(&key, bytes.value())),
            None => uploads.get(&key.0)?.map(|bytes| Row::decode(&key, bytes.value())),
        };
        if !row.is_some_and(|row| row.map_or(true, |row| row.due() == time)) {
            found.faults.push(format!("input asset {}: another end is noted", key.id()));
        }
    }
    Ok(())
}
