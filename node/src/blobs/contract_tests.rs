//! What every backend must do, seen through the store: one suite, run on each.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::StreamExt;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::TestRunner;
use rstest::rstest;

use super::backend::{BlobNumber, CHUNK_BYTES};
use super::test_kit::{Kind, Kit, content, get, put};
use super::tree::GROUP_BYTES;
use super::*;

/// Sizes where something changes.
const SIZES: [usize; 12] = [
    0,
    1,
    GROUP_BYTES - 1,
    GROUP_BYTES,
    GROUP_BYTES + 1,
    2 * GROUP_BYTES,
    CHUNK_BYTES - 1,
    CHUNK_BYTES,
    CHUNK_BYTES + 1,
    CHUNK_BYTES + GROUP_BYTES,
    2 * CHUNK_BYTES,
    5 * CHUNK_BYTES + 12_345,
];

#[rstest]
#[tokio::test]
async fn what_goes_in_comes_out(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let mut ids = vec![];
    for size in SIZES {
        let content = content(size, 1);
        let stored = kit.put(&content).await.unwrap();
        kit.records.add(stored.id);
        assert_eq!((stored.id, stored.size), (AssetId::of(&content), size as u64));
        assert!(!stored.was_present);
        assert_eq!(kit.blobs.open(&stored.id).unwrap().unwrap().size(), size as u64);
        assert_eq!(kit.get(&stored.id, 0..u64::MAX).await.unwrap(), content, "{size} bytes");
        ids.push(stored.id);
    }
    kit.holds_only(&ids).await;
    let bytes = SIZES.iter().sum::<usize>() as u64;
    assert_eq!(kit.blobs.stats().unwrap(), Stats { blobs: SIZES.len() as u64, bytes });
    let metrics = kit.blobs.metrics();
    assert!(metrics.bytes_verified() >= metrics.bytes_read() && metrics.bytes_read() >= 2 * bytes);
}

#[rstest]
#[tokio::test]
async fn any_range_is_that_part_of_the_content(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let mut stored = vec![];
    for size in SIZES {
        let content = content(size, 2);
        stored.push((kit.keep(&content).await, content));
    }
    let mut runner = TestRunner::new(ProptestConfig::with_cases(300));
    let runtime = tokio::runtime::Handle::current();
    let (kit, outcome) = tokio::task::spawn_blocking(move || {
        let outcome = runner.run(&(0..SIZES.len(), 0.0..1.1_f64, 0.0..1.1_f64), |(which, from, to)| {
            let (id, content) = &stored[which];
            let at = |part: f64| (part * content.len() as f64) as u64;
            let range = at(from)..at(to);
            let found = runtime.block_on(kit.get(id, range.clone())).unwrap();
            let end = range.end.min(content.len() as u64) as usize;
            let start = (range.start as usize).min(end);
            assert!(found == content[start..end], "{range:?} of {}", content.len());
            Ok(())
        });
        (kit, outcome)
    })
    .await
    .unwrap();
    outcome.unwrap();
    drop(kit);
}

#[rstest]
#[tokio::test]
async fn frames_of_any_size_make_the_same_blob(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let content = content(2 * CHUNK_BYTES + 777, 3);
    for frame in [1_000, GROUP_BYTES, 65_537, CHUNK_BYTES, 3 * CHUNK_BYTES] {
        let mut upload = kit.blobs.begin();
        for bytes in content.chunks(frame) {
            upload.write(Bytes::copy_from_slice(bytes)).await.unwrap();
            upload.write(Bytes::new()).await.unwrap();
        }
        assert_eq!(upload.finish().await.unwrap().id, AssetId::of(&content), "frames of {frame}");
    }
}

#[rstest]
#[tokio::test]
async fn the_same_content_is_kept_once(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
    #[values(100, 2 * CHUNK_BYTES + 5)] size: usize,
) {
    let kit = Kit::new(kind);
    let content = content(size, 4);
    let id = kit.keep(&content).await;
    let puts = (0..8).map(|_| put(&kit.blobs, &content));
    for again in futures_util::future::join_all(puts).await {
        let again = again.unwrap();
        assert!(again.was_present && again.id == id);
    }
    kit.holds_only(&[id]).await;
    assert_eq!(kit.blobs.stats().unwrap().bytes, size as u64);
    assert_eq!(kit.get(&id, 0..u64::MAX).await.unwrap(), content);
}

#[rstest]
#[tokio::test]
async fn an_upload_dropped_midway_leaves_nothing(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    for chunks in [0, 1, 3, 9] {
        let mut upload = kit.blobs.begin();
        upload.write(content(chunks * CHUNK_BYTES + 20_000, 5).into()).await.unwrap();
        drop(upload);
    }
    kit.holds_only(&[]).await;
}

