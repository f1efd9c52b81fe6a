//! Content that no public record names, and who waits for whom on the link to its provider.

use futures_util::FutureExt;

use super::*;

/// As many ranges as are brought from one provider at once, and some.
const CROWD: usize = 50;

/// One that asks, and some that take it for one that may speak for accounts.
async fn trusting(holders: usize, content: &[u8]) -> (Member, Vec<Member>, AssetId) {
    let (asker, holders, id) = federation(holders, content).await;
    holders.iter().for_each(|holder| holder.fetch.allow_private(Arc::new(|_, _| true)));
    (asker, holders, id)
}

fn read(
    asker: &Member,
    (id, size): (AssetId, usize),
    from: &[Member],
) -> impl Stream<Item = Result<Bytes, Error>> + Send + Unpin + use<> {
    let from = from.iter().map(|holder| holder.key).collect();
    Box::pin(asker.fetch.read_private(id, size as u64, from))
}

async fn all(mut pieces: impl Stream<Item = Result<Bytes, Error>> + Unpin) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_content_of_every_size_comes_over_as_it_is() {
    for size in [0, 1, GROUP_BYTES + 1, 63 * GROUP_BYTES, 3_000_000] {
        let bytes = content(size, size as u64);
        let (asker, holders, id) = trusting(1, &bytes).await;
        assert!(all(read(&asker, (id, size), &holders)).await.unwrap() == bytes, "{size} bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_provider_goes_on_where_a_hostile_one_is_given_up() {
    let bytes = content(2_500_000, 50);
    for how in [Hostile::FlipsBit { at: 300_000 }, Hostile::Drips, Hostile::CutsShort, Hostile::Busy] {
        let (asker, holders, id) = trusting(2, &bytes).await;
        let _hostile = holders[0].turns(how);
        assert!(all(read(&asker, (id, bytes.len()), &holders)).await.unwrap() == bytes, "{how:?}");
        let metrics = asker.fetch.metrics();
        assert_eq!(metrics.lies() > 0, matches!(how, Hostile::FlipsBit { .. }), "{how:?}");
        assert_eq!(metrics.stalls(), u64::from(how == Hostile::Drips), "{how:?}: asked once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_nothing_do_not_hold_up_others() {
    let bytes = content(3_000_000, 51);
    let (asker, holders, id) = trusting(1, &bytes).await;
    let mut slow = Vec::new();
    for _ in 0..CROWD {
        let mut pieces = read(&asker, (id, bytes.len()), &holders);
        let first = tokio::time::timeout(WITHIN, pieces.next()).await.expect("it waits for the others");
        assert!(bytes.starts_with(&first.unwrap().unwrap()));
        slow.push(pieces);
    }
    let public = content(2_000_000, 52);
    let public_id = holders[0].store(&public).await;
    assert!(asker.get_all(public_id).await.unwrap() == public);
    assert!(all(read(&asker, (id, bytes.len()), &holders)).await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_whose_link_is_full_does_not_hold_up_another() {
    let bytes = content(3_000_000, 53);
    let (asker, holders, id) = federation(2, &bytes).await;
    let places = &asker.fetch.shared.places;
    let full: Vec<_> = std::iter::from_fn(|| places.range(holders[0].key).now_or_never()).collect();
    assert!(!full.is_empty());
    assert!(asker.get_all(id).await.unwrap() == bytes);
    drop(full);
}
