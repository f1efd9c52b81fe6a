//! The bound, the order in which blobs go, and the counts, against a model that only knows sets.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use proptest::prelude::*;

use super::*;

const GROUP: u64 = GROUP_BYTES as u64;

fn id(number: u8) -> AssetId {
    AssetId::of(&[number])
}

fn about(groups: u64) -> About {
    About { size: groups * GROUP - 7, facts: FileFacts::default() }
}

/// What a blob of whole groups takes when it comes at once.
fn room(groups: u64) -> u64 {
    room_of(groups * GROUP - 7) + outboard_room(groups * GROUP - 7)
}

fn nobody(_: &AssetId) -> bool {
    false
}

fn add(cache: &mut Cache, number: u8, groups: u32, now: u64) -> Option<Admitted> {
    let about = about(u64::from(groups));
    cache.admit((&id(number), &about), 0..groups, (now, BlobNumber(u64::from(number))), nobody)
}

#[test]
fn the_least_recently_used_makes_way() {
    let mut cache = Cache::new(3 * room(4), []);
    for number in 0..3 {
        assert_eq!(add(&mut cache, number, 4, u64::from(number)).unwrap().evicted, []);
    }
    cache.note_use(&id(0), 10);
    assert_eq!(add(&mut cache, 3, 4, 11).unwrap().evicted, [(id(1), BlobNumber(1))]);
    assert!(cache.get(&id(0)).is_some() && cache.get(&id(1)).is_none());
}

#[test]
fn what_is_read_stays_and_what_finds_no_room_is_not_kept() {
    let mut cache = Cache::new(2 * room(4), []);
    add(&mut cache, 0, 4, 0).unwrap();
    add(&mut cache, 1, 4, 1).unwrap();
    let about = about(4);
    let mut try_add = |is_busy: &dyn Fn(&AssetId) -> bool| {
        cache.admit((&id(2), &about), 0..4, (2, BlobNumber(2)), is_busy).map(|admitted| admitted.evicted)
    };
    assert_eq!(try_add(&|_| true), None);
    assert_eq!(try_add(&|other| *other == id(0)), Some(vec![(id(1), BlobNumber(1))]));
}

#[test]
fn content_larger_than_the_cache_is_not_kept_and_pushes_nothing_out() {
    let mut cache = Cache::new(room(64), []);
    add(&mut cache, 0, 8, 0).unwrap();
    assert_eq!(add(&mut cache, 1, 300, 1), None);
    let none = Cache::new(0, []).admit((&id(0), &about(1)), 0..1, (0, BlobNumber(0)), nobody);
    assert_eq!((cache.iter().count(), none), (1, None));
}

#[test]
fn parts_that_are_here_are_not_taken_twice() {
    let mut cache = Cache::new(1 << 30, []);
    let about = about(10);
    let mut admit = |groups| cache.admit((&id(0), &about), groups, (0, BlobNumber(5)), nobody);
    assert_eq!(admit(2..4).unwrap().parts, vec![Range { start: 2, end: 4 }]);
    assert_eq!(admit(0..10).unwrap().parts, [0..2, 4..10]);
    assert_eq!(admit(0..10).unwrap().parts, []);
    let entry = cache.get(&id(0)).unwrap();
    assert!(entry.is_whole());
    assert_eq!(entry.bytes(), about.size);
}

#[test]
fn only_what_lacks_something_expires() {
    let mut cache = Cache::new(1 << 30, []);
    add(&mut cache, 0, 4, 5).unwrap();
    for (number, used) in [(1, 5), (2, 9)] {
        let key = (used, BlobNumber(u64::from(number)));
        cache.admit((&id(number), &about(4)), 1..2, key, nobody).unwrap();
    }
    assert_eq!(cache.stale(9), [id(1)]);
}

#[derive(Debug, Clone)]
enum Act {
    Admit { blob: u8, start: u32, len: u32, busy: Vec<u8> },
    Use(u8),
    Forget(u8),
    Shrink(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let busy = prop::collection::vec(0u8..12, 0..4);
    prop_oneof![
        8 => (0u8..12, 0u32..60, 1u32..30, busy)
            .prop_map(|(blob, start, len, busy)| Act::Admit { blob, start, len, busy }),
        3 => (0u8..12).prop_map(Act::Use),
        1 => (0u8..12).prop_map(Act::Forget),
        1 => (0u64..1 << 21).prop_map(Act::Shrink),
    ]
}

proptest! {
    #[test]
    fn the_bound_and_the_books_hold_whatever_happens(acts in prop::collection::vec(act(), 1..120)) {
        let room_max = 4 << 20;
        let mut cache = Cache::new(room_max, []);
        let mut model: BTreeMap<u8, (u64, BTreeSet<u32>)> = BTreeMap::new();
        for (now, act) in acts.into_iter().enumerate() {
            let now = now as u64 + 1;
            let mut gone: Vec<AssetId> = Vec::new();
            match act {
                Act::Admit { blob, start, len, busy } => {
                    let busy: HashSet<AssetId> = busy.into_iter().map(id).collect();
                    let end = (start + len).min(60);
                    let key = (now, BlobNumber(now));
                    let admitted = cache.admit((&id(blob), &about(60)), start..end, key, |id| busy.contains(id));
                    if let Some(Admitted { number, parts, evicted }) = admitted {
                        prop_assert_eq!(number, cache.get(&id(blob)).unwrap().number);
                        prop_assert!(evicted.iter().all(|(gone, _)| !busy.contains(gone) && *gone != id(blob)));
                        let (used, held) = model.entry(blob).or_default();
                        *used = now;
                        let fresh: BTreeSet<u32> = parts.into_iter().flatten().collect();
                        prop_assert!(fresh.is_disjoint(held));
                        held.extend(fresh);
                        prop_assert!((start..end).all(|group| held.contains(&group)));
                        gone = evicted.into_iter().map(|(id, _)| id).collect();
                        let oldest = model.iter().filter(|(other, _)| !busy.contains(&id(**other)) && **other != blob);
                        let mut oldest: Vec<(u64, u8)> = oldest.map(|(other, (used, _))| (*used, *other)).collect();
                        oldest.sort_unstable();
                        let expected: HashSet<AssetId> = oldest.iter().take(gone.len()).map(|(_, other)| id(*other)).collect();
                        prop_assert_eq!(gone.iter().copied().collect::<HashSet<_>>(), expected);
                    }
                }
                Act::Use(blob) => {
                    cache.note_use(&id(blob), now);
                    if let Some((used, _)) = model.get_mut(&blob) {
                        *used = now;
                    }
                }
                Act::Forget(blob) => {
                    cache.forget(&id(blob));
                    gone.push(id(blob));
                }
                Act::Shrink(bytes) => {
                    let before = cache.room();
                    gone = cache.shrink(bytes, nobody).into_iter().map(|(id, _)| id).collect();
                    prop_assert!(before - cache.room() >= bytes.min(before));
                }
            }
            model.retain(|blob, _| !gone.contains(&id(*blob)));
            prop_assert!(cache.room() <= room_max);
            prop_assert_eq!(cache.room(), cache.iter().map(|(_, entry)| entry.room).sum::<u64>());
            prop_assert_eq!(cache.iter().count(), model.len());
            for (blob, (used, held)) in &model {
                let entry = cache.get(&id(*blob)).unwrap();
                prop_assert_eq!((entry.used, entry.runs.groups()), (*used, held.len() as u64));
                prop_assert_eq!(entry.is_whole(), held.len() == 60);
            }
        }
    }
}
