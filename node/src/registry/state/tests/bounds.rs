//! What an owner, a peer and the whole registry may take.

use super::*;

#[test]
fn an_owner_has_only_so_many_entries() {
    let bounds = Bounds { entries_per_owner: 3, records_per_owner: 5, ..Bounds::default() };
    let (mut owner, mut peer) = (Peer::with(1, config(bounds.clone())), Peer::with(2, config(bounds)));
    for name in ["a", "b", "c"] {
        owner.create(NOW, name).unwrap();
    }
    assert_eq!(
        owner.create(NOW, "d").unwrap_err(),
        WriteError::TooMany { bound: Bound::EntriesOfOwner, max: 3 }
    );
    owner.delete(NOW, "a").unwrap();
    owner.create(NOW, "d").unwrap();
    peer.sync_with(NOW, &mut owner);
    assert_eq!(peer.live(), ["b", "c", "d"]);
    let more = signed(1, "e", NOW + 9, "e");
    let refused = Taken::Refused(Refusal::Bound(Bound::EntriesOfOwner));
    assert_eq!(peer.gossip(NOW, &more), refused);
    assert_eq!(refused.verdict(), Verdict::Ignore);
    owner.delete(NOW, "b").unwrap();
    owner.create(NOW, "e").unwrap();
    owner.delete(NOW, "c").unwrap();
    assert_eq!(
        owner.create(NOW, "f").unwrap_err(),
        WriteError::TooMany { bound: Bound::RecordsOfOwner, max: 5 }
    );
}

#[test]
fn entries_on_their_way_to_the_disk_count() {
    let bounds = Bounds { entries_per_owner: 2, ..Bounds::default() };
    let mut peer = Peer::with(1, config(bounds));
    pending(&mut peer, NOW, "a");
    pending(&mut peer, NOW, "b");
    assert_eq!(
        peer.create(NOW, "c").unwrap_err().to_string(),
        "this node has 2 registry entries, as many as it may have: delete some first"
    );
}

#[test]
fn the_whole_is_bounded_and_nodes_can_always_join() {
    let bounds = Bounds { records: 4, entries: 3, ..Bounds::default() };
    let mut peer = Peer::with(1, config(bounds));
    for seed in 2..5 {
        assert_eq!(peer.gossip(NOW, &signed(seed, "a", NOW, "x")), Taken::New);
    }
    let full = Taken::Refused(Refusal::Bound(Bound::Records));
    assert_eq!(peer.gossip(NOW, &signed(5, "a", NOW, "x")), full);
    let record = |seed: u8| {
        sign(seed, &node(seed).assets_db_id().to_string(), at(NOW), Payload::Node(description("n")))
    };
    assert_eq!(peer.gossip(NOW, &record(6)), Taken::New);
    assert_eq!(peer.gossip(NOW, &record(7)), full);
    assert_eq!(peer.gossip(NOW, &signed(2, "a", NOW + 1, "newer")), Taken::New, "what is there may change");
}

#[test]
fn bytes_are_bounded() {
    let mut peer = Peer::with(1, config(Bounds { bytes: 1000, ..Bounds::default() }));
    let refused = Taken::Refused(Refusal::Bound(Bound::Bytes));
    assert_eq!(peer.gossip(NOW, &signed(2, "a", NOW, &"x".repeat(600))), Taken::New);
    assert_eq!(peer.gossip(NOW, &signed(2, "b", NOW, &"x".repeat(600))), refused);
    assert_eq!(peer.gossip(NOW, &sign(2, "a", at(NOW + 1), Payload::Tombstone)), Taken::New);
    assert_eq!(peer.gossip(NOW, &signed(2, "b", NOW, &"x".repeat(600))), Taken::New);
}

#[test]
fn an_owner_that_changes_too_much_is_heard_later() {
    let bounds = Bounds { updates_per_minute: 60, updates_burst: 3, ..Bounds::default() };
    let mut peer = Peer::with(1, config(bounds));
    let change = |seq| signed(2, "a", NOW + seq, "x");
    for seq in 0..3 {
        assert_eq!(peer.gossip(NOW, &change(seq)), Taken::New);
    }
    assert_eq!(peer.gossip(NOW, &change(4)), Taken::Refused(Refusal::TooFast));
    assert_eq!(peer.hear(NOW, &change(4), Way::Sync), Taken::New, "anti-entropy brings the latest anyway");
    assert_eq!(peer.gossip(NOW + SECOND, &change(5)), Taken::New);
    assert_eq!(peer.gossip(NOW + SECOND, &signed(3, "b", NOW, "x")), Taken::New, "others are not held up");
    peer.create(NOW, "mine").unwrap();
    let renamed = |n| Change::Update(patch(&format!(r#"{{"asset_registry_name":"{n}"}}"#)));
    for n in 0..2 {
        peer.change(NOW, "mine", renamed(n)).unwrap();
    }
    assert_eq!(peer.change(NOW, "mine", renamed(9)).unwrap_err(), WriteError::TooFast { per_minute: 60 });
}

#[test]
fn peers_cannot_use_up_the_changes_that_clients_need() {
    let bounds = Bounds { updates_per_minute: 60, updates_burst: 8, ..Bounds::default() };
    let mut peer = Peer::with(1, config(bounds));
    peer.create(NOW, "a").unwrap();
    let renamed = |n: u32, asker| {
        let change = Change::Update(patch(&format!(r#"{{"asset_registry_name":"{n}"}}"#)));
        Input::Write(Write { ticket: 1, entry: id("a"), change, asker })
    };
    let by_peers = (0..20).filter(|n| peer.put_in(NOW, renamed(*n, Asker::Peer)).unwrap().is_ok()).count();
    let by_clients =
        (30..50).filter(|n| peer.put_in(NOW, renamed(*n, Asker::Client)).unwrap().is_ok()).count();
    assert_eq!((by_peers, by_clients), (3, 4));
}
