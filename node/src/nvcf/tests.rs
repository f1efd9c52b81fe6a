//! Input assets on real stores, by clocks that are set by hand; and between nodes that trust each other, or do not.

mod between;
mod uploads;

use super::test_kit::{HOUR, Member, START, content};
use super::*;
use crate::nvcf::tables::tests::{damage, lengths};

const DAY: u64 = 24 * HOUR;
const YEARS: u64 = 3 * 365 * DAY;

#[tokio::test]
async fn an_asset_is_seen_from_its_upload_on() {
    let node = Member::start(&[]);
    let (id, ticket) = node.create("acme").await;
    assert!(matches!(node.nvcf.get("acme", id), Err(Error::NotFound(missing)) if missing == id));
    assert!(node.ids("acme").await.is_empty());
    let bytes = content(1, 3_000_000);
    let asset = node.put(&ticket, &bytes).await.unwrap();
    assert_eq!(asset, node.nvcf.get("acme", id).unwrap());
    assert_eq!(asset.content, Some((AssetId::of(&bytes), 3_000_000)));
    assert_eq!(asset.created_ms, START);
    assert_eq!(asset.created_at(), "2027-01-15T08:00:00.000Z");
    assert_eq!(node.ids("acme").await, [id]);
    let node = node.restart().await;
    assert_eq!(asset, node.nvcf.get("acme", id).unwrap());
    assert_eq!(node.blobs_left().await, 1, "the sweep of blobs took it for an orphan");
}

#[tokio::test]
async fn an_asset_is_gone_a_day_after_its_creation_and_so_are_its_bytes() {
    let node = Member::start(&[]);
    let (id, ticket) = node.create("acme").await;
    node.pass(HOUR / 2);
    node.put(&ticket, b"content").await.unwrap();
    node.pass(DAY - HOUR / 2 - 1);
    assert_eq!(node.ids("acme").await, [id]);
    node.nvcf.sweep().await.unwrap();
    assert!(node.nvcf.get("acme", id).is_ok());
    node.pass(1);
    assert!(node.ids("acme").await.is_empty());
    assert!(matches!(node.nvcf.get("acme", id), Err(Error::NotFound(_))));
    assert!(matches!(node.nvcf.delete("acme", id).await, Err(Error::NotFound(_))));
    assert!(node.nvcf.resolve("acme", &[id], Duration::from_secs(1)).await.is_err());
    node.nvcf.sweep().await.unwrap();
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0; 4], 0));
}

#[tokio::test]
async fn an_upload_url_is_good_for_an_hour() {
    let node = Member::start(&[]);
    let (_, ticket) = node.create("acme").await;
    node.pass(HOUR - 1);
    let slot = node.nvcf.admit(&ticket).unwrap();
    node.pass(1);
    assert!(matches!(node.nvcf.admit(&ticket), Err(Error::Refused(_))));
    // One that began in time may end.
    node.nvcf.sweep().await.unwrap();
    let mut upload = node.nvcf.begin(slot, None).unwrap();
    upload.write(bytes::Bytes::from_static(b"late")).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(node.ids("acme").await.len(), 1);
    // And one that never began is forgotten.
    node.create("acme").await;
    node.pass(2 * HOUR);
    node.nvcf.sweep().await.unwrap();
    assert_eq!(lengths(node.store_of_rows()), [0, 1, 1, 1]);
}

#[tokio::test]
async fn a_wall_clock_that_leaps_by_years_and_back_destroys_nothing() {
    let node = Member::start(&[]);
    let id = node.store("acme", b"content").await;
    node.set_wall(START + YEARS);
    assert!(node.ids("acme").await.is_empty(), "it is hidden at once");
    node.nvcf.sweep().await.unwrap();
    let node = node.restart().await;
    node.nvcf.sweep().await.unwrap();
    assert_eq!(node.blobs_left().await, 1);
    node.set_wall(START + HOUR);
    assert_eq!(node.ids("acme").await, [id]);
}

