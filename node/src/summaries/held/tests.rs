//! Tests of `held`: when a summary rules out, when it is pulled, and that it stays within its bounds.

use assetmesh_protocol::summary::Growing;

use super::*;

const PEER: NodeKey = NodeKey([0; 32]);
const OTHER: NodeKey = NodeKey([1; 32]);

struct Desk {
    held: Held,
    config: Config,
    now: Instant,
    /// When the link was last renewed, and when it was last heard.
    link: (Instant, Instant),
}

fn version(changes: u64) -> Version {
    Version { life: 1, build: 1, changes }
}

fn small() -> Summary {
    Growing::new(0).summary().clone()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Desk {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let now = Instant::now();
        Self { held: Held::new(config.clone()), config, now, link: (now, now) }
    }

    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// Time passes and pings come back.
    fn live(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self.link.1 = self.now;
        self
    }

    fn is_fresh(&mut self, peer: NodeKey) -> bool {
        let (since, heard) = self.link;
        let link = Link { address: String::new(), rtt: None, since, renewed: since, heard };
        self.held.fresh(self.now, peer, Some(&link)).is_some()
    }

    fn begin(&mut self) -> Vec<Pull> {
        self.held.begin(self.now, Duration::ZERO)
    }

    /// Asks about a peer and pulls its summary.
    fn pulled(&mut self, peer: NodeKey, summary: Summary) {
        self.is_fresh(peer);
        let pull = self.begin().into_iter().find(|pull| pull.peer == peer).expect("it is wanted");
        self.held.ended(self.now, &pull, Pulled::New(version(1), summary));
    }
}

#[test]
fn nothing_is_pulled_that_nobody_asked_about() {
    let mut desk = Desk::new();
    assert_eq!((desk.held.due(), desk.begin().len()), (None, 0));
    assert!(!desk.is_fresh(PEER) && desk.held.is_wanted(desk.now));
    assert_eq!((desk.begin().len(), desk.begin().len()), (1, 0), "one pull at a time");
    desk.pass(Duration::from_secs(3600));
    assert_eq!(desk.held.due(), None);
}

#[test]
fn a_summary_is_fresh_until_its_time_is_up() {
    let mut desk = Desk::new();
    desk.pulled(PEER, small());
    for _ in 0..29 {
        assert!(desk.live(ms(1000)).is_fresh(PEER));
    }
    assert!(!desk.live(ms(1000)).is_fresh(PEER));
}

#[test]
fn a_summary_in_use_is_pulled_again_before_its_time_is_up() {
    let mut desk = Desk::new();
    desk.pulled(PEER, small());
    assert!(desk.live(ms(19_999)).is_fresh(PEER) && !desk.held.is_wanted(desk.now));
    assert!(desk.live(ms(1)).is_fresh(PEER));
    let pull = desk.begin().remove(0);
    assert_eq!(pull.known, Some(version(1)));
    desk.held.ended(desk.now, &pull, Pulled::Same);
    assert!(desk.live(ms(29_999)).is_fresh(PEER));
}

#[test]
fn a_member_that_is_silent_or_not_linked_is_asked() {
    let mut desk = Desk::new();
    desk.pulled(PEER, small());
    assert!(desk.pass(ms(3000)).is_fresh(PEER));
    assert!(!desk.pass(ms(1)).is_fresh(PEER));
    assert!(desk.live(ms(0)).is_fresh(PEER));
    assert!(desk.held.fresh(desk.now, PEER, None).is_none());
}

#[test]
fn a_renewed_link_may_hide_a_new_life() {
    let mut desk = Desk::new();
    desk.pulled(PEER, small());
    desk.live(ms(500));
    desk.link.0 = desk.now;
    assert!(!desk.is_fresh(PEER));
    let pull = desk.live(ms(500)).begin().remove(0);
    desk.held.ended(desk.now, &pull, Pulled::Same);
    assert!(desk.is_fresh(PEER));
}

#[test]
fn a_member_that_has_changed_is_asked_until_it_was_pulled_again() {
    let mut desk = Desk::new();
    desk.pulled(PEER, small());
    desk.held.changed(PEER);
    assert!(!desk.live(ms(250)).is_fresh(PEER));
    assert_eq!(desk.begin().len(), 0, "not so soon");
    let pull = desk.live(ms(10)).begin().remove(0);
    desk.held.ended(desk.now, &pull, Pulled::New(version(2), small()));
    assert!(desk.is_fresh(PEER));
}