#[rstest]
#[tokio::test]
async fn a_lease_dropped_without_a_record_takes_the_blob_along(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
    #[values(100, 2 * CHUNK_BYTES)] size: usize,
) {
    let kit = Kit::new(kind);
    let stored = kit.put(&content(size, 6)).await.unwrap();
    let again = kit.put(&content(size, 6)).await.unwrap();
    drop(stored);
    kit.blobs.settle().await.unwrap();
    assert!(kit.blobs.contains(&again.id).unwrap(), "the other lease holds it");
    drop(again);
    kit.holds_only(&[]).await;
}

#[rstest]
#[tokio::test]
async fn a_finish_nobody_waits_for_leaves_nothing(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    for size in [100, 2 * CHUNK_BYTES + 1] {
        let mut upload = kit.blobs.begin();
        upload.write(content(size, 7).into()).await.unwrap();
        // Polled once, so that it is sent, then dropped.
        drop(futures_util::future::poll_immediate(Box::pin(upload.finish())).await);
    }
    kit.holds_only(&[]).await;
}

#[rstest]
#[tokio::test]
async fn remove_spares_what_a_lease_or_a_record_needs(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let id = kit.keep(b"named").await;
    assert!(!kit.blobs.remove(id).await.unwrap());
    let held = kit.blobs.hold(id).await.unwrap().unwrap();
    assert!(kit.records.remove(&id));
    assert!(!kit.blobs.remove(id).await.unwrap());
    assert!(kit.blobs.contains(&id).unwrap());
    drop(held);
    kit.blobs.settle().await.unwrap();
    assert!(!kit.blobs.contains(&id).unwrap());
    assert!(!kit.blobs.remove(id).await.unwrap());
    assert!(kit.blobs.hold(id).await.unwrap().is_none());
}

#[rstest]
#[tokio::test]
async fn while_nobody_knows_the_records_nothing_goes(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let fails = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&fails);
    kit.blobs.add_referenced(Arc::new(move |_| {
        if failing.load(Ordering::Relaxed) { Err("no catalog".into()) } else { Ok(false) }
    }));
    let id = kit.put(b"kept").await.unwrap().id;
    let error = kit.blobs.remove(id).await.unwrap_err();
    assert!(error.to_string().contains("no catalog"), "{error}");
    assert!(kit.blobs.contains(&id).unwrap());
    fails.store(false, Ordering::Relaxed);
    assert!(kit.blobs.remove(id).await.unwrap());
}

#[rstest]
#[tokio::test]
async fn a_removed_blob_stays_for_those_who_read_it(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let bytes = content(20 * CHUNK_BYTES + 9, 8);
    let id = kit.keep(&bytes).await;
    kit.blobs.settle().await.unwrap();
    let blob = kit.blobs.open(&id).unwrap().unwrap();
    let mut stream = Box::pin(blob.read(0..blob.size()));
    let mut found = stream.next().await.unwrap().unwrap().to_vec();
    kit.records.remove(&id);
    assert!(kit.blobs.remove(id).await.unwrap());
    kit.blobs.settle().await.unwrap();
    assert!(!kit.blobs.contains(&id).unwrap());
    while let Some(bytes) = stream.next().await {
        found.extend_from_slice(&bytes.unwrap());
    }
    assert!(found == bytes);
    drop((stream, blob));
    kit.holds_only(&[]).await;
}

