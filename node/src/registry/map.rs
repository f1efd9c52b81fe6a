//! The map: one envelope a key, in 256 buckets with a fingerprint each. Cloning it is cheap: buckets are shared until
//! one of the copies changes them. It decides nothing; what is put in stays until it is replaced or removed.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::sync::Arc;

use assetmesh_protocol::registry::{BUCKETS, EntryId, RecordKey, Stamp, Verified};

/// All envelopes that a node holds.
#[derive(Debug, Clone)]
pub struct Map {
    buckets: Vec<Arc<Bucket>>,
    records: usize,
    bytes: u64,
}

#[derive(Debug, Clone, Default)]
struct Bucket {
    /// The sum of the hashes, so that it does not depend on their order and one change costs one addition.
    fingerprint: u128,
    records: BTreeMap<RecordKey, Arc<Verified>>,
}

impl Default for Map {
    fn default() -> Self {
        Self { buckets: vec![Arc::default(); BUCKETS], records: 0, bytes: 0 }
    }
}

impl Map {
    /// How many envelopes there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.records
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many bytes their bodies have.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The envelope under a key.
    #[must_use]
    pub fn get(&self, key: &RecordKey) -> Option<&Arc<Verified>> {
        self.bucket(key.bucket()).records.get(key)
    }

    /// The envelopes of all owners under one entry id, tombstones included.
    pub fn of_entry<'a>(&'a self, entry: &'a EntryId) -> impl Iterator<Item = &'a Arc<Verified>> + use<'a> {
        let (first, last) = RecordKey::range_of(entry);
        let found = self.bucket(first.bucket()).records.range(first..=last);
        found.map(|(_, record)| record).filter(move |record| record.entry() == entry)
    }

    /// All envelopes, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Verified>> {
        self.buckets.iter().flat_map(|bucket| bucket.records.values())
    }

    /// The fingerprint of each bucket.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<u128> {
        self.buckets.iter().map(|bucket| bucket.fingerprint).collect()
    }

    /// One hash of everything: two maps with the same one hold the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for record in self.iter() {
            hasher.update(record.hash());
        }
        hasher.finalize().into()
    }

    pub(super) fn fingerprint(&self, bucket: u8) -> u128 {
        self.bucket(bucket).fingerprint
    }

    /// The envelopes of one bucket from a key on.
    pub(super) fn range(&self, bucket: u8, from: RecordKey) -> Range<'_, RecordKey, Arc<Verified>> {
        let first = from.max(first_key(bucket));
        let records = &self.bucket(bucket).records;
        if first.bucket() == bucket {
            records.range(first..)
        } else {
            records.range(first_key(0)..first_key(0))
        }
    }

    /// Puts an envelope in, and gives back the one it replaces.
    pub(super) fn insert(&mut self, record: Arc<Verified>) -> Option<Arc<Verified>> {
        let key = record.key();
        let old = self.remove(&key);
        self.records += 1;
        self.bytes += size(&record);
        let bucket = Arc::make_mut(&mut self.buckets[usize::from(key.bucket())]);
        bucket.fingerprint = bucket.fingerprint.wrapping_add(summand(&record));
        bucket.records.insert(key, record);
        old
    }

    /// Takes an envelope out.
    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<Arc<Verified>> {
        self.get(key)?;
        let bucket = Arc::make_mut(&mut self.buckets[usize::from(key.bucket())]);
        let old = bucket.records.remove(key)?;
        bucket.fingerprint = bucket.fingerprint.wrapping_sub(summand(&old));
        self.records -= 1;
        self.bytes -= size(&old);
        Some(old)
    }

    fn bucket(&self, bucket: u8) -> &Bucket {
        &self.buckets[usize::from(bucket)]
    }
}

/// The smallest key of a bucket.
pub(super) const fn first_key(bucket: u8) -> RecordKey {
    let mut key = [0; 16];
    key[0] = bucket;
    RecordKey(key)
}

/// What a peer needs to know to see whether it has the same.
pub(super) fn stamp(record: &Verified) -> Stamp {
    let (hash, _) = record.hash().split_first_chunk().expect("a hash has 32 bytes");
    Stamp { key: record.key(), version: record.version(), hash: u64::from_le_bytes(*hash) }
}

fn summand(record: &Verified) -> u128 {
    let (hash, _) = record.hash().split_first_chunk().expect("a hash has 32 bytes");
    u128::from_le_bytes(*hash)
}

fn size(record: &Verified) -> u64 {
    record.envelope().body.len() as u64
}
