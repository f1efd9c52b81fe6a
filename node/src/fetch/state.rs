//! Decides which provider brings which part of a blob: ranges in order inside a window, idle providers take over half
//! of what another still owes, and what a provider leaves goes to the next from the last verified group on. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use assetmesh_protocol::ids::NodeKey;

use super::views::ProviderState;
use crate::blobs::tree::GROUP_BYTES;

const GROUP: u64 = GROUP_BYTES as u64;
/// Less than this is not taken over from a job that moves: a stream costs about as much.
const STEAL_BYTES_MIN: u64 = 512 << 10;
/// A job that brought nothing for so long may be taken over but for one group.
const SLOW_AFTER: Duration = Duration::from_secs(1);
/// First pause of a provider that is busy; it doubles up to [`BUSY_PAUSE_MAX`].
const BUSY_PAUSE: Duration = Duration::from_millis(50);
const BUSY_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Refusals in a row, about 20 s, after which a busy provider counts as lost.
const BUSY_TIMES_MAX: u32 = 15;
/// Searches for more providers without a byte in between, and the pause before each.
const SEARCHES_MAX: u32 = 3;
const SEARCH_PAUSE: Duration = Duration::from_millis(300);

/// How long a provider rests that is busy once more, after so many times in a row; `None` if it counts as lost.
pub(super) fn busy_pause(times: u32) -> Option<Duration> {
    let pause = BUSY_PAUSE * 2_u32.pow(times.min(10));
    (times < BUSY_TIMES_MAX).then_some(pause.min(BUSY_PAUSE_MAX))
}

/// Names one range that one provider brings.
pub(super) type JobId = u64;

/// How much may be under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// Bytes of one range; a multiple of a group.
    pub(super) range_bytes: u64,
    /// Bytes beyond what consumers have taken; at least one range.
    pub(super) window_bytes: u64,
    /// Ranges at once.
    pub(super) jobs_max: usize,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input<'i> {
    /// A provider is known.
    Found(NodeKey),
    /// No more providers will be found by this search.
    Searched,
    /// Jobs have brought all up to these bytes, verified.
    Got(&'i [(JobId, u64)]),
    /// A job ended.
    Ended {
        /// The job.
        job: JobId,
        /// How; `None` if it brought all that was asked.
        trouble: Option<Trouble>,
    },
    /// Consumers have taken all up to here. Told now and then in any case, because time passes.
    Taken(u64),
}

/// Why a job brought no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The provider has no room now.
    Busy,
    /// The provider is gone, or has the content no more.
    Lost,
    /// The provider stalled or lied: it is not asked again.
    Unfit,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Output {
    /// Ask a provider for a range.
    Start {
        /// The name of the job.
        job: JobId,
        /// Whom.
        provider: NodeKey,
        /// What.
        range: Range<u64>,
    },
    /// What a job was to bring from this byte on is left to another.
    Cut {
        /// The job.
        job: JobId,
        /// The byte after the last that it still brings.
        end: u64,
    },
    /// The rest of a job is not wanted any more.
    Stop(JobId),
    /// Look for providers again.
    Search,
    /// There is nobody left to ask.
    GiveUp,
}

#[derive(Debug)]
struct Job {
    provider: NodeKey,
    at: u64,
    end: u64,
    moved: Instant,
}

#[derive(Debug, Default)]
struct Provider {
    jobs: usize,
    busy_times: u32,
    paused_until: Option<Instant>,
    /// It has brought something. Until then it has one job, so that a liar wastes little.
    is_proven: bool,
    is_out: bool,
    /// It is out for good, even if a search finds it again.
    is_unfit: bool,
}

/// One blob on its way.
#[derive(Debug)]
pub(super) struct State {
    plan: Plan,
    end: u64,
    /// Nothing from here on was ever asked for.
    fresh: u64,
    /// What was asked for and did not come: start and end.
    owed: BTreeMap<u64, u64>,
    taken: u64,
    jobs: BTreeMap<JobId, Job>,
    next_job: JobId,
    providers: BTreeMap<NodeKey, Provider>,
    is_searching: bool,
    searches: u32,
    search_at: Option<Instant>,
    has_given_up: bool,
}

