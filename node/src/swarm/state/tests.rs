//! The decisions of the swarm, as inputs and outputs over a clock that the test moves.

use super::*;

const OWN: NodeKey = NodeKey([5; 32]);
const GREATER: NodeKey = NodeKey([6; 32]);
const SMALLER: NodeKey = NodeKey([4; 32]);

/// A state and its time.
struct World {
    state: State,
    start: Instant,
    now: Instant,
    connections: usize,
}

impl World {
    fn new(bootstrap: &[&str], cached: Vec<Remembered>) -> Self {
        let now = Instant::now();
        let bootstrap = bootstrap.iter().map(|text| Address::to_dial(text).unwrap()).collect();
        Self { state: State::new(now, OWN, bootstrap, cached, 1), start: now, now, connections: 0 }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        self.state.handle(self.now, input)
    }

    fn tick(&mut self) -> Vec<Output> {
        self.handle(Input::Tick)
    }

    fn elapse(&mut self, time: Duration) {
        self.now += time;
    }

    /// Ticks until something is dialled, at most this long.
    fn next_dials(&mut self, at_most: Duration) -> Vec<Target> {
        let until = self.now + at_most;
        loop {
            let dials = dials(&self.tick());
            if !dials.is_empty() || self.now >= until {
                return dials;
            }
            self.elapse(limits::TICK);
        }
    }

    /// A connection that this node dialled, or another one.
    fn open(&mut self, peer: NodeKey, dialled: Option<Target>) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId::new_unchecked(self.connections);
        let dialled = dialled.map(Some);
        self.handle(Input::Opened { peer, connection, at: at(self.connections), dialled });
        connection
    }

    fn link(&mut self, peer: NodeKey, dialled: Option<Target>) -> ConnectionId {
        let connection = self.open(peer, dialled);
        let up = self.handle(Input::Identified { peer, ours: true, addresses: Vec::new() });
        assert_eq!(up, [Output::Tell(LinkEvent::Up { peer })]);
        connection
    }

    fn know(&mut self, peer: NodeKey) {
        self.handle(Input::Know { peer, addresses: vec![at(usize::from(peer.0[0]))] });
    }

    fn want(&mut self, peers: &[NodeKey]) {
        self.handle(Input::Want(peers.iter().copied().collect()));
    }

    fn borrow(&mut self, peer: NodeKey) -> Borrow {
        self.state.borrow(self.now, peer)
    }

    fn block(&mut self, peers: &[NodeKey]) -> Vec<Output> {
        self.handle(Input::Block(peers.iter().copied().collect()))
    }

    fn miss(&mut self, target: Target) {
        assert!(self.handle(Input::Missed { target, missed: Missed::Nobody }).is_empty());
    }
}

fn at(host: usize) -> Multiaddr {
    format!("/ip4/192.0.2.{host}/tcp/4001").parse().unwrap()
}

fn key(number: usize) -> NodeKey {
    let mut key = [6; 32];
    key[24..].copy_from_slice(&number.to_be_bytes());
    NodeKey(key)
}

fn dials(outputs: &[Output]) -> Vec<Target> {
    let dial = |output: &Output| match output {
        Output::Dial { target, .. } => Some(*target),
        _ => None,
    };
    outputs.iter().filter_map(dial).collect()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn bootstrap_addresses_are_dialled_for_ever_with_growing_waits() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1"], Vec::new());
    let mut waits = Vec::new();
    for _ in 0..100 {
        let before = world.now;
        assert_eq!(world.next_dials(secs(60)), [Target::Bootstrap(0)]);
        waits.push(world.now - before);
        assert!(dials(&world.tick()).is_empty(), "one dial at once");
        world.miss(Target::Bootstrap(0));
    }
    assert!(waits[0] < waits[2] && waits[2] < waits[4], "{waits:?}");
    assert!(waits[10..].iter().all(|wait| *wait > secs(7) && *wait < secs(13)), "{waits:?}");
}

