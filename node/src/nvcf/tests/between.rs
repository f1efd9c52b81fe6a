//! Two and three nodes: who tells whom of which assets, and who may have their bytes.

use std::path::Path;
use std::time::{Duration, Instant};

use assetmesh_protocol::nvcf::{NvcfAnswer, NvcfAsk, NvcfRefusal};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::nvcf::test_kit::{HOUR, Member, WITHIN, content};
use crate::nvcf::{AssetId, Error, Silence};
use crate::swarm::{Request, Service};
use crate::{fetch, nvcf};

const SOON: Duration = Duration::from_secs(20);

/// Two nodes that see each other.
async fn pair() -> (Member, Member) {
    let one = Member::start(&[]);
    let other = Member::start(&[&one]);
    one.sees(&[&other]).await;
    other.sees(&[&one]).await;
    (one, other)
}

#[tokio::test]
async fn a_trusted_node_finds_the_asset_and_reads_its_bytes() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    asker.trusts(&holder);
    let here = asker.store("acme", b"here").await;
    for length in [0, 1, 16_384, 16_385, 3_000_000] {
        let bytes = content(1, length);
        let there = holder.store("acme", &bytes).await;
        let found = asker.nvcf.resolve("acme", &[there, here, there], SOON).await.unwrap();
        assert_eq!(found.iter().map(|asset| asset.id).collect::<Vec<_>>(), [there, here]);
        assert_eq!((found[0].blob, found[0].size), (AssetId::of(&bytes), length as u64));
        assert_eq!(found[0].content_type, "image/png");
        assert!(asker.read(&found[0]).await.unwrap() == bytes, "{length}");
    }
    assert_eq!(asker.blobs.stats().unwrap().blobs, 1, "nothing foreign is stored");
}

