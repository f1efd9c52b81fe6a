//! What happens when the disk fails, fills up, forgets or changes what was written.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rstest::rstest;

use super::backend::{Backend, BlobNumber, CHUNK_BYTES};
use super::test_kit::{Kit, Maps, Memory, Records, content, get, put};
use super::tree::GROUP_BYTES;
use super::*;
use crate::storage::Space;
use crate::storage::crash_tests::{Dice, image_of};
use crate::storage::test_disk::TestDisk;

const SIZE: usize = 2 * CHUNK_BYTES + 3 * GROUP_BYTES + 100;

pub(super) fn disk() -> TestDisk {
    TestDisk::made("blobs", FORMAT)
}

fn flipped(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 16;
    bytes.into()
}

#[rstest]
#[case::bit_in_the_first_chunk(|maps: &mut Maps| change(maps.chunks.values_mut().next(), |bytes| flipped(bytes, 20_000)), 1)]
#[case::bit_in_the_last_byte(|maps: &mut Maps| change(maps.chunks.values_mut().last(), |bytes| flipped(bytes, bytes.len() - 1)), 129)]
#[case::chunk_too_short(|maps: &mut Maps| change(maps.chunks.values_mut().nth(1), |bytes| bytes.slice(1..)), 63)]
#[case::chunk_too_long(|maps: &mut Maps| change(maps.chunks.values_mut().nth(1), |bytes| [bytes, &b"x"[..]].concat().into()), 63)]
#[case::chunk_gone(|maps: &mut Maps| drop(maps.chunks.pop_last()), 126)]
#[case::bit_in_the_outboard(|maps: &mut Maps| change(maps.pieces.values_mut().next(), |bytes| flipped(bytes, 64)), 2)]
#[case::bit_at_the_root(|maps: &mut Maps| change(maps.pieces.values_mut().next(), |bytes| flipped(bytes, bytes.len() - 1)), 0)]
#[case::outboard_too_short(|maps: &mut Maps| change(maps.pieces.values_mut().next(), |bytes| bytes.slice(..64)), 0)]
#[case::outboard_gone(|maps: &mut Maps| maps.pieces.clear(), 0)]
#[tokio::test]
async fn harm_is_found_before_a_byte_of_its_group_leaves(#[case] harm: fn(&mut Maps), #[case] group: u64) {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let bytes = content(SIZE, 1);
    let id = kit.keep(&bytes).await;
    memory.harm(harm);
    let at = group * GROUP_BYTES as u64;
    let Err(Error::Damaged { id: named, offset }) = kit.get(&id, at..at + 1).await else {
        panic!("not found")
    };
    assert_eq!((named, offset), (id, at));
    assert!(kit.get(&id, 0..u64::MAX).await.is_err());
    let damages = kit.damages().await;
    assert_eq!((damages.len(), damages[0].id, damages[0].offset), (1, Some(id), Some(at)));
    for other in (0..130).filter(|other| *other != group) {
        let start = other as usize * GROUP_BYTES;
        let end = (start + GROUP_BYTES).min(SIZE);
        if let Ok(found) = kit.get(&id, start as u64..end as u64).await {
            assert!(found == bytes[start..end], "group {other}");
        }
    }
    assert!(kit.blobs.metrics().damaged_reads() > 0);
}

fn change(bytes: Option<&mut Bytes>, harm: fn(&Bytes) -> Bytes) {
    let bytes = bytes.unwrap();
    *bytes = harm(bytes);
}

#[rstest]
#[case::bit(|bytes: &Bytes| flipped(bytes, 7))]
#[case::shorter(|bytes: &Bytes| bytes.slice(1..))]
#[case::empty(|_: &Bytes| Bytes::new())]
#[tokio::test]
async fn harm_to_a_small_blob_is_found(#[case] harm: fn(&Bytes) -> Bytes) {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let id = kit.keep(&content(500, 2)).await;
    memory.harm(|maps| {
        change(maps.small.get_mut(&id), harm);
        maps.blobs.get_mut(&id).unwrap().size = maps.small[&id].len() as u64;
    });
    assert!(kit.get(&id, 0..1).await.is_err() || kit.blobs.open(&id).unwrap().unwrap().size() == 0);
    assert_eq!(kit.damages().await[0].id, Some(id));
}