#[test]
fn a_node_that_nobody_answers_says_so_now_and_then_and_names_whom_it_called() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"], Vec::new());
    let told = |world: &mut World| world.state.stranded(world.now);
    assert_eq!(world.next_dials(secs(1)).len(), 2);
    assert_eq!(told(&mut world), None, "nothing has failed yet");
    world.miss(Target::Bootstrap(0));
    assert_eq!(told(&mut world), None, "the other may answer");
    world.miss(Target::Bootstrap(1));
    let both = ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"].map(str::to_owned).to_vec();
    assert_eq!(told(&mut world), Some(both.clone()));
    world.elapse(secs(59));
    assert_eq!(told(&mut world), None, "once a minute");
    world.elapse(secs(1));
    assert_eq!(told(&mut world), Some(both));
    world.elapse(secs(60));
    world.link(GREATER, None);
    assert_eq!(told(&mut world), None, "it is not alone");
    assert_eq!(told(&mut World::new(&[], Vec::new())), None, "it called nobody");
}

#[test]
fn a_bootstrap_address_rests_while_its_node_is_linked() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1"], Vec::new());
    assert_eq!(world.next_dials(secs(1)), [Target::Bootstrap(0)]);
    let connection = world.link(GREATER, Some(Target::Bootstrap(0)));
    assert!(world.next_dials(secs(60)).is_empty());
    let down = world.handle(Input::Closed { peer: GREATER, connection });
    assert_eq!(down, [Output::Tell(LinkEvent::Down { peer: GREATER })]);
    assert!(world.next_dials(secs(3)).contains(&Target::Bootstrap(0)));
}

#[test]
fn a_node_never_dials_itself() {
    let own = crate::swarm::address::peer_id(OWN);
    let texts = [format!("/ip4/192.0.2.1/tcp/1/p2p/{own}"), "/ip4/192.0.2.2/tcp/4001".to_owned()];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut world = World::new(&texts, Vec::new());
    world.handle(Input::Listening(BTreeSet::from([at(2), at(3)])));
    world.know(OWN);
    world.want(&[OWN, GREATER]);
    world.handle(Input::Hint { peer: GREATER, addresses: vec![at(3)] });
    assert!(world.next_dials(secs(60)).is_empty());
    world.handle(Input::Listening(BTreeSet::new()));
    assert_eq!(world.next_dials(secs(1)), [Target::Bootstrap(1)]);
    world.handle(Input::Missed { target: Target::Bootstrap(1), missed: Missed::Own });
    assert!(world.next_dials(secs(60)).is_empty());
}

#[test]
fn of_two_nodes_that_want_each_other_the_smaller_key_dials_first() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.know(SMALLER);
    world.want(&[GREATER, SMALLER]);
    assert_eq!(dials(&world.tick()), [Target::Peer(GREATER)]);
    assert_eq!(world.next_dials(secs(1)), [Target::Peer(SMALLER)]);
    assert!(world.now - world.start >= limits::GREATER_KEY_WAITS * 3 / 4);
}

#[test]
fn a_wanted_peer_is_dialled_every_few_seconds_and_after_long_absence_seldom() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.want(&[GREATER]);
    for failures in 0..limits::REDIAL_WANTED_TIMES {
        assert_eq!(world.next_dials(secs(4)), [Target::Peer(GREATER)], "after {failures} failures");
        world.miss(Target::Peer(GREATER));
    }
    world.next_dials(secs(4));
    world.miss(Target::Peer(GREATER));
    assert!(world.next_dials(secs(60)).is_empty());
    assert_eq!(world.next_dials(secs(120)), [Target::Peer(GREATER)]);
}

#[test]
fn news_of_where_a_wanted_peer_is_are_tried_at_once() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.want(&[GREATER]);
    for _ in 0..300 {
        world.next_dials(secs(200));
        world.miss(Target::Peer(GREATER));
    }
    world.handle(Input::Know { peer: GREATER, addresses: vec![at(77)] });
    let outputs = world.tick();
    assert_eq!(outputs[0], Output::Dial { target: Target::Peer(GREATER), addresses: vec![at(77)] });
}

