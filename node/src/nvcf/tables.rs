//! The tables of input assets in `catalog.redb`. All their names are here, and carry a version.

mod check;

pub(super) use check::check;

use assetmesh_protocol::ids::AssetId;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::Error;
use super::accounts::Holding;
use super::error::damaged;
use super::row::{self, AccountTag, Key, Row};
use crate::storage::StoreError;

type Rows = TableDefinition<'static, &'static [u8; 32], &'static [u8]>;

/// Key → checksummed row, of assets that are not uploaded yet.
const UPLOADS: Rows = TableDefinition::new("nvcf-uploads-1");
/// Key → checksummed row, of assets that are.
const ASSETS: Rows = TableDefinition::new("nvcf-assets-1");
/// (Blob, key of an asset that has it). A blob without one here is of no input asset.
const HOLDERS: TableDefinition<'static, (&[u8; 32], &[u8; 32]), ()> = TableDefinition::new("nvcf-blobs-1");
/// (When a row is due, its key), of both kinds.
const DUE: TableDefinition<'static, (u64, &[u8; 32]), ()> = TableDefinition::new("nvcf-due-1");
/// Named facts. `clock` is the time that had passed for certain: checksum, milliseconds.
const FACTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("nvcf-facts-1");
const CLOCK: &str = "clock";

impl From<redb::StorageError> for Error {
    fn from(error: redb::StorageError) -> Self {
        StoreError::from(error).into()
    }
}

/// Makes the tables exist.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    Tables::open(transaction).map(drop)
}

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    uploads: Table<'t, &'static [u8; 32], &'static [u8]>,
    assets: Table<'t, &'static [u8; 32], &'static [u8]>,
    holders: Table<'t, (&'static [u8; 32], &'static [u8; 32]), ()>,
    due: Table<'t, (u64, &'static [u8; 32]), ()>,
    facts: Table<'t, &'static str, &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            uploads: transaction.open_table(UPLOADS)?,
            assets: transaction.open_table(ASSETS)?,
            holders: transaction.open_table(HOLDERS)?,
            due: transaction.open_table(DUE)?,
            facts: transaction.open_table(FACTS)?,
        })
    }

    /// An asset that is not uploaded yet.
    pub(super) fn upload(&self, key: &Key) -> Result<Option<Row>, Error> {
        find(&self.uploads, key)
    }

    /// An asset that is.
    pub(super) fn asset(&self, key: &Key) -> Result<Option<Row>, Error> {
        find(&self.assets, key)
    }

    /// Puts a row in, in the table that it belongs to.
    pub(super) fn insert(&mut self, key: &Key, row: &Row) -> Result<(), Error> {
        let bytes = row.encode(key).ok_or_else(|| Error::Failed("a row is too long".to_owned()))?;
        match &row.content {
            None => self.uploads.insert(&key.0, bytes.as_slice())?,
            Some(content) => {
                self.holders.insert((content.blob.as_bytes(), &key.0), ())?;
                self.assets.insert(&key.0, bytes.as_slice())?
            }
        };
        self.due.insert((row.due(), &key.0), ())?;
        Ok(())
    }

    /// Takes a row out. Returns its blob if no other input asset has it.
    pub(super) fn remove(&mut self, key: &Key, row: &Row) -> Result<Option<AssetId>, Error> {
        self.due.remove((row.due(), &key.0))?;
        let Some(content) = &row.content else {
            self.uploads.remove(&key.0)?;
            return Ok(None);
        };
        self.assets.remove(&key.0)?;
        self.holders.remove((content.blob.as_bytes(), &key.0))?;
        let is_held = is_held(&self.holders, &content.blob)?;
        Ok((!is_held).then_some(content.blob))
    }

    /// Takes out whatever there is of a row that cannot be read. Returns what its account had in it, but for the bytes,
    /// and its blobs, which others may have.
    pub(super) fn remove_damaged(&mut self, key: &Key) -> Result<(Holding, Vec<AssetId>), Error> {
        let had = Holding {
            waiting: u64::from(self.uploads.remove(&key.0)?.is_some()),
            stored: u64::from(self.assets.remove(&key.0)?.is_some()),
            bytes: 0,
        };
        let mut held = Vec::new();
        for entry in self.holders.iter()? {
            let (entry, _) = entry?;
            let (blob, holder) = entry.value();
            if *holder == key.0 {
                held.push(AssetId::from_bytes(*blob));
            }
        }
        for blob in &held {
            self.holders.remove((blob.as_bytes(), &key.0))?;
        }
        self.due.retain(|(_, due), ()| *due != key.0)?;
        Ok((had, held))
    }

    /// The first `limit` rows that are due.
    pub(super) fn due(&self, now: u64, limit: usize) -> Result<Vec<Key>, Error> {
        let mut keys = Vec::new();
        for entry in self.due.range((0, &[0; 32])..=(now, &[u8::MAX; 32]))?.take(limit) {
            keys.push(Key(*entry?.0.value().1));
        }
        Ok(keys)
    }

    /// Keeps the time that has passed for certain.
    pub(super) fn keep_time(&mut self, sure: u64) -> Result<(), Error> {
        self.facts.insert(CLOCK, row::sealed(0, &sure.to_le_bytes()).as_slice())?;
        Ok(())
    }
}