#[tokio::test]
async fn a_blob_of_the_wrong_size_or_number_is_found() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let one = kit.keep(&content(SIZE, 3)).await;
    let two = kit.keep(&content(SIZE, 4)).await;
    memory.harm(|maps| {
        let first = maps.blobs[&one];
        *maps.blobs.get_mut(&two).unwrap() = first;
        maps.blobs.get_mut(&one).unwrap().size = u64::MAX;
    });
    for id in [one, two] {
        assert!(matches!(kit.get(&id, 0..10).await, Err(Error::Damaged { .. })));
        assert!(matches!(kit.get(&id, SIZE as u64 - 9..u64::MAX).await, Err(Error::Damaged { .. })));
    }
}

#[tokio::test]
async fn chunks_that_belong_to_nothing_are_listed() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    kit.keep(&content(SIZE, 5)).await;
    kit.keep(&content(SIZE, 6)).await;
    memory.harm(|maps| assert!(maps.blobs.pop_first().is_some()));
    let damages = kit.damages().await;
    assert_eq!(damages.len(), 1);
    assert!(damages[0].what.contains("belong to no blob"), "{damages:?}");
}

#[tokio::test]
async fn an_upload_of_damaged_content_replaces_it() {
    for size in [SIZE, 300] {
        let memory = Arc::new(Memory::default());
        let kit = Kit::on_memory(Arc::clone(&memory));
        let bytes = content(size, 7);
        let id = kit.keep(&bytes).await;
        memory.harm(|maps| {
            let stored = maps.chunks.values_mut().chain(maps.small.values_mut()).next();
            change(stored, |bytes| flipped(bytes, 100));
        });
        kit.get(&id, 0..u64::MAX).await.unwrap_err();
        assert!(!kit.put(&bytes).await.unwrap().was_present);
        assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == bytes);
        kit.holds_only(&[id]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_anywhere_in_the_file_never_gives_wrong_bytes() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let mut stored = vec![];
    for (size, seed) in [(SIZE, 1), (CHUNK_BYTES, 2), (GROUP_BYTES + 1, 3), (300, 4), (5_000, 5), (0, 6)] {
        let bytes = content(size, seed);
        stored.push((kit.keep(&bytes).await, bytes));
    }
    kit.blobs.settle().await.unwrap();
    let used = disk.bytes().iter().rposition(|byte| *byte != 0).unwrap();
    let mut harmed = 0;
    let dice = &mut Dice::new(1);
    for _ in 0..400 {
        let (byte, bit) = (4_096 + dice.roll(used as u64 - 4_096) as usize, dice.roll(8) as u8);
        disk.flip(byte, bit);
        for (id, bytes) in &stored {
            let Ok(Some(blob)) = kit.blobs.open(id) else {
                harmed += 1;
                continue;
            };
            match get(&kit.blobs, id, 0..blob.size()).await {
                Ok(found) => assert!(found == *bytes, "byte {byte}"),
                Err(Error::Damaged { id: named, .. }) => {
                    assert_eq!(named, *id);
                    harmed += 1;
                }
                Err(Error::Corrupt(_)) => harmed += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        disk.flip(byte, bit);
    }
    assert!(harmed > 50, "the flips must hit: {harmed}");
    for (id, bytes) in &stored {
        assert!(kit.get(id, 0..u64::MAX).await.unwrap() == *bytes);
    }
    assert_eq!(kit.damages().await, []);
}

#[tokio::test]
async fn a_scrub_names_a_flipped_bit_and_goes_on() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let bytes = content(SIZE, 1);
    let harmed = kit.keep(&bytes).await;
    let sound = kit.keep(&content(SIZE, 2)).await;
    kit.blobs.settle().await.unwrap();
    let group = 70;
    let start = &bytes[group * GROUP_BYTES..][..32];
    let at = disk.bytes().windows(32).position(|window| window == start).unwrap();
    disk.flip(at + 9, 3);
    let offset = (group * GROUP_BYTES) as u64;
    let what = "the stored bytes do not match the hash".to_owned();
    assert_eq!(kit.damages().await, [Damage { id: Some(harmed), offset: Some(offset), what }]);
    assert!(kit.get(&harmed, 0..offset).await.unwrap() == bytes[..offset as usize]);
    kit.get(&sound, 0..u64::MAX).await.unwrap();
}

#[tokio::test]
async fn without_room_uploads_are_refused_and_all_else_goes_on() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let large = kit.keep(&content(SIZE, 1)).await;
    let small = kit.keep(b"small").await;
    kit.blobs.settle().await.unwrap();
    let room = Space { free: 64 << 20, total: 24 << 20, taken: 0 };
    disk.set_space(Space { free: (2 << 20) + 1_000, ..room });
    assert!(matches!(kit.put(&content(SIZE, 2)).await, Err(Error::Full)));
    assert!(matches!(kit.put(&content(5_000, 3)).await, Err(Error::Full)));
    kit.put(b"tiny").await.unwrap();
    kit.get(&large, 0..u64::MAX).await.unwrap();
    kit.records.remove(&large);
    assert!(kit.blobs.remove(large).await.unwrap());
    kit.holds_only(&[small]).await;
    disk.set_space(room);
    let again = kit.keep(&content(SIZE, 2)).await;
    kit.holds_only(&[small, again]).await;
}

#[tokio::test]
async fn room_that_a_delete_left_inside_the_file_is_used_again() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let large = kit.keep(&content(8 * CHUNK_BYTES, 1)).await;
    kit.records.remove(&large);
    kit.blobs.remove(large).await.unwrap();
    kit.blobs.settle().await.unwrap();
    disk.set_space(Space { free: 1_900_000, total: 24 << 20, taken: 12 << 20 });
    kit.put(&content(4 * CHUNK_BYTES, 2)).await.unwrap();
    disk.set_space(Space { free: 1_900_000, total: 24 << 20, taken: 4 << 20 });
    assert!(matches!(kit.put(&content(4 * CHUNK_BYTES, 3)).await, Err(Error::Full)));
}

