//! Requests: answered, refused, too large, too late, too many.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::kit::{self, Member, WITHIN, settings, within};
use crate::swarm::{ANSWER_BYTES_MAX, Error, REQUEST_BYTES_MAX, Service};

async fn pair() -> (Member, Member) {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    second.linked_to(&[first.key]).await;
    (second, first)
}

#[tokio::test]
async fn a_request_is_answered_by_the_service_it_is_for() {
    let (asker, peer) = pair().await;
    let mut registry = peer.serve(Service::Registry, 8);
    let mut query = peer.serve(Service::Query, 8);
    let ask = |service, body: &[u8]| asker.swarm.request(peer.key, service, body.to_vec(), WITHIN);
    let answers = async {
        let request = registry.recv().await.unwrap();
        assert_eq!((request.from, request.body.as_slice()), (asker.key, &b"r"[..]));
        request.answer.send(b"registry".to_vec()).unwrap();
        let request = query.recv().await.unwrap();
        assert_eq!(request.body, b"q");
        request.answer.send(Vec::new()).unwrap();
    };
    let asked = async {
        assert_eq!(ask(Service::Registry, b"r").await, Ok(b"registry".to_vec()));
        assert_eq!(ask(Service::Query, b"q").await, Ok(Vec::new()));
    };
    within(async { tokio::join!(answers, asked) }).await;
}

#[tokio::test]
async fn the_longest_request_and_answer_pass_and_longer_ones_do_not() {
    let (asker, peer) = pair().await;
    let mut requests = peer.serve(Service::Registry, 8);
    let body = vec![1; REQUEST_BYTES_MAX];
    let answer = async {
        for length in [ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 1] {
            let request = requests.recv().await.unwrap();
            assert_eq!(request.body.len(), REQUEST_BYTES_MAX);
            request.answer.send(vec![2; length]).unwrap();
        }
    };
    let ask = async {
        let answer = asker.swarm.request(peer.key, Service::Registry, body.clone(), WITHIN).await.unwrap();
        assert_eq!(answer.len(), ANSWER_BYTES_MAX);
        let refused = asker.swarm.request(peer.key, Service::Registry, body.clone(), WITHIN).await;
        assert_eq!(refused, Err(Error::Refused));
    };
    within(async { tokio::join!(answer, ask) }).await;
    let longer = vec![1; REQUEST_BYTES_MAX + 1];
    let error = asker.swarm.request(peer.key, Service::Registry, longer, WITHIN).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { bytes_max: REQUEST_BYTES_MAX, .. }));
}

#[tokio::test]
async fn a_stream_to_a_peer_without_a_link_makes_one() {
    let (asker, peer) = (Member::start(settings()).await, Member::start(settings()).await);
    let unknown = asker.swarm.open_stream(peer.key, WITHIN).await.unwrap_err();
    assert!(matches!(unknown, Error::Unreachable(_)), "{unknown:?}");
    let (to, mut streams) = tokio::sync::mpsc::channel(64);
    peer.swarm.attach_streams(to);
    asker.swarm.know(peer.key, peer.swarm.listen_addrs()).await;
    // All of them wait for the same dial.
    let opened: FuturesUnordered<_> = (0..20).map(|_| asker.swarm.open_stream(peer.key, WITHIN)).collect();
    let opened: Vec<_> = within(opened.collect()).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    drop(opened);
    assert_eq!(within(streams.recv()).await.unwrap().from, asker.key);
}

#[tokio::test]
async fn a_stream_to_a_peer_that_is_gone_fails_at_once() {
    let (asker, peer) = (Member::start(settings()).await, Member::start(settings()).await);
    let (key, addresses) = (peer.key, peer.swarm.listen_addrs());
    drop(peer.stop().await);
    asker.swarm.know(key, addresses).await;
    let failed = within(asker.swarm.open_stream(key, WITHIN * 2)).await.unwrap_err();
    assert!(matches!(failed, Error::Unreachable(_)), "{failed:?}");
}

