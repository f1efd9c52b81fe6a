//! Bad settings, taken ports, restarts and panics.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::kit::{self, Member, settings, start, within};
use crate::swarm::{Clock, Config, Error, LinkEvent, Service};

/// Why a swarm with these settings does not start.
fn refusal(config: Config) -> String {
    let dir = tempfile::tempdir().unwrap();
    match start(&dir, config) {
        Ok(_) => panic!("it started"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_bad_address_is_refused_by_its_text() {
    let listen = Config { listen: vec!["127.0.0.1:4001".to_owned()], ..settings() };
    let error = refusal(listen);
    assert!(
        error.starts_with("`127.0.0.1:4001` is no address to listen on: it is not a multiaddr"),
        "{error}"
    );
    let bootstrap = Config { bootstrap: vec!["/ip4/192.0.2.1/udp/1".to_owned()], ..settings() };
    let error = refusal(bootstrap);
    assert!(error.starts_with("`/ip4/192.0.2.1/udp/1` is no address to begin with"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_is_named_even_if_its_owner_would_share_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port());
    let error = refusal(Config { listen: vec![address.clone()], ..settings() });
    assert_eq!(error, format!("cannot listen for peers on {address}: the port is in use by another process"));
    let other = Member::start(settings()).await;
    let error = refusal(Config { listen: other.swarm.listen_addrs(), ..settings() });
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test]
async fn an_address_of_another_machine_is_refused() {
    let error = refusal(Config { listen: vec!["/ip4/192.0.2.1/tcp/4001".to_owned()], ..settings() });
    assert!(error.contains("/ip4/192.0.2.1/tcp/4001") && error.contains("does not have"), "{error}");
}

#[tokio::test]
async fn a_missing_network_key_is_refused_with_its_path() {
    let error = refusal(Config { network_key: Some("/nowhere/swarm.key".into()), ..settings() });
    assert!(error.contains("/nowhere/swarm.key"), "{error}");
}

#[tokio::test]
async fn port_zero_becomes_a_real_port_before_the_start_returns() {
    let member = Member::start(Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned(), "/ip6/::1/tcp/0".to_owned()],
        ..settings()
    })
    .await;
    let addresses = member.swarm.listen_addrs();
    assert_eq!(addresses.len(), 2, "{addresses:?}");
    assert!(addresses.iter().all(|address| !address.ends_with("/tcp/0")), "{addresses:?}");
}

#[tokio::test]
async fn a_wildcard_address_is_listed_as_its_interfaces() {
    let member = Member::start(Config { listen: vec!["/ip4/0.0.0.0/tcp/0".to_owned()], ..settings() }).await;
    let mut listening = member.swarm.listening();
    let addresses = within(listening.wait_for(|addresses| !addresses.is_empty())).await.unwrap().clone();
    assert!(addresses.iter().any(|address| address.starts_with("/ip4/127.0.0.1/tcp/")), "{addresses:?}");
    assert!(addresses.iter().all(|address| !address.contains("0.0.0.0")), "{addresses:?}");
}

#[tokio::test]
async fn another_node_on_a_known_port_takes_the_place_of_the_former() {
    let first = Member::start(settings()).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    second.linked_to(&[first.key]).await;
    let listen = first.swarm.listen_addrs();
    first.stop().await;
    second.linked_to(&[]).await;
    let wiped = Member::start(Config { listen, ..settings() }).await;
    second.linked_to(&[wiped.key]).await;
}

#[tokio::test]
async fn a_panic_rebuilds_the_swarm_with_the_same_key_and_ports() {
    let fail = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fail);
    let clock = Clock::new(move || {
        assert!(!failing.swap(false, Ordering::SeqCst), "on purpose");
        Instant::now()
    });
    let first = Member::start(Config { clock, ..settings() }).await;
    let second = Member::start(kit::bootstrapped(&[&first])).await;
    first.linked_to(&[second.key]).await;
    let (listen, key) = (first.swarm.listen_addrs(), first.key);
    let mut requests = first.serve(Service::Registry, 8);
    let (to, mut events) = tokio::sync::mpsc::channel(64);
    first.swarm.attach_links(to);
    let _silent = second.serve(Service::Query, 8);
    let waiting = first.swarm.request(second.key, Service::Query, vec![1], kit::WITHIN);
    let panic = async {
        kit::eventually(|| second.swarm.metrics().bytes().0 > 0).await;
        tokio::task::yield_now().await;
        fail.store(true, Ordering::SeqCst);
    };
    let (interrupted, ()) = within(async { tokio::join!(waiting, panic) }).await;
    assert_eq!(interrupted, Err(Error::Interrupted));
    kit::eventually(|| first.swarm.metrics().restarts() == 1).await;
    assert_eq!(kit::next_change(&mut events).await, Some(LinkEvent::Down { peer: second.key }));
    first.linked_to(&[second.key]).await;
    second.linked_to(&[key]).await;
    assert_eq!(first.swarm.listen_addrs(), listen);
    let answer = async { requests.recv().await.unwrap().answer.send(vec![7]).unwrap() };
    let ask = second.swarm.request(key, Service::Registry, vec![1], kit::WITHIN);
    assert_eq!(within(async { tokio::join!(ask, answer) }).await.0, Ok(vec![7]));
}

#[tokio::test]
async fn a_stopped_swarm_says_so() {
    let member = Member::start(settings()).await;
    let (swarm, key) = (member.swarm.clone(), member.key);
    member.stop().await;
    assert_eq!(swarm.publish(vec![1]).await, Err(Error::Stopped));
    assert_eq!(swarm.request(key, Service::Query, vec![1], kit::WITHIN).await, Err(Error::Stopped));
    swarm.want(std::collections::BTreeSet::new()).await;
}