impl State {
    /// Fetches a range that begins and ends at groups. A first search is under way.
    pub(super) fn new(plan: Plan, range: Range<u64>) -> Self {
        Self {
            plan,
            end: range.end,
            fresh: range.start,
            owed: BTreeMap::new(),
            taken: range.start,
            jobs: BTreeMap::new(),
            next_job: 0,
            providers: BTreeMap::new(),
            is_searching: true,
            searches: 0,
            search_at: None,
            has_given_up: false,
        }
    }

    /// Whether a group that a job brings at this offset is still wanted of it.
    pub(super) fn wants(&self, job: JobId, offset: u64) -> bool {
        self.jobs.get(&job).is_some_and(|job| (job.at..job.end).contains(&offset))
    }

    /// Whether every byte has come.
    pub(super) fn is_done(&self) -> bool {
        self.fresh >= self.end && self.owed.is_empty() && self.jobs.is_empty()
    }

    /// Who brings a job.
    pub(super) fn provider_of(&self, job: JobId) -> Option<NodeKey> {
        self.jobs.get(&job).map(|job| job.provider)
    }

    /// What each provider does.
    pub(super) fn standings(&self, now: Instant) -> Vec<(NodeKey, ProviderState)> {
        let standing = |(key, provider): (&NodeKey, &Provider)| {
            let its = self.jobs.values().filter(|job| job.provider == *key);
            let state = match its.map(|job| job.moved).max() {
                _ if provider.is_out => ProviderState::GivenUp,
                Some(moved) => ProviderState::Bringing(now.saturating_duration_since(moved)),
                None if provider.paused_until.is_some_and(|until| until > now) => ProviderState::Busy,
                None => ProviderState::Idle,
            };
            (*key, state)
        };
        self.providers.iter().map(standing).collect()
    }