#[tokio::test]
async fn trust_is_needed_on_both_sides() {
    for (holder_trusts, asker_trusts) in [(false, false), (true, false), (false, true)] {
        let (holder, asker) = pair().await;
        let id = holder.store("acme", b"secret").await;
        if holder_trusts {
            holder.trusts(&asker);
        }
        if asker_trusts {
            asker.trusts(&holder);
        }
        let found = asker.nvcf.resolve("acme", &[id], SOON).await;
        match found {
            Err(Error::NotFound(missing)) if !asker_trusts => assert_eq!(missing, id),
            Err(Error::Unanswered { id: missing, silence }) if asker_trusts => {
                assert_eq!(missing, id);
                assert_eq!(silence, Silence { silent: Vec::new(), distrusting: vec![holder.key] });
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_is_not_trusted_gets_neither_answer_nor_bytes() {
    let (holder, asker) = pair().await;
    let bytes = content(1, 40_000);
    let id = holder.store("acme", &bytes).await;
    let ask = NvcfAsk::new("acme", &[id]).encode().unwrap();
    let answer = asker.swarm.request(holder.key, Service::Nvcf, ask, SOON).await.unwrap();
    assert_eq!(NvcfAnswer::decode(&answer).unwrap(), NvcfAnswer::Refused(NvcfRefusal::Forbidden));
    let resolved = nvcf::Resolved::there(id, AssetId::of(&bytes), 40_000, holder.key);
    assert!(matches!(asker.read(&resolved).await, Err(Error::Fetch(fetch::Error::Failed(_)))));
    holder.trusts(&asker);
    assert!(asker.read(&resolved).await.unwrap() == bytes);
}

#[tokio::test]
async fn what_only_an_account_has_is_never_found_publicly() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    asker.trusts(&holder);
    let bytes = content(1, 40_000);
    let id = holder.store("acme", &bytes).await;
    let found = asker.nvcf.resolve("acme", &[id], SOON).await.unwrap();
    asker.read(&found[0]).await.unwrap();
    let public = asker.fetch.find(AssetId::of(&bytes)).await;
    assert!(matches!(public, Err(fetch::Error::NotFound(_))), "{public:?}");
    assert!(holder.catalog.object(&AssetId::of(&bytes)).unwrap().is_none());
}

#[tokio::test]
async fn another_account_or_an_expired_asset_is_not_found_there_either() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    asker.trusts(&holder);
    let id = holder.store("acme", b"secret").await;
    for account in ["acme2", "acm", "other"] {
        let found = asker.nvcf.resolve(account, &[id], SOON).await;
        assert!(matches!(found, Err(Error::NotFound(_))), "{account}: {found:?}");
    }
    assert!(asker.nvcf.resolve("acme", &[id], SOON).await.is_ok());
    holder.pass(24 * HOUR);
    assert!(matches!(asker.nvcf.resolve("acme", &[id], SOON).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_false_size_or_hash_is_seen_before_the_end() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    let bytes = content(1, 100_000);
    let id = holder.store("acme", &bytes).await;
    for size in [99_999, 100_001, 16_384, 1, 200_000] {
        let resolved = nvcf::Resolved::there(id, AssetId::of(&bytes), size, holder.key);
        assert!(asker.read(&resolved).await.is_err(), "{size}");
    }
    let resolved = nvcf::Resolved::there(id, AssetId::of(b"other"), 100_000, holder.key);
    assert!(asker.read(&resolved).await.is_err());
}

#[tokio::test]
async fn bytes_come_from_the_next_who_has_them() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    let bytes = content(1, 1_000_000);
    let id = holder.store("acme", &bytes).await;
    let absent = Member::start(&[]).key;
    let resolved = nvcf::Resolved::there(id, AssetId::of(&bytes), 1_000_000, absent).or_at(holder.key);
    assert!(asker.read(&resolved).await.unwrap() == bytes);
    // Gone there meanwhile: an error, and never a short content.
    holder.nvcf.delete("acme", id).await.unwrap();
    assert!(asker.read(&resolved).await.is_err());
}

/// Three nodes that trust each other, the last of which answers no question for input assets.
async fn with_a_silent_one() -> (Member, Member, Member, mpsc::Receiver<Request>) {
    let (holder, silent) = (Member::start(&[]), Member::start(&[]));
    let asker = Member::start(&[&holder, &silent]);
    asker.sees(&[&holder, &silent]).await;
    holder.sees(&[&asker]).await;
    silent.sees(&[&asker]).await;
    for (one, other) in [(&asker, &holder), (&holder, &asker), (&asker, &silent), (&silent, &asker)] {
        one.trusts(other);
    }
    let (to, unread) = mpsc::channel(64);
    silent.swarm.attach_service(Service::Nvcf, to);
    (holder, asker, silent, unread)
}

#[tokio::test]
async fn who_is_silent_holds_up_nothing_that_was_found() {
    let (holder, asker, silent, _unread) = with_a_silent_one().await;
    let ids = [holder.store("acme", b"one").await, holder.store("acme", b"other").await];
    let resolving = asker.nvcf.resolve("acme", &ids, WITHIN);
    // The link gives a question up after 15 s.
    let found = tokio::time::timeout(WITHIN / 10, resolving).await.expect("it waits for the silent one");
    assert_eq!(found.unwrap().len(), 2);
    drop(silent);
}

#[tokio::test]
async fn what_is_nowhere_is_waited_for_once_and_who_was_silent_is_named() {
    let (holder, asker, slow, mut asked) = with_a_silent_one().await;
    // Three questions to each, of which the slow one answers each in time by itself.
    let mut ids: Vec<Uuid> = (1..=600).map(Uuid::from_u128).collect();
    ids.push(holder.store("acme", b"one").await);
    let answering = async {
        while let Some(Request { answer, .. }) = asked.recv().await {
            tokio::time::sleep(Duration::from_millis(800)).await;
            answer.send(NvcfAnswer::Held(Vec::new()).encode().unwrap()).ok();
        }
    };
    let begun = Instant::now();
    let found = tokio::select! {
        found = asker.nvcf.resolve("acme", &ids, Duration::from_millis(1200)) => found,
        () = answering => panic!("nobody asks any more"),
    };
    let Err(Error::Unanswered { id, silence }) = found else { panic!("{found:?}") };
    assert_eq!(id, ids[0]);
    assert!(begun.elapsed() < Duration::from_millis(2 * 800), "one deadline for all questions");
    assert!(silence.silent.contains(&slow.key) && silence.distrusting.is_empty(), "{silence:?}");
}

#[tokio::test]
async fn damage_is_mended_with_what_another_node_has_for_all() {
    let (one, other) = pair().await;
    let bytes = content(1, 3_000_000);
    let id = one.store("acme", &bytes).await;
    let flip = |dir: &Path| {
        let path = dir.join("blobs.redb");
        let mut file = std::fs::read(&path).unwrap();
        let damaged = &bytes[1_500_000..1_500_100];
        let at = file.windows(damaged.len()).position(|window| window == damaged).unwrap();
        file[at] ^= 1;
        std::fs::write(&path, file).unwrap();
    };
    let one = one.restart_with(&[&other], flip).await;
    one.sees(&[&other]).await;
    other.sees(&[&one]).await;
    let found = one.nvcf.resolve("acme", &[id], SOON).await.unwrap();
    let nobody = one.read(&found[0]).await;
    assert!(
        matches!(nobody, Err(Error::Fetch(fetch::Error::Blobs(_)))),
        "{:?}",
        nobody.map(|read| read.len())
    );
    other.publish(&bytes).await;
    assert!(one.read(&found[0]).await.unwrap() == bytes);
    assert_eq!(one.blobs.metrics().groups_mended(), 1);
}

#[tokio::test]
async fn too_many_at_once_are_asked_for_in_parts() {
    let (holder, asker) = pair().await;
    holder.trusts(&asker);
    asker.trusts(&holder);
    let storing = (0..300).map(|_| holder.store("acme", b"same"));
    let ids: Vec<Uuid> = futures_util::future::join_all(storing).await;
    let found = asker.nvcf.resolve("acme", &ids, SOON).await.unwrap();
    assert_eq!(found.len(), 300);
}