#[tokio::test]
async fn after_a_true_leap_what_was_made_before_it_was_believed_lives_its_whole_day() {
    let node = Member::start(&[]);
    let old = node.store("acme", b"old").await;
    // Off for 40 days; a node believes that after an hour.
    node.set_wall(START + 40 * DAY);
    let node = node.restart().await;
    let (new, (waiting, ticket)) = (node.store("acme", b"new").await, node.create("acme").await);
    node.pass(HOUR - 1);
    node.nvcf.sweep().await.unwrap();
    assert_eq!((node.ids("acme").await, node.blobs_left().await), (vec![new], 2));
    node.pass(1);
    node.nvcf.sweep().await.unwrap();
    assert_eq!((node.ids("acme").await, node.blobs_left().await), (vec![new], 1), "{old} alone is over");
    assert!(matches!(node.nvcf.admit(&ticket), Err(Error::Refused(_))), "its hour is over");
    assert_eq!(lengths(node.store_of_rows()), [1, 1, 1, 2]);
    let node = node.restart().await;
    node.pass(HOUR);
    node.nvcf.sweep().await.unwrap();
    assert_eq!(lengths(node.store_of_rows()), [0, 1, 1, 1], "{waiting} is over");
    node.pass(22 * HOUR - 1);
    node.nvcf.sweep().await.unwrap();
    assert_eq!(node.ids("acme").await, [new]);
    node.pass(1);
    node.nvcf.sweep().await.unwrap();
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0; 4], 0));
}

#[tokio::test]
async fn a_wall_clock_that_goes_back_prolongs_nothing() {
    let node = Member::start(&[]);
    node.store("acme", b"content").await;
    node.pass(20 * HOUR);
    node.nvcf.sweep().await.unwrap();
    node.set_wall(START - YEARS);
    let node = node.restart().await;
    node.pass(4 * HOUR - 1);
    assert_eq!(node.ids("acme").await.len(), 1);
    node.pass(1);
    assert!(node.ids("acme").await.is_empty());
    // One that is made while the clock is wrong lives for a day as well, and no longer when it is right again.
    let id = node.store("acme", b"other").await;
    node.pass(DAY - 1);
    assert_eq!(node.ids("acme").await, [id]);
    node.set_wall(START + 30 * DAY);
    assert!(node.ids("acme").await.is_empty());
}

#[tokio::test]
async fn one_that_is_made_while_the_clock_is_years_ahead_does_not_live_for_years() {
    let node = Member::start(&[]);
    node.set_wall(START + YEARS);
    let id = node.store("acme", b"content").await;
    node.set_wall(START);
    assert_eq!(node.ids("acme").await, [id]);
    node.pass(DAY);
    assert!(node.ids("acme").await.is_empty());
    node.nvcf.sweep().await.unwrap();
    assert_eq!(node.blobs_left().await, 0);
}

#[tokio::test]
async fn no_account_sees_or_deletes_what_another_has() {
    let node = Member::start(&[]);
    let accounts = ["acme", "acme2", "acm", "ACME", "acme/", "other"];
    let mut ids = Vec::new();
    for account in accounts {
        ids.push(node.store(account, account.as_bytes()).await);
        node.create(account).await;
    }
    for (own, account) in ids.iter().zip(accounts) {
        assert_eq!(node.ids(account).await, [*own]);
        for other in ids.iter().filter(|other| *other != own) {
            assert!(matches!(node.nvcf.get(account, *other), Err(Error::NotFound(_))), "{account}");
            assert!(matches!(node.nvcf.delete(account, *other).await, Err(Error::NotFound(_))), "{account}");
            let both = node.nvcf.resolve(account, &[*own, *other], Duration::from_secs(1)).await;
            assert!(matches!(both, Err(Error::NotFound(missing)) if missing == *other), "{account}");
        }
    }
    assert_eq!(node.blobs_left().await, 6);
}