#[rstest]
#[tokio::test]
async fn a_disk_that_fills_up_midway_loses_only_what_was_not_acknowledged(#[values(0, 1, 3, 5, 8)] nth: u32) {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let kept = content(SIZE, 1);
    let id = kit.keep(&kept).await;
    kit.blobs.settle().await.unwrap();
    disk.fill_up(nth);
    assert!(matches!(kit.put(&content(6 * CHUNK_BYTES, 2)).await, Err(Error::Full)));
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == kept);
    disk.heal();
    let again = kit.keep(&content(6 * CHUNK_BYTES, 2)).await;
    kit.end_and_check(&disk, &[id, again]).await;
}

#[rstest]
#[tokio::test]
async fn a_failed_sync_loses_only_what_was_not_acknowledged(#[values(0, 1)] nth: u32) {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let id = kit.keep(&content(SIZE, 1)).await;
    let mut midway = kit.blobs.begin();
    midway.write(content(3 * CHUNK_BYTES, 2).into()).await.unwrap();
    kit.blobs.settle().await.unwrap();
    disk.fail_sync(nth, io::ErrorKind::Other);
    assert!(matches!(kit.put(b"not acknowledged").await, Err(Error::Io(_))));
    let error = midway.finish().await.unwrap_err();
    assert!(matches!(error, Error::Io(_)), "chunks of the upload are lost: {error:?}");
    let after = kit.keep(&content(SIZE, 3)).await;
    assert!(kit.blobs.failure().borrow().is_none());
    kit.end_and_check(&disk, &[id, after]).await;
}

