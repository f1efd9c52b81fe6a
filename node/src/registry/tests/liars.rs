//! Peers that send what no honest one sends: it is not believed, and held against them.

use super::*;

#[tokio::test]
async fn an_owner_that_answers_with_something_else_is_not_believed() {
    let (hub, [one]) = mesh::<1>();
    let ((gossip, _heard), (links, _linked)) = (mpsc::channel(9), mpsc::channel(9));
    let ((syncs, _compared), (forwards, mut asked)) = (mpsc::channel(9), mpsc::channel(9));
    Fake::new(&hub, node(9)).attach(Inlets { gossip, links, syncs, forwards });
    hub.link_all();
    one.until("its own record", |registry| registry.members().len() == 1).await;
    let theirs =
        Record { issued_ms: actor::now_ms(), payload: Payload::Entry(entry("x")), ..blank(9, "theirs") };
    let theirs = test_kit::sign_at(9, theirs).envelope().encode();
    assert_eq!(hub.gossip_to(node(1), node(9), theirs).await, Verdict::Accept);
    let bad = blank(9, "other");
    let other = owner(9).sign(&Record { issued_ms: actor::now_ms(), ..bad }).unwrap().envelope().clone();
    let forged = Envelope { signature: [1; 64], ..other.clone() };
    for (times, answer) in [other, forged].into_iter().enumerate() {
        let before = one.registry.digest();
        let id = id("theirs");
        let answering = async {
            for answer in [ForwardAnswer::Permit([7; 16]), ForwardAnswer::Done(answer)] {
                let request = asked.recv().await.unwrap();
                request.answer.send(answer.encode().unwrap()).unwrap();
            }
        };
        let (changed, ()) = tokio::join!(one.registry.delete(&id), answering);
        assert!(matches!(changed, Err(Error::Unconfirmed { .. })), "{changed:?}");
        assert_eq!(one.registry.digest(), before);
        hub.penalised(node(9), times + 1).await;
    }
}

#[tokio::test]
async fn a_bad_envelope_is_refused_counted_and_held_against_its_sender() {
    let (hub, [one, _two]) = mesh::<2>();
    one.until("two members", |registry| registry.members().len() == 2).await;
    let good = owner(9).sign(&Record { payload: Payload::Entry(entry("x")), ..blank(9, "a") }).unwrap();
    let mut forged = good.envelope().encode();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let other = assetmesh_protocol::network::NetworkId::new(&"other".parse().unwrap(), None);
    let elsewhere = OwnerKey::new(&[9; 32], other).sign(&blank(9, "a")).unwrap().envelope().encode();
    let future = Record { issued_ms: actor::now_ms() + test_kit::HOUR, ..blank(9, "b") };
    let future = owner(9).sign(&future).unwrap().envelope().encode();
    let before = one.registry.digest();
    for bytes in [forged, elsewhere, b"junk".to_vec(), vec![1; 20_000], future] {
        assert_eq!(hub.gossip_to(node(1), node(2), bytes).await, Verdict::Reject);
    }
    assert_eq!(one.registry.digest(), before);
    let metrics = &one.registry.inner.shared.metrics;
    let counted = ["signature", "malformed", "too_long", "far_future"].map(|reason| metrics.refusals(reason));
    assert_eq!(counted, [2, 1, 1, 1]);
    hub.penalised(node(2), 5).await;
}

#[tokio::test]
async fn a_bad_message_is_not_answered_and_held_against_its_sender() {
    let (hub, [one, two]) = mesh::<2>();
    let ask = |service, body| one.registry.inner.shared.peers.request(node(2), service, body, WITHIN);
    for service in [Service::Registry, Service::Forward] {
        assert_eq!(ask(service, b"junk".to_vec()).await, Err(crate::swarm::Error::Refused));
    }
    let good = owner(9).sign(&blank(9, "a")).unwrap().envelope().clone();
    let forged = Envelope { signature: [7; 64], ..good };
    let give = SyncAsk::Exchange { want: Vec::new(), give: vec![forged] }.encode().unwrap();
    assert_eq!(ask(Service::Registry, give).await, Err(crate::swarm::Error::Refused));
    hub.penalised(node(1), 3).await;
    two.named("still here").await;
}
