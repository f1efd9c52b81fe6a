//! A summary that its owner keeps: it takes rows one by one, and knows when it should be made anew and how.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::message::{PART_BYTES, Reach, Shape};
use super::{FORM, Marks, PATHS_MAX, SIZE_MAX, SIZE_MIN, Summary, mark};

/// Fewest bits of a term when a summary is made; with the next power of two it can grow by half before it is made anew,
/// and when it is, it doubles.
const BITS_NEW: u64 = 12;
/// Fewest bits of a term: one question in fifty for a term that is not there gets a yes.
const BITS_MIN: u64 = 8;
/// Fewest bits of a term in the largest summary: one in twenty.
const BITS_LAST: u64 = 6;
/// Paths that are counted. Those beyond are never given up for their size.
const COUNTED_MAX: usize = 4096;

/// A summary that grows.
#[derive(Debug, Clone)]
pub struct Growing {
    summary: Summary,
    /// Different terms, about.
    pub(super) terms: u64,
    /// Of which so many stand at these paths.
    pub(super) of_path: HashMap<u32, u64>,
    /// Paths that were given up because they hold too many terms.
    given_up: Vec<u32>,
    /// Whether some were given up whose bits are still there.
    is_relieved: bool,
}

impl Growing {
    /// An empty one for about so many terms.
    #[must_use]
    pub fn new(terms: u64) -> Self {
        let bits = terms.saturating_mul(BITS_NEW).max(1).checked_next_power_of_two();
        let size = bits.map_or(SIZE_MAX, |bits| bits.ilog2() as u8);
        Self {
            summary: Summary::empty(size.clamp(SIZE_MIN, SIZE_MAX)),
            terms: 0,
            of_path: HashMap::new(),
            given_up: Vec::new(),
            is_relieved: false,
        }
    }

    /// An empty one in place of this: with room for more terms, and without the paths that hold too many.
    #[must_use]
    pub fn successor(&self) -> Self {
        let mut next = Self::new(self.terms.min(terms_max()));
        for path in &self.given_up {
            next.give_up(*path);
        }
        next
    }

    /// Takes a row. True if that changed anything: a copy from before may not know it.
    pub fn insert(&mut self, marks: &Marks) -> bool {
        let Self { summary, terms, of_path, .. } = self;
        let is_news = summary.insert(marks, |path| {
            *terms += 1;
            if of_path.len() < COUNTED_MAX || of_path.contains_key(&path) {
                *of_path.entry(path).or_default() += 1;
            }
        });
        if self.terms > terms_max() {
            self.relieve();
        }
        is_news
    }

    /// Whether it should be made anew: it says yes too often, or holds bits that say nothing any more.
    #[must_use]
    pub fn is_outgrown(&self) -> bool {
        let bits = self.summary.bits.len();
        self.is_relieved || (bits < 1 << SIZE_MAX && self.terms > bits / BITS_MIN)
    }

    /// Gives up the paths that hold the most, names last, until there is room for a while.
    fn relieve(&mut self) {
        let mut paths: Vec<_> = self.of_path.iter().map(|(path, terms)| (*path, *terms)).collect();
        paths.sort_unstable_by_key(|(path, terms)| (mark::is_name(*path), Reverse(*terms)));
        for (path, terms) in paths {
            if self.terms <= terms_max() / 4 * 3 {
                break;
            }
            self.terms -= terms;
            self.give_up(path);
        }
        self.is_relieved = true;
    }

    fn give_up(&mut self, path: u32) {
        self.summary.open_up(path);
        self.of_path.remove(&path);
        if self.given_up.len() < PATHS_MAX {
            self.given_up.push(path);
        }
    }

    /// What an asker looks into.
    #[must_use]
    pub const fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What comes before the bits on the wire.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let Summary { bits, open, is_open, ranges, knows_all_ranges } = &self.summary;
        let reach = |(path, (least, greatest)): (&u32, &super::Range)| Reach {
            path: *path,
            least: *least,
            greatest: *greatest,
        };
        Shape {
            form: FORM,
            size: bits.len().ilog2() as u8,
            open: open.iter().copied().collect(),
            is_open: *is_open,
            ranges: ranges.iter().map(reach).collect(),
            knows_all_ranges: *knows_all_ranges,
        }
    }

    /// One part of the bits; empty behind the last.
    #[must_use]
    pub fn part(&self, at: usize) -> Vec<u8> {
        self.summary.bits.part(at, PART_BYTES)
    }
}

/// Terms that the largest summary has room for.
const fn terms_max() -> u64 {
    (1 << SIZE_MAX) / BITS_LAST
}
