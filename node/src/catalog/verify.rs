//! Reading everything in the catalog and checking every table against the others. It changes nothing.

use std::collections::HashMap;
use std::fmt;

use assetmesh_protocol::ids::AssetId;

use super::merge::Merged;
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
    /// A row whose page is damaged.
    UnreadableRow {
        /// The uri that leads to it.
        uri: String,
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
            Self::UnreadableRow { uri, number } => {
                write!(f, "catalog: `{uri}` (row {number}) lies on a damaged page and is not served")
            }
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
    let transaction = store.read()?;
    let view = storage::guard(|| View::open(&transaction))?;
    let merged = storage::guard(|| view.merged());
    let mut check = Check {
        view: &view,
        merged: merged.as_ref().ok(),
        found,
        summary: CatalogSummary::default(),
        keys_expected: 0,
        is_whole: true,
        blobs: HashMap::new(),
    };
    if let Err(error) = &merged {
        (check.found)(CatalogFinding::Unreadable { table: "index-merged", reason: error.to_string() });
    }
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
    /// How far the index has got, if that can be read: it must hold the keys up to there, and no others.
    merged: Option<&'a Merged>,
    found: &'a mut dyn FnMut(CatalogFinding),
    summary: CatalogSummary,
    keys_expected: u64,
    /// Every table that a row needs could be read.
    is_whole: bool,
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
        let (end, _) = view.numbering()?;
        let lost = view.scan(0..end, |number, bytes| {
            match tables::decode(number, bytes) {
                Ok(row) => self.row_in_peace(&row)?,
                Err(_) => {
                    self.summary.damaged_rows += 1;
                    (self.found)(CatalogFinding::DamagedRow { number });
                }
            }
            Ok(true)
        })?;
        self.summary.damaged_rows += lost;
        if lost > 0 {
            let reason = format!("{lost} row numbers lie on damaged pages");
            (self.found)(CatalogFinding::Unreadable { table: "assets", reason });
        }
        Ok(())
    }

    /// Damage of another table must not look like damage of this row's page; that table has its own turn.
    fn row_in_peace(&mut self, row: &Row) -> Result<(), Error> {
        match storage::guard(|| self.row(row)) {
            Err(Error::Damaged(_)) => {
                self.is_whole = false;
                Ok(())
            }
            checked => checked,
        }
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
        let Some(merged) = self.merged else { return Ok(()) };
        let mut missing = 0;
        for key in index::keys(number, description).iter().filter(|key| merged.holds(number, key)) {
            let is_there = self.view.has_index_key(key)?;
            missing += u64::from(!is_there);
            self.keys_expected += u64::from(is_there);
        }
        if missing > 0 {
            (self.found)(CatalogFinding::IndexMissing { number, keys: missing });
        }
        Ok(())
    }

    fn uris(&mut self) -> Result<(), Error> {
        let (view, found) = (self.view, &mut *self.found);
        view.each_uri(|uri, number| {
            let uri = String::from_utf8_lossy(uri).into_owned();
            match storage::guard(|| view.row(number)) {
                Ok(Some(row)) if row::text(row.document.root(), "asset_uri") == uri => {}
                Err(_) => found(CatalogFinding::UnreadableRow { uri, number }),
                Ok(_) => found(CatalogFinding::UriDangling { uri, number }),
            }
        })?;
        Ok(())
    }

    fn references(&mut self) -> Result<(), Error> {
        let (view, found) = (self.view, &mut *self.found);
        view.each_holder(|blob, number| {
            let held = storage::guard(|| Ok(view.row(number)?.and_then(|row| row.blob())));
            match held {
                Ok(Some(named)) if named == blob => {}
                // A row that cannot be read has been told of already.
                Err(Error::Damaged(_)) => {}
                _ => found(CatalogFinding::ReferenceWrong { blob, number }),
            }
        })?;
        Ok(())
    }

    fn index_keys(&mut self) -> Result<(), Error> {
        let mut keys = 0u64;
        self.view.each_index_key(|_| keys += 1)?;
        // The keys of rows that could not be read are not expected, and not wrong either.
        let is_known = self.is_whole && self.merged.is_some() && self.summary.damaged_rows == 0;
        if is_known && keys > self.keys_expected {
            (self.found)(CatalogFinding::IndexDangling { keys: keys - self.keys_expected });
        }
        Ok(())
    }
}
