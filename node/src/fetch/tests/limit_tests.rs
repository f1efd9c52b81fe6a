//! What is bounded, and what is not held against those who ask: how much is under way, and how long anybody waits.

use super::*;
use crate::blobs::test_kit::{Kind, Kit};

/// An asker that keeps nothing of what it fetches.
fn keeps_nothing(config: Config) -> (Kit, Member) {
    let kit = Kit::with_config(Kind::Memory, blobs::Config { cache_bytes_max: 0, ..Default::default() });
    let asker = Member::start_on(Some(&kit.blobs), &[], config);
    (kit, asker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_wait_hear_that_a_node_stops() {
    let patient = Config { stall_after: Duration::from_secs(3600), ..brisk() };
    let asker = Member::start(&[], patient);
    let (mut asker, holders, id) = federation_of(asker, 1, &content(600_000, 20)).await;
    let _hostile = holders[0].turns(Hostile::Drips);
    let found = asker.fetch.find(id).await.unwrap();
    let mut pieces = Box::pin(asker.fetch.read(found, 0..u64::MAX));
    while asker.fetch.metrics().under_way.get() == 0 {
        assert!(futures_util::poll!(pieces.next()).is_pending());
        tokio::task::yield_now().await;
    }
    drop(asker.tasks.take());
    let next = tokio::time::timeout(WITHIN, pieces.next()).await.expect("it hears nothing");
    assert!(next.unwrap().is_err() && pieces.next().await.is_none());
    assert_eq!(asker.fetch.metrics().under_way.get(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_does_not_count_as_under_way() {
    let (_kit, asker) = keeps_nothing(Config { transfers_max: 3, searches_max: 3, ..brisk() });
    let (asker, holders, _) = federation_of(asker, 1, b"x").await;
    for seed in 0..12 {
        let bytes = content(500, 100 + seed);
        let id = holders[0].store(&bytes).await;
        assert!(asker.get_all(id).await.unwrap() == bytes);
    }
    assert_eq!((asker.fetch.metrics().searches(), asker.fetch.metrics().transfers()), (12, 12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_much_is_under_way() {
    let (_kit, asker) = keeps_nothing(Config { transfers_max: 2, ..brisk() });
    let (asker, holders, first) = federation_of(asker, 1, &content(4_000_000, 30)).await;
    let mut begun = Vec::new();
    for id in [first, holders[0].store(&content(4_000_000, 31)).await] {
        let mut pieces = Box::pin(asker.fetch.read(asker.fetch.find(id).await.unwrap(), 0..u64::MAX));
        pieces.next().await.unwrap().unwrap();
        begun.push(pieces);
    }
    let third = holders[0].store(&content(500, 32)).await;
    let refused = asker.get_all(third).await;
    assert!(matches!(refused, Err(Error::Busy)), "{refused:?}");
    begun.pop();
    let until = Instant::now() + WITHIN;
    while let Err(error) = asker.get_all(third).await {
        assert!(matches!(error, Error::Busy) && Instant::now() < until, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_small_contents_linger() {
    let (_kit, asker) = keeps_nothing(brisk());
    let (asker, _holders, id) = federation_of(asker, 1, b"small").await;
    let until = Instant::now() + WITHIN;
    let lingering = &asker.fetch.shared.lingering;
    let all = (brisk().buffer_bytes_each / 1024) as usize;
    let left = loop {
        assert_eq!(asker.get_all(id).await.unwrap(), b"small");
        match lingering.available_permits() {
            left if left < all => break left,
            _ => assert!(Instant::now() < until, "nothing lingers"),
        }
    };
    assert_eq!(left, all - 128);
}
