//! Tests of `storage`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use redb::TableDefinition;
use rstest::rstest;

use super::test_disk::TestDisk;
use super::*;

const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

fn put(store: &Store, sync: Sync, key: u64, value: &[u8]) -> Result<(), StoreError> {
    store.update(sync, |transaction| {
        transaction.open_table(ROWS)?.insert(key, value)?;
        Ok(())
    })
}

fn get(store: &Store, key: u64) -> Result<Option<Vec<u8>>, StoreError> {
    store.view(|transaction| {
        let table = transaction.open_table(ROWS)?;
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    })
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.redb");
    (folder, path)
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, "rows", 1, StoreConfig::default())
}

fn print(path: &Path) -> (blake3::Hash, SystemTime) {
    (blake3::hash(&fs::read(path).unwrap()), fs::metadata(path).unwrap().modified().unwrap())
}

#[test]
fn a_row_is_there_after_reopening() {
    let (_folder, path) = folder();
    put(&open(&path).unwrap(), Sync::Now, 1, b"one").unwrap();
    assert_eq!(get(&open(&path).unwrap(), 1).unwrap().unwrap(), b"one");
}

#[test]
fn a_second_opener_is_refused_at_once() {
    let (_folder, path) = folder();
    let first = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenError::InUse(_))));
    assert!(matches!(verify(&path), Err(OpenError::InUse(_))));
    drop(first);
    open(&path).unwrap();
}

#[rstest]
#[case::zeroed(|bytes: &mut Vec<u8>| bytes.fill(0), "magic number")]
#[case::wrong_magic(|bytes: &mut Vec<u8>| bytes[0] = b'x', "magic number")]
#[case::emptied(|bytes: &mut Vec<u8>| bytes.clear(), "0 bytes")]
#[case::cut_in_the_header(|bytes: &mut Vec<u8>| bytes.truncate(100), "100 bytes")]
#[case::cut_at_a_page(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 4096), "cut short")]
#[case::cut_to_half(|bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2), "cut short")]
#[case::extended(|bytes: &mut Vec<u8>| bytes.extend([0; 100]), "no whole number of pages")]
fn a_file_that_is_no_whole_database_is_refused_untouched(
    #[case] harm: fn(&mut Vec<u8>),
    #[case] reason: &str,
    #[values(true, false)] clean: bool,
) {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    put(&store, Sync::Now, 1, &[7; 300_000]).unwrap();
    let crashed = fs::read(&path).unwrap();
    drop(store);
    let mut bytes = if clean { fs::read(&path).unwrap() } else { crashed };
    harm(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let before = print(&path);
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
    assert_eq!(print(&path), before);
}

#[test]
fn another_kind_or_format_is_refused_untouched() {
    let (_folder, path) = folder();
    drop(open(&path).unwrap());
    let before = print(&path);
    let error = Store::open(&path, "catalog", 1, StoreConfig::default()).unwrap_err();
    assert!(error.to_string().contains("holds \"rows\", not \"catalog\""), "{error}");
    let error = Store::open(&path, "rows", 2, StoreConfig::default()).unwrap_err();
    assert!(error.to_string().contains("format 1, this version knows only format 2"), "{error}");
    assert_eq!(print(&path), before);
}

#[test]
fn a_foreign_database_is_refused_untouched() {
    let (_folder, path) = folder();
    drop(redb::Database::create(&path).unwrap());
    let before = print(&path);
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("header does not match its checksum"), "{error}");
    assert_eq!(print(&path), before);
}

#[test]
fn a_draft_left_by_a_crash_is_made_anew() {
    let (_folder, path) = folder();
    fs::write(path.with_extension("redb.new"), b"half").unwrap();
    put(&open(&path).unwrap(), Sync::Now, 1, b"one").unwrap();
    assert!(!path.with_extension("redb.new").exists());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "nobody else reads it");
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let error = open(Path::new("/nowhere/at/all.redb")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/at/all.redb"), "{error}");
}

/// A store of 200 rows that keeps nothing in memory, and its disk.
fn uncached() -> (Store, TestDisk) {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig { cache_bytes: 0, ..StoreConfig::default() }).unwrap();
    for key in 0..200 {
        put(&store, Sync::Now, key, &[key as u8; 100]).unwrap();
    }
    (store, disk)
}

/// More than one bit, so that it cannot be corrected.
fn damage(disk: &TestDisk, byte: usize) {
    let bit = (byte % 8) as u8;
    disk.flip(byte, bit);
    disk.flip(byte, bit + 3);
}

