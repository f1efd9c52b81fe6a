//! Reading everything in the catalog and checking every table against the others. It changes nothing.

use std::collections::HashMap;
use std::fmt;

use assetmesh_protocol::ids::AssetId;

use super::tables::{self, Row, View};
use super::{Error, index, row};
use crate::storage::{self, Store};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CatalogFinding {
    /// A row whose bytes or number are not as they were written.
    DamagedRow {
        /// Its row number.
        number: u64,
    },
    /// A row that its uri does not lead to.
    UriMissing {
        /// The row's uri.
        uri: String,
        /// The row.
        number: u64,
    },
    /// A uri that leads to no row with that uri.
    UriDangling {
        /// The uri as the index has it.
        uri: String,
        /// The row that it points to.
        number: u64,
    },
    /// A row and the table of blob references disagree.
    ReferenceWrong {
        /// The blob.
        blob: AssetId,
        /// The row.
        number: u64,
    },
    /// Index keys of a row are missing.
    IndexMissing {
        /// The row.
        number: u64,
        /// How many keys.
        keys: u64,
    },
    /// Index keys that no row asks for.
    IndexDangling {
        /// How many keys.
        keys: u64,
    },
    /// A table cannot be read to its end.
    Unreadable {
        /// Which table.
        table: &'static str,
        /// What the store said.
        reason: String,
    },
}

impl fmt::Display for CatalogFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DamagedRow { number } => write!(f, "catalog: row {number} is damaged and is not served"),
            Self::UriMissing { uri, number } => {
                write!(f, "catalog: the uri index lacks `{uri}` of row {number}")
            }
            Self::UriDangling { uri, number } => write!(
                f,
                "catalog: the uri index leads from `{uri}` to row {number}, which is not that asset"
            ),
            Self::ReferenceWrong { blob, number } => {
                write!(f, "catalog: the reference of row {number} to blob {blob} is wrong")
            }
            Self::IndexMissing { number, keys } => {
                write!(f, "catalog: {keys} index keys of row {number} are missing")
            }
            Self::IndexDangling { keys } => write!(f, "catalog: {keys} index keys belong to no row"),
            Self::Unreadable { table, reason } => {
                write!(f, "catalog: table {table} cannot be read to its end: {reason}")
            }
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatalogSummary {
    /// Rows that are whole.
    pub rows: u64,
    /// Rows that are not.
    pub damaged_rows: u64,
}

/// Checks a catalog, and calls `blob` with each blob that a row names.
pub(crate) fn run(
    store: &Store,
    found: &mut dyn FnMut(CatalogFinding),
    blob: &mut dyn FnMut(AssetId),
) -> Result<CatalogSummary, Error> {
    let view = super::snapshot(store)?;
    let mut check = Check {
        view: &view,
        found,
        summary: CatalogSummary::default(),
        keys_expected: 0,
        blobs: HashMap::new(),
    };
    check.table("assets", Check::rows);
    check.table("uris", Check::uris);
    check.table("blob-records", Check::references);
    check.table("index", Check::index_keys);
    for id in check.blobs.keys() {
        blob(*id);
    }
    Ok(check.summary)
}

struct Check<'a> {
    view: &'a View,
    found: &'a mut dyn FnMut(CatalogFinding),
    summary: CatalogSummary,
    keys_expected: u64,
    blobs: HashMap<AssetId, u64>,
}

impl Check<'_> {
    /// A table that breaks off is one finding; the others are still read.
    fn table(&mut self, table: &'static str, read: fn(&mut Self) -> Result<(), Error>) {
        if let Err(error) = storage::guard(|| read(self)) {
            (self.found)(CatalogFinding::Unreadable { table, reason: error.to_string() });
        }
    }

    fn rows(&mut self) -> Result<(), Error> {
        let view = self.view;
        view.scan(0..u64::MAX, |number, bytes| {
            match tables::decode(number, bytes) {
                Ok(row) => self.row(&row)?,
                Err(_) => {
                    self.summary.damaged_rows += 1;
                    (self.found)(CatalogFinding::DamagedRow { number });
                }
            }
            Ok(true)
        })
    }

    fn row(&mut self, row: &Row) -> Result<(), Error> {
        self.summary.rows += 1;
        let (number, description) = (row.number, row.document.root());
        let uri = row::text(description, "asset_uri");
        if !uri.is_empty() && !matches!(self.view.find(uri), Ok(Some(found)) if found.number == number) {
            (self.found)(CatalogFinding::UriMissing { uri: uri.to_owned(), number });
        }
        if let Some(blob) = row.blob() {
            *self.blobs.entry(blob).or_default() += 1;
            if !self.view.is_held_by(&blob, number)? {
                (self.found)(CatalogFinding::ReferenceWrong { blob, number });
            }
        }
        let expected = index::keys(number, description);
        let mut missing = 0;
        for key in &expected {
            missing += u64::from(!self.view.has_index_key(key)?);
        }
        self.keys_expected += expected.len() as u64 - missing;
        if missing > 0 {
            (self.found)(CatalogFinding::IndexMissing { number, keys: missing });
        }
        Ok(())
    }

    fn uris(&mut self) -> Result<(), Error> {
        let (view, found) = (self.view, &mut *self.found);
        view.each_uri(|uri, number| {
            let uri = String::from_utf8_lossy(uri);
            if !matches!(view.find(&uri), Ok(Some(row)) if row.number == number) {
                found(CatalogFinding::UriDangling { uri: uri.into_owned(), number });
            }
        })?;
        Ok(())
    }

    fn references(&mut self) -> Result<(), Error> {
        let (view, found) = (self.view, &mut *self.found);
        view.each_holder(|blob, number| {
            let holds = matches!(view.row(number), Ok(Some(row)) if row.blob() == Some(blob));
            if !holds {
                found(CatalogFinding::ReferenceWrong { blob, number });
            }
        })?;
        Ok(())
    }

    fn index_keys(&mut self) -> Result<(), Error> {
        let mut keys = 0u64;
        self.view.each_index_key(|_| keys += 1)?;
        if keys > self.keys_expected {
            (self.found)(CatalogFinding::IndexDangling { keys: keys - self.keys_expected });
        }
        Ok(())
    }
}
