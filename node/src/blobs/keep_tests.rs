//! What is kept of other nodes' content, and what is mended, on each backend.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rstest::rstest;
use tokio::task::JoinSet;

use super::backend::BlobNumber;
use super::batch::Batch;
use super::keep::Left;
use super::keeping::plan_overwrite;
use super::test_kit::{Kind, Kit, Memory, SOON, content, facts, keep, keep_all, nodes_of, put};
use super::tree::{GROUP_BYTES, NODE_BYTES};
use super::*;
use crate::storage::Space;
use crate::storage::test_disk::TestDisk;

async fn read(cached: &Cached, range: std::ops::Range<u64>) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let mut pieces = pin!(cached.blob().read(range));
    while let Some(bytes) = pieces.next().await {
        out.extend_from_slice(&bytes?);
    }
    Ok(out)
}

fn config(cache_bytes_max: u64) -> Config {
    Config { cache_bytes_max, ..Config::default() }
}

#[rstest]
#[tokio::test]
async fn what_is_kept_whole_is_read_back_and_is_no_blob_of_this_node(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
) {
    let kit = Kit::new(kind);
    let mut sum = 0;
    for size in [1, GROUP_BYTES, GROUP_BYTES + 1, 64 * GROUP_BYTES, 300 * GROUP_BYTES + 5] {
        let content = content(size, 1);
        let id = keep_all(&kit, &content).await;
        sum += size as u64;
        let cached = kit.blobs.cached(&id).unwrap();
        assert!(cached.is_whole() && cached.has(&(0..size as u64)), "{size} bytes");
        assert_eq!((cached.facts(), cached.blob().size()), (&facts(), size as u64));
        assert!(read(&cached, 0..u64::MAX).await.unwrap() == content, "{size} bytes");
        assert!(kit.blobs.open(&id).unwrap().is_none() && !kit.blobs.contains(&id).unwrap());
    }
    assert_eq!(kit.blobs.cached_bytes(), sum);
    assert_eq!(kit.blobs.stats().unwrap(), Stats::default());
    assert_eq!(kit.blobs.sweep().await.unwrap(), Swept::default(), "nothing of it is an orphan");
    assert_eq!(kit.blobs.cached_bytes(), sum);
    assert_eq!(kit.damages().await, []);
}

#[rstest]
#[tokio::test]
async fn parts_are_read_where_they_are_and_the_rest_completes_them(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
) {
    let kit = Kit::new(kind);
    let content = content(200 * GROUP_BYTES + 9, 2);
    let id = keep(&kit, &content, 10..20).await;
    keep(&kit, &content, 150..201).await;
    let cached = kit.blobs.cached(&id).unwrap();
    let group = GROUP_BYTES as u64;
    assert!(!cached.is_whole());
    assert_eq!(cached.around(10 * group + 3), Some(10 * group..20 * group));
    assert_eq!((cached.around(0), cached.next_start(0)), (None, Some(10 * group)));
    assert_eq!((cached.around(20 * group), cached.next_start(20 * group)), (None, Some(150 * group)));
    let last = cached.around(160 * group).unwrap();
    assert_eq!(last.end, content.len() as u64);
    assert!(read(&cached, last.clone()).await.unwrap() == content[last.start as usize..]);
    assert_eq!(kit.blobs.cached_bytes(), 60 * group + 9);
    keep_all(&kit, &content).await;
    let cached = kit.blobs.cached(&id).unwrap();
    assert!(cached.is_whole() && read(&cached, 0..u64::MAX).await.unwrap() == content);
    assert_eq!(kit.blobs.cached_bytes(), content.len() as u64);
}