#[test]
fn one_flipped_bit_anywhere_costs_nothing() {
    let (store, disk) = uncached();
    drop(store);
    let sound = disk.bytes();
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap();
    for byte in (0..328).step_by(3).chain((400..used).step_by(397)) {
        let disk = TestDisk::holding(sound.clone());
        disk.flip(byte, byte as u8);
        let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
        for key in (0..200).step_by(9) {
            assert_eq!(get(&store, key).unwrap().unwrap(), [key as u8; 100], "byte {byte}");
        }
    }
}

#[test]
fn damage_is_a_refusal_or_a_true_row_when_opened() {
    let (store, disk) = uncached();
    drop(store);
    let sound = disk.bytes();
    let used = sound.iter().rposition(|byte| *byte != 0).unwrap();
    let mut refused = 0;
    for byte in (0..400).chain((400..used).step_by(397)) {
        let disk = TestDisk::holding(sound.clone());
        damage(&disk, byte);
        let before = disk.bytes();
        let Ok(store) = disk.store("rows", 1, StoreConfig::default()) else {
            assert!(disk.bytes() == before, "it was touched");
            refused += 1;
            continue;
        };
        for key in (0..200).step_by(9) {
            let row = get(&store, key);
            assert!(row.is_err() || row.unwrap().unwrap() == [key as u8; 100], "byte {byte}");
        }
    }
    assert!(refused >= 328, "each byte of the header counts: {refused}");
}

#[test]
fn damage_under_an_open_store_harms_only_what_is_read_from_there() {
    let (store, disk) = uncached();
    let session = store.session_number().unwrap();
    let used = disk.bytes().iter().rposition(|byte| *byte != 0).unwrap();
    let mut damaged = 0;
    let mut served = 0;
    for byte in (4_096..used).step_by(397) {
        damage(&disk, byte);
        for key in (0..200).step_by(9) {
            match get(&store, key) {
                Ok(row) => {
                    assert_eq!(row.unwrap(), [key as u8; 100], "byte {byte}");
                    served += 1;
                }
                Err(StoreError::Damaged(reason)) => {
                    assert!(reason.contains("does not match its checksum"), "{reason}");
                    damaged += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        damage(&disk, byte);
    }
    assert!(damaged > 0 && served > damaged, "{damaged} damaged, {served} served");
    assert_eq!(store.session_number().unwrap(), session, "no read disturbs the writer");
    put(&store, Sync::Now, 1_000, b"more").unwrap();
}

#[test]
fn a_change_that_meets_a_damaged_page_is_refused_and_others_go_on() {
    let (store, disk) = uncached();
    let at = disk.bytes().windows(100).rposition(|window| window == [100; 100]).unwrap();
    damage(&disk, at);
    let outcomes: Vec<_> = (0..200).map(|key| put(&store, Sync::Now, key, &[key as u8; 100])).collect();
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Damaged(_)))).count();
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((1..60).contains(&refused) && refused + done == 200, "{refused} refused, {done} done");
}