#[tokio::test]
async fn a_ticket_is_good_for_one_content() {
    let node = Member::start(&[]);
    let (id, ticket) = node.create("acme").await;
    let bytes = content(1, 100_000);
    let first = node.put(&ticket, &bytes).await.unwrap();
    assert_eq!(node.put(&ticket, &bytes).await.unwrap(), first, "a repeated upload is safe");
    for other in [content(2, 100_000), content(1, 99_999), content(1, 100_001), content(3, 1_000_000)] {
        assert!(matches!(node.put(&ticket, &other).await, Err(Error::OtherContent)), "{}", other.len());
    }
    assert_eq!(node.nvcf.get("acme", id).unwrap(), first);
    node.nvcf.delete("acme", id).await.unwrap();
    assert!(matches!(node.put(&ticket, &bytes).await, Err(Error::Refused(_))), "after the delete");
    assert!(matches!(node.nvcf.delete("acme", id).await, Err(Error::NotFound(_))));
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0; 4], 0));
}

#[tokio::test]
async fn of_two_uploads_at_once_the_first_to_end_counts() {
    let node = Member::start(&[]);
    let (_, ticket) = node.create("acme").await;
    let mut slow = node.nvcf.begin(node.nvcf.admit(&ticket).unwrap(), None).unwrap();
    slow.write(content(1, 50_000).into()).await.unwrap();
    node.put(&ticket, b"fast").await.unwrap();
    assert!(matches!(slow.finish().await, Err(Error::OtherContent)));
    assert_eq!(node.blobs_left().await, 1);
}

#[tokio::test]
async fn a_broken_or_too_large_upload_leaves_nothing() {
    let node = Member::start_with(&[], Config { bytes_max: 2_000_000, ..Config::default() });
    let (id, ticket) = node.create("acme").await;
    let mut broken = node.nvcf.begin(node.nvcf.admit(&ticket).unwrap(), None).unwrap();
    broken.write(content(1, 1_900_000).into()).await.unwrap();
    drop(broken);
    assert!(matches!(node.put(&ticket, &content(1, 2_000_001)).await, Err(Error::TooLarge(2_000_000))));
    assert_eq!(node.blobs_left().await, 0);
    assert!(node.nvcf.get("acme", id).is_err() && node.ids("acme").await.is_empty());
    node.put(&ticket, &content(1, 2_000_000)).await.unwrap();
    // One whose asset is deleted while its bytes come.
    let (id, ticket) = node.create("acme").await;
    let mut late = node.nvcf.begin(node.nvcf.admit(&ticket).unwrap(), None).unwrap();
    late.write(content(2, 1_000_000).into()).await.unwrap();
    node.nvcf.delete("acme", id).await.unwrap();
    assert!(matches!(late.finish().await, Err(Error::Refused(_))));
    assert_eq!(node.blobs_left().await, 1);
}

#[tokio::test]
async fn equal_bytes_stay_until_the_last_who_names_them_goes() {
    for public_goes_first in [true, false] {
        let node = Member::start(&[]);
        let bytes = content(1, 40_000);
        let uri = node.publish(&bytes).await;
        let first = node.store("acme", &bytes).await;
        let second = node.store("other", &bytes).await;
        assert_eq!(node.blobs.stats().unwrap().blobs, 1);
        if public_goes_first {
            node.catalog.delete(&uri).await.unwrap();
        }
        node.nvcf.delete("acme", first).await.unwrap();
        assert_eq!(node.blobs_left().await, 1);
        let found = node.nvcf.resolve("other", &[second], Duration::from_secs(1)).await.unwrap();
        assert_eq!(node.read(&found[0]).await.unwrap(), bytes);
        node.nvcf.delete("other", second).await.unwrap();
        assert_eq!(node.blobs_left().await, u64::from(!public_goes_first));
        if !public_goes_first {
            node.catalog.delete(&uri).await.unwrap();
        }
        assert_eq!(node.blobs.stats().unwrap().blobs, 0);
    }
}