#[tokio::test]
async fn a_disk_that_keeps_failing_ends_the_store_with_a_reason() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    kit.keep(b"before").await;
    kit.blobs.settle().await.unwrap();
    let mut failure = kit.blobs.failure();
    disk.fail_writes(0, io::ErrorKind::Other);
    let error = kit.put(&content(SIZE, 1)).await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    failure.wait_for(Option::is_some).await.unwrap();
    assert!(matches!(kit.put(b"after").await, Err(Error::Failed(_))));
}

#[tokio::test]
async fn uploads_of_a_crash_are_cleared_at_start() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let mut midway = kit.blobs.begin();
    midway.write(content(3 * CHUNK_BYTES, 1).into()).await.unwrap();
    // The commit of another upload makes the chunks durable.
    let id = kit.keep(&content(SIZE, 2)).await;
    kit.blobs.settle().await.unwrap();
    let crashed = TestDisk::holding(disk.bytes());
    let before = TestDisk::holding(disk.bytes()).store("blobs", FORMAT, StoreConfig::default()).unwrap();
    assert_eq!(Tables::new(before).unwrap().unfinished().unwrap().len(), 1, "there is something to clear");
    let records = Records::default();
    records.add(id);
    let kit = Kit::with_records(&crashed, records);
    kit.blobs.sweep().await.unwrap();
    kit.holds_only(&[id]).await;
    let again = kit.keep(&content(3 * CHUNK_BYTES, 1)).await;
    kit.holds_only(&[id, again]).await;
}

/// One acknowledged step of a history: what must be there from then on, or gone.
#[derive(Debug)]
struct Step {
    begun: usize,
    done: usize,
    id: AssetId,
    present: bool,
}

async fn history(kit: &Kit, disk: &TestDisk, dice: &mut Dice) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    for seed in 0..14 {
        let begun = disk.recorded();
        let kept =
            steps.iter().rev().find(|step| step.present && kit.records.name(&step.id)).map(|step| step.id);
        let (id, present) = match kept.filter(|_| dice.roll(3) == 0) {
            Some(id) => {
                kit.records.remove(&id);
                kit.blobs.remove(id).await.unwrap();
                (id, false)
            }
            None => {
                let size = [200, GROUP_BYTES + 1, CHUNK_BYTES + 5, 3 * CHUNK_BYTES][dice.roll(4) as usize];
                if dice.roll(4) == 0 {
                    let mut midway = kit.blobs.begin();
                    midway.write(content(size + CHUNK_BYTES, 1_000 + seed).into()).await.unwrap();
                }
                let stored = kit.put(&content(size, seed)).await.unwrap();
                kit.records.add(stored.id);
                (stored.id, true)
            }
        };
        steps.push(Step { begun, done: disk.recorded(), id, present });
    }
    steps
}

/// Opens what a power cut after `cut` calls may leave. Says what is wrong with it.
async fn judge(bytes: Vec<u8>, steps: &[Step], cut: usize) -> Result<(), String> {
    let records = Records::default();
    let ids: Vec<AssetId> = steps.iter().filter(|step| step.present).map(|step| step.id).collect();
    ids.iter().for_each(|id| records.add(*id));
    let disk = TestDisk::holding(bytes);
    let kit = Kit::try_on(&disk, records, Config::default()).map_err(|error| error.to_string())?;
    kit.blobs.settle().await.map_err(|error| error.to_string())?;
    let damages = kit.try_damages().await.map_err(|error| error.to_string())?;
    if !damages.is_empty() {
        return Err(format!("{damages:?}"));
    }
    for id in ids {
        let of = || steps.iter().filter(move |step| step.id == id);
        let last = of().rfind(|step| step.done <= cut).map(|step| step.present).unwrap_or(false);
        let undecided = of().any(|step| step.begun <= cut && step.done > cut);
        let found = kit.blobs.contains(&id).map_err(|error| error.to_string())?;
        if !undecided && found != last {
            return Err(format!("{id}: found {found}, must be {last}"));
        }
        if found {
            kit.get(&id, 0..u64::MAX).await.map_err(|error| error.to_string())?;
        }
    }
    if kit.blobs.shared.backend.unfinished().is_ok_and(|numbers| numbers.is_empty()) {
        return Ok(());
    }
    Err("something unfinished stays".to_owned())
}

