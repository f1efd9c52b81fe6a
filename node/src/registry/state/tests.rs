//! Tests of `state`.

mod bounds;

use assetmesh_protocol::registry::{EntryError, EntryIdError, Payload, Record, TTL_MS_MAX};
use proptest::prelude::*;

use super::*;
use crate::registry::test_kit::{
    DAY, HOUR, MINUTE, NOW, Peer, SECOND, blank, description, entry, id, node, patch, pending, sign, sign_at,
    signed,
};
use crate::registry::{StateConfig, Timing};

fn config(bounds: Bounds) -> StateConfig {
    StateConfig { bounds, ..StateConfig::default() }
}

fn at(seq: u64) -> Version {
    Version { epoch: 0, seq }
}

#[test]
fn an_entry_is_stored_then_gossiped_then_answered() {
    let mut state = State::new(crate::registry::test_kit::owner(1), StateConfig::default());
    let write =
        Write { ticket: 5, entry: id("own-1"), change: Change::Create(entry("a")), asker: Asker::Client };
    let first = state.handle(NOW, Input::Write(write));
    let [Output::Persist(record, origin)] = &first[..] else { panic!("{first:?}") };
    assert!(state.map().is_empty(), "nobody sees it before it is on the disk");
    let then = state.handle(NOW, Input::Persisted(record.clone(), *origin));
    let [Output::Publish(published), Output::Answer { ticket: 5, result }] = &then[..] else {
        panic!("{then:?}")
    };
    assert_eq!((published, result.as_ref().unwrap()), (record, record));
    assert_eq!(state.map().get(&record.key()), Some(record));
}

#[test]
fn what_was_not_stored_never_was() {
    let mut peer = Peer::new(1);
    let (record, _) = pending(&mut peer, NOW, "a");
    assert!(matches!(peer.create(NOW, "a"), Err(WriteError::Conflict { .. })), "it is on its way");
    peer.put_in(NOW, Input::NotPersisted(record.clone()));
    let again = peer.create(NOW, "a").unwrap();
    assert!(again.version() > record.version(), "no version is given out twice");
}

