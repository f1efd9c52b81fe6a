//! Content that turns out to be damaged where it is kept.

use super::*;
use crate::blobs::test_kit::{Kit, Memory, keep_all};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_content_that_cannot_be_dropped_is_fetched_once_more() {
    let memory = Arc::new(Memory::default());
    let kit = Kit::on_memory(Arc::clone(&memory));
    let bytes = content(700_000, 40);
    let asker = Member::start_on(Some(&kit.blobs), &[], brisk());
    let (asker, _holders, id) = federation_of(asker, 1, &bytes).await;
    keep_all(&kit, &bytes).await;
    memory.harm(|maps| {
        let chunk = maps.chunks.values_mut().next().unwrap();
        let mut harmed = chunk.to_vec();
        harmed[20 * GROUP_BYTES] ^= 1;
        *chunk = harmed.into();
        maps.is_stuck = true;
    });
    let found = asker.fetch.find(id).await.unwrap();
    assert!(asker.read_all(found).await.unwrap() == bytes);
    assert!(asker.fetch.metrics().bytes_in() <= bytes.len() as u64, "it was fetched more than once");
    assert_eq!(kit.blobs.metrics().damaged_reads(), 1);
}