#[test]
fn a_change_that_is_heard_while_a_pull_is_under_way_counts() {
    for outcome in [Pulled::Same, Pulled::New(version(2), small())] {
        let mut desk = Desk::new();
        desk.pulled(PEER, small());
        desk.live(ms(20_000)).is_fresh(PEER);
        let pull = desk.begin().remove(0);
        desk.held.changed(PEER);
        desk.held.ended(desk.now, &pull, outcome);
        assert!(!desk.is_fresh(PEER));
    }
}

#[test]
fn a_summary_that_spares_nothing_is_pulled_less_and_less_often() {
    let mut desk = Desk::new();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        desk.pulled(PEER, small());
        let begun = desk.now;
        desk.held.changed(PEER);
        desk.is_fresh(PEER);
        desk.now = desk.held.due().unwrap();
        pauses.push(desk.now.duration_since(begun).as_millis());
        desk.link.1 = desk.now;
    }
    assert!(pauses[0] < 300 && pauses.is_sorted() && pauses[9] == 30_000, "{pauses:?}");
    assert_eq!(desk.held.were_useful([PEER].into_iter()), 1);
    desk.pulled(PEER, small());
    desk.is_fresh(PEER);
    desk.held.changed(PEER);
    desk.is_fresh(PEER);
    assert!(desk.held.due().unwrap() < desk.now + ms(300));
}

#[test]
fn a_large_summary_is_pulled_less_often() {
    let mut desk = Desk::new();
    desk.pulled(PEER, Growing::new(1 << 20).summary().clone());
    desk.held.changed(PEER);
    desk.is_fresh(PEER);
    assert!(desk.held.due().unwrap() > desk.now + Duration::from_secs(10));
}

#[test]
fn what_failed_is_tried_again_later_and_what_is_not_offered_is_dropped() {
    for (outcome, knows) in [(Pulled::Failed, true), (Pulled::None, false)] {
        let mut desk = Desk::new();
        desk.pulled(PEER, small());
        desk.live(ms(30_000)).is_fresh(PEER);
        let pull = desk.begin().remove(0);
        desk.held.ended(desk.now, &pull, outcome);
        assert!(!desk.is_fresh(PEER));
        assert_eq!(desk.held.due(), Some(desk.now + FAILED_PAUSE));
        assert_eq!(desk.held.as_of().len(), usize::from(knows));
    }
}

#[test]
fn only_so_many_are_pulled_at_once() {
    let mut desk = Desk::new();
    for seed in 0..100 {
        desk.is_fresh(NodeKey([seed; 32]));
    }
    let first = desk.begin();
    assert_eq!((first.len(), desk.begin().len(), desk.held.due()), (desk.config.pulls_at_once, 0, None));
    desk.held.ended(desk.now, &first[0], Pulled::Failed);
    assert_eq!(desk.begin().len(), 1);
}

#[test]
fn memory_stays_within_its_bound_and_the_longest_unused_goes_first() {
    let one = small().bytes();
    let mut desk = Desk::with(Config { bytes_max: 10 * one, ..Config::default() });
    for seed in 0..30 {
        desk.pulled(NodeKey([seed; 32]), small());
        desk.live(ms(10));
        assert!(desk.held.bytes() <= 10 * one);
        assert!(desk.is_fresh(NodeKey([0; 32])), "it is asked about all the time");
    }
    assert_eq!(desk.held.as_of().len(), 10);
    assert!(!desk.is_fresh(OTHER));
    desk.pulled(OTHER, Growing::new(u64::MAX).summary().clone());
    assert!(!desk.is_fresh(OTHER) && desk.held.bytes() <= 10 * one, "it fits nowhere");
}

#[test]
fn more_members_than_any_federation_has_are_not_remembered() {
    let mut desk = Desk::new();
    for n in 0..3 * PEERS_MAX as u64 {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        desk.is_fresh(NodeKey(key));
    }
    assert!(desk.held.peers.len() <= PEERS_MAX);
}
