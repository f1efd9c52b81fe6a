//! What the pure core promises: crashes are seen, live nodes are left alone, liars are not believed.

use std::sync::Arc;
use std::time::Duration;

use assetmesh_protocol::liveness::{Claim, Message, Standing};

use super::test_world::{World, claim, key};
use super::{Config, Input, PeerState};

fn mesh(count: usize) -> World {
    let mut world = World::of(count, Config::default());
    world.run(20);
    assert!((0..count).all(|target| world.all_see(target, PeerState::Alive)));
    world.changes.clear();
    world
}

/// A federation that is too big for a mesh.
fn monitored(count: usize) -> World {
    let mut world = World::of(count, Config { mesh_max: 8, ..Config::default() });
    world.run(20);
    assert!((0..count).all(|target| world.all_see(target, PeerState::Alive)), "{:?}", world.changes);
    world.changes.clear();
    world
}

#[test]
fn a_member_that_was_never_heard_is_down() {
    let world = World::of(3, Config::default());
    assert!(world.all_see(0, PeerState::Down));
    assert!(world.nodes[1].state.peers().all(|fact| fact.last_heard.is_none()));
    assert_eq!(world.nodes[1].state.state_of(&key(1)), None);
}

#[test]
fn five_nodes_see_a_crash_within_ten_seconds_and_the_return_within_two() {
    let mut world = mesh(5);
    world.crash(2);
    assert!(world.until_all_see(2, PeerState::Down, 10) >= 3);
    world.run(30);
    world.start(2, 99_000);
    world.until_all_see(2, PeerState::Alive, 2);
    assert!(world.only_about(&[2]), "{:?}", world.changes);
}

#[test]
fn a_crash_goes_through_suspect_with_one_change_a_step() {
    let mut world = mesh(5);
    world.crash(2);
    world.run(12);
    let seen: Vec<(PeerState, PeerState)> = world
        .changes
        .iter()
        .filter(|(_, at, _)| *at == 0)
        .map(|(_, _, change)| (change.from, change.to))
        .collect();
    let expected = [(PeerState::Alive, PeerState::Suspect), (PeerState::Suspect, PeerState::Down)];
    assert_eq!(seen, expected);
}

#[test]
fn two_nodes_that_cannot_reach_each_other_stay_members_through_a_third() {
    let mut world = mesh(3);
    world.cut(0, 1, true);
    world.run(120);
    assert!(world.changes.is_empty(), "{:?}", world.changes);
    world.crash(1);
    world.run(12);
    assert!(world.all_see(1, PeerState::Down));
}

#[test]
fn a_node_that_starts_behind_a_cut_is_found_through_others() {
    let mut world = mesh(4);
    world.crash(1);
    world.run(15);
    world.cut(0, 1, true);
    world.start(1, 99_000);
    world.until_all_see(1, PeerState::Alive, 70);
    let seen_by_1 = (0..4).filter(|other| *other != 1).all(|other| world.sees(1, other) == PeerState::Alive);
    assert!(seen_by_1);
}

#[test]
fn halves_of_a_mesh_give_each_other_up_and_meet_again() {
    let mut world = mesh(5);
    let pairs = (0..2).flat_map(|one| (2..5).map(move |other| (one, other)));
    pairs.clone().for_each(|(one, other)| world.cut(one, other, true));
    world.run(25);
    for (one, other) in pairs.clone() {
        assert_eq!((world.sees(one, other), world.sees(other, one)), (PeerState::Down, PeerState::Down));
    }
    assert_eq!((world.sees(0, 1), world.sees(3, 4)), (PeerState::Alive, PeerState::Alive));
    pairs.for_each(|(one, other)| world.cut(one, other, false));
    world.run(3);
    assert!((0..5).all(|target| world.all_see(target, PeerState::Alive)));
}