#[rstest]
#[tokio::test]
async fn a_dropped_stream_reads_no_further(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let id = kit.keep(&content(40 * CHUNK_BYTES, 9)).await;
    let blob = kit.blobs.open(&id).unwrap().unwrap();
    let mut stream = Box::pin(blob.read(0..blob.size()));
    stream.next().await.unwrap().unwrap();
    drop((stream, blob));
    // The job that was under way counts as a reader until it ends.
    kit.records.remove(&id);
    kit.blobs.remove(id).await.unwrap();
    while kit.blobs.shared.backend.next_used(BlobNumber(0)).unwrap().is_some() {
        kit.blobs.settle().await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(kit.blobs.metrics().bytes_read() <= 4 * CHUNK_BYTES as u64);
}

#[rstest]
#[tokio::test]
async fn a_sweep_takes_what_no_record_names(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let mut named = vec![];
    let mut orphans = vec![];
    for seed in 0..40 {
        let bytes = content(if seed % 4 == 0 { CHUNK_BYTES + 1 } else { 50 }, 100 + seed);
        let id = kit.keep(&bytes).await;
        if seed % 2 == 0 { named.push(id) } else { orphans.push(id) }
    }
    kit.blobs.settle().await.unwrap();
    orphans.iter().for_each(|id| assert!(kit.records.remove(id)));
    let leased = kit.put(b"a record is on its way").await.unwrap();
    let swept = kit.blobs.sweep().await.unwrap();
    assert_eq!(swept, Swept { seen: 41, removed: 20 });
    kit.records.add(leased.id);
    named.push(leased.id);
    drop(leased);
    kit.holds_only(&named).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_record_ever_names_a_blob_that_is_gone(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Arc::new(Kit::new(kind));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u64 {
        let kit = Arc::clone(&kit);
        tasks.spawn(async move {
            for round in 0..60 {
                let bytes = content(if round % 3 == 0 { CHUNK_BYTES + 7 } else { 64 }, round % 4);
                let stored = put(&kit.blobs, &bytes).await.unwrap();
                let id = stored.id;
                if (round + task) % 5 == 0 {
                    // The record fails to be written.
                    continue;
                }
                kit.records.add(id);
                drop(stored);
                assert!(get(&kit.blobs, &id, 0..u64::MAX).await.unwrap() == bytes);
                if kit.records.remove(&id) {
                    kit.blobs.remove(id).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    kit.holds_only(&[]).await;
}

#[rstest]
#[tokio::test]
async fn a_slow_reader_and_many_uploads_stay_within_their_buffers(
    #[values(Kind::Redb, Kind::Memory)] kind: Kind,
) {
    let kit = Kit::new(kind);
    let blobs = &kit.blobs;
    let puts = (0..150).map(|seed| async move {
        let bytes = content(CHUNK_BYTES + 100, 1_000 + seed);
        put(blobs, &bytes).await.unwrap()
    });
    let stored = futures_util::future::join_all(puts).await;
    assert_eq!(blobs.stats().unwrap().blobs, 150);
    let blob = blobs.open(&stored[0].id).unwrap().unwrap();
    let mut stream = pin!(blob.read(5..10));
    assert_eq!(stream.next().await.unwrap().unwrap().len(), 5);
    assert!(stream.next().await.is_none());
}

#[rstest]
#[tokio::test]
async fn stalled_uploads_do_not_keep_others_waiting(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::with_config(
        kind,
        Config { chunks_in_hand_max: 3, upload_patience: Duration::from_millis(20), ..Config::default() },
    );
    let mut stalled = vec![];
    for seed in 0..7_u64 {
        let bytes = Bytes::from(content(2 * CHUNK_BYTES + 70_000, seed));
        let mut upload = kit.blobs.begin();
        // Each stops somewhere else, some of them twice.
        let stop = 40_000 + 20_000 * seed as usize;
        upload.write(bytes.slice(..stop)).await.unwrap();
        stalled.push((upload, bytes, stop));
    }
    let quick = kit.keep(&content(3 * CHUNK_BYTES, 100)).await;
    let mut ids = vec![quick];
    for (mut upload, bytes, stop) in stalled {
        upload.write(bytes.slice(stop..stop + 50_000)).await.unwrap();
        let other = kit.keep(&content(CHUNK_BYTES, 200 + stop as u64)).await;
        upload.write(bytes.slice(stop + 50_000..)).await.unwrap();
        let stored = upload.finish().await.unwrap();
        assert_eq!(stored.id, AssetId::of(&bytes));
        kit.records.add(stored.id);
        assert!(kit.get(&stored.id, 0..u64::MAX).await.unwrap() == bytes);
        let middle = CHUNK_BYTES as u64 - 9;
        assert!(kit.get(&stored.id, middle..middle + 18).await.unwrap() == bytes[middle as usize..][..18]);
        ids.extend([other, stored.id]);
    }
    let mut dropped: Vec<Upload> = (0..3).map(|_| kit.blobs.begin()).collect();
    for (seed, upload) in dropped.iter_mut().enumerate() {
        upload.write(content(50_000, 300 + seed as u64).into()).await.unwrap();
    }
    ids.push(kit.keep(&content(CHUNK_BYTES, 400)).await);
    drop(dropped);
    kit.holds_only(&ids).await;
}

#[rstest]
#[tokio::test]
async fn a_stopped_store_says_so(#[values(Kind::Redb, Kind::Memory)] kind: Kind) {
    let kit = Kit::new(kind);
    let blobs = kit.blobs.clone();
    let id = kit.keep(b"before").await;
    let mut upload = blobs.begin();
    upload.write(content(CHUNK_BYTES, 1).into()).await.unwrap();
    kit.end().await;
    assert!(matches!(upload.finish().await, Err(Error::Stopped)));
    assert!(matches!(put(&blobs, b"after").await, Err(Error::Stopped)));
    assert!(matches!(blobs.remove(id).await, Err(Error::Stopped)));
    assert_eq!(get(&blobs, &id, 0..10).await.unwrap(), b"before");
}
