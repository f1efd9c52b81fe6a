//! Peers that do not keep to the rules: they hold the library in their own hands, or a bare socket.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use futures_util::StreamExt;
use libp2p::identity::Keypair;
use libp2p::request_response::{Event, Message};
use libp2p::swarm::SwarmEvent;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId, identify};

use super::build::{Blueprint, Generation};
use crate::swarm::address::{peer_id, socket};
use crate::swarm::behaviour::{BehaviourEvent, Names};
use crate::swarm::exchange::Answer;
use crate::swarm::metrics::Metrics;
use crate::swarm::tests::kit::{self, Member, settings, within};
use crate::swarm::{Error, Offence, REQUEST_BYTES_MAX, Service, limits};

/// A node of the same federation without any of the manners.
struct Rogue {
    generation: Generation,
    victim: PeerId,
    victim_at: Multiaddr,
}

impl Rogue {
    fn new(victim: &Member) -> Self {
        let mut blueprint = Blueprint {
            keypair: Keypair::generate_ed25519(),
            names: Names::new(settings().network),
            network_key: None,
            listen: Vec::new(),
            mdns: false,
            metrics: Metrics::default(),
            attached: Arc::default(),
        };
        Self {
            generation: blueprint.build().unwrap(),
            victim: peer_id(victim.key),
            victim_at: victim.swarm.listen_addrs()[0].parse().unwrap(),
        }
    }

    fn dial(&mut self) {
        let options = DialOpts::peer_id(self.victim)
            .condition(PeerCondition::Always)
            .addresses(vec![self.victim_at.clone()])
            .build();
        self.generation.swarm.dial(options).unwrap();
    }

    async fn next(&mut self) -> SwarmEvent<BehaviourEvent> {
        within(self.generation.swarm.select_next_some()).await
    }

    async fn connected(&mut self) {
        self.dial();
        while !matches!(self.next().await, SwarmEvent::ConnectionEstablished { .. }) {}
    }

    /// Asks as fast as it can, 16 requests at once.
    async fn flood(&mut self, service: Service) {
        for sent in 0_usize.. {
            self.generation
                .swarm
                .behaviour_mut()
                .requests(service)
                .send_request(&self.victim, vec![0].into());
            while sent >= 16 && !ends_a_request(&self.next().await) {}
            // Once banned, all fail at once, and the victim has to have its turn.
            tokio::task::yield_now().await;
        }
    }

    /// Keeps its connections running while something else comes true.
    async fn meanwhile(&mut self, mut holds: impl FnMut() -> bool) {
        tokio::select! {
            () = kit::eventually(&mut holds) => {}
            () = async { loop { self.generation.swarm.select_next_some().await; } } => {}
        }
    }
}