#[test]
fn a_node_that_was_stopped_does_not_call_the_others_dead() {
    for (mut world, seconds) in [(mesh(5), 3), (mesh(5), 25), (monitored(20), 4), (monitored(20), 60)] {
        world.stop(2, true);
        world.run(seconds);
        let before = world.all_see(2, PeerState::Down);
        assert_eq!(before, seconds >= 25, "after {seconds} s");
        world.stop(2, false);
        world.until_all_see(2, PeerState::Alive, 5);
        world.run(30);
        assert!(world.all_see(2, PeerState::Alive));
        let judged: Vec<_> = world.changes.iter().filter(|(_, at, _)| *at == 2).collect();
        assert!(judged.is_empty(), "{judged:?}");
    }
}

#[test]
fn a_node_that_left_is_not_brought_back_by_a_late_answer_but_by_its_next_start() {
    for mut world in [mesh(5), monitored(20)] {
        world.give(3, Input::Leave);
        world.run(2);
        assert!(world.all_see(3, PeerState::Left), "{:?}", world.changes);
        world.crash(3);
        world.give(1, Input::Heard { peer: key(3), rtt: Duration::ZERO });
        world.run(20);
        assert!(world.all_see(3, PeerState::Left));
        assert!(world.changes_to(PeerState::Suspect).is_empty());
        world.start(3, 99_000);
        world.until_all_see(3, PeerState::Alive, 5);
    }
}

#[test]
fn with_monitors_a_crash_is_seen_by_all_within_thirty_seconds_and_the_return_within_five() {
    let mut world = monitored(30);
    for target in [3, 17] {
        world.crash(target);
        world.until_all_see(target, PeerState::Down, 28);
        world.start(target, 99_000);
        world.until_all_see(target, PeerState::Alive, 5);
    }
    assert!(world.only_about(&[3, 17]), "{:?}", world.changes);
}

#[test]
fn a_crash_is_seen_even_if_all_monitors_are_stopped_most_of_the_time() {
    let mut world = monitored(30);
    let target = 11;
    let monitors = world.monitors_of(target);
    assert_eq!(monitors.len(), 4);
    world.crash(target);
    for second in 0..28 {
        for at in &monitors {
            world.stop(*at, second % 5 < 3);
        }
        world.run(1);
    }
    monitors.iter().for_each(|at| world.stop(*at, false));
    world.run(1);
    let seen = (0..30).filter(|at| *at != target && world.sees(*at, target) == PeerState::Down).count();
    assert!(seen >= 25, "{seen} nodes: {:?}", world.changes);
    assert!(world.only_about(&[target]), "{:?}", world.changes);
}

#[test]
fn with_monitors_nobody_is_linked_with_everybody() {
    let mut world = World::of(60, Config { mesh_max: 8, ..Config::default() });
    world.run(10);
    let seen = (0..60).all(|target| world.all_see(target, PeerState::Alive));
    assert!(seen);
    let silent = world.nodes[0].state.peers().filter(|fact| fact.rtt.is_none()).count();
    assert!(silent > 30, "{silent}");
}

#[test]
fn with_monitors_a_stall_is_refuted_in_time() {
    let mut world = monitored(30);
    world.stop(4, true);
    world.run(14);
    assert!(!world.changes_to(PeerState::Suspect).is_empty(), "a stall of 14 s must be noticed");
    world.stop(4, false);
    world.run(30);
    assert!(world.all_see(4, PeerState::Alive));
    assert!(world.changes_to(PeerState::Down).is_empty(), "{:?}", world.changes);
    assert!(world.nodes[4].state.incarnation() > 1000);
}

