//! Other networks, other keys, blocked and banned peers: they never link.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::kit::{self, Member, settings, within};
use crate::swarm::{Config, Error, Offence, Service, Verdict};

fn key_file(dir: &tempfile::TempDir, byte: &str) -> PathBuf {
    let path = dir.path().join(format!("{byte}.key"));
    fs::write(&path, byte.repeat(32)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// Waits until a stranger's attempts have come and gone, while friends link.
async fn never_links(friend: &Member, stranger: &Member) {
    let dialled_often = || {
        let mut registry = prometheus_client::registry::Registry::default();
        stranger.swarm.metrics().register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.contains("swarm_dials_total{outcome=\"failed\"} 2")
            || text.contains("swarm_dials_total{outcome=\"connected\"} 1")
    };
    kit::eventually(dialled_often).await;
    let late = Member::start(kit::bootstrapped(&[friend])).await;
    let mut links = friend.swarm.links();
    within(links.wait_for(|links| links.contains_key(&late.key))).await.unwrap();
    assert!(stranger.swarm.links().borrow().is_empty());
    assert!(!friend.swarm.links().borrow().contains_key(&stranger.key));
}

#[tokio::test]
async fn a_node_of_another_network_never_links() {
    let first = Member::start(settings()).await;
    let other = Config { network: "other".parse().unwrap(), ..kit::bootstrapped(&[&first]) };
    let stranger = Member::start(other).await;
    assert_ne!(first.swarm.network_id(), stranger.swarm.network_id());
    never_links(&first, &stranger).await;
}

#[tokio::test]
async fn nodes_with_the_same_network_key_link_and_others_never_do() {
    let keys = tempfile::tempdir().unwrap();
    let with_key = |config, byte| Config { network_key: Some(key_file(&keys, byte)), ..config };
    let first = Member::start(with_key(settings(), "5a")).await;
    let friend = Member::start(with_key(kit::bootstrapped(&[&first]), "5a")).await;
    friend.linked_to(&[first.key]).await;
    assert_eq!(first.swarm.network_id(), friend.swarm.network_id());
    let other_key = Member::start(with_key(kit::bootstrapped(&[&first]), "5b")).await;
    let no_key = Member::start(kit::bootstrapped(&[&first])).await;
    for stranger in [&other_key, &no_key] {
        assert_ne!(first.swarm.network_id(), stranger.swarm.network_id());
        kit::eventually(|| stranger.swarm.metrics().bytes().1 > 0).await;
    }
    let late = Member::start(with_key(kit::bootstrapped(&[&first]), "5a")).await;
    let mut links = first.swarm.links();
    within(links.wait_for(|links| links.contains_key(&late.key))).await.unwrap();
    for stranger in [&other_key, &no_key] {
        assert!(stranger.swarm.links().borrow().is_empty());
        assert!(!first.swarm.links().borrow().contains_key(&stranger.key));
    }
}

#[tokio::test]
async fn a_block_cuts_and_its_end_restores() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.swarm.know(second.key, second.swarm.listen_addrs()).await;
    first.swarm.want(BTreeSet::from([second.key])).await;
    second.linked_to(&[first.key]).await;
    first.swarm.block(BTreeSet::from([second.key])).await;
    second.linked_to(&[]).await;
    first.linked_to(&[]).await;
    let refused = first.swarm.request(second.key, Service::Forward, vec![1], kit::WITHIN).await;
    assert!(refused.is_err());
    first.swarm.block(BTreeSet::new()).await;
    first.linked_to(&[second.key]).await;
    second.linked_to(&[first.key]).await;
}

#[tokio::test]
async fn a_peer_that_keeps_offending_is_cut_and_refused() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[second.key]).await;
    for _ in 0..4 {
        first.swarm.penalise(second.key, Offence::Forged).await;
    }
    first.linked_to(&[]).await;
    kit::eventually(|| first.swarm.metrics().bans() == 1).await;
    assert_eq!(first.swarm.metrics().offences(Offence::Forged), 4);
    let friend = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[friend.key]).await;
}

#[tokio::test]
async fn a_peer_whose_gossip_is_rejected_again_and_again_is_banned() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[second.key]).await;
    let mut gossip = first.gossip();
    kit::publish_until_heard(&second, b"0", &mut gossip).await.verdict.send(Verdict::Reject).unwrap();
    let reject = async {
        while let Some(heard) = gossip.recv().await {
            heard.verdict.send(Verdict::Reject).unwrap();
        }
    };
    let publish = async {
        let mut number = 0u32;
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(10));
        // Gossip's own score makes the peer unheard after three; both together keep it out.
        while first.swarm.metrics().judged(Verdict::Reject) < 3 {
            ticks.tick().await;
            number += 1;
            second.swarm.publish(number.to_le_bytes().to_vec()).await.unwrap();
        }
    };
    tokio::select! {
        () = reject => panic!("gossip ended"),
        () = within(publish) => {}
    }
    assert!(first.swarm.metrics().offences(Offence::Malformed) >= 3);
}

#[tokio::test]
async fn a_node_that_has_more_to_ask_than_a_peer_takes_paces_itself_and_is_not_banned() {
    let first = Member::start(settings()).await;
    let busy = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[busy.key]).await;
    let mut requests = first.serve(Service::Liveness, 64);
    let answer = async {
        while let Some(request) = requests.recv().await {
            request.answer.send(vec![1]).ok();
        }
    };
    let ask = async {
        let (mut done, mut unsent, mut other) = (0, 0, 0);
        for _ in 0..30 {
            let some =
                (0..30).map(|_| busy.swarm.request(first.key, Service::Liveness, vec![0], kit::WITHIN));
            for answer in futures_util::future::join_all(some).await {
                match answer {
                    Ok(_) => done += 1,
                    Err(Error::NotSent) => unsent += 1,
                    Err(_) => other += 1,
                }
            }
        }
        (done, unsent, other)
    };
    let (done, unsent, other) = tokio::select! {
        () = answer => panic!("the service ended"),
        counts = ask => counts,
    };
    assert!(done >= 100 && unsent > 0, "nine hundred at once are too many: {done}, {unsent}, {other}");
    assert_eq!((first.swarm.metrics().bans(), first.swarm.metrics().offences(Offence::Flooding)), (0, 0));
}

#[tokio::test]
async fn a_flood_of_gossip_ends_in_a_ban() {
    let first = Member::start(settings()).await;
    let flooder = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[flooder.key]).await;
    let mut gossip = first.gossip();
    let accept = async {
        while let Some(heard) = gossip.recv().await {
            heard.verdict.send(Verdict::Accept).ok();
        }
    };
    let flood = async {
        let mut number = 0u64;
        while first.swarm.metrics().bans() == 0 {
            number += 1;
            // Its own queue may be full.
            flooder.swarm.publish(number.to_le_bytes().to_vec()).await.ok();
        }
    };
    tokio::select! {
        () = accept => panic!("gossip ended"),
        () = within(flood) => {}
    }
    assert!(first.swarm.metrics().offences(Offence::Flooding) >= 200);
    first.linked_to(&[]).await;
}

#[tokio::test]
async fn a_node_never_links_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let first = Member::start_in(dir, settings()).await;
    let listen = first.swarm.listen_addrs();
    let dir = first.stop().await;
    let config = Config { listen: listen.clone(), bootstrap: listen, ..settings() };
    let alone = Member::start_in(dir, config).await;
    let friend = Member::start(kit::bootstrapped(&[&alone])).await;
    alone.linked_to(&[friend.key]).await;
}
