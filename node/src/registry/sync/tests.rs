//! Tests of `sync`.

use super::*;
use crate::registry::test_kit::{NOW, Peer, SECOND, signed};
use crate::registry::{Bounds, StateConfig, Way};

fn filled(seed: u8, records: &[Arc<Verified>]) -> Peer {
    let mut peer = Peer::new(seed);
    for record in records {
        peer.hear(NOW, record, Way::Sync);
    }
    peer
}

fn many(seed: u8, count: usize, bytes: usize) -> Vec<Arc<Verified>> {
    (0..count).map(|n| signed(seed, &format!("id-{n}"), NOW + n as u64, &"x".repeat(bytes))).collect()
}

#[test]
fn equal_maps_need_one_step() {
    let records = many(3, 20, 10);
    let (mut one, mut two) = (filled(1, &records), filled(2, &records));
    assert_eq!(one.sync_with(NOW, &mut two), 1);
    assert_eq!(Peer::new(1).sync_with(NOW, &mut Peer::new(2)), 1);
}

#[test]
fn both_sides_get_what_they_lack() {
    let (left, right) = (many(3, 300, 100), many(4, 200, 100));
    let (mut one, mut two) = (filled(1, &left), filled(2, &right));
    one.sync_with(NOW, &mut two);
    assert_eq!(one.state.map().len(), 500);
    assert_eq!(one.state.map().digest(), two.state.map().digest());
}

#[test]
fn a_new_node_fetches_everything_in_bounded_rounds() {
    let records = many(3, 700, 3000);
    let (mut full, mut new) = (filled(1, &records), Peer::new(2));
    let steps = new.sync_with(NOW, &mut full);
    assert_eq!(new.state.map().digest(), full.state.map().digest());
    // 2.2 MB at 256 KiB a round, and the comparisons.
    assert!((10..16).contains(&steps), "{steps} steps");
}

#[test]
fn no_request_and_no_answer_is_too_long() {
    let records = many(3, 900, 5000);
    let (full, empty) = (filled(1, &records), Peer::new(2));
    for (mine, theirs) in [(&full, &empty), (&empty, &full)] {
        let mut session = Session::default();
        for _ in 0..4 {
            let ask = session.next(mine.state.map()).unwrap();
            let asked = ask.clone().map(|record| record.envelope().clone()).encode().unwrap();
            assert!(asked.len() <= 64 * 1024, "{}", asked.len());
            let answer = answer(theirs.state.map(), &part(ask).0, 1);
            let answered = answer.clone().map(|record| record.envelope().clone()).encode().unwrap();
            assert!(answered.len() <= 300 * 1024, "{}", answered.len());
            session.answered(mine.state.map(), answer);
        }
    }
}

#[test]
fn a_comparison_that_does_not_fit_goes_on_where_it_ended() {
    let records = many(3, STAMPS_MAX + 700, 10);
    let map = {
        let mut map = Map::default();
        records.iter().for_each(|record| drop(map.insert(record.clone())));
        map
    };
    let (mut from, mut seen, mut rounds) = (first_key(0), HashSet::new(), 0);
    loop {
        let Answer::Stamps { buckets, next } = stamps(&map, &Map::default().fingerprints(), from) else {
            panic!("no stamps")
        };
        rounds += 1;
        seen.extend(buckets.iter().flat_map(|bucket| &bucket.stamps).map(|stamp| stamp.key));
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!((seen.len(), rounds), (records.len(), 2));
}

#[test]
fn a_peer_with_less_is_given_the_rest_of_a_bucket_that_was_cut() {
    // What lies behind the cut is compared in the next step, not taken for missing.
    let records = many(3, 60, 10);
    let mine = filled(1, &records);
    let mut session = Session::default();
    session.next(mine.state.map());
    let bucket = records[0].key().bucket();
    let cut = mine.state.map().range(bucket, first_key(0)).next().map(|(key, _)| *key);
    let stamps = BucketStamps { bucket, stamps: Vec::new() };
    session.answered(mine.state.map(), Answer::Stamps { buckets: vec![stamps], next: cut });
    assert!(session.give.is_empty());
    assert_eq!(session.from, cut);
}

#[test]
fn a_peer_that_never_gives_what_it_names_costs_little() {
    let (map, liar) = (Map::default(), filled(1, &many(3, 50, 10)));
    let mut session = Session::default();
    let mut steps = 0;
    while let Some(ask) = session.next(&map) {
        steps += 1;
        let answer = match part(ask).0 {
            question @ Question::Compare { .. } => answer(liar.state.map(), &question, 0),
            Question::Want(_) => Answer::Envelopes { envelopes: Vec::new(), taken: 0 },
        };
        session.answered(&map, answer);
    }
    assert_eq!(steps, 2);
}

#[test]
fn a_peer_that_promises_progress_for_ever_is_left() {
    let (map, liar) = (Map::default(), filled(1, &many(3, 50, 10)));
    let mut session = Session::default();
    let mut steps = 0;
    while let Some(ask) = session.next(&map) {
        steps += 1;
        let answer = match part(ask).0 {
            Question::Compare { from, .. } => {
                let buckets = vec![BucketStamps { bucket: from.bucket(), stamps: Vec::new() }];
                Answer::Stamps { buckets, next: from.bucket().checked_add(1).map(first_key) }
            }
            question @ Question::Want(_) => answer(liar.state.map(), &question, 9),
        };
        session.answered(&map, answer);
        session.merged(1);
    }
    assert!(steps <= STEPS_MAX, "{steps}");
}

#[test]
fn an_answer_to_another_question_ends_the_session() {
    for wrong in [Answer::Busy, Answer::Envelopes { envelopes: Vec::new(), taken: 0 }] {
        let mut session = Session::default();
        session.next(&Map::default()).unwrap();
        assert!(session.answered(&Map::default(), wrong).is_empty());
        assert!(session.next(&Map::default()).is_none());
    }
    let odd = Question::Compare { fingerprints: vec![0; 3], from: first_key(0) };
    assert_eq!(answer(&Map::default(), &odd, 0), Answer::Busy);
}

#[test]
fn what_is_refused_is_not_fetched_again_and_again() {
    let records = many(3, 40, 10);
    let mut full = filled(1, &records);
    let bounds = Bounds { entries_per_owner: 10, ..Bounds::default() };
    let mut small = Peer::with(2, StateConfig { bounds, ..StateConfig::default() });
    assert!(small.sync_with(NOW, &mut full) <= 4);
    assert_eq!(small.state.map().len(), 10);
    assert!(small.sync_with(NOW + SECOND, &mut full) <= 3);
}

#[test]
fn fingerprints_follow_the_content_and_not_the_order() {
    let records = many(3, 30, 10);
    let (mut one, mut two) = (Map::default(), Map::default());
    records.iter().for_each(|record| drop(one.insert(record.clone())));
    records.iter().rev().for_each(|record| drop(two.insert(record.clone())));
    assert_eq!(one.fingerprints(), two.fingerprints());
    let shared = one.clone();
    one.remove(&records[0].key());
    assert_ne!(one.fingerprints(), two.fingerprints());
    assert_eq!(shared.fingerprints(), two.fingerprints(), "a copy does not follow");
    assert_eq!((one.len(), shared.len()), (29, 30));
    records.iter().for_each(|record| drop(one.remove(&record.key())));
    assert_eq!((one.fingerprints(), one.bytes()), (Map::default().fingerprints(), 0));
}