#[test]
fn a_wanted_peer_that_has_gone_silent_is_dialled_beside_its_connection() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.know(SMALLER);
    world.want(&[GREATER]);
    let stuck = world.link(GREATER, None);
    let idle = world.link(SMALLER, None);
    assert!(world.next_dials(limits::SILENT_REDIAL - secs(1)).is_empty());
    assert_eq!(world.next_dials(secs(2)), [Target::Peer(GREATER)]);
    world.handle(Input::Heard { peer: GREATER, connection: stuck, rtt: secs(12) });
    world.handle(Input::Heard { peer: SMALLER, connection: idle, rtt: secs(12) });
    world.miss(Target::Peer(GREATER));
    assert!(world.next_dials(limits::SILENT_REDIAL - secs(1)).is_empty());
}

#[test]
fn a_linked_or_refused_peer_is_not_dialled() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.know(SMALLER);
    world.want(&[GREATER, SMALLER]);
    world.link(GREATER, None);
    assert_eq!(world.block(&[SMALLER]), [Output::Refuse(SMALLER)]);
    assert!(world.next_dials(secs(9)).is_empty());
    assert_eq!(world.block(&[]), [Output::Admit(SMALLER)]);
    assert_eq!(world.next_dials(secs(1)), [Target::Peer(SMALLER)]);
}

#[test]
fn few_dials_run_at_once_and_wanted_peers_come_first() {
    let mut world = World::new(&[], Vec::new());
    for number in 0..100 {
        world.handle(Input::Hint { peer: key(number), addresses: vec![at(1)] });
    }
    assert_eq!(dials(&world.tick()).len(), limits::HINTED_DIALS_AT_ONCE);
    let wanted: Vec<NodeKey> = (50..100).map(key).collect();
    world.want(&wanted);
    let dialled = dials(&world.tick());
    assert_eq!(dialled.len(), limits::DIALS_AT_ONCE - limits::HINTED_DIALS_AT_ONCE);
    assert!(dialled.iter().all(|target| matches!(target, Target::Peer(peer) if wanted.contains(peer))));
    assert!(dials(&world.tick()).is_empty());
}

#[test]
fn peers_that_were_merely_heard_of_are_dialled_only_while_links_are_few() {
    let mut world = World::new(&[], Vec::new());
    for number in 0..limits::LINKS_SOUGHT {
        world.link(key(number), None);
    }
    world.handle(Input::Hint { peer: SMALLER, addresses: vec![at(1)] });
    assert!(world.next_dials(secs(30)).is_empty());
    world.handle(Input::Closed { peer: key(0), connection: ConnectionId::new_unchecked(1) });
    assert_eq!(world.next_dials(secs(1)), [Target::Peer(SMALLER)]);
}

#[test]
fn rumours_that_are_wrong_again_and_again_are_forgotten() {
    let mut world = World::new(&[], Vec::new());
    world.handle(Input::Hint { peer: GREATER, addresses: vec![at(1)] });
    for _ in 0..limits::HINTED_DIALS_MAX {
        assert_eq!(world.next_dials(secs(200)), [Target::Peer(GREATER)]);
        world.miss(Target::Peer(GREATER));
    }
    assert!(world.state.addresses(&GREATER).is_empty());
}

#[test]
fn a_node_of_another_network_is_cut_and_left_alone() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1"], Vec::new());
    world.next_dials(secs(1));
    world.open(GREATER, Some(Target::Bootstrap(0)));
    let foreign = Input::Identified { peer: GREATER, ours: false, addresses: vec![at(9)] };
    assert_eq!(world.handle(foreign), [Output::Cut(GREATER)]);
    let closed = Input::Closed { peer: GREATER, connection: ConnectionId::new_unchecked(1) };
    assert!(world.handle(closed).is_empty(), "it was no link");
    assert!(world.next_dials(limits::OTHER_NETWORK_PAUSE - secs(1)).is_empty());
    assert!(!world.next_dials(secs(5)).is_empty());
}

#[test]
fn a_peer_that_closes_each_connection_at_once_is_not_dialled_without_pause() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1"], Vec::new());
    world.know(GREATER);
    world.want(&[GREATER]);
    let mut dialled = 0;
    let end = world.now + secs(120);
    while world.now < end {
        for target in dials(&world.tick()) {
            dialled += 1;
            let connection = world.open(GREATER, Some(target));
            assert!(world.handle(Input::Closed { peer: GREATER, connection }).is_empty());
        }
        world.elapse(limits::TICK);
    }
    assert!((40..70).contains(&dialled), "{dialled} dials in two minutes");
}