async fn power_cuts(seed: u64, lies: bool, images: usize) -> Vec<String> {
    let dice = &mut Dice::new(seed);
    let disk = disk();
    let start = disk.bytes();
    disk.record();
    if lies {
        disk.lie();
    }
    let kit = Kit::on_disk(&disk);
    let steps = history(&kit, &disk, dice).await;
    kit.blobs.settle().await.unwrap();
    let events = disk.events();
    let mut wrong = vec![];
    for _ in 0..images {
        let cut = dice.roll(events.len() as u64 + 1) as usize;
        let bytes = image_of(&start, &events[..cut], 512, dice);
        wrong.extend(judge(bytes, &steps, cut).await.err().map(|what| format!("cut {cut}: {what}")));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_loses_nothing_acknowledged_and_leaves_nothing_half() {
    for seed in [1, 2, 3] {
        let wrong = power_cuts(seed, false, 60).await;
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_on_a_disk_that_lies_is_seen() {
    let wrong = power_cuts(4, true, 30).await;
    assert!(!wrong.is_empty(), "the images must show the loss, or the test above shows nothing");
}

#[tokio::test]
async fn a_number_is_not_used_again_while_its_chunks_are_there() {
    let disk = disk();
    let kit = Kit::on_disk(&disk);
    let first = kit.keep(&content(SIZE, 1)).await;
    let second = kit.keep(&content(SIZE, 2)).await;
    let records = kit.records.clone();
    kit.blobs.settle().await.unwrap();
    kit.stop().await;
    let kit = Kit::with_records(&disk, records);
    assert_eq!(kit.blobs.shared.backend.free_number().unwrap(), BlobNumber(2));
    let third = put(&kit.blobs, &content(SIZE, 3)).await.unwrap();
    kit.records.add(third.id);
    kit.holds_only(&[first, second, third.id]).await;
}

#[tokio::test]
async fn chunks_still_on_their_way_when_an_upload_is_dropped_are_not_stored() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let stuck = memory.hold_up();
    let mut first = Box::pin(kit.put(b"the writer is at this one"));
    assert!(futures_util::future::poll_immediate(&mut first).await.is_none());
    let mut uploads = vec![];
    // More than two commits take, so that the numbers are cleared while chunks are still waiting.
    for seed in 0..11 {
        let mut upload = kit.blobs.begin();
        upload.write(content(3 * CHUNK_BYTES + 50_000, seed).into()).await.unwrap();
        uploads.push(upload);
    }
    uploads.into_iter().rev().for_each(drop);
    drop(stuck);
    drop(first.await.unwrap());
    kit.holds_only(&[]).await;
}

#[tokio::test]
async fn settled_means_that_all_that_was_let_go_is_looked_at() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let stored = kit.put(b"let go").await.unwrap();
    let id = stored.id;
    let stuck = memory.hold_up();
    let mut busy = Box::pin(kit.put(b"the writer has begun a commit with this one"));
    assert!(futures_util::future::poll_immediate(&mut busy).await.is_none());
    while kit.blobs.mailbox.capacity() < kit.blobs.mailbox.max_capacity() {
        tokio::task::yield_now().await;
    }
    drop(stored);
    let mut settled = Box::pin(kit.blobs.settle());
    assert!(futures_util::future::poll_immediate(&mut settled).await.is_none());
    drop(stuck);
    settled.await.unwrap();
    assert!(!kit.blobs.contains(&id).unwrap());
    busy.await.unwrap();
}
