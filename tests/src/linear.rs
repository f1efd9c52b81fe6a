//! Is a concurrent history of one uri linearizable? Pure.
//!
//! The search of Wing and Gong (1993) with the memory of Lowe (2017): take any call that could have come
//! first, apply it to the register, go on, and never visit the same (calls done, value) twice. Two
//! reductions keep it small without losing an order: a call that changes nothing is taken as soon as it
//! fits, and an update whose value nobody ever saw is taken right before another change hides it.

use std::collections::HashSet;

/// What a call did to the register, as its caller saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Saw this value; `None` is "not there".
    Read(Option<u64>),
    /// Made it exist with this value.
    Create(u64),
    /// Changed its value. Values are unique in a history.
    Update(u64),
    /// Removed it.
    Delete,
    /// Was told that it is there already (a creation), or not there (an update or a delete).
    Refused {
        /// What the caller was told.
        present: bool,
    },
}

/// One call: it took effect somewhere between `start` and `end`.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When it was sent, on a clock that all callers share.
    pub start: u64,
    /// When its answer was there.
    pub end: u64,
    /// What it did.
    pub effect: Effect,
}

/// Finds an order of all calls that one register, which held `initial`, could have shown.
///
/// # Errors
/// A description of the point that no order gets past.
pub fn linearize(initial: Option<u64>, calls: &[Call]) -> Result<(), String> {
    let search = Search::new(calls);
    let mut visited = HashSet::new();
    let mut furthest = (0, String::new());
    let mut open = vec![State { done: vec![0; calls.len().div_ceil(64)], value: initial }];
    while let Some(mut state) = open.pop() {
        search.take_silent(&mut state);
        if !visited.insert(state.clone()) {
            continue;
        }
        let candidates = search.candidates(&state);
        if candidates.is_empty() {
            return Ok(());
        }
        let count = state.count();
        if count >= furthest.0 {
            furthest = (count, search.describe(&state, &candidates));
        }
        open.extend(candidates.iter().rev().filter_map(|&call| search.after(&state, call)));
    }
    Err(furthest.1)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// One bit a call.
    done: Vec<u64>,
    value: Option<u64>,
}

impl State {
    fn has(&self, call: usize) -> bool {
        self.done[call / 64] >> (call % 64) & 1 == 1
    }

    fn mark(&mut self, call: usize) {
        self.done[call / 64] |= 1 << (call % 64);
    }

    fn count(&self) -> u32 {
        self.done.iter().map(|word| word.count_ones()).sum()
    }
}

struct Search {
    /// By start.
    calls: Vec<Call>,
    /// Values that some read saw.
    seen: HashSet<u64>,
}

impl Search {
    fn new(calls: &[Call]) -> Self {
        let mut calls = calls.to_vec();
        calls.sort_by_key(|call| call.start);
        let seen = calls.iter().filter_map(|call| match call.effect {
            Effect::Read(value) => value,
            _ => None,
        });
        Self { seen: seen.collect(), calls }
    }

    /// The calls that may come next: those that began before any other that is not done had ended.
    fn candidates(&self, state: &State) -> Vec<usize> {
        let first_word = state.done.iter().position(|word| *word != u64::MAX).unwrap_or(0);
        let mut first_end = u64::MAX;
        let mut candidates: Vec<usize> = Vec::new();
        for index in first_word * 64..self.calls.len() {
            if self.calls[index].start > first_end {
                break;
            }
            if !state.has(index) {
                first_end = first_end.min(self.calls[index].end);
                candidates.push(index);
            }
        }
        candidates.retain(|&index| self.calls[index].start <= first_end);
        candidates
    }

    /// Takes every next call that fits and changes nothing.
    fn take_silent(&self, state: &mut State) {
        loop {
            let fits = |index: &usize| match self.calls[*index].effect {
                Effect::Read(value) => value == state.value,
                Effect::Refused { present } => present == state.value.is_some(),
                _ => false,
            };
            let fitting: Vec<usize> = self.candidates(state).into_iter().filter(fits).collect();
            if fitting.is_empty() {
                return;
            }
            fitting.into_iter().for_each(|index| state.mark(index));
        }
    }

    /// Takes every next update that nobody saw; the change that follows hides them.
    fn take_hidden(&self, state: &mut State, but: usize) {
        loop {
            let hidden = |index: &usize| match self.calls[*index].effect {
                Effect::Update(value) => *index != but && !self.seen.contains(&value),
                _ => false,
            };
            let hidden: Vec<usize> = self.candidates(state).into_iter().filter(hidden).collect();
            if hidden.is_empty() {
                return;
            }
            hidden.into_iter().for_each(|index| state.mark(index));
        }
    }