#[tokio::test]
async fn an_account_may_have_so_many_waiting_and_no_more() {
    let node = Member::start_with(&[], Config { waiting_max: 3, ..Config::default() });
    let (first, ticket) = node.create("acme").await;
    for _ in 0..2 {
        node.create("acme").await;
    }
    let refused = |made: Result<_, Error>| matches!(made.map(drop), Err(Error::TooManyWaiting(3)));
    assert!(refused(node.nvcf.create("acme", "a/b", "c").await));
    node.create("other").await;
    node.put(&ticket, b"content").await.unwrap();
    let (waiting, _) = node.create("acme").await;
    let node = node.restart().await;
    assert!(refused(node.nvcf.create("acme", "a/b", "c").await), "the count survives");
    node.nvcf.delete("acme", first).await.unwrap();
    assert!(refused(node.nvcf.create("acme", "a/b", "c").await), "that one did not wait");
    node.nvcf.delete("acme", waiting).await.unwrap();
    node.create("acme").await;
    node.pass(2 * HOUR);
    node.nvcf.sweep().await.unwrap();
    for _ in 0..3 {
        node.create("acme").await;
    }
}

#[tokio::test]
async fn a_list_is_read_in_pages_in_the_order_of_creation() {
    let node = Member::start(&[]);
    let mut expected = Vec::new();
    for number in 0..25_u8 {
        expected.push(node.store("acme", &[number]).await);
        node.store("acme2", &[number]).await;
        node.pass(1);
    }
    for limit in [1, 7, 24, 25, 26] {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let (assets, next) = node.nvcf.list("acme", after, limit).await.unwrap();
            assert!(assets.len() <= limit && (next.is_none() || !assets.is_empty()));
            ids.extend(assets.iter().map(|asset| asset.id));
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, expected, "by {limit}");
    }
}

#[tokio::test]
async fn a_damaged_row_is_not_served_and_can_be_removed() {
    let node = Member::start(&[]);
    let (bad, good) = (node.store("acme", b"bad").await, node.store("acme", b"good").await);
    damage(node.store_of_rows(), &Key::new(AccountTag::of("acme"), bad));
    assert!(matches!(node.nvcf.get("acme", bad), Err(Error::Damaged(_))));
    assert_eq!(node.ids("acme").await, [good]);
    node.nvcf.delete("acme", bad).await.unwrap();
    assert!(matches!(node.nvcf.get("acme", bad), Err(Error::NotFound(_))));
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0, 1, 1, 1], 1));
    damage(node.store_of_rows(), &Key::new(AccountTag::of("acme"), good));
    node.pass(DAY);
    node.nvcf.sweep().await.unwrap();
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0; 4], 0));
}

#[tokio::test]
async fn more_than_one_sweep_takes_out_at_once_goes_all_the_same() {
    let node = Member::start(&[]);
    let creating = (0..600).map(|number: u32| {
        let node = &node;
        async move { node.store("acme", &number.to_le_bytes()).await }
    });
    futures_util::future::join_all(creating).await;
    assert_eq!(lengths(node.store_of_rows()), [0, 600, 600, 600]);
    node.pass(DAY);
    assert_eq!(node.nvcf.sweep().await.unwrap(), 600);
    assert_eq!((lengths(node.store_of_rows()), node.blobs_left().await), ([0; 4], 0));
}

#[tokio::test]
async fn verify_names_each_fault_and_each_blob() {
    let verify = |node: &Member| {
        let (mut faults, mut blobs) = (Vec::new(), Vec::new());
        super::verify(node.store_of_rows(), &mut |fault| faults.push(fault), &mut |blob| blobs.push(blob));
        // Assets of one millisecond have no order.
        blobs.sort_unstable();
        (faults, blobs)
    };
    let node = Member::start(&[]);
    let (good, bad) = (node.store("acme", b"good").await, node.store("acme", b"bad").await);
    node.create("acme").await;
    let (faults, blobs) = verify(&node);
    let mut stored = vec![AssetId::of(b"good"), AssetId::of(b"bad")];
    stored.sort_unstable();
    assert_eq!((faults, blobs), (Vec::new(), stored));
    damage(node.store_of_rows(), &Key::new(AccountTag::of("acme"), bad));
    let (faults, blobs) = verify(&node);
    assert_eq!(
        (faults, blobs),
        (vec![format!("input asset {bad}: its row is damaged")], vec![AssetId::of(b"good")])
    );
    tables::tests::forget(node.store_of_rows(), &Key::new(AccountTag::of("acme"), good));
    let (faults, _) = verify(&node);
    assert!(faults.iter().any(|fault| fault.contains("does not have blob")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("another end is noted")), "{faults:?}");
}
