//! `assetmesh verify`: reads the stores of a stopped node and lists what is damaged. It mends nothing.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::mpsc;

use assetmesh_protocol::ids::AssetId;

use crate::actor::Tasks;
use crate::blobs::{self, Blobs, Damage, Verified};
use crate::catalog::{self, CatalogFinding, CatalogSummary};
use crate::nvcf;
use crate::storage::{self, Integrity, OpenError, Store, StoreConfig};

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub enum Finding {
    /// A store file has damaged pages, or is not a whole store.
    File {
        /// The file.
        file: &'static str,
        /// What was found.
        reason: String,
    },
    /// In the catalog.
    Catalog(CatalogFinding),
    /// Among the input assets.
    InputAsset(String),
    /// In the blob store.
    Blob(Damage),
    /// A record names content that is not there.
    ContentMissing(AssetId),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, reason } => write!(f, "{file}: {reason}"),
            Self::Catalog(finding) => finding.fmt(f),
            Self::InputAsset(fault) => write!(f, "catalog: {fault}"),
            Self::Blob(Damage { id: Some(id), offset: Some(offset), what }) => {
                write!(f, "blobs: {id} at byte {offset}: {what}")
            }
            Self::Blob(Damage { id: Some(id), what, .. }) => write!(f, "blobs: {id}: {what}"),
            Self::Blob(Damage { what, .. }) => write!(f, "blobs: {what}"),
            Self::ContentMissing(id) => write!(f, "blobs: {id} is missing, and a record names it"),
        }
    }
}

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of the catalog.
    pub catalog: CatalogSummary,
    /// Of the blob store; zero unless every byte was asked for.
    pub blobs: Verified,
    /// Things that are wrong.
    pub findings: u64,
}

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing, in use or cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The blob store could not be read at all.
    #[error(transparent)]
    Blobs(#[from] blobs::Error),
}

/// Checks the stores in a data directory. With `all`, every byte of content too.
///
/// # Errors
/// No data directory, a node that runs on it, or files that cannot be read.
pub async fn run(
    data_dir: &Path,
    all: bool,
    found: &mut (dyn FnMut(Finding) + Send),
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut report = |finding| {
        summary.findings += 1;
        found(finding);
    };
    let catalog_is_sound = pages(data_dir, catalog::FILE, &mut report)?;
    let blobs_are_sound = pages(data_dir, blobs::FILE, &mut report)?;
    let mut named = HashSet::new();
    if let Some(store) = opened(data_dir, catalog_is_sound, &mut report)? {
        let checked = catalog::verify(&store, &mut |finding| report(Finding::Catalog(finding)), &mut |id| {
            named.insert(id);
        });
        match checked {
            Ok(catalog) => summary.catalog = catalog,
            Err(error) => report(Finding::File { file: catalog::FILE, reason: error.to_string() }),
        }
        nvcf::verify(&store, &mut |fault| report(Finding::InputAsset(fault)), &mut |id| {
            named.insert(id);
        });
    }
    let mut tasks = Tasks::default();
    // Nothing of what is kept is let go, whatever the node's bound is.
    let config = blobs::Config { cache_bytes_max: u64::MAX, ..blobs::Config::default() };
    match Blobs::start(&mut tasks, data_dir, config) {
        Ok(blobs) => {
            for id in &named {
                if matches!(blobs.contains(id), Ok(false)) {
                    report(Finding::ContentMissing(*id));
                }
            }
            if all {
                summary.blobs = content(&blobs, &mut report).await?;
            }
        }
        // What keeps the store from opening was reported with its pages.
        Err(_) if !blobs_are_sound => {}
        Err(error) => report(Finding::File { file: blobs::FILE, reason: error.to_string() }),
    }
    tasks.finish().await;
    Ok(summary)
}

/// Whether every page of a file fits its checksum.
fn pages(data_dir: &Path, file: &'static str, report: &mut impl FnMut(Finding)) -> Result<bool, OpenError> {
    let reason = match storage::verify(&data_dir.join(file)) {
        Ok(Integrity::Sound | Integrity::NeedsRepair) => return Ok(true),
        Ok(Integrity::Corrected(places)) => {
            for place in places {
                let reason =
                    format!("a bit of the page at byte {place} has flipped; it is served as it was written");
                report(Finding::File { file, reason });
            }
            return Ok(true);
        }
        Ok(Integrity::Damaged(reason)) => reason,
        Err(OpenError::Damaged { reason, .. }) => reason,
        Err(error) => return Err(error),
    };
    report(Finding::File { file, reason });
    Ok(false)
}

/// The catalog, if it can be opened. That it cannot is news only if its pages seemed sound.
fn opened(
    data_dir: &Path,
    sound: bool,
    report: &mut impl FnMut(Finding),
) -> Result<Option<Store>, OpenError> {
    let path = data_dir.join(catalog::FILE);
    match Store::open(&path, catalog::KIND, catalog::FORMAT, StoreConfig::default()) {
        Ok(store) => Ok(Some(store)),
        Err(OpenError::Damaged { reason, .. }) => {
            if sound {
                report(Finding::File { file: catalog::FILE, reason });
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn content(blobs: &Blobs, report: &mut impl FnMut(Finding)) -> Result<Verified, blobs::Error> {
    let (sender, damages) = mpsc::sync_channel(1024);
    let verified = blobs.verify(move |damage| {
        // More damages than fit are counted, and the first thousand are named.
        sender.try_send(damage).ok();
    });
    let verified = verified.await?;
    for damage in damages.try_iter() {
        report(Finding::Blob(damage));
    }
    Ok(verified)
}