#[tokio::test]
async fn what_is_kept_survives_a_restart_and_a_smaller_bound_lets_the_oldest_go() {
    let disk = TestDisk::made("blobs", FORMAT);
    let kit = Kit::on_disk(&disk);
    let (old, new) = (content(100 * GROUP_BYTES, 3), content(90 * GROUP_BYTES, 4));
    let (old_id, new_id) = (keep_all(&kit, &old).await, keep(&kit, &new, 0..60).await);
    let records = kit.records.clone();
    kit.stop().await;
    let kit = Kit::with_records(&disk, records.clone());
    assert!(read(&kit.blobs.cached(&old_id).unwrap(), 0..u64::MAX).await.unwrap() == old);
    assert!(!kit.blobs.cached(&new_id).unwrap().is_whole());
    keep_all(&kit, &new).await;
    assert!(read(&kit.blobs.cached(&new_id).unwrap(), 0..u64::MAX).await.unwrap() == new);
    kit.stop().await;
    let kit = Kit::try_on(&disk, records, config(2 << 20)).unwrap();
    kit.blobs.tidy_cache().await.unwrap();
    assert!(kit.blobs.cached(&old_id).is_none(), "it was used before the other");
    assert!(read(&kit.blobs.cached(&new_id).unwrap(), 0..u64::MAX).await.unwrap() == new);
    kit.blobs.settle().await.unwrap();
    assert_eq!(kit.damages().await, []);
}

#[rstest]
#[tokio::test]
async fn what_is_read_stays_until_it_is_read(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::with_config(kind, config(5 << 20));
    let held = content(3 << 20, 5);
    let held_id = keep_all(&kit, &held).await;
    let cached = kit.blobs.cached(&held_id).unwrap();
    let mut pieces = Box::pin(cached.blob().read(0..u64::MAX));
    let mut got = pieces.next().await.unwrap().unwrap().to_vec();
    let other = content(3 << 20, 6);
    let other_id = keep_all(&kit, &other).await;
    assert!(kit.blobs.cached(&other_id).is_none_or(|cached| !cached.is_whole()), "there is no room for both");
    while let Some(bytes) = pieces.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert!(got == held);
    drop((pieces, cached));
    keep_all(&kit, &other).await;
    assert!(kit.blobs.cached(&held_id).is_none());
    let cached = kit.blobs.cached(&other_id).unwrap();
    assert!(read(&cached, 0..u64::MAX).await.unwrap() == other);
    drop(cached);
    assert!(kit.blobs.metrics().evictions() > 0);
    kit.blobs.settle().await.unwrap();
    assert_eq!(kit.damages().await, []);
}

#[rstest]
#[tokio::test]
async fn an_upload_takes_the_place_of_what_is_kept(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
    #[values(7, 40 * GROUP_BYTES)] size: usize,
) {
    let kit = Kit::new(kind);
    let content = content(size, 7);
    let id = keep_all(&kit, &content).await;
    assert_eq!(kit.keep(&content).await, id);
    assert_eq!((kit.blobs.cached_bytes(), kit.blobs.cached(&id).is_none()), (0, true));
    kit.holds_only(&[id]).await;
    // Content that is here is not kept a second time.
    keep_all(&kit, &content).await;
    assert_eq!(kit.blobs.cached_bytes(), 0);
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == content);
}

#[tokio::test]
async fn damage_is_met_and_dropped_and_never_read() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(100 * GROUP_BYTES, 8);
    let id = keep_all(&kit, &content).await;
    memory.harm(|maps| {
        let chunk = maps.chunks.values_mut().next().unwrap();
        let mut bytes = chunk.to_vec();
        bytes[5 * GROUP_BYTES + 1] ^= 4;
        *chunk = bytes.into();
    });
    let outcome = read(&kit.blobs.cached(&id).unwrap(), 0..u64::MAX).await;
    assert!(matches!(outcome, Err(Error::Damaged { .. })), "{outcome:?}");
    memory.harm(|maps| maps.is_stuck = true);
    assert!(kit.blobs.drop_cached(id).await.is_err() && kit.blobs.cached(&id).is_some());
    memory.harm(|maps| maps.is_stuck = false);
    kit.blobs.drop_cached(id).await.unwrap();
    assert!(kit.blobs.cached(&id).is_none());
    keep_all(&kit, &content).await;
    assert!(read(&kit.blobs.cached(&id).unwrap(), 0..u64::MAX).await.unwrap() == content);
}

#[tokio::test]
async fn damage_of_what_was_kept_is_no_damage_of_an_upload() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(20 * GROUP_BYTES, 17);
    let id = keep_all(&kit, &content).await;
    memory.harm(|maps| harm(maps.chunks.values_mut().next().unwrap(), GROUP_BYTES));
    assert!(read(&kit.blobs.cached(&id).unwrap(), 0..u64::MAX).await.is_err());
    kit.keep(&content).await;
    assert!(kit.put(&content).await.unwrap().was_present, "a sound copy was replaced");
    kit.holds_only(&[id]).await;
}