#[test]
fn halves_of_a_big_federation_give_each_other_up_and_meet_again() {
    let mut world = monitored(24);
    let pairs = (0..10).flat_map(|one| (10..24).map(move |other| (one, other)));
    pairs.clone().for_each(|(one, other)| world.cut(one, other, true));
    world.run(150);
    let across = |world: &World, state| {
        let both = pairs.clone().flat_map(|(one, other)| [world.sees(one, other), world.sees(other, one)]);
        both.filter(|seen| *seen == state).count()
    };
    assert_eq!(across(&world, PeerState::Down), 280, "{} are suspects", across(&world, PeerState::Suspect));
    world.changes.clear();
    pairs.clone().for_each(|(one, other)| world.cut(one, other, false));
    world.run(30);
    assert!((0..24).all(|target| world.all_see(target, PeerState::Alive)), "{:?}", world.changes);
    assert!(world.changes_to(PeerState::Down).is_empty(), "{:?}", world.changes_to(PeerState::Down));
}

/// Delivers messages of `from` to all others.
fn shout(world: &mut World, from: usize, message: &Message) {
    for at in (0..world.nodes.len()).filter(|at| *at != from) {
        world.give(at, Input::Message { from: key(from), message: message.clone() });
    }
}

fn claims(claims: impl IntoIterator<Item = Claim>) -> Message {
    Message::Claims(claims.into_iter().map(Arc::new).collect())
}

#[test]
fn one_liar_cannot_make_anybody_suspect_or_down() {
    let mut world = monitored(20);
    let liar = 6;
    for target in (0..20).filter(|target| *target != liar) {
        let life = world.nodes[target].state.incarnation();
        for standing in [Standing::Suspect, Standing::Down] {
            let other = (0..20).find(|other| ![liar, target].contains(other)).unwrap();
            let mut forged = claim(target, life, standing, &[liar, other]);
            forged.signed[1].signature = forged.signed[0].signature;
            shout(&mut world, liar, &claims([forged]));
            shout(&mut world, liar, &Message::Ballot(claim(target, life, standing, &[liar])));
        }
        let doubt =
            Message::Doubt { target: key(target), incarnation: life, standing: Standing::Down, nonce: 5 };
        shout(&mut world, liar, &doubt);
        let farewell = claims([claim(target, 5000, Standing::Left, &[liar])]).to_bytes().unwrap();
        assert!(Message::from_bytes(&farewell).is_err());
        let mut farewell = claim(target, 5000, Standing::Left, &[target]);
        farewell.signed[0].signature.0[0] ^= 1;
        shout(&mut world, liar, &claims([farewell]));
    }
    world.run(30);
    assert!(world.changes.is_empty(), "{:?}", world.changes);
    assert!(world.forged.iter().all(|(_, peer)| *peer == key(liar)));
    assert!(world.forged.len() > 300, "{}", world.forged.len());
}

#[test]
fn two_liars_who_monitor_a_node_are_refuted_by_it() {
    let mut world = monitored(20);
    let life = world.nodes[0].state.incarnation();
    let lie = |standing| {
        let pairs = (1..20).flat_map(|one| (one + 1..20).map(move |other| (one, other)));
        claims(pairs.take(100).map(move |(one, other)| claim(0, life, standing, &[one, other])))
    };
    shout(&mut world, 5, &lie(Standing::Suspect));
    shout(&mut world, 5, &lie(Standing::Down));
    world.run(10);
    assert!(
        !world.changes_to(PeerState::Suspect).is_empty(),
        "nobody believed the liars: the test shows nothing"
    );
    assert!(world.changes_to(PeerState::Down).is_empty());
    assert!(world.all_see(0, PeerState::Alive), "{:?}", world.changes);
    assert!(world.nodes[0].state.incarnation() > life);
}

#[test]
fn an_old_word_of_a_node_does_not_bring_it_back() {
    let mut world = monitored(20);
    let life = world.nodes[3].state.incarnation();
    let alive = claims([claim(3, life, Standing::Alive, &[3])]);
    world.crash(3);
    world.until_all_see(3, PeerState::Down, 28);
    world.changes.clear();
    shout(&mut world, 7, &alive);
    world.run(5);
    assert!(world.changes.is_empty(), "{:?}", world.changes);
}

