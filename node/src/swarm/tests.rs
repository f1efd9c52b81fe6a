//! Real swarms on loopback: links, gossip, requests, and what keeps strangers out.

mod exchange;
mod faults;
pub(super) mod kit;
mod strangers;

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Config, Gossip, LinkEvent, Verdict};
use kit::{Member, WITHIN, settings, within};

#[tokio::test]
async fn nodes_that_know_one_address_find_each_other() {
    let first = Member::start(settings()).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(Member::start(kit::bootstrapped(&[&first])).await);
    }
    let mut all = vec![first];
    all.append(&mut others);
    for member in &all {
        member.linked_to(&all).await;
    }
}

#[tokio::test]
async fn a_bootstrap_address_may_be_a_host_name() {
    let first = Member::start(settings()).await;
    let named = first.swarm.listen_addrs()[0].replace("/ip4/127.0.0.1/", "/dns4/localhost/");
    let second = Member::start(Config { bootstrap: vec![named], ..settings() }).await;
    second.linked_to(&[first.key]).await;
}

#[tokio::test]
async fn a_link_tells_its_address_and_its_round_trip() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    let mut links = second.swarm.links();
    let links = within(links.wait_for(|links| links.values().any(|link| link.rtt.is_some()))).await.unwrap();
    let link = &links[&first.key];
    assert_eq!(vec![link.address.clone()], first.swarm.listen_addrs());
    assert!(link.rtt.unwrap() < Duration::from_secs(1));
}

#[tokio::test]
async fn those_above_hear_of_links_and_of_pings() {
    let first = Member::start(settings()).await;
    let (to, mut events) = mpsc::channel(64);
    first.swarm.attach_links(to);
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    let peer = second.key;
    assert_eq!(within(events.recv()).await, Some(LinkEvent::Up { peer }));
    assert!(
        matches!(within(events.recv()).await, Some(LinkEvent::Heard { peer: heard, .. }) if heard == peer)
    );
    second.stop().await;
    assert_eq!(kit::next_change(&mut events).await, Some(LinkEvent::Down { peer }));
}

#[tokio::test]
async fn a_dial_takes_a_port_of_its_own() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[second.key]).await;
    let seen = first.swarm.links().borrow()[&second.key].address.clone();
    assert!(!second.swarm.listen_addrs().contains(&seen), "{seen}");
}

#[tokio::test]
async fn two_nodes_that_dial_each_other_end_with_one_connection() {
    let (first, second) = (Member::start(settings()).await, Member::start(settings()).await);
    for (one, other) in [(&first, &second), (&second, &first)] {
        one.swarm.know(other.key, other.swarm.listen_addrs()).await;
        one.swarm.want(BTreeSet::from([other.key])).await;
    }
    first.linked_to(&[second.key]).await;
    second.linked_to(&[first.key]).await;
    let connections =
        || first.swarm.metrics().connections() == 1 && second.swarm.metrics().connections() == 1;
    kit::eventually(connections).await;
}

#[tokio::test]
async fn accepted_gossip_reaches_all_and_rejected_gossip_stays() {
    // A line: the first and the last have no link but through the middle.
    let first = Member::start(settings()).await;
    let middle = Member::start(settings()).await;
    let last = Member::start(settings()).await;
    first.swarm.block(BTreeSet::from([last.key])).await;
    last.swarm.block(BTreeSet::from([first.key])).await;
    for end in [&first, &last] {
        end.swarm.know(middle.key, middle.swarm.listen_addrs()).await;
        end.swarm.want(BTreeSet::from([middle.key])).await;
    }
    middle.linked_to(&[first.key, last.key]).await;
    let (mut in_middle, mut at_last) = (middle.gossip(), last.gossip());

    let heard = kit::publish_until_heard(&first, b"good", &mut in_middle).await;
    assert_eq!(heard.from, first.key);
    heard.verdict.send(Verdict::Accept).unwrap();
    let heard: Gossip = within(at_last.recv()).await.unwrap();
    assert_eq!((heard.from, heard.bytes.as_slice()), (middle.key, &b"good"[..]));

    first.swarm.publish(b"bad".to_vec()).await.unwrap();
    let heard = within(in_middle.recv()).await.unwrap();
    heard.verdict.send(Verdict::Reject).unwrap();
    first.swarm.publish(b"good again".to_vec()).await.unwrap();
    let heard = within(in_middle.recv()).await.unwrap();
    heard.verdict.send(Verdict::Accept).unwrap();
    let heard = within(at_last.recv()).await.unwrap();
    assert_eq!(heard.bytes, b"good again");
    assert_eq!(middle.swarm.metrics().judged(Verdict::Reject), 1);
}

#[tokio::test]
async fn gossip_that_nobody_takes_is_ignored_and_not_passed_on() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[second.key]).await;
    let (full, _kept) = mpsc::channel(1);
    second.swarm.attach_gossip(full);
    let mut number = 0u32;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    // Before the mesh has formed nothing arrives; the first that arrives waits in the mailbox.
    let ignored = async {
        while second.swarm.metrics().judged(Verdict::Ignore) < 3 {
            ticks.tick().await;
            number += 1;
            first.swarm.publish(number.to_le_bytes().to_vec()).await.unwrap();
        }
    };
    within(ignored).await;
}

#[tokio::test]
async fn publishing_alone_is_no_error_and_too_much_is() {
    let alone = Member::start(settings()).await;
    alone.swarm.publish(b"anybody?".to_vec()).await.unwrap();
    let error = alone.swarm.publish(vec![0; super::GOSSIP_BYTES_MAX + 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "61441 bytes are too many, at most 61440 may be sent");
}

#[tokio::test]
async fn a_node_that_lost_all_finds_back_with_its_peer_cache_and_no_bootstrap() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    second.linked_to(&[first.key]).await;
    let dir = second.stop().await;
    let back = Member::start_in(dir, settings()).await;
    back.linked_to(&[first.key]).await;
}

#[tokio::test]
async fn the_peer_cache_is_on_disk_soon_after_a_link_so_that_a_crash_does_not_lose_it() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    second.linked_to(&[first.key]).await;
    let written = || std::fs::read_to_string(second.path("peers.json")).unwrap_or_default();
    kit::eventually(|| written().contains(&first.key.to_string())).await;
}

#[tokio::test]
async fn a_wanted_peer_that_was_away_is_linked_again_within_five_seconds() {
    let first = Member::start(settings()).await;
    let second = Member::start(settings()).await;
    first.swarm.know(second.key, second.swarm.listen_addrs()).await;
    first.swarm.want(BTreeSet::from([second.key])).await;
    first.linked_to(&[second.key]).await;
    let listen = second.swarm.listen_addrs();
    let dir = second.stop().await;
    first.linked_to(&[]).await;
    // It comes back without knowing anybody: the first has to dial.
    std::fs::remove_file(dir.path().join("peers.json")).unwrap();
    let mut config = settings();
    config.listen = listen;
    let back = Member::start_in(dir, config).await;
    let began = std::time::Instant::now();
    first.linked_to(&[back.key]).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(began.elapsed() < WITHIN);
}