#[rstest]
#[case(|maps: &mut super::test_kit::Maps| harm(maps.chunks.values_mut().next().unwrap(), 9 * GROUP_BYTES))]
#[case(|maps: &mut super::test_kit::Maps| harm(maps.pieces.values_mut().next().unwrap(), 9 * NODE_BYTES))]
#[tokio::test]
async fn a_damaged_blob_of_this_node_is_written_over_where_it_is_damaged(
    #[case] damage: fn(&mut super::test_kit::Maps),
) {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(100 * GROUP_BYTES + 3, 9);
    let id = kit.keep(&content).await;
    memory.harm(damage);
    // Nothing is written over before damage was met.
    keep(&kit, &content, 8..11).await;
    let Err(Error::Damaged { offset, .. }) = kit.get(&id, 0..u64::MAX).await else { panic!("it is damaged") };
    let group = (offset / GROUP_BYTES as u64) as usize;
    keep(&kit, &content, group..group + 1).await;
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == content);
    assert_eq!(kit.blobs.metrics().groups_mended(), 1);
    assert_eq!(kit.blobs.cached_bytes(), 0);
    kit.holds_only(&[id]).await;
}

#[tokio::test]
async fn two_mends_of_one_chunk_in_one_commit_are_both_kept() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(100 * GROUP_BYTES, 14);
    let id = kit.keep(&content).await;
    memory.harm(|maps| {
        let chunk = maps.chunks.values_mut().next().unwrap();
        [5, 40].into_iter().for_each(|group| harm(chunk, group * GROUP_BYTES));
    });
    assert!(kit.get(&id, 0..u64::MAX).await.is_err());
    let keeper = kit.blobs.keeper(id, content.len() as u64, facts());
    let held_up = memory.hold_up();
    for group in [5, 40] {
        let bytes = content[group * GROUP_BYTES..][..GROUP_BYTES].to_vec();
        keeper.put(group as u32, bytes, nodes_of(&content), SOON).await.unwrap();
    }
    drop(held_up);
    keeper.settle(SOON).await;
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == content);
    assert_eq!(kit.blobs.metrics().groups_mended(), 2);
    kit.holds_only(&[id]).await;
}

#[tokio::test]
async fn each_chunk_that_is_written_over_counts_once_towards_a_commit() {
    let kit = Kit::new(Kind::Memory);
    let content = content(130 * GROUP_BYTES, 15);
    kit.keep(&content).await;
    let number = kit.blobs.shared.backend.next_used(BlobNumber(0)).unwrap().unwrap();
    let mut batch = Batch::default();
    for (wanted, chunks) in [(3..4, 1), (62..64, 2), (64..65, 2), (129..130, 3)] {
        let bytes = &content[wanted.start * GROUP_BYTES..wanted.end * GROUP_BYTES];
        let part = (wanted.start as u32, bytes);
        plan_overwrite(&kit.blobs.shared, number, part, (129, Vec::new()), &mut batch).unwrap();
        assert_eq!(batch.chunks, chunks, "groups {wanted:?}");
    }
    let beyond = plan_overwrite(&kit.blobs.shared, number, (130, b"x"), (129, Vec::new()), &mut batch);
    assert!(beyond.is_err() && batch.chunks == 3);
}

fn harm(value: &mut Bytes, at: usize) {
    let mut bytes = value.to_vec();
    bytes[at] ^= 1;
    *value = bytes.into();
}

#[tokio::test]
async fn an_answer_that_changes_nothing_leaves_what_is_kept_to_be_synced() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(GROUP_BYTES, 16);
    let keeper = kit.blobs.keeper(AssetId::of(&content), content.len() as u64, facts());
    keeper.put(0, content, Vec::new(), SOON).await.unwrap();
    keeper.settle(SOON).await;
    assert!(kit.blobs.hold(AssetId::of(b"absent")).await.unwrap().is_none());
    kit.end().await;
    memory.harm(|maps| assert!(!maps.is_unsynced, "a power cut would lose it"));
    drop(keeper);
}