#[test]
fn another_node_at_a_known_address_is_tried_under_its_own_name() {
    let mut world = World::new(&[], Vec::new());
    world.know(GREATER);
    world.want(&[GREATER]);
    world.next_dials(secs(1));
    let missed = Missed::Other { peer: SMALLER, at: at(6) };
    world.handle(Input::Missed { target: Target::Peer(GREATER), missed });
    assert!(world.state.addresses(&GREATER).is_empty());
    assert_eq!(world.next_dials(secs(2)), [Target::Peer(SMALLER)]);
}

#[test]
fn a_wanted_peer_without_address_is_looked_up_once_in_a_while() {
    let mut world = World::new(&[], Vec::new());
    world.want(&[GREATER]);
    let mut lookups = Vec::new();
    for _ in 0..480 {
        if world.tick().contains(&Output::LookUp(GREATER)) {
            lookups.push(world.now - world.start);
        }
        world.elapse(limits::TICK);
    }
    assert_eq!(lookups, [Duration::ZERO, limits::DHT_LOOKUP_EVERY]);
}

#[test]
fn peers_of_the_last_life_are_dialled_at_once() {
    let row = Remembered { peer: SMALLER, addresses: vec![at(1)], age: secs(60) };
    let own = Remembered { peer: OWN, ..row.clone() };
    let mut world = World::new(&[], vec![row, own]);
    assert_eq!(dials(&world.tick()), [Target::Peer(SMALLER)]);
}

#[test]
fn the_cache_is_written_when_something_changed_and_not_too_often() {
    let mut world = World::new(&[], Vec::new());
    let target = Target::Peer(GREATER);
    world.know(GREATER);
    world.link(GREATER, Some(target));
    let mut written = Vec::new();
    for round in 0..400 {
        if round == 20 {
            world.link(SMALLER, Some(Target::Peer(SMALLER)));
        }
        written.extend(world.tick().into_iter().filter_map(|output| match output {
            Output::Remember(rows) => Some((world.now - world.start, rows)),
            _ => None,
        }));
        world.elapse(limits::TICK);
    }
    let [(first, rows), (second, more)] = &written[..] else { panic!("{written:?}") };
    assert_eq!((*first, *second), (limits::CACHE_AFTER, limits::CACHE_AFTER + limits::CACHE_EVERY));
    let greater = Remembered { peer: GREATER, addresses: vec![at(1), at(6)], age: Duration::ZERO };
    assert_eq!((rows, more.len()), (&vec![greater], 2));
}

#[test]
fn a_ban_and_a_block_are_lifted_only_together() {
    let mut world = World::new(&[], Vec::new());
    let offend = |world: &mut World| {
        (0..10)
            .flat_map(|_| world.handle(Input::Offended { peer: GREATER, offence: Offence::Forged }))
            .collect::<Vec<_>>()
    };
    assert_eq!(offend(&mut world), [Output::Banned(GREATER), Output::Refuse(GREATER)]);
    assert!(world.block(&[GREATER]).is_empty());
    assert!(world.block(&[]).is_empty());
    world.block(&[GREATER]);
    world.elapse(limits::BAN);
    assert!(world.tick().is_empty());
    assert_eq!(world.block(&[]), [Output::Admit(GREATER)]);
    assert_eq!(offend(&mut world), [Output::Banned(GREATER), Output::Refuse(GREATER)]);
    world.elapse(limits::BAN);
    assert_eq!(world.tick(), [Output::Admit(GREATER)]);
}

#[test]
fn a_connection_of_a_refused_peer_is_closed() {
    let mut world = World::new(&[], Vec::new());
    world.block(&[GREATER]);
    let connection = ConnectionId::new_unchecked(9);
    let opened = Input::Opened { peer: GREATER, connection, at: at(1), dialled: None };
    assert_eq!(world.handle(opened), [Output::Close(connection)]);
    assert!(!world.state.is_connected(&GREATER));
}

