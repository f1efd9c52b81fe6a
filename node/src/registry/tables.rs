//! The tables of the registry in `catalog.redb`. All their names are here, and carry a version.

use std::sync::Arc;

use assetmesh_protocol::registry::{Envelope, RecordKey, Verified, Verifier, Version};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::storage::{self, StoreError};

/// Record key → checksum, then the envelope as it travels.
const RECORDS: TableDefinition<'static, &[u8; 16], &[u8]> = TableDefinition::new("registry-1");
/// Named facts. `mark` is the largest version that this node has given out: checksum, epoch, seq.
const FACTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("registry-facts-1");
const MARK: &str = "mark";

const CHECKSUM_BYTES: usize = 8;

/// Rows of one transaction.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Envelopes to put in.
    pub(super) puts: Vec<Arc<Verified>>,
    /// Keys to take out, where nothing is put in.
    pub(super) drops: Vec<RecordKey>,
    /// The largest version that this node has given out.
    pub(super) mark: Version,
}

impl Rows {
    /// What the file may grow by: pages are powers of two, so a row can take twice its size, and a neighbour as
    /// large may have to move with it.
    pub(super) fn growth(&self) -> u64 {
        self.puts.iter().map(|record| 4 * record.envelope().body.len() as u64).sum()
    }
}

/// Makes the tables exist.
pub(super) fn create(transaction: &WriteTransaction) -> Result<(), StoreError> {
    transaction.open_table(RECORDS)?;
    transaction.open_table(FACTS)?;
    Ok(())
}

/// Writes rows.
pub(super) fn write(transaction: &WriteTransaction, rows: &Rows) -> Result<(), StoreError> {
    let mut records = transaction.open_table(RECORDS)?;
    for key in &rows.drops {
        records.remove(&key.0)?;
    }
    for record in &rows.puts {
        let key = record.key().0;
        records.insert(&key, row(&key, &record.envelope().encode()).as_slice())?;
    }
    let mut facts = transaction.open_table(FACTS)?;
    let Version { epoch, seq } = rows.mark;
    let mark = [epoch.to_le_bytes(), seq.to_le_bytes()].concat();
    facts.insert(MARK, row(MARK.as_bytes(), &mark).as_slice())?;
    Ok(())
}

/// What lies on the disk.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Envelopes whose signature holds in this network.
    pub(super) records: Vec<Arc<Verified>>,
    /// The largest version that this node had given out; nothing if it is new, or if that row is damaged.
    pub(super) mark: Option<Version>,
    /// Rows that are damaged.
    pub(super) damaged: Vec<RecordKey>,
    /// Whole rows that do not hold in this network. They are left where they are.
    pub(super) foreign: usize,
}

/// Reads everything. Of damaged pages, what can be read beside them.
pub(super) fn read(transaction: &ReadTransaction, verifier: &Verifier) -> Result<Stored, StoreError> {
    let mut stored = Stored::default();
    let mut envelopes = Vec::new();
    let records = transaction.open_table(RECORDS)?;
    // Each bucket for itself, so that a damaged page takes no more with it than it must.
    for bucket in 0..=u8::MAX {
        let (mut first, mut last) = ([0; 16], [u8::MAX; 16]);
        (first[0], last[0]) = (bucket, bucket);
        let walked = storage::guard(|| {
            for entry in records.range::<&[u8; 16]>(&first..=&last)? {
                let (key, bytes) = entry?;
                match content(key.value(), bytes.value()).and_then(|bytes| Envelope::decode(bytes).ok()) {
                    Some(envelope) => envelopes.push(envelope),
                    None => stored.damaged.push(RecordKey(*key.value())),
                }
            }
            Ok::<_, StoreError>(())
        });
        if let Err(error) = walked {
            tracing::error!(bucket, %error, "stored registry entries cannot be read; peers will give them again");
        }
    }
    let read = envelopes.len();
    stored.records = verify(envelopes, verifier);
    stored.foreign = read - stored.records.len();
    stored.mark = storage::guard(|| mark(transaction)).unwrap_or_else(|error| {
        tracing::error!(%error, "the last version of this node's entries cannot be read");
        None
    });
    Ok(stored)
}

fn mark(transaction: &ReadTransaction) -> Result<Option<Version>, StoreError> {
    let facts = transaction.open_table(FACTS)?;
    let mark = facts.get(MARK)?;
    Ok(mark.and_then(|mark| version(content(MARK.as_bytes(), mark.value())?)))
}