#[test]
fn a_node_whose_clock_went_back_counts_on_from_what_others_remember() {
    let mut world = monitored(20);
    world.crash(3);
    world.until_all_see(3, PeerState::Down, 28);
    world.start(3, 7);
    world.until_all_see(3, PeerState::Alive, 5);
    assert!(world.nodes[3].state.incarnation() > 1000);
}

#[test]
fn who_is_told_what_was_said_of_a_former_life_answers_with_the_present_one() {
    let mut world = monitored(20);
    let former = world.nodes[3].state.incarnation() - 1;
    world.give(
        3,
        Input::Message { from: key(5), message: claims([claim(3, former, Standing::Down, &[5, 6])]) },
    );
    assert_eq!(
        world.sent_to(5),
        Some(Message::Claims(vec![Arc::new(claim(3, former + 1, Standing::Alive, &[3]))]))
    );
}

#[test]
fn claims_that_got_lost_are_made_up_for() {
    let mut world = monitored(20);
    // Node 0 hears nothing of what happens meanwhile, and is heard by its monitors only after the cut.
    let others = 1..20;
    others.clone().for_each(|other| world.cut(0, other, true));
    world.crash(5);
    world.run(12);
    others.for_each(|other| world.cut(0, other, false));
    world.until_all_see(5, PeerState::Down, 40);
    world.run(20);
    assert!(world.all_see(0, PeerState::Alive));
}

#[test]
fn a_forged_proof_is_held_against_its_sender_and_proves_nothing() {
    let mut world = mesh(3);
    world.crash(1);
    world.cut(0, 1, true);
    let mut sent = None;
    for _ in 0..8 {
        world.run(1);
        sent = sent.or_else(|| world.asked_nonce(2));
    }
    let nonce = sent.expect("a doubt was sent");
    let proof = assetmesh_protocol::liveness::Proof {
        target: key(1),
        incarnation: 1000,
        nonce,
        signature: assetmesh_protocol::liveness::Signature([1; 64]),
    };
    world.give(0, Input::Message { from: key(2), message: Message::Proof(proof) });
    world.run(10);
    assert!(world.all_see(1, PeerState::Down));
}

#[test]
fn a_member_that_is_removed_is_forgotten() {
    let mut world = mesh(4);
    let members = Arc::new([key(0), key(1)].into());
    world.give(0, Input::Members(members));
    assert_eq!(world.nodes[0].state.peers().map(|fact| fact.key).collect::<Vec<_>>(), [key(1)]);
    world.run(5);
    assert_eq!(world.sees(0, 1), PeerState::Alive);
}

#[test]
fn made_up_members_beyond_the_bound_take_no_place() {
    let mut world = World::of(3, Config { members_max: 5, ..Config::default() });
    world.run(5);
    let crowd = Arc::new((0..500).map(key).collect());
    world.give(0, Input::Members(crowd));
    assert_eq!(world.nodes[0].state.peers().count(), 5);
    world.run(5);
    assert!((1..3).all(|other| world.sees(0, other) == PeerState::Alive), "who was known stays");
}

#[test]
fn a_node_that_announces_itself_over_and_over_is_not_repeated_for_ever() {
    let mut world = monitored(20);
    let before = world.sent;
    for step in 0..200 {
        world.give(
            1,
            Input::Message {
                from: key(7),
                message: claims([claim(7, 90_000 + step, Standing::Alive, &[7])]),
            },
        );
    }
    world.run(1);
    assert!(world.sent - before < 1_500, "{}", world.sent - before);
    assert!(world.all_see(7, PeerState::Alive));
}

#[test]
fn one_forgery_in_a_message_ends_its_reading() {
    let mut world = monitored(20);
    let forged = |target: usize| {
        let mut claim = claim(target, 90_000, Standing::Alive, &[target]);
        claim.signed[0].signature.0[3] ^= 1;
        claim
    };
    world.give(1, Input::Message { from: key(7), message: claims([forged(2), forged(3), forged(4)]) });
    assert_eq!(world.forged, [(1, key(7))]);
}