#[test]
fn after_a_rebuild_links_are_down_refusals_stand_and_dials_begin_anew() {
    let mut world = World::new(&["/ip4/192.0.2.1/tcp/1"], Vec::new());
    world.next_dials(secs(1));
    world.link(GREATER, None);
    world.block(&[SMALLER]);
    let outputs = world.handle(Input::Rebuilt);
    let down = Output::Tell(LinkEvent::Down { peer: GREATER });
    assert_eq!(outputs, [down, Output::Refuse(SMALLER)]);
    assert!(world.state.links().is_empty());
    assert_eq!(world.next_dials(secs(1)), [Target::Bootstrap(0)]);
}

#[test]
fn pings_of_a_peer_that_has_not_shown_where_it_belongs_are_not_told() {
    let mut world = World::new(&[], Vec::new());
    let connection = world.open(GREATER, None);
    let heard = || Input::Heard { peer: GREATER, connection, rtt: secs(1) };
    assert!(world.handle(heard()).is_empty());
    world.handle(Input::Identified { peer: GREATER, ours: true, addresses: Vec::new() });
    let rtt = secs(1);
    assert_eq!(world.handle(heard()), [Output::Tell(LinkEvent::Heard { peer: GREATER, rtt })]);
}

#[test]
fn a_link_that_is_needed_is_dialled_at_once_and_once() {
    let mut world = World::new(&[], Vec::new());
    assert_eq!(world.borrow(GREATER), Borrow::Unreachable("no address of it is known"));
    world.know(GREATER);
    let begun = Borrow::Coming(vec![Output::Dial { target: Target::Peer(GREATER), addresses: vec![at(6)] }]);
    assert_eq!(world.borrow(GREATER), begun);
    assert_eq!(world.borrow(GREATER), Borrow::Coming(Vec::new()));
    let connection = world.open(GREATER, Some(Target::Peer(GREATER)));
    assert_eq!(world.borrow(GREATER), Borrow::Coming(Vec::new()), "it has not said where it belongs");
    world.handle(Input::Identified { peer: GREATER, ours: true, addresses: Vec::new() });
    assert_eq!(world.borrow(GREATER), Borrow::Linked);
    world.handle(Input::Closed { peer: GREATER, connection });
    assert!(matches!(world.borrow(GREATER), Borrow::Coming(dials) if dials.len() == 1));
    world.miss(Target::Peer(GREATER));
    assert_eq!(world.borrow(GREATER), Borrow::Unreachable("it did not answer a moment ago"));
    world.block(&[GREATER]);
    assert_eq!(world.borrow(GREATER), Borrow::Unreachable("it is refused"));
}

#[test]
fn so_many_links_are_made_at_once_and_no_more() {
    let mut world = World::new(&[], Vec::new());
    for number in 0..=limits::DIALS_AT_ONCE {
        world.know(key(number));
    }
    let begun = (0..=limits::DIALS_AT_ONCE).map(|number| world.borrow(key(number)));
    let begun: Vec<Borrow> = begun.collect();
    assert!(begun[..limits::DIALS_AT_ONCE].iter().all(|begun| matches!(begun, Borrow::Coming(_))));
    assert_eq!(begun[limits::DIALS_AT_ONCE], Borrow::Busy);
}

#[test]
fn a_link_is_given_back_when_it_is_unused_unwanted_and_not_needed() {
    let mut world = World::new(&[], Vec::new());
    let links: Vec<NodeKey> = (0..limits::LINKS_SOUGHT + 2).map(key).collect();
    let mut connections = Vec::new();
    for peer in &links {
        world.know(*peer);
        world.borrow(*peer);
        connections.push((*peer, world.link(*peer, Some(Target::Peer(*peer)))));
    }
    world.want(&links[..1]);
    let mut given_back_after_half_the_time = || {
        world.elapse(limits::BORROWED_LINK / 2);
        for (peer, connection) in connections.iter().copied() {
            world.handle(Input::Heard { peer, connection, rtt: secs(0) });
        }
        world.state.used(world.now - secs(1), links[1]);
        world.tick().into_iter().filter(|output| matches!(output, Output::Cut(_))).collect::<Vec<_>>()
    };
    assert_eq!(given_back_after_half_the_time(), []);
    let cut = given_back_after_half_the_time();
    assert_eq!(
        cut,
        [Output::Cut(links[2]), Output::Cut(links[3])],
        "what is above the links that are sought"
    );
}