#[tokio::test]
async fn a_request_that_nobody_takes_is_refused() {
    let (asker, peer) = pair().await;
    let ask = || within(asker.swarm.request(peer.key, Service::Forward, vec![1], WITHIN));
    assert_eq!(ask().await, Err(Error::Refused));
    let mut requests = peer.serve(Service::Forward, 8);
    let drop_one = async { drop(requests.recv().await) };
    assert_eq!(tokio::join!(ask(), drop_one).0, Err(Error::Refused));
    drop(requests);
    assert_eq!(ask().await, Err(Error::Refused));
}

#[tokio::test]
async fn a_full_mailbox_is_answered_busy_at_once() {
    let (asker, peer) = pair().await;
    let mut requests = peer.serve(Service::Query, 1);
    let ask = || asker.swarm.request(peer.key, Service::Query, vec![1], WITHIN);
    let mut asked: FuturesUnordered<_> = [ask(), ask()].into_iter().collect();
    assert_eq!(within(asked.next()).await, Some(Err(Error::Busy)));
    let request = within(requests.recv()).await.unwrap();
    request.answer.send(vec![9]).unwrap();
    assert_eq!(within(asked.next()).await, Some(Ok(vec![9])));
}

#[tokio::test]
async fn an_answer_that_is_late_is_not_waited_for() {
    let (asker, peer) = pair().await;
    let mut requests = peer.serve(Service::Registry, 8);
    let soon = Duration::from_millis(50);
    let late = asker.swarm.request(peer.key, Service::Registry, vec![1], soon).await;
    assert_eq!(late, Err(Error::Timeout(soon)));
    // The late answer of the first does not become that of the second.
    let answers = async {
        for number in 1..=2 {
            let request = requests.recv().await.unwrap();
            request.answer.send(vec![number]).unwrap();
        }
    };
    let ask = asker.swarm.request(peer.key, Service::Registry, vec![2], WITHIN);
    assert_eq!(within(async { tokio::join!(ask, answers) }).await.0, Ok(vec![2]));
}

#[tokio::test]
async fn a_peer_that_answers_nothing_holds_few_requests() {
    let (asker, peer) = pair().await;
    let _silent = peer.serve(Service::Query, 100);
    let soon = Duration::from_millis(500);
    let many = (0..60).map(|_| asker.swarm.request(peer.key, Service::Query, vec![1], soon));
    let answers = futures_util::future::join_all(many).await;
    let busy = answers.iter().filter(|answer| **answer == Err(Error::Busy)).count();
    let late = answers.iter().filter(|answer| **answer == Err(Error::Timeout(soon))).count();
    assert_eq!((busy, late), (60 - crate::swarm::limits::ASKING_PER_PEER_MAX, 60 - busy));
}

#[tokio::test]
async fn a_peer_that_is_not_linked_is_dialled_for_a_request_if_its_address_is_known() {
    let asker = Member::start(settings()).await;
    let peer = Member::start(settings()).await;
    let mut requests = peer.serve(Service::Forward, 8);
    let ask = || within(asker.swarm.request(peer.key, Service::Forward, vec![1], WITHIN));
    assert!(matches!(ask().await, Err(Error::Unreachable(_))));
    asker.swarm.know(peer.key, peer.swarm.listen_addrs()).await;
    let answer = async { requests.recv().await.unwrap().answer.send(vec![2]).unwrap() };
    assert_eq!(tokio::join!(ask(), answer).0, Ok(vec![2]));
}

#[tokio::test]
async fn a_peer_that_has_gone_is_unreachable_before_the_deadline() {
    let (asker, peer) = pair().await;
    let key = peer.key;
    peer.stop().await;
    asker.linked_to(&[]).await;
    let error = within(asker.swarm.request(key, Service::Forward, vec![1], WITHIN)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error}");
}