#[tokio::test]
async fn a_disk_that_does_not_follow_holds_nobody_up() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let content = content(20 << 20, 10);
    let id = AssetId::of(&content);
    let keeper = kit.blobs.keeper(id, content.len() as u64, facts());
    let held_up = memory.hold_up();
    let (mut taken, mut nodes) = (Vec::new(), nodes_of(&content));
    for (number, part) in content.chunks(63 * GROUP_BYTES).enumerate() {
        let put = keeper.put(number as u32 * 63, part.to_vec(), nodes, Duration::from_millis(5)).await;
        nodes = match put {
            Ok(()) => {
                taken.push(number as u64);
                Vec::new()
            }
            Err(Left::Late(nodes)) => nodes,
            Err(Left::Refused) => panic!("there is room"),
        };
    }
    assert!(taken.len() < 10, "{} parts of a MiB are in memory", taken.len());
    drop(held_up);
    keeper.settle(SOON).await;
    let cached = kit.blobs.cached(&id).unwrap();
    assert!(!cached.is_whole());
    for number in taken {
        let run = number * 63 * GROUP_BYTES as u64..(number + 1) * 63 * GROUP_BYTES as u64;
        assert!(read(&cached, run.clone()).await.unwrap() == content[run.start as usize..run.end as usize]);
    }
}

#[tokio::test]
async fn a_full_disk_takes_from_what_is_kept_and_not_from_uploads() {
    let disk = TestDisk::made("blobs", FORMAT);
    disk.set_space(Space { free: 1 << 30, total: 2 << 30, taken: 24 << 20 });
    let kit = Kit::on_disk(&disk);
    let kept = content(20 << 20, 11);
    let kept_id = keep_all(&kit, &kept).await;
    assert!(kit.blobs.cached(&kept_id).is_some());
    // Less is free than must stay, and what is kept fills the holes of the file.
    disk.set_space(Space { free: 66 << 20, total: 2 << 30, taken: 24 << 20 });
    let own = content(6 << 20, 12);
    let id = kit.keep(&own).await;
    assert!(kit.get(&id, 0..u64::MAX).await.unwrap() == own);
    assert!(kit.blobs.cached(&kept_id).is_none());
    // And nothing new is kept.
    let other = keep_all(&kit, &content(100_000, 13)).await;
    assert!(kit.blobs.cached(&other).is_none());
    kit.blobs.settle().await.unwrap();
    assert_eq!(kit.damages().await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_begins_to_read_what_makes_way_reads_it_to_its_end() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let kept = content(30 * GROUP_BYTES, 18);
    let id = keep_all(&kit, &kept).await;
    kit.blobs.settle().await.unwrap();
    memory.harm(|maps| maps.bytes_max = Some(kept.len() as u64 + 100));
    let barrier = memory.stop_at_commit();
    let blobs = kit.blobs.clone();
    let mut uploads = JoinSet::new();
    uploads.spawn(async move { put(&blobs, &[7; 200]).await });
    let reached = Arc::clone(&barrier);
    tokio::task::spawn_blocking(move || reached.wait()).await.unwrap();
    let cached = kit.blobs.cached(&id).unwrap();
    tokio::task::spawn_blocking(move || barrier.wait()).await.unwrap();
    assert!(matches!(uploads.join_next().await, Some(Ok(Err(Error::Full)))));
    assert!(read(&cached, 0..u64::MAX).await.unwrap() == kept);
    drop(cached);
    assert!(kit.blobs.cached(&id).is_none());
    kit.blobs.settle().await.unwrap();
    let own = kit.keep(&[7; 200]).await;
    kit.holds_only(&[own]).await;
}

#[tokio::test]
async fn what_makes_way_and_cannot_be_cleared_fails_the_upload() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let kept = content(30 * GROUP_BYTES, 19);
    keep_all(&kit, &kept).await;
    kit.blobs.settle().await.unwrap();
    memory.harm(|maps| (maps.bytes_max, maps.keeps_chunks) = (Some(kept.len() as u64 + 100), true));
    let outcome = kit.put(&[7; 200]).await;
    assert!(matches!(outcome, Err(Error::Io(_))), "{outcome:?}");
}
