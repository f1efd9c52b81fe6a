//! What a node says of all its rows at once: a Bloom filter over their names and their `field = value` terms, and how
//! far their numbers reach. It only spares questions: it may say yes to what no row holds, and never no to what one does.

mod bits;
mod growing;
mod mark;
mod message;
mod probe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use growing::Growing;
pub use mark::Marks;
pub use message::{
    Assembly, PART_BYTES, Reach, Shape, SummaryAnswer, SummaryAsk, Unacceptable, Version, Want,
};
pub use probe::Probe;

use bits::Bits;

/// How tokens are made and where their bits lie. Another number is another way, and such a summary is not read.
pub const FORM: u8 = 1;

/// Bits of the smallest summary, as a power of two: 1 KiB, for some hundred rows.
pub const SIZE_MIN: u8 = 13;

/// Bits of the largest summary, as a power of two: 4 MiB, for five million different terms.
pub const SIZE_MAX: u8 = 25;

/// Paths that a summary names as open, and paths whose numbers it knows the reach of.
pub const PATHS_MAX: usize = 1024;

/// Where the numbers at one path lie, as index keys: the least and the greatest.
type Range = ([u8; 8], [u8; 8]);

/// A summary of the rows of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    bits: Bits,
    /// Paths of which nothing is proven.
    open: BTreeSet<u32>,
    /// Of no path anything is proven; names of assets are still found.
    is_open: bool,
    ranges: BTreeMap<u32, Range>,
    /// Whether a path that has no range has no number.
    knows_all_ranges: bool,
}

impl Summary {
    fn empty(size: u8) -> Self {
        let bits = Bits::new(size.clamp(SIZE_MIN, SIZE_MAX));
        Self { bits, open: BTreeSet::new(), is_open: false, ranges: BTreeMap::new(), knows_all_ranges: true }
    }

    /// False only if it is proven that no row is what is looked for.
    #[must_use]
    pub fn may_hold(&self, probe: &Probe) -> bool {
        match probe {
            Probe::Anything => true,
            Probe::Nothing => false,
            Probe::Token { path, hash } => self.is_open(*path) || self.bits.contains(*hash),
            Probe::Range { path, first, last } => {
                self.is_open(*path)
                    || match self.ranges.get(path) {
                        Some((least, greatest)) => greatest >= first && least <= last,
                        None => !self.knows_all_ranges,
                    }
            }
            Probe::All(probes) => probes.iter().all(|probe| self.may_hold(probe)),
            Probe::Any(probes) => probes.iter().any(|probe| self.may_hold(probe)),
        }
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bits.bytes() + 32 * self.ranges.len() + 16 * self.open.len()
    }

    fn is_open(&self, path: u32) -> bool {
        self.open.contains(&path) || (self.is_open && !mark::is_name(path))
    }

    /// Takes the marks of a row. True if that changed anything.
    fn insert(&mut self, marks: &Marks, mut fresh: impl FnMut(u32)) -> bool {
        let mut is_news = false;
        for path in &marks.open {
            is_news |= self.open_up(*path);
        }
        if marks.is_open && !self.is_open {
            (self.is_open, is_news) = (true, true);
        }
        for mark in &marks.list {
            if self.is_open(mark.path) {
                continue;
            }
            if let Some(number) = mark.number {
                is_news |= self.reach(mark.path, number);
            }
            if self.bits.insert(mark.hash) {
                fresh(mark.path);
                is_news = true;
            }
        }
        is_news
    }

    /// Proves nothing of a path from now on.
    fn open_up(&mut self, path: u32) -> bool {
        if self.is_open(path) {
            return false;
        }
        if self.open.len() < PATHS_MAX {
            self.open.insert(path);
        } else {
            self.is_open = true;
        }
        true
    }

    fn reach(&mut self, path: u32, number: [u8; 8]) -> bool {
        let has_room = self.ranges.len() < PATHS_MAX;
        match self.ranges.get_mut(&path) {
            Some((least, greatest)) => {
                let is_news = number < *least || number > *greatest;
                (*least, *greatest) = ((*least).min(number), (*greatest).max(number));
                is_news
            }
            None if has_room => self.ranges.insert(path, (number, number)).is_none(),
            None => std::mem::replace(&mut self.knows_all_ranges, false),
        }
    }
}
