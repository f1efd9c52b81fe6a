//! How many uploads there may be, how long, and of how much; and what is counted of them.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::nvcf::test_kit::{HOUR, Member, content};
use crate::nvcf::{Config, Error, Refusal};

#[tokio::test]
async fn two_uploads_of_an_asset_may_be_under_way_and_no_third() {
    let node = Member::start(&[]);
    let ((_, ticket), (_, other)) = (node.create("acme").await, node.create("acme").await);
    let begin = |ticket| node.nvcf.begin(node.nvcf.admit(ticket).unwrap(), None);
    let (mut first, second) = (begin(&ticket).unwrap(), begin(&ticket).unwrap());
    first.write(content(1, 50_000).into()).await.unwrap();
    assert!(matches!(begin(&ticket), Err(Error::Busy)));
    assert!(begin(&other).is_ok());
    drop(second);
    let second = begin(&ticket).unwrap();
    first.finish().await.unwrap();
    // What repeats it counts as well.
    let third = begin(&ticket).unwrap();
    assert!(matches!(begin(&ticket), Err(Error::Busy)));
    drop((second, third));
    assert!(begin(&ticket).is_ok());
    assert_eq!(node.blobs_left().await, 1);
}

#[tokio::test]
async fn an_upload_ends_with_its_asset() {
    let node = Member::start(&[]);
    let (_, ticket) = node.create("acme").await;
    let mut upload = node.nvcf.begin(node.nvcf.admit(&ticket).unwrap(), None).unwrap();
    node.pass(2 * HOUR - 1);
    upload.write(content(1, 50_000).into()).await.unwrap();
    node.pass(1);
    let written = upload.write(content(2, 50_000).into()).await;
    assert!(matches!(written, Err(Error::Refused(Refusal::TooLate))), "{written:?}");
    drop(upload);
    assert_eq!(node.blobs_left().await, 0);
}

#[tokio::test]
async fn an_account_may_have_so_many_assets_and_bytes_and_no_more() {
    let config = Config { assets_max: 3, account_bytes_max: 100, ..Config::default() };
    let node = Member::start_with(&[], config);
    let create = async |node: &Member| node.nvcf.create("acme", "a/b", "c").await.map(drop);
    let id = node.store("acme", &content(1, 60)).await;
    let (_, ticket) = node.create("acme").await;
    assert!(matches!(node.put(&ticket, &content(2, 41)).await, Err(Error::TooManyBytes(100))));
    node.put(&ticket, &content(2, 40)).await.unwrap();
    assert!(matches!(create(&node).await, Err(Error::TooManyBytes(100))));
    node.nvcf.delete("acme", id).await.unwrap();
    let (waiting, _) = node.create("acme").await;
    let (_, large) = node.create("acme").await;
    let node = node.restart().await;
    assert!(
        matches!(create(&node).await, Err(Error::TooManyAssets(3))),
        "what is there counts after a start"
    );
    assert!(matches!(node.put(&large, &content(3, 61)).await, Err(Error::TooManyBytes(100))));
    node.store("other", &content(3, 100)).await;
    node.nvcf.delete("acme", waiting).await.unwrap();
    create(&node).await.unwrap();
    node.pass(24 * HOUR);
    node.nvcf.sweep().await.unwrap();
    create(&node).await.unwrap();
}

#[tokio::test]
async fn what_is_held_and_what_was_refused_is_counted() {
    let config = Config { bytes_max: 1_000, account_bytes_max: 1_500, ..Config::default() };
    let node = Member::start_with(&[], config);
    let mut registry = Registry::default();
    node.nvcf.register(&mut registry);
    node.store("acme", &content(1, 900)).await;
    let (_, ticket) = node.create("acme").await;
    assert!(node.put(&ticket, &content(2, 700)).await.is_err());
    assert!(node.put(&ticket, &content(2, 1_001)).await.is_err());
    assert!(node.nvcf.begin(node.nvcf.admit(&ticket).unwrap(), Some(1_001)).is_err());
    let told = |lines: &[&str]| {
        let mut figures = String::new();
        text::encode(&mut figures, &registry).unwrap();
        for line in lines {
            assert!(figures.lines().any(|figure| figure == *line), "{line} in\n{figures}");
        }
    };
    told(&[
        "nvcf_assets 1",
        "nvcf_assets_waiting 1",
        "nvcf_assets_bytes 900",
        "nvcf_assets_created_total 2",
        "nvcf_uploads_refused_total{reason=\"quota\"} 1",
        "nvcf_uploads_refused_total{reason=\"too_large\"} 2",
    ]);
    node.pass(24 * HOUR);
    assert!(node.put(&ticket, b"late").await.is_err());
    node.nvcf.sweep().await.unwrap();
    told(&[
        "nvcf_assets 0",
        "nvcf_assets_waiting 0",
        "nvcf_assets_bytes 0",
        "nvcf_assets_expired_total 2",
        "nvcf_uploads_refused_total{reason=\"expired\"} 1",
    ]);
}

#[tokio::test]
async fn an_account_at_its_limit_is_refused_before_its_body_is_read() {
    let config = Config { account_bytes_max: 100, ..Config::default() };
    let node = Member::start_with(&[], config);
    let (_, ticket) = node.create("acme").await;
    let begin = |ticket, length| node.nvcf.begin(node.nvcf.admit(ticket).unwrap(), length);
    let first = node.store("acme", &content(1, 100)).await;
    assert!(matches!(begin(&ticket, Some(1)), Err(Error::TooManyBytes(100))));
    let mut unsized_ = begin(&ticket, None).unwrap();
    let written = unsized_.write(content(2, 1).into()).await;
    assert!(matches!(written, Err(Error::TooManyBytes(100))), "{written:?}");
    drop(unsized_);
    let (_, other) = node.create("other").await;
    assert!(begin(&other, Some(100)).is_ok(), "another account has its own");
    node.nvcf.delete("acme", first).await.unwrap();
    assert!(begin(&ticket, Some(100)).is_ok());
    assert_eq!(node.blobs_left().await, 0);
}

#[tokio::test]
async fn of_uploads_at_the_same_time_only_what_fits_goes_on() {
    let config = Config { account_bytes_max: 100, ..Config::default() };
    let node = Member::start_with(&[], config);
    let begin = |ticket, length| node.nvcf.begin(node.nvcf.admit(ticket).unwrap(), length);
    let mut tickets = Vec::new();
    for _ in 0..4 {
        tickets.push(node.create("acme").await.1);
    }
    let mut first = begin(&tickets[0], Some(60)).unwrap();
    assert!(matches!(begin(&tickets[1], Some(41)), Err(Error::TooManyBytes(100))));
    let again = begin(&tickets[0], Some(60)).expect("one that hangs does not stand in its own way");
    // Without a length what has come counts.
    let mut second = begin(&tickets[1], None).unwrap();
    second.write(content(2, 30).into()).await.unwrap();
    assert!(matches!(begin(&tickets[2], Some(11)), Err(Error::TooManyBytes(100))));
    let third = begin(&tickets[2], Some(10)).unwrap();
    assert!(matches!(second.write(content(3, 1).into()).await, Err(Error::TooManyBytes(100))));
    // What is stored counts once, also beside its other upload.
    first.write(content(1, 60).into()).await.unwrap();
    first.finish().await.unwrap();
    drop((second, third));
    let rest = begin(&tickets[3], Some(40)).unwrap();
    assert!(matches!(begin(&tickets[2], Some(1)), Err(Error::TooManyBytes(100))));
    drop((again, rest));
    begin(&tickets[2], Some(40)).unwrap();
}
