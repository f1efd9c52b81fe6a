//! Which groups of a blob are here: a short list of runs. Pure.

use std::ops::Range;

/// Runs of groups in order, that neither touch nor overlap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<Range<u32>>);

impl Runs {
    /// How many runs there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// How many groups they hold.
    pub(crate) fn groups(&self) -> u64 {
        self.0.iter().map(|run| u64::from(run.end - run.start)).sum()
    }

    /// The run that holds a group.
    pub(crate) fn around(&self, group: u32) -> Option<Range<u32>> {
        let next = self.0.partition_point(|run| run.end <= group);
        self.0.get(next).filter(|run| run.contains(&group)).cloned()
    }

    /// Where the first run behind a group that is not here begins.
    pub(crate) fn next_start(&self, group: u32) -> Option<u32> {
        let next = self.0.partition_point(|run| run.end <= group);
        self.0.get(next).map(|run| run.start)
    }

    /// The parts of a range that are not here.
    pub(crate) fn missing(&self, range: Range<u32>) -> Vec<Range<u32>> {
        let mut missing = Vec::new();
        let mut at = range.start;
        let first = self.0.partition_point(|run| run.end <= range.start);
        for run in self.0[first..].iter().take_while(|run| run.start < range.end) {
            if at < run.start {
                missing.push(at..run.start);
            }
            at = run.end;
        }
        if at < range.end {
            missing.push(at..range.end);
        }
        missing
    }

    /// Adds a range.
    pub(crate) fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|run| run.end < range.start);
        let last = self.0.partition_point(|run| run.start <= range.end);
        let touched = &self.0[first..last];
        let start = touched.first().map_or(range.start, |run| run.start.min(range.start));
        let end = touched.last().map_or(range.end, |run| run.end.max(range.end));
        self.0.splice(first..last, std::iter::once(start..end));
    }

    /// As bytes: start and end of each, little endian.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|run| [run.start, run.end]).flat_map(u32::to_le_bytes).collect()
    }

    /// From bytes; `None` if they are no list of runs.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for pair in bytes.chunks(8) {
            let (start, end) = pair.split_at_checked(4)?;
            let run = u32::from_le_bytes(start.try_into().ok()?)..u32::from_le_bytes(end.try_into().ok()?);
            if run.is_empty() || runs.last().is_some_and(|last| last.end >= run.start) {
                return None;
            }
            runs.push(run);
        }
        Some(Self(runs))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_a_set_of_groups(ranges in prop::collection::vec((0u32..200, 0u32..40), 0..40), at in 0u32..240) {
            let (mut runs, mut set) = (Runs::default(), BTreeSet::new());
            for (start, len) in ranges {
                let range = start..start + len;
                let missing: Vec<u32> = runs.missing(range.clone()).into_iter().flatten().collect();
                let expected: Vec<u32> = range.clone().filter(|group| !set.contains(group)).collect();
                prop_assert_eq!(missing, expected);
                runs.insert(range.clone());
                set.extend(range);
            }
            prop_assert_eq!(runs.groups(), set.len() as u64);
            prop_assert_eq!(runs.around(at).is_some(), set.contains(&at));
            if let Some(run) = runs.around(at) {
                prop_assert!(run.clone().all(|group| set.contains(&group)) && !set.contains(&run.end));
            } else {
                prop_assert_eq!(runs.next_start(at), set.range(at..).next().copied());
            }
            prop_assert_eq!(Runs::decode(&runs.encode()), Some(runs));
        }
    }

    #[test]
    fn what_is_no_list_of_runs_is_refused() {
        let pairs = |pairs: &[u32]| pairs.iter().flat_map(|at| at.to_le_bytes()).collect::<Vec<_>>();
        for bytes in [pairs(&[1]), pairs(&[2, 2]), pairs(&[0, 5, 5, 6]), pairs(&[9, 3]), vec![1; 5]] {
            assert_eq!(Runs::decode(&bytes), None, "{bytes:?}");
        }
    }
}