/// Checks signatures on all cores: they are most of the time that opening a large registry takes.
fn verify(envelopes: Vec<Envelope>, verifier: &Verifier) -> Vec<Arc<Verified>> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = envelopes.len().div_ceil(cores).max(64);
    let one = |envelope: &Envelope| verifier.verify(envelope.clone()).ok().map(Arc::new);
    std::thread::scope(|scope| {
        let shares = envelopes.chunks(share);
        let work = |share: &'_ [Envelope]| share.iter().filter_map(one).collect::<Vec<_>>();
        let threads: Vec<_> = shares.map(|share| scope.spawn(move || work(share))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn version(bytes: &[u8]) -> Option<Version> {
    let (epoch, seq) = bytes.split_first_chunk::<8>()?;
    Some(Version { epoch: u64::from_le_bytes(*epoch), seq: u64::from_le_bytes(seq.try_into().ok()?) })
}

/// Puts a checksum before a row. It covers the key, so that a row under another key is a damaged one.
fn row(key: &[u8], content: &[u8]) -> Vec<u8> {
    let checksum = xxh3_64_with_seed(content, xxh3_64_with_seed(key, 0));
    [&checksum.to_le_bytes(), content].concat()
}

/// The content of a row, if it is whole.
fn content<'a>(key: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (checksum, content) = bytes.split_first_chunk::<CHECKSUM_BYTES>()?;
    let expected = xxh3_64_with_seed(content, xxh3_64_with_seed(key, 0));
    (u64::from_le_bytes(*checksum) == expected).then_some(content)
}

#[cfg(test)]
pub(super) mod tests {
    use redb::ReadableTable;

    use super::*;
    use crate::registry::test_kit::{NOW, network, signed};
    use crate::storage::{Store, StoreConfig, Sync};

    pub(crate) fn open(dir: &std::path::Path) -> Store {
        let store = Store::open(&dir.join("catalog.redb"), "catalog", 1, StoreConfig::default()).unwrap();
        store.update(Sync::Now, create).unwrap();
        store
    }

    fn put(store: &Store, rows: &Rows) {
        store.update(Sync::Now, |transaction| write(transaction, rows)).unwrap();
    }

    pub(crate) fn all(store: &Store) -> Stored {
        store.view(|transaction| read(transaction, &Verifier::new(network()))).unwrap()
    }

    /// Flips one bit in the middle of a stored row.
    pub(crate) fn damage(store: &Store, key: RecordKey) {
        let flip = |transaction: &WriteTransaction| {
            let mut records = transaction.open_table(RECORDS)?;
            let mut bytes = records.get(&key.0)?.unwrap().value().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            records.insert(&key.0, bytes.as_slice())?;
            Ok::<_, StoreError>(())
        };
        store.update(Sync::Now, flip).unwrap();
    }

    #[test]
    fn what_was_written_is_read_and_what_was_dropped_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let puts: Vec<_> = (0..200).map(|n| signed(2, &format!("id-{n}"), NOW + n, "x")).collect();
        let mark = Version { epoch: 3, seq: 4 };
        put(&store, &Rows { puts: puts.clone(), drops: Vec::new(), mark });
        put(&store, &Rows { puts: Vec::new(), drops: vec![puts[0].key()], mark });
        let stored = all(&store);
        assert_eq!((stored.records.len(), stored.mark), (199, Some(mark)));
        assert!(!stored.records.contains(&puts[0]));
        assert!(stored.records.contains(&puts[1]));
    }

    #[test]
    fn a_damaged_row_is_found_and_the_others_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let puts: Vec<_> = (0..9).map(|n| signed(2, &format!("id-{n}"), NOW, "x")).collect();
        put(&store, &Rows { puts: puts.clone(), ..Rows::default() });
        damage(&store, puts[4].key());
        let stored = all(&store);
        assert_eq!((stored.records.len(), stored.damaged), (8, vec![puts[4].key()]));
    }

    #[test]
    fn rows_of_another_network_are_not_read_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        put(&store, &Rows { puts: vec![signed(2, "a", NOW, "x")], ..Rows::default() });
        let other = assetmesh_protocol::network::NetworkId::new(&"other".parse().unwrap(), None);
        let stored = store.view(|transaction| read(transaction, &Verifier::new(other))).unwrap();
        assert_eq!((stored.records.len(), stored.foreign, stored.damaged.len()), (0, 1, 0));
        assert_eq!(all(&store).records.len(), 1);
    }

    #[test]
    fn a_row_holds_only_under_its_key() {
        let bytes = row(b"key", b"content");
        assert_eq!(content(b"key", &bytes), Some(b"content".as_slice()));
        assert_eq!(content(b"kez", &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(content(b"key", &bad), None, "bit {bit}");
        }
        assert_eq!(content(b"key", b"short"), None);
    }
}