    /// Decides.
    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Found(key) => {
                let provider = self.providers.entry(key).or_default();
                if provider.is_out && !provider.is_unfit {
                    *provider = Provider::default();
                }
            }
            Input::Searched => {
                self.is_searching = false;
                self.search_at = Some(now + SEARCH_PAUSE);
            }
            Input::Got(reached) => reached.iter().for_each(|(job, to)| self.got(now, *job, *to, &mut out)),
            Input::Ended { job, trouble } => self.ended(now, job, trouble, &mut out),
            Input::Taken(to) => self.taken = self.taken.max(to),
        }
        self.assign(now, &mut out);
        self.seek(now, &mut out);
        out
    }

    fn got(&mut self, now: Instant, id: JobId, to: u64, out: &mut Vec<Output>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.at = job.at.max(to);
        job.moved = now;
        self.searches = 0;
        if let Some(provider) = self.providers.get_mut(&job.provider) {
            provider.busy_times = 0;
            provider.is_proven = true;
        }
        if job.at >= job.end {
            self.remove(id);
            out.push(Output::Stop(id));
        }
    }

    fn ended(&mut self, now: Instant, id: JobId, trouble: Option<Trouble>, out: &mut Vec<Output>) {
        let Some(job) = self.remove(id) else { return };
        self.owe(job.at, job.end);
        let Some(provider) = self.providers.get_mut(&job.provider) else { return };
        // A job that ends by itself before its end was cut short.
        match trouble.unwrap_or(Trouble::Lost) {
            Trouble::Busy => match busy_pause(provider.busy_times) {
                Some(pause) => {
                    provider.busy_times += 1;
                    provider.paused_until = Some(now + pause);
                }
                None => self.dismiss(job.provider, false, out),
            },
            Trouble::Lost => self.dismiss(job.provider, false, out),
            Trouble::Unfit => self.dismiss(job.provider, true, out),
        }
    }

    /// Gives a provider up, with all that it owes.
    fn dismiss(&mut self, key: NodeKey, is_unfit: bool, out: &mut Vec<Output>) {
        if let Some(provider) = self.providers.get_mut(&key) {
            provider.is_out = true;
            provider.is_unfit |= is_unfit;
        }
        let its: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.provider == key).map(|(id, _)| *id).collect();
        for id in its {
            if let Some(job) = self.remove(id) {
                self.owe(job.at, job.end);
                out.push(Output::Stop(id));
            }
        }
    }

    fn remove(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        if let Some(provider) = self.providers.get_mut(&job.provider) {
            provider.jobs -= 1;
        }
        Some(job)
    }

    fn owe(&mut self, start: u64, end: u64) {
        if start < end {
            self.owed.insert(start, end);
        }
    }

    fn assign(&mut self, now: Instant, out: &mut Vec<Output>) {
        while self.jobs.len() < self.plan.jobs_max {
            let Some((key, is_idle)) = self.fittest(now) else { return };
            let range = self.owed.pop_first().map(|(start, end)| start..end);
            let range = range.or_else(|| self.fresh_range());
            let range = match range {
                None if is_idle => self.steal(now, key, out),
                range => range,
            };
            let Some(range) = range else { return };
            let job = self.next_job;
            self.next_job += 1;
            self.jobs.insert(job, Job { provider: key, at: range.start, end: range.end, moved: now });
            if let Some(provider) = self.providers.get_mut(&key) {
                provider.jobs += 1;
            }
            out.push(Output::Start { job, provider: key, range });
        }
    }

    /// The provider with the least to do, and whether that is nothing.
    fn fittest(&self, now: Instant) -> Option<(NodeKey, bool)> {
        let fit = self.providers.iter().filter(|(_, provider)| {
            let has_room = provider.is_proven || provider.jobs == 0;
            !provider.is_out && has_room && provider.paused_until.is_none_or(|until| until <= now)
        });
        let (key, provider) = fit.min_by_key(|(_, provider)| provider.jobs)?;
        Some((*key, provider.jobs == 0))
    }

    fn fresh_range(&mut self) -> Option<Range<u64>> {
        let end = self.end.min(self.fresh + self.plan.range_bytes);
        if self.fresh >= self.end || end > self.taken + self.plan.window_bytes {
            return None;
        }
        let start = std::mem::replace(&mut self.fresh, end);
        Some(start..end)
    }

    /// The back part of the job that still owes most: half of it, or all but a group if it does not move.
    fn steal(&mut self, now: Instant, thief: NodeKey, out: &mut Vec<Output>) -> Option<Range<u64>> {
        let others = self.jobs.iter_mut().filter(|(_, job)| job.provider != thief);
        let (id, job) = others.max_by_key(|(_, job)| job.end - job.at)?;
        let is_slow = now.saturating_duration_since(job.moved) >= SLOW_AFTER;
        let left = job.end - job.at;
        let kept = match left / 2 {
            _ if is_slow => GROUP,
            half if half >= STEAL_BYTES_MIN => half.next_multiple_of(GROUP),
            _ => return None,
        };
        if kept >= left {
            return None;
        }
        let end = std::mem::replace(&mut job.end, job.at + kept);
        out.push(Output::Cut { job: *id, end: job.end });
        Some(job.end..end)
    }

    /// Looks for others when nobody is left, a few times.
    fn seek(&mut self, now: Instant, out: &mut Vec<Output>) {
        let has_provider = self.providers.values().any(|provider| !provider.is_out);
        if self.is_done() || has_provider || self.is_searching || self.has_given_up {
            return;
        }
        if self.searches >= SEARCHES_MAX {
            self.has_given_up = true;
            out.push(Output::GiveUp);
        } else if self.search_at.is_none_or(|at| at <= now) {
            self.searches += 1;
            self.is_searching = true;
            out.push(Output::Search);
        }
    }
}