#[tokio::test]
async fn a_request_that_is_too_long_is_not_read_and_counts_as_an_offence() {
    let victim = Member::start(settings()).await;
    let _requests = victim.serve(Service::Registry, 8);
    let mut rogue = Rogue::new(&victim);
    rogue.connected().await;
    let victim_id = rogue.victim;
    let requests = rogue.generation.swarm.behaviour_mut().requests(Service::Registry);
    requests.send_request(&victim_id, vec![1; REQUEST_BYTES_MAX + 1].into());
    rogue.meanwhile(|| victim.swarm.metrics().offences(Offence::Oversized) == 1).await;
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read_and_counts_as_an_offence() {
    let victim = Member::start(settings()).await;
    let mut rogue = Rogue::new(&victim);
    rogue.connected().await;
    let key = crate::swarm::address::node_key(rogue.generation.swarm.local_peer_id()).unwrap();
    victim.linked_to_while(&[key], async { while rogue.generation.swarm.next().await.is_some() {} }).await;
    let answer = async {
        loop {
            let SwarmEvent::Behaviour(BehaviourEvent::Query(event)) = rogue.next().await else { continue };
            if let Event::Message { message: Message::Request { channel, .. }, .. } = event {
                let answer = Answer::Done(vec![1; limits::answer_bytes_max(Service::Query) + 1]);
                let requests = rogue.generation.swarm.behaviour_mut().requests(Service::Query);
                requests.send_response(channel, answer).unwrap();
            }
        }
    };
    tokio::select! {
        () = answer => {}
        answered = victim.swarm.request(key, Service::Query, vec![1], kit::WITHIN) => {
            assert!(matches!(answered, Err(Error::BadAnswer(_))), "{answered:?}");
        }
    }
    assert_eq!(victim.swarm.metrics().offences(Offence::Oversized), 1);
}

#[tokio::test]
async fn a_flood_of_requests_ends_in_a_ban_whatever_the_service() {
    for service in [Service::Forward, Service::Liveness] {
        let victim = Member::start(settings()).await;
        let mut rogue = Rogue::new(&victim);
        rogue.connected().await;
        tokio::select! {
            () = rogue.flood(service) => {}
            () = kit::eventually(|| victim.swarm.metrics().bans() == 1) => {}
        }
        assert!(victim.swarm.metrics().offences(Offence::Flooding) >= 200, "{service:?}");
    }
}

fn ends_a_request(event: &SwarmEvent<BehaviourEvent>) -> bool {
    let SwarmEvent::Behaviour(BehaviourEvent::Forward(event) | BehaviourEvent::Liveness(event)) = event
    else {
        return false;
    };
    let is_answer = matches!(event, Event::Message { message: Message::Response { .. }, .. });
    is_answer || matches!(event, Event::OutboundFailure { .. })
}

#[tokio::test]
async fn one_peer_has_few_connections() {
    let victim = Member::start(settings()).await;
    let mut rogue = Rogue::new(&victim);
    // The rogue's own limit would hide the victim's: each dial comes from a library of its own, with one key.
    let keypair = Keypair::generate_ed25519();
    let mut others = Vec::new();
    for _ in 0..5 {
        let mut blueprint = Blueprint {
            keypair: keypair.clone(),
            names: Names::new(settings().network),
            network_key: None,
            listen: Vec::new(),
            mdns: false,
            metrics: Metrics::default(),
            attached: Arc::default(),
        };
        let mut other = Rogue { generation: blueprint.build().unwrap(), ..Rogue::new(&victim) };
        other.connected().await;
        others.push(other);
    }
    rogue.connected().await;
    let open = i64::from(limits::CONNECTIONS_PER_PEER_MAX) + 1;
    rogue.meanwhile(|| victim.swarm.metrics().connections() == open).await;
}

#[tokio::test]
async fn a_peer_that_introduces_itself_again_and_again_is_banned() {
    let victim = Member::start(settings()).await;
    let mut rogue = Rogue::new(&victim);
    rogue.connected().await;
    let victim_id = rogue.victim;
    let pushing = async {
        loop {
            rogue.generation.swarm.behaviour_mut().identify.push([victim_id]);
            // One after the other: too many streams at once would end the connection first.
            let pushed = |event: &SwarmEvent<BehaviourEvent>| {
                matches!(
                    event,
                    SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Pushed { .. }))
                )
            };
            while !pushed(&rogue.next().await) {}
        }
    };
    // Once banned, nothing is pushed any more.
    tokio::select! {
        () = pushing => {}
        () = kit::eventually(|| victim.swarm.metrics().bans() == 1) => {}
    }
}

#[tokio::test]
async fn sockets_that_say_nothing_or_nonsense_do_not_keep_members_out() {
    let victim = Member::start(settings()).await;
    let friend = Member::start(kit::bootstrapped(&[&victim])).await;
    victim.linked_to(&[friend.key]).await;
    let (ip, port) = socket(&victim.swarm.listen_addrs()[0].parse().unwrap()).unwrap();
    let address = SocketAddr::new(ip, port);
    let sockets: Vec<TcpStream> = (0..200)
        .map(|number| {
            let mut socket = TcpStream::connect(address).unwrap();
            if number % 2 == 0 {
                // It may have been refused already.
                socket.write_all(&[0xff; 4096]).ok();
            }
            socket
        })
        .collect();
    let late = Member::start(kit::bootstrapped(&[&victim])).await;
    victim.linked_to(&[friend.key, late.key]).await;
    let mut closed = 0;
    for mut socket in sockets {
        socket.shutdown(Shutdown::Write).ok();
        socket.set_read_timeout(Some(kit::WITHIN)).unwrap();
        let ended = tokio::task::spawn_blocking(move || socket.read_to_end(&mut Vec::new())).await.unwrap();
        // Reset or closed, but not left open.
        closed += usize::from(!matches!(&ended, Err(e) if e.kind() == std::io::ErrorKind::WouldBlock));
    }
    assert_eq!(closed, 200);
}
