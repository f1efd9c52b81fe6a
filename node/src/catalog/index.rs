//! Keys of the inverted index: `path hash (4) | scalar | row number (8)`, big-endian, so that one `field = value`
//! is one run of keys in row order and a range of values is one range of keys.
//!
//! An index only narrows. Two paths may share a hash and two long strings a prefix: the evaluator decides each row.

use std::collections::BTreeSet;

use assetmesh_protocol::document::ValueRef;
use assetmesh_protocol::filter::terms::{Bound, Scalar, range_keys, terms};
use xxhash_rust::xxh3::xxh3_64;

/// Most keys of one row. A row with more is filed under [`overflow_key`] and read for every indexed query.
pub(super) const ROW_KEYS_MAX: usize = 512;

const PATH_BYTES: usize = 4;
const NUMBER_BYTES: usize = 8;
const OVERFLOW: [u8; PATH_BYTES] = [0; PATH_BYTES];

/// Members that other tables find (`asset_uri`, `asset_id`), that are the same in every row, or that repeat another.
const NOT_INDEXED: [&str; 4] = ["asset_uri", "asset_id", "assets_db_id", "asset_public_url"];

/// All keys of one row.
pub(super) fn keys(number: u64, description: ValueRef<'_>) -> BTreeSet<Vec<u8>> {
    let mut keys = BTreeSet::new();
    terms(description, &mut |path, value| {
        if keys.len() <= ROW_KEYS_MAX && is_indexed(path) {
            let mut key = path_hash(path).to_vec();
            value.index_key(&mut key);
            key.extend_from_slice(&number.to_be_bytes());
            keys.insert(key);
        }
    });
    if keys.len() > ROW_KEYS_MAX {
        keys.clear();
        keys.insert([&OVERFLOW[..], &number.to_be_bytes()].concat());
    }
    keys
}

/// Whether rows are found by this path at all.
pub(super) fn is_indexed(path: &str) -> bool {
    !NOT_INDEXED.contains(&path)
}

/// What every key of `path = value` begins with.
pub(super) fn equals_prefix(path: &str, value: &Scalar) -> Vec<u8> {
    let mut key = path_hash(path).to_vec();
    value.index_key(&mut key);
    key
}

/// What the keys of rows with too many terms begin with.
pub(super) fn overflow_prefix() -> Vec<u8> {
    OVERFLOW.to_vec()
}

/// First and last key, both inclusive, between which all keys of a range of values lie.
pub(super) fn range_bounds(path: &str, low: Option<&Bound>, high: Option<&Bound>) -> (Vec<u8>, Vec<u8>) {
    let (low, high) = range_keys(low, high);
    let hash = path_hash(path);
    (with_number(&[&hash[..], &low].concat(), 0), with_number(&[&hash[..], &high].concat(), u64::MAX))
}

/// A prefix with a row number behind it.
pub(super) fn with_number(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// The row number at the end of a key.
pub(super) fn number_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<NUMBER_BYTES>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Never the hash of [`OVERFLOW`].
fn path_hash(path: &str) -> [u8; PATH_BYTES] {
    let hash = xxh3_64(path.as_bytes()) as u32;
    hash.max(1).to_be_bytes()
}