/// The time that had passed for certain; nothing in a new file, or if that row is damaged.
pub(super) fn time(transaction: &ReadTransaction) -> Result<Option<u64>, StoreError> {
    let facts = transaction.open_table(FACTS)?;
    let stored = facts.get(CLOCK)?;
    let time =
        stored.and_then(|bytes| Some(u64::from_le_bytes(row::opened(0, bytes.value())?.try_into().ok()?)));
    Ok(time)
}

/// What every asset is to its account. The bytes of one whose row is damaged are not known.
pub(super) fn holdings(
    transaction: &ReadTransaction,
    mut has: impl FnMut(AccountTag, Holding),
) -> Result<(), StoreError> {
    for entry in transaction.open_table(UPLOADS)?.iter()? {
        has(Key(*entry?.0.value()).account(), Holding { waiting: 1, ..Holding::default() });
    }
    for entry in transaction.open_table(ASSETS)?.iter()? {
        let (key, bytes) = entry?;
        let key = Key(*key.value());
        let damaged = |_| Holding { stored: 1, ..Holding::default() };
        has(key.account(), Row::decode(&key, bytes.value()).as_ref().map_or_else(damaged, Holding::from));
    }
    Ok(())
}

/// An asset, uploaded or not.
pub(super) fn read(transaction: &ReadTransaction, key: &Key) -> Result<Option<Row>, Error> {
    match find(&transaction.open_table(ASSETS).map_err(StoreError::from)?, key)? {
        Some(row) => Ok(Some(row)),
        None => find(&transaction.open_table(UPLOADS).map_err(StoreError::from)?, key),
    }
}

/// One uploaded asset of a list.
pub(super) type Listed = (Key, Result<Row, row::DamagedRow>);

/// At most `limit` uploaded assets of an account behind an id, in the order of ids. A damaged one is told, not given.
pub(super) fn list(
    transaction: &ReadTransaction,
    account: AccountTag,
    after: Option<Uuid>,
    limit: usize,
) -> Result<Vec<Listed>, Error> {
    let assets = transaction.open_table(ASSETS).map_err(StoreError::from)?;
    let first = Key::new(account, after.unwrap_or(Uuid::nil()));
    let last = Key::new(account, Uuid::max());
    let mut rows = Vec::new();
    for entry in assets.range::<&[u8; 32]>(&first.0..=&last.0)? {
        let (key, bytes) = entry?;
        let key = Key(*key.value());
        if after.is_some() && key == first {
            continue;
        }
        rows.push((key, Row::decode(&key, bytes.value())));
        if rows.len() == limit {
            break;
        }
    }
    Ok(rows)
}

/// Whether any input asset has a blob.
pub(super) fn holds(transaction: &ReadTransaction, blob: &AssetId) -> Result<bool, Error> {
    is_held(&transaction.open_table(HOLDERS).map_err(StoreError::from)?, blob)
}

fn is_held(
    holders: &impl ReadableTable<(&'static [u8; 32], &'static [u8; 32]), ()>,
    blob: &AssetId,
) -> Result<bool, Error> {
    let blob = blob.as_bytes();
    Ok(holders.range((blob, &[0; 32])..=(blob, &[u8::MAX; 32]))?.next().transpose()?.is_some())
}

fn find(
    rows: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
    key: &Key,
) -> Result<Option<Row>, Error> {
    let Some(bytes) = rows.get(&key.0)? else { return Ok(None) };
    Row::decode(key, bytes.value()).map(Some).map_err(|_| damaged(key))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::storage::{Store, Sync};

    /// Flips one bit in the middle of an uploaded asset's row.
    pub(crate) fn damage(store: &Store, key: &Key) {
        let flip = |transaction: &WriteTransaction| {
            let mut assets = transaction.open_table(ASSETS)?;
            let mut bytes = assets.get(&key.0)?.unwrap().value().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            assets.insert(&key.0, bytes.as_slice())?;
            Ok::<_, StoreError>(())
        };
        store.update(Sync::Now, flip).unwrap();
    }

    /// Takes an uploaded asset's row out, and nothing that leads to it.
    pub(crate) fn forget(store: &Store, key: &Key) {
        let forget = |transaction: &WriteTransaction| {
            transaction.open_table(ASSETS)?.remove(&key.0)?;
            Ok::<_, StoreError>(())
        };
        store.update(Sync::Now, forget).unwrap();
    }

    /// How many rows each table has, in the order of their names above; facts do not count.
    pub(crate) fn lengths(store: &Store) -> [u64; 4] {
        use redb::ReadableTableMetadata;
        let count = |transaction: &ReadTransaction| {
            Ok::<_, StoreError>([
                transaction.open_table(UPLOADS)?.len()?,
                transaction.open_table(ASSETS)?.len()?,
                transaction.open_table(HOLDERS)?.len()?,
                transaction.open_table(DUE)?.len()?,
            ])
        };
        store.view(count).unwrap()
    }
}