    /// The state after a call that changes something, if the register allows it.
    fn after(&self, state: &State, call: usize) -> Option<State> {
        let value = match self.calls[call].effect {
            Effect::Create(value) if state.value.is_none() => Some(value),
            Effect::Update(value) if state.value.is_some() => Some(value),
            Effect::Delete if state.value.is_some() => None,
            _ => return None,
        };
        let mut next = state.clone();
        if state.value.is_some() {
            self.take_hidden(&mut next, call);
        }
        next.mark(call);
        next.value = value;
        Some(next)
    }

    fn describe(&self, state: &State, candidates: &[usize]) -> String {
        let next: Vec<&Call> = candidates.iter().take(8).map(|index| &self.calls[*index]).collect();
        let (done, all) = (state.count(), self.calls.len());
        format!("after {done} of {all} calls it holds {:?}, and none of these fits: {next:?}", state.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn call(start: u64, end: u64, effect: Effect) -> Call {
        Call { start, end, effect }
    }

    #[test]
    fn calls_that_overlap_may_take_either_order() {
        for seen in [Some(1), Some(2)] {
            let calls = [
                call(0, 10, Effect::Update(1)),
                call(0, 10, Effect::Update(2)),
                call(11, 12, Effect::Read(seen)),
            ];
            assert_eq!(linearize(Some(0), &calls), Ok(()));
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        let calls = [call(0, 1, Effect::Update(1)), call(2, 3, Effect::Read(Some(0)))];
        assert!(linearize(Some(0), &calls).unwrap_err().contains("Read(Some(0))"));
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let calls = [
            call(0, 10, Effect::Update(1)),
            call(1, 2, Effect::Read(Some(1))),
            call(3, 4, Effect::Read(Some(0))),
        ];
        assert!(linearize(Some(0), &calls).is_err());
    }

    #[test]
    fn two_creations_without_a_delete_between_are_found() {
        let create = |at, value| call(at, at + 1, Effect::Create(value));
        assert!(linearize(None, &[create(0, 1), create(2, 2)]).is_err());
        let calls = [create(0, 1), call(0, 9, Effect::Delete), create(2, 2)];
        assert_eq!(linearize(None, &calls), Ok(()));
    }

    #[test]
    fn a_refusal_must_be_true_at_some_moment() {
        let refused = |present| call(2, 3, Effect::Refused { present });
        let create = call(0, 1, Effect::Create(1));
        assert_eq!(linearize(None, &[create, refused(true)]), Ok(()));
        assert!(linearize(None, &[create, refused(false)]).is_err());
    }

    /// A real register, used in the middle of each call, makes histories that are linearizable; one
    /// wrong value makes most of them not.
    #[test]
    fn random_true_histories_pass_and_damaged_ones_fail() {
        let mut found = 0;
        for seed in 0..30 {
            let mut random = Random::seeded(seed);
            let mut calls = true_history(&mut random, 300, 16);
            assert_eq!(linearize(Some(0), &calls), Ok(()), "seed {seed}");
            let reads: Vec<usize> = (0..calls.len())
                .filter(|index| matches!(calls[*index].effect, Effect::Read(Some(_))))
                .collect();
            let damaged = *random.pick(&reads);
            calls[damaged].effect = Effect::Read(Some(1 + random.within(0..100)));
            found += u64::from(linearize(Some(0), &calls).is_err());
        }
        assert!(found > 24, "only {found} of 30 damaged histories were found");
    }

    /// Calls at points 10, 20, 30 … each widened over its neighbours at random.
    fn true_history(random: &mut Random, count: u64, width: u64) -> Vec<Call> {
        let mut value = Some(0);
        let mut calls = Vec::new();
        for number in 1..=count {
            let effect = match (random.within(0..10), value) {
                (0..5, _) => Effect::Read(value),
                (5..9, Some(_)) => Effect::Update(number),
                (9, Some(_)) => Effect::Delete,
                (5..7, None) => Effect::Create(number),
                (_, _) => Effect::Refused { present: value.is_some() },
            };
            match effect {
                Effect::Create(new) | Effect::Update(new) => value = Some(new),
                Effect::Delete => value = None,
                Effect::Read(_) | Effect::Refused { .. } => {}
            }
            let at = number * 10;
            let start = at.saturating_sub(random.within(0..width * 10));
            calls.push(call(start, at + random.within(0..width * 10), effect));
        }
        calls
    }
}
