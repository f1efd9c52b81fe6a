//! What is bounded, and what is not held against those who ask: how much is under way, and how long anybody waits.

use super::*;

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