#[test]
fn verify_names_a_flipped_bit_and_touches_nothing() {
    let (_folder, path) = folder();
    let store = open(&path).unwrap();
    put(&store, Sync::Now, 1, &[7; 300_000]).unwrap();
    drop(store);
    assert_eq!(verify(&path).unwrap(), Integrity::Sound);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(16).position(|window| window == [7; 16]).unwrap();
    bytes[at + 1_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = print(&path);
    assert!(matches!(verify(&path).unwrap(), Integrity::Damaged(_)));
    assert_eq!(print(&path), before);
}

#[test]
fn verify_names_a_page_that_is_corrected_and_touches_nothing() {
    let (_folder, path) = folder();
    put(&open(&path).unwrap(), Sync::Now, 1, &[7; 300]).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(300).position(|window| window == [7; 300]).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let before = print(&path);
    assert_eq!(verify(&path).unwrap(), Integrity::Corrected(vec![(at - at % 4096) as u64]));
    assert_eq!(print(&path), before);
}

#[test]
fn a_full_disk_refuses_and_works_again_once_there_is_room() {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
    put(&store, Sync::Now, 1, b"one").unwrap();
    for nth in 0..6 {
        disk.fill_up(nth);
        let outcome = put(&store, Sync::Now, 2, &[2; 100_000]);
        assert!(matches!(outcome, Err(StoreError::Full)), "write {nth}: {outcome:?}");
        assert_eq!(get(&store, 1).unwrap().unwrap(), b"one");
        disk.heal();
        put(&store, Sync::Now, 3, b"three").unwrap();
        assert_eq!(get(&store, 2).unwrap(), None);
    }
}

#[test]
fn a_disk_too_full_for_the_header_works_again_once_there_is_room() {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
    put(&store, Sync::Now, 1, b"one").unwrap();
    disk.fail_writes(0, io::ErrorKind::StorageFull);
    for _ in 0..3 {
        assert!(matches!(put(&store, Sync::Now, 2, b"two"), Err(StoreError::Full)));
    }
    disk.heal();
    assert_eq!(get(&store, 1).unwrap().unwrap(), b"one");
    put(&store, Sync::Now, 2, b"two").unwrap();
}

#[test]
fn one_write_error_is_survived_and_a_second_right_after_is_the_end() {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
    let failure = store.failure();
    put(&store, Sync::Now, 1, b"one").unwrap();
    disk.fail_sync(0, io::ErrorKind::Other);
    assert!(matches!(put(&store, Sync::Now, 2, b"two"), Err(StoreError::Io(_))));
    put(&store, Sync::Now, 2, b"two").unwrap();
    disk.fail_sync(0, io::ErrorKind::Other);
    assert!(matches!(put(&store, Sync::Now, 3, b"three"), Err(StoreError::Io(_))));
    assert!(failure.borrow().is_none());
    disk.fail_sync(0, io::ErrorKind::Other);
    assert!(matches!(put(&store, Sync::Now, 3, b"three"), Err(StoreError::Failed { .. })));
    assert!(matches!(get(&store, 1), Err(StoreError::Failed { .. })));
    assert!(failure.borrow().is_some());
}

#[test]
fn a_read_error_harms_only_the_reader() {
    let (store, disk) = uncached();
    let number = store.session_number().unwrap();
    disk.fail_reads();
    assert!(matches!(get(&store, 1), Err(StoreError::Io(_))));
    disk.heal();
    assert_eq!(get(&store, 1).unwrap().unwrap(), [1; 100]);
    assert_eq!(store.session_number().unwrap(), number);
}

#[test]
fn a_change_meant_for_an_earlier_session_does_not_run() {
    let (store, disk) = uncached();
    let number = store.session_number().unwrap();
    store.update_within(number, Sync::Later, |_| Ok::<_, StoreError>(())).unwrap();
    disk.fail_sync(0, io::ErrorKind::Other);
    put(&store, Sync::Now, 1, b"one").unwrap_err();
    let outcome = store.update_within(number, Sync::Now, |_| -> Result<(), StoreError> { panic!("it ran") });
    assert!(matches!(outcome, Err(StoreError::Interrupted)), "{outcome:?}");
}

#[test]
fn an_old_snapshot_of_a_reopened_file_says_so() {
    let (store, disk) = uncached();
    let old = store.read().unwrap();
    let number = store.session_number().unwrap();
    disk.fail_sync(0, io::ErrorKind::Other);
    put(&store, Sync::Now, 1, b"one").unwrap_err();
    assert_eq!(store.session_number().unwrap(), number + 1);
    let late = guard(|| Ok::<_, StoreError>(old.open_table(ROWS)?.get(1)?.map(|row| row.value().to_vec())));
    assert!(matches!(late, Err(StoreError::Interrupted)), "{late:?}");
    assert_eq!(get(&store, 1).unwrap().unwrap(), [1; 100]);
}

#[test]
fn a_panic_in_a_change_leaves_nothing_of_it_and_the_next_change_works() {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
    put(&store, Sync::Now, 1, b"one").unwrap();
    for _ in 0..50 {
        let outcome = store.update(Sync::Now, |transaction| -> Result<(), StoreError> {
            transaction.open_table(ROWS)?.insert(2, b"two".as_slice())?;
            panic!("in the middle");
        });
        assert!(matches!(outcome, Err(StoreError::Damaged(_))));
        assert_eq!(get(&store, 2).unwrap(), None);
    }
    put(&store, Sync::Now, 3, b"three").unwrap();
    assert_eq!(get(&store, 1).unwrap().unwrap(), b"one");
}

#[test]
fn bulk_writes_leave_a_reserve_that_deletes_may_use() {
    let disk = TestDisk::made("rows", 1);
    let store = disk.store("rows", 1, StoreConfig::default()).unwrap();
    let total = 24 << 20;
    disk.set_space(Space { free: 3 << 20, total, taken: 0 });
    store.room(Purpose::Bulk, 1 << 20).unwrap();
    assert!(matches!(store.room(Purpose::Bulk, 2 << 20), Err(StoreError::Full)));
    store.room(Purpose::Row, 2 << 20).unwrap();
    assert!(matches!(store.room(Purpose::Row, (2 << 20) + 1), Err(StoreError::Full)));
}

#[test]
fn a_read_only_file_is_refused_with_the_reason() {
    let (_folder, path) = folder();
    drop(open(&path).unwrap());
    let folder_as_file = path.with_extension("d");
    fs::create_dir(&folder_as_file).unwrap();
    assert!(matches!(open(&folder_as_file), Err(OpenError::Io { .. })));
    assert!(File::open(&path).is_ok());
}