#[test]
fn a_change_sees_the_one_before_it_that_is_not_stored_yet() {
    let mut peer = Peer::new(1);
    let (first, origin) = pending(&mut peer, NOW, "a");
    let change = Change::Update(patch(r#"{"asset_registry_metadata.x":1}"#));
    let second = peer.change(NOW, "a", change).unwrap();
    peer.put_in(NOW, Input::Persisted(first, origin));
    let Payload::Entry(entry) = peer.state.map().get(&second.key()).unwrap().payload() else { panic!() };
    assert_eq!(entry.metadata.to_json(), r#"{"framework":"PyTorch","x":1}"#);
}

#[test]
fn an_update_that_changes_nothing_signs_nothing() {
    let mut peer = Peer::new(1);
    let first = peer.create(NOW, "a").unwrap();
    let same = peer.change(NOW + 1, "a", Change::Update(patch(r#"{"asset_registry_name":"a"}"#))).unwrap();
    assert_eq!(first, same);
    assert_eq!(peer.published.len(), 1);
}

#[test]
fn changes_are_refused_with_their_reason() {
    let mut peer = Peer::new(1);
    peer.put_in(NOW, Input::Describe(description("me")));
    peer.gossip(NOW, &signed(2, "theirs", NOW, "x"));
    peer.create(NOW, "mine").unwrap();
    let taken = |owners| WriteError::Conflict { entry: id("theirs"), owners };
    assert_eq!(peer.create(NOW, "theirs").unwrap_err(), taken(vec![node(2)]));
    assert_eq!(peer.delete(NOW, "none").unwrap_err(), WriteError::NotFound(id("none")));
    assert_eq!(peer.delete(NOW, "theirs").unwrap_err(), WriteError::Elsewhere(node(2)));
    let own_record = node(1).assets_db_id().to_string();
    assert_eq!(peer.delete(NOW, &own_record).unwrap_err(), WriteError::Forbidden(id(&own_record)));
    let other_node = node(3).assets_db_id().to_string();
    let reserved = WriteError::Invalid(EntryError::Id(EntryIdError::Reserved));
    assert_eq!(peer.create(NOW, &other_node).unwrap_err(), reserved);
    let long = format!(r#"{{"asset_registry_name":"{}"}}"#, "x".repeat(9000));
    let long = peer.change(NOW, "mine", Change::Update(patch(&long))).unwrap_err();
    assert!(matches!(long, WriteError::Invalid(EntryError::TooLong { .. })), "{long}");
}

#[test]
fn a_foreign_node_record_is_not_changed_from_here() {
    let mut peer = Peer::new(1);
    let their_id = node(2).assets_db_id().to_string();
    peer.gossip(NOW, &sign(2, &their_id, at(NOW), Payload::Node(description("two"))));
    assert_eq!(peer.delete(NOW, &their_id).unwrap_err(), WriteError::Forbidden(id(&their_id)));
    assert!(peer.state.members().contains_key(&node(2)));
}

#[test]
fn one_id_of_two_owners_is_changed_by_each_for_itself_and_by_nobody_else() {
    let mut peer = Peer::new(3);
    peer.gossip(NOW, &signed(1, "a", NOW, "x"));
    peer.gossip(NOW, &signed(2, "a", NOW, "x"));
    let Err(WriteError::Conflict { owners, .. }) = peer.delete(NOW, "a") else { panic!() };
    assert_eq!(owners.len(), 2);
    assert!(owners.contains(&node(1)) && owners.contains(&node(2)));
    let mut owner = Peer::new(1);
    owner.create(NOW, "a").unwrap();
    owner.gossip(NOW, &signed(2, "a", NOW, "x"));
    assert_eq!(owner.delete(NOW, "a").unwrap().owner(), node(1));
}

#[test]
fn gossip_is_judged_once() {
    let mut peer = Peer::new(1);
    let (old, new) = (signed(2, "a", NOW, "old"), signed(2, "a", NOW + 5, "new"));
    assert_eq!(peer.gossip(NOW, &new), Taken::New);
    assert_eq!(peer.gossip(NOW, &new), Taken::Known);
    assert_eq!(peer.gossip(NOW, &old), Taken::Old);
    let verdicts = [Taken::New, Taken::Known, Taken::Old].map(Taken::verdict);
    assert_eq!(verdicts, [Verdict::Accept, Verdict::Ignore, Verdict::Ignore]);
    assert!(!peer.others.iter().any(|output| matches!(output, Output::Penalise(..))));
}

#[test]
fn the_far_future_is_refused_and_held_against_the_sender() {
    let mut peer = Peer::new(1);
    let drift = Timing::default().drift_ms;
    let future = |ahead| {
        let record = Record { issued_ms: NOW + ahead, payload: Payload::Entry(entry("x")), ..blank(2, "a") };
        sign_at(2, record)
    };
    let refused = Taken::Refused(Refusal::FarFuture);
    assert_eq!(peer.gossip(NOW, &future(drift + 1)), refused);
    assert_eq!(refused.verdict(), Verdict::Reject);
    let penalised = |output: &Output| matches!(output, Output::Penalise(from, _) if *from == node(200));
    assert!(peer.others.iter().any(penalised));
    assert_eq!(peer.gossip(NOW, &future(drift)), Taken::New);
}

#[test]
fn an_envelope_past_its_time_is_refused_and_dies_everywhere_alike() {
    let (mut early, mut late) = (Peer::new(1), Peer::new(2));
    let record = signed(3, "a", NOW, "x");
    assert_eq!(early.gossip(NOW, &record), Taken::New);
    early.tick(record.expires_ms() - 1);
    assert_eq!(early.live(), ["a"]);
    early.tick(record.expires_ms());
    assert!(early.state.map().is_empty() && early.disk.is_empty());
    assert_eq!(late.gossip(record.expires_ms(), &record), Taken::Refused(Refusal::Expired));
}

#[test]
fn a_deleted_entry_stays_deleted_for_whoever_was_away() {
    let (mut owner, mut absent) = (Peer::new(1), Peer::new(2));
    let mut now = NOW;
    owner.create(now, "a").unwrap();
    absent.sync_with(now, &mut owner);
    for _ in 0..3 {
        now += DAY + MINUTE;
        owner.tick(now);
    }
    // The absent node got one of the versions in between, and slept since.
    absent.sync_with(now, &mut owner);
    let tombstone = owner.delete(now + SECOND, "a").unwrap();
    let held = absent.state.map().get(&tombstone.key()).unwrap().clone();
    assert!(tombstone.expires_ms() >= held.expires_ms() + Timing::default().drift_ms);
    now = held.expires_ms() - 1;
    owner.tick(now);
    absent.sync_with(now, &mut owner);
    assert!(absent.live().is_empty() && owner.live().is_empty());
}

#[test]
fn a_tombstone_outlives_a_version_that_lives_longer_than_usual() {
    let mut peer = Peer::new(1);
    let long = Record { ttl_ms: 20 * DAY, payload: Payload::Entry(entry("x")), ..blank(1, "a") };
    let long = sign_at(1, long);
    peer.hear(NOW, &long, Way::Sync);
    let updated = peer.change(NOW, "a", Change::Update(patch(r#"{"asset_registry_name":"y"}"#))).unwrap();
    assert_eq!(updated.expires_ms(), long.expires_ms());
    let tombstone = peer.delete(NOW + SECOND, "a").unwrap();
    assert!(tombstone.expires_ms() >= long.expires_ms() + Timing::default().drift_ms);
    assert!(tombstone.expires_ms() - tombstone.issued_ms() <= TTL_MS_MAX);
}

#[test]
fn live_entries_are_signed_anew_and_tombstones_are_not() {
    let mut peer = Peer::new(1);
    peer.tick(NOW);
    let first = peer.create(NOW, "a").unwrap();
    let tombstone = {
        peer.create(NOW, "b").unwrap();
        peer.delete(NOW, "b").unwrap()
    };
    peer.tick(NOW + 20 * HOUR);
    assert_eq!(peer.state.map().get(&first.key()), Some(&first), "not yet");
    peer.tick(NOW + 24 * HOUR);
    let again = peer.state.map().get(&first.key()).unwrap();
    assert!(again.version() > first.version() && again.expires_ms() >= first.expires_ms() + 20 * HOUR);
    assert_eq!(again.payload(), first.payload());
    assert_eq!(peer.state.map().get(&tombstone.key()), Some(&tombstone));
    assert_eq!(peer.published.last(), Some(again), "and gossiped");
}

#[test]
fn an_owner_that_was_away_too_long_gives_its_entries_again() {
    let mut peer = Peer::new(1);
    let first = peer.create(NOW, "a").unwrap();
    let mut peer = peer.restarted(1, NOW + 10 * DAY);
    assert!(peer.live().is_empty(), "it has died for everyone");
    peer.tick(NOW + 10 * DAY);
    assert!(peer.live().is_empty(), "peers may know better");
    peer.tick(NOW + 10 * DAY + MINUTE);
    assert_eq!(peer.live(), ["a"]);
    assert!(peer.state.map().get(&first.key()).unwrap().version() > first.version());
}

#[test]
fn an_old_copy_of_the_disk_gives_way_to_what_peers_know() {
    let (mut owner, mut peer) = (Peer::new(1), Peer::new(2));
    owner.create(NOW, "kept").unwrap();
    owner.create(NOW, "gone").unwrap();
    let backup: Vec<_> = owner.disk.values().cloned().collect();
    let kept = owner.change(NOW + HOUR, "kept", Change::Update(patch(r#"{"asset_registry_name":"new"}"#)));
    owner.delete(NOW + HOUR, "gone").unwrap();
    peer.sync_with(NOW + HOUR, &mut owner);

    let mut restored = Peer::new(1);
    let now = NOW + 25 * HOUR;
    for record in backup {
        restored.put_in(now, Input::Loaded(record));
    }
    restored.tick(now);
    restored.sync_with(now, &mut peer);
    restored.tick(now + 2 * MINUTE);
    assert_eq!(restored.live(), ["kept"]);
    let standing = restored.state.map().get(&kept.unwrap().key()).unwrap().payload();
    assert!(matches!(standing, Payload::Entry(entry) if entry.name == "new"));
    let next = restored.create(now, "next").unwrap();
    assert!(next.version() > peer.state.map().iter().map(|record| record.version()).max().unwrap());
}

#[test]
fn a_clock_that_goes_back_begins_an_epoch_and_blocks_nothing() {
    let mut peer = Peer::new(1);
    let ahead = NOW + 365 * DAY;
    let before = peer.create(ahead, "a").unwrap();
    let after = peer.change(NOW, "a", Change::Update(patch(r#"{"asset_registry_name":"b"}"#))).unwrap();
    assert_eq!(after.version(), Version { epoch: 1, seq: NOW });
    assert!((StateConfig::default().rules.supersedes)(&after, &before));
    assert_eq!(Peer::new(2).gossip(NOW, &after), Taken::New);
}

#[test]
fn entries_signed_in_a_future_that_did_not_come_are_signed_anew() {
    let mut peer = Peer::new(1);
    peer.tick(NOW);
    let before = peer.create(NOW, "a").unwrap();
    let ahead = NOW + 3650 * DAY;
    peer.tick(ahead);
    assert_eq!(peer.live(), ["a"], "its own entries outlive a jump of its clock");
    peer.tick(NOW + MINUTE);
    let now = peer.state.map().get(&before.key()).unwrap();
    assert_eq!((now.version().epoch, now.issued_ms()), (1, NOW + MINUTE));
    assert_eq!(Peer::new(2).gossip(NOW + MINUTE, now), Taken::New);
}

#[test]
fn two_bodies_with_one_version_end_alike_in_any_order_and_are_told() {
    let (one, two) = (signed(3, "a", NOW, "one"), signed(3, "a", NOW, "two"));
    let stands = if one.hash() > two.hash() { &one } else { &two };
    for order in [[&one, &two], [&two, &one]] {
        let mut peer = Peer::new(1);
        for record in order {
            peer.gossip(NOW, record);
        }
        assert_eq!(peer.state.map().get(&one.key()), Some(stands));
        assert!(peer.others.iter().any(|output| matches!(output, Output::Equivocation { .. })));
    }
}

#[test]
fn a_node_says_once_what_it_is() {
    let mut peer = Peer::new(1);
    peer.put_in(NOW, Input::Describe(description("me")));
    peer.put_in(NOW + SECOND, Input::Describe(description("me")));
    assert_eq!(peer.published.len(), 1);
    peer.put_in(NOW + MINUTE, Input::Describe(description("renamed")));
    let Payload::Node(record) = peer.published[1].payload() else { panic!() };
    assert_eq!((record.name.as_str(), record.created_ms), ("renamed", NOW));
    let members: Vec<_> = peer.state.members().keys().copied().collect();
    assert_eq!(members, [node(1)]);
    let mut peer = peer.restarted(1, NOW + HOUR);
    peer.put_in(NOW + HOUR, Input::Describe(description("renamed")));
    assert!(peer.published.is_empty(), "what stands is not said again");
}

#[test]
fn a_record_of_itself_that_it_did_not_write_is_contradicted_once_a_minute() {
    let mut peer = Peer::new(1);
    peer.put_in(NOW, Input::Describe(description("me")));
    let own = node(1).assets_db_id().to_string();
    let mut now = NOW;
    for _ in 0..60 {
        now += SECOND;
        let clone = sign(1, &own, at(now), Payload::Node(description("clone")));
        peer.gossip(now, &clone);
        peer.tick(now);
    }
    assert_eq!(peer.published.len(), 2);
}

#[test]
fn a_member_is_gone_when_its_record_dies() {
    let mut peer = Peer::new(1);
    let their_id = node(2).assets_db_id().to_string();
    let record = sign(2, &their_id, at(NOW), Payload::Node(description("two")));
    peer.gossip(NOW, &record);
    assert!(peer.state.members().contains_key(&node(2)));
    peer.tick(record.expires_ms());
    assert!(!peer.state.members().contains_key(&node(2)));
    assert!(matches!(peer.others.last(), Some(Output::Member(key, None)) if *key == node(2)));
}

#[test]
fn what_is_young_is_gossiped_on_even_if_it_came_by_anti_entropy() {
    let bounds = Bounds { updates_burst: 2, ..Bounds::default() };
    let mut peer = Peer::with(1, config(bounds));
    peer.hear(NOW, &signed(2, "old", NOW - HOUR, "x"), Way::Sync);
    peer.hear(NOW, &signed(3, "gossiped", NOW, "x"), Way::Gossip);
    assert!(peer.published.is_empty());
    for name in ["a", "b", "c", "d"] {
        assert_eq!(peer.hear(NOW, &signed(2, name, NOW, "x"), Way::Sync), Taken::New);
    }
    assert_eq!(peer.published.len(), 2, "as often as its owner may change something");
}

#[test]
fn a_version_of_its_own_that_it_forgot_is_never_given_out_again() {
    let mut peer = Peer::new(1);
    let forgotten = signed(1, "a", NOW + HOUR, "x");
    assert_eq!(peer.gossip(NOW, &forgotten), Taken::New, "its own, whatever its clock says");
    assert_eq!(peer.state.mark(), forgotten.version());
    let next = peer.change(NOW, "a", Change::Update(patch(r#"{"asset_registry_name":"y"}"#))).unwrap();
    assert!(next.version() > forgotten.version());
}

/// Envelopes of few keys, so that they meet: live and deleted ones, equal versions with different bodies.
fn envelopes() -> impl Strategy<Value = Vec<Arc<Verified>>> {
    let one = (2u8..4, 0u8..3, 0u64..2, 0u64..4, 0u8..3);
    let make = |(seed, name, epoch, seq, content): (u8, u8, u64, u64, u8)| {
        let payload = match content {
            0 => Payload::Tombstone,
            other => Payload::Entry(entry(&other.to_string())),
        };
        sign(seed, &format!("id-{name}"), Version { epoch, seq: NOW + seq }, payload)
    };
    proptest::collection::vec(one.prop_map(make), 0..16)
}

fn merged<'a>(records: impl IntoIterator<Item = &'a Arc<Verified>>) -> [u8; 32] {
    let mut peer = Peer::new(1);
    for record in records {
        peer.hear(NOW, record, Way::Sync);
    }
    peer.state.map().digest()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_with_any_repetition_ends_alike(
        records in envelopes(),
        order in any::<proptest::sample::Index>(),
        extra in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        let straight = merged(&records);
        let mut other: Vec<_> = records.iter().rev().collect();
        if !records.is_empty() {
            let at = order.index(other.len());
            other.rotate_left(at);
            other.extend(extra.iter().map(|index| &records[index.index(records.len())]));
        }
        prop_assert_eq!(straight, merged(other));
    }

    #[test]
    fn merging_in_groups_is_merging_one_by_one(a in envelopes(), b in envelopes(), c in envelopes()) {
        // (a + b) + c = a + (b + c), where a group is what its merge holds.
        let group = |parts: &[&[Arc<Verified>]]| {
            let mut peer = Peer::new(1);
            for record in parts.iter().copied().flatten() {
                peer.hear(NOW, record, Way::Sync);
            }
            peer.state.map().iter().cloned().collect::<Vec<_>>()
        };
        let left = group(&[&group(&[&a, &b]), &c]);
        let right = group(&[&a, &group(&[&b, &c])]);
        prop_assert_eq!(merged(&left), merged(&right));
        prop_assert_eq!(merged(&left), merged(left.iter().chain(&left)));
    }

    #[test]
    fn two_nodes_that_met_hold_the_same(a in envelopes(), b in envelopes()) {
        let (mut one, mut two) = (Peer::new(1), Peer::new(9));
        for record in &a {
            one.hear(NOW, record, Way::Sync);
        }
        for record in &b {
            two.hear(NOW, record, Way::Sync);
        }
        one.sync_with(NOW, &mut two);
        prop_assert_eq!(one.state.map().digest(), two.state.map().digest());
        prop_assert_eq!(one.sync_with(NOW, &mut two), 1, "nothing is left to do");
    }
}
