//! What of a row gets into a summary. Nodes agree on this: another way needs another [`FORM`](super::FORM).

use std::sync::LazyLock;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::document::ValueRef;
use crate::filter::terms::{ScalarRef, terms};
use crate::ids::RecordId;

/// Terms of one row; a row with more makes all but its names open.
const TERMS_MAX: usize = 1024;

/// Different values of one row at one path; a path with more becomes open, such as one that holds vectors.
const VALUES_MAX: usize = 64;

/// Members that stand for themselves in each row or repeat another, so that they would only fill the summary.
const LEFT_OUT: [&str; 2] = ["asset_public_url", "asset_file_info.checksum"];

/// Where record ids stand beside the paths of documents.
const RECORD: &str = "record id";
pub(super) const URI: &str = "asset_uri";
pub(super) const BLOB: &str = "asset_id";

/// The paths that name an asset.
static NAMES: LazyLock<[u32; 3]> = LazyLock::new(|| [URI, BLOB, RECORD].map(|path| place(path).0));

/// One term of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) path: u32,
    pub(super) hash: u64,
    /// The value as a key that orders numbers, if it is one.
    pub(super) number: Option<[u8; 8]>,
}

/// What a summary takes of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marks {
    pub(super) list: Vec<Mark>,
    /// Paths that hold too much to be listed.
    pub(super) open: Vec<u32>,
    pub(super) is_open: bool,
}

impl Marks {
    /// The marks of a description.
    #[must_use]
    pub fn of(record: RecordId, description: ValueRef<'_>) -> Self {
        let mut list = vec![record_mark(record)];
        let (mut is_open, mut key) = (false, Vec::new());
        terms(description, &mut |path, value| {
            let is_kept = list.len() < TERMS_MAX || [URI, BLOB].contains(&path);
            is_open |= !is_kept;
            if is_kept && is_covered(path) {
                list.push(mark(path, value, &mut key));
            }
        });
        list.sort_unstable();
        list.dedup();
        let crowded = list.chunk_by(|a, b| a.path == b.path).filter(|marks| marks.len() > VALUES_MAX);
        let open: Vec<u32> = crowded.map(|marks| marks[0].path).collect();
        list.retain(|mark| open.binary_search(&mark.path).is_err());
        Self { list, open, is_open }
    }
}

/// Whether a summary says anything of a path.
pub(super) fn is_covered(path: &str) -> bool {
    !LEFT_OUT.contains(&path)
}

/// Whether a path, as marks name it, names assets.
pub(super) fn is_name(path: u32) -> bool {
    NAMES.contains(&path)
}

pub(super) fn mark(path: &str, value: ScalarRef<'_>, key: &mut Vec<u8>) -> Mark {
    key.clear();
    value.index_key(key);
    let (path, seed) = place(path);
    let number = matches!(value, ScalarRef::Number(_)).then(|| number(key));
    Mark { path, hash: xxh3_64_with_seed(key, seed), number }
}

pub(super) fn record_mark(record: RecordId) -> Mark {
    let (path, seed) = place(RECORD);
    Mark { path, hash: xxh3_64_with_seed(record.0.as_bytes(), seed), number: None }
}

/// The part of a number's index key that orders numbers. The key of a lower end that is open has none: it is zero.
pub(super) fn number(key: &[u8]) -> [u8; 8] {
    let mut number = [0; 8];
    for (to, from) in number.iter_mut().zip(key.iter().skip(1)) {
        *to = *from;
    }
    number
}

/// A path as a summary names it, and what the hashes of its values begin with.
pub(super) fn place(path: &str) -> (u32, u64) {
    let hash = xxh3_64(path.as_bytes());
    (hash as u32, hash)
}
