//! `assetmesh verify` for input assets: reads their tables in a file that no node uses.

use assetmesh_protocol::ids::AssetId;

use super::tables::check;
use crate::storage::{self, Store};

/// Checks the tables of input assets. Tells each fault, and each blob that an asset has.
pub(crate) fn run(store: &Store, fault: &mut dyn FnMut(String), blob: &mut dyn FnMut(AssetId)) {
    let checked = store.read().map_err(super::Error::from);
    let checked = checked.and_then(|transaction| storage::guard(|| check(&transaction)));
    match checked {
        Ok(found) => {
            found.faults.into_iter().for_each(fault);
            found.blobs.into_iter().for_each(blob);
        }
        Err(error) => fault(format!("the tables of input assets cannot be read to their end: {error}")),
    }
}
