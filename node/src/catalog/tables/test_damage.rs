//! Damages single rows, as a disk that fails does.

use assetmesh_protocol::ids::RecordId;
use redb::ReadableTable;

use super::ASSETS;
use crate::catalog::{Catalog, numbers};
use crate::storage::{StoreError, Sync};

impl Catalog {
    /// Flips a bit of a stored row.
    pub(crate) fn damage(&self, record: RecordId) {
        let number = numbers::row_number(record);
        let flip = |transaction: &redb::WriteTransaction| {
            let mut assets = transaction.open_table(ASSETS)?;
            let mut bytes = assets.get(number)?.unwrap().value().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            assets.insert(number, bytes.as_slice())?;
            Ok::<_, StoreError>(())
        };
        self.inner.store.update(Sync::Now, flip).unwrap();
    }
}
