//! The scheduler against providers that come, go, stall, lie and are busy in any order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;
use proptest::prelude::{Strategy, any, prop, prop_assert, proptest};

use super::state::{Input, JobId, Output, Plan, State, Trouble};
use crate::blobs::tree::GROUP_BYTES;

const GROUP: u64 = GROUP_BYTES as u64;
const PLAN: Plan = Plan { range_bytes: 8 * GROUP, window_bytes: 32 * GROUP, jobs_max: 4 };

fn key(number: u8) -> NodeKey {
    NodeKey([number; 32])
}

/// A transfer, and the world around it.
struct World {
    state: State,
    now: Instant,
    jobs: BTreeMap<JobId, (NodeKey, Range<u64>)>,
    /// How often each group has come.
    came: BTreeMap<u64, u32>,
    end: u64,
    taken: u64,
    searches: u32,
    has_given_up: bool,
    furthest: u64,
}

impl World {
    fn new(end: u64) -> Self {
        Self {
            state: State::new(PLAN, 0..end),
            now: Instant::now(),
            jobs: BTreeMap::new(),
            came: BTreeMap::new(),
            end,
            taken: 0,
            searches: 0,
            has_given_up: false,
            furthest: 0,
        }
    }

    fn tell(&mut self, input: Input<'_>) {
        for output in self.state.handle(self.now, input) {
            match output {
                Output::Start { job, provider, range } => {
                    assert!(range.start < range.end && range.end <= self.end, "{range:?}");
                    self.furthest = self.furthest.max(range.end);
                    self.jobs.insert(job, (provider, range));
                }
                Output::Cut { job, end } => {
                    let (_, range) = self.jobs.get_mut(&job).expect("only what is under way is cut");
                    assert!(range.start <= end && end < range.end, "{range:?} is cut at {end}");
                    range.end = end;
                }
                Output::Stop(job) => drop(self.jobs.remove(&job)),
                Output::Search => self.searches += 1,
                Output::GiveUp => self.has_given_up = true,
            }
        }
        assert!(self.jobs.len() <= PLAN.jobs_max);
        assert!(self.furthest <= self.taken + PLAN.window_bytes, "beyond the window");
    }

    /// One job brings one group.
    fn bring(&mut self, nth: usize) {
        let Some((&job, (_, range))) = self.jobs.iter_mut().nth(nth) else { return };
        let offset = range.start;
        let to = (offset + GROUP).min(self.end);
        range.start = to;
        if self.state.wants(job, offset) {
            *self.came.entry(offset).or_default() += 1;
            self.tell(Input::Got(&[(job, to)]));
        }
        if self.jobs.get(&job).is_some_and(|(_, range)| range.is_empty()) {
            self.jobs.remove(&job);
            self.tell(Input::Ended { job, trouble: None });
        }
    }

    fn fail(&mut self, nth: usize, trouble: Trouble) {
        let Some((&job, &(provider, _))) = self.jobs.iter().nth(nth) else { return };
        // One provider is honest and alive.
        if provider != key(0) || trouble == Trouble::Busy {
            self.jobs.remove(&job);
            self.tell(Input::Ended { job, trouble: Some(trouble) });
        }
    }

    /// Consumers take what has come in order.
    fn take(&mut self) {
        while self.taken < self.end && self.came.contains_key(&self.taken) {
            self.taken = (self.taken + GROUP).min(self.end);
        }
        self.tell(Input::Taken(self.taken));
    }

    fn wait(&mut self) {
        self.now += Duration::from_millis(500);
        self.tell(Input::Taken(self.taken));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Found(u8),
    Bring(usize),
    Fail(usize, u8),
    Take,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (any::<u8>(), 0..4_usize, 0..3_u8).prop_map(|(kind, nth, what)| match kind {
        0..=20 => Step::Found(what + nth as u8),
        21..=180 => Step::Bring(nth),
        181..=200 => Step::Fail(nth, what),
        201..=240 => Step::Take,
        _ => Step::Wait,
    });
    prop::collection::vec(step, 0..300)
}

proptest! {
    #[test]
    fn every_byte_comes_once_whoever_fails(steps in steps(), groups in 1..100_u64, tail in 0..GROUP) {
        let mut world = World::new(groups * GROUP - tail);
        world.tell(Input::Found(key(0)));
        world.tell(Input::Searched);
        for step in steps {
            match step {
                Step::Found(number) => world.tell(Input::Found(key(number))),
                Step::Bring(nth) => world.bring(nth),
                Step::Fail(nth, 0) => world.fail(nth, Trouble::Busy),
                Step::Fail(nth, 1) => world.fail(nth, Trouble::Lost),
                Step::Fail(nth, _) => world.fail(nth, Trouble::Unfit),
                Step::Take => world.take(),
                Step::Wait => world.wait(),
            }
        }
        for turn in 0..10_000 {
            if world.state.is_done() {
                break;
            }
            world.bring(turn % 4);
            world.take();
            world.wait();
        }
        prop_assert!(world.state.is_done() && !world.has_given_up);
        prop_assert!(world.came.values().all(|times| *times == 1), "a group came twice");
        prop_assert!(world.came.len() as u64 == groups);
    }
}

#[test]
fn what_a_liar_leaves_goes_on_at_the_last_verified_group() {
    let mut world = World::new(8 * GROUP);
    world.tell(Input::Found(key(1)));
    world.bring(0);
    world.bring(0);
    world.tell(Input::Found(key(2)));
    let (&job, _) = world.jobs.iter().find(|(_, (provider, _))| *provider == key(1)).unwrap();
    world.jobs.remove(&job);
    world.tell(Input::Ended { job, trouble: Some(Trouble::Unfit) });
    let starts: Vec<_> = world.jobs.values().cloned().collect();
    assert_eq!(starts, [(key(2), 2 * GROUP..8 * GROUP)]);
    world.tell(Input::Found(key(1)));
    assert!(world.jobs.values().all(|(provider, _)| *provider == key(2)), "a liar is not asked again");
}

#[test]
fn an_idle_provider_takes_over_from_one_that_does_not_move() {
    let mut world = World::new(8 * GROUP);
    world.tell(Input::Found(key(1)));
    assert_eq!(world.jobs.len(), 1);
    world.tell(Input::Found(key(2)));
    assert_eq!(world.jobs.len(), 1, "so little is not worth a stream while it moves");
    world.wait();
    world.wait();
    assert!(world.jobs.values().any(|(provider, range)| *provider == key(2) && *range == (GROUP..8 * GROUP)));
}

#[test]
fn all_providers_have_work() {
    let plan = Plan { range_bytes: 256 * GROUP, window_bytes: 1024 * GROUP, jobs_max: 4 };
    let mut state = State::new(plan, 0..256 * GROUP);
    let now = Instant::now();
    let mut busy = Vec::new();
    for number in 1..=3 {
        for output in state.handle(now, Input::Found(key(number))) {
            if let Output::Start { provider, range, .. } = output {
                busy.push((provider, range));
            }
        }
    }
    let expected = [0..256 * GROUP, 128 * GROUP..256 * GROUP, 192 * GROUP..256 * GROUP];
    assert_eq!(busy, [1, 2, 3].map(key).into_iter().zip(expected).collect::<Vec<_>>());
}

#[test]
fn with_nobody_left_it_searches_a_few_times_and_gives_up() {
    let mut world = World::new(8 * GROUP);
    world.tell(Input::Found(key(1)));
    let (&job, _) = world.jobs.iter().next().unwrap();
    world.jobs.clear();
    world.tell(Input::Ended { job, trouble: Some(Trouble::Unfit) });
    for _ in 0..10 {
        world.tell(Input::Found(key(1)));
        world.tell(Input::Searched);
        world.wait();
    }
    assert_eq!((world.searches, world.has_given_up), (3, true));
}

#[test]
fn a_provider_that_is_busy_is_asked_again_after_a_pause() {
    let mut world = World::new(8 * GROUP);
    world.tell(Input::Found(key(0)));
    world.fail(0, Trouble::Busy);
    assert!(world.jobs.is_empty() && world.searches == 0);
    world.wait();
    assert_eq!(world.jobs.len(), 1);
}

#[test]
fn a_provider_has_one_job_until_it_has_brought_something() {
    let mut world = World::new(64 * GROUP);
    world.tell(Input::Found(key(1)));
    assert_eq!(world.jobs.len(), 1);
    world.bring(0);
    assert_eq!(world.jobs.len(), PLAN.jobs_max);
    world.tell(Input::Found(key(2)));
    world.fail(0, Trouble::Unfit);
    assert_eq!(world.jobs.values().map(|(provider, _)| *provider).collect::<Vec<_>>(), [key(2)]);
}
