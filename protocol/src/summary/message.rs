//! The messages by which a summary is pulled and found to be out of date, and how its parts are put together. Nothing
//! that a peer says of a summary is believed beyond what bounds its size.

use std::collections::BTreeSet;

use super::bits::Bits;
use super::{FORM, PATHS_MAX, SIZE_MAX, SIZE_MIN, Summary};
use crate::codec::{Decode, Encode, frames};

/// Bytes of bits in one answer; the last has what is left.
pub const PART_BYTES: usize = 512 * 1024;

/// What is asked of the owner of a summary, or told to one who has it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SummaryAsk {
    /// Give me your summary, unless it is this one still. Who is answered hears of the next change.
    Pull {
        /// What the asker has.
        known: Option<Version>,
    },
    /// Give me a further part.
    Part(Want),
    /// The summary that you pulled from me does not know all that I hold any more.
    Changed,
}

/// A further part of a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Want {
    /// The life of the node that the first part came with.
    pub life: u64,
    /// The build that the first part came with.
    pub build: u64,
    /// Which part; the first is 0.
    pub part: u32,
}

/// Names what a summary knows. Two with one version know the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Version {
    /// A random number for each start of the owner.
    pub life: u64,
    /// How often the summary was made anew.
    pub build: u64,
    /// How often it changed.
    pub changes: u64,
}

/// The answer to a [`SummaryAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum SummaryAnswer {
    /// The asker has it already.
    Same,
    /// A summary, and the first part of its bits.
    First {
        /// Names it.
        version: Version,
        /// All of it but its bits.
        shape: Shape,
        /// The first part of its bits.
        bits: Vec<u8>,
    },
    /// A further part.
    Part(Vec<u8>),
    /// There is no such part any more: begin again.
    Gone,
    /// No summary is offered now.
    None,
    /// The change is noted.
    Noted,
}

/// A summary without its bits.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Shape {
    /// How tokens are made; see [`FORM`].
    pub form: u8,
    /// How many bits there are, as a power of two.
    pub size: u8,
    /// Paths of which nothing is proven.
    pub open: Vec<u32>,
    /// Whether of no path anything is proven.
    pub is_open: bool,
    /// How far the numbers at each path reach.
    pub ranges: Vec<Reach>,
    /// Whether a path that has no range has no number.
    pub knows_all_ranges: bool,
}

/// How far the numbers at a path reach, as index keys.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reach {
    /// The path.
    pub path: u32,
    /// The least.
    pub least: [u8; 8],
    /// The greatest.
    pub greatest: [u8; 8],
}

/// Why a summary is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// It is made in a way that this build does not know; nobody is to blame.
    #[error("it is of another form")]
    Form,
    /// It says that it is smaller or larger than any may be.
    #[error("no summary has this size")]
    Size,
    /// It names more paths than any may.
    #[error("it names too many paths")]
    Paths,
    /// A part is not as long as it must be.
    #[error("a part has another length than it must have")]
    Part,
}

/// The parts of a summary that has been begun. It takes no more memory than what has arrived.
#[derive(Debug)]
pub struct Assembly {
    pub(super) summary: Summary,
    bytes: usize,
}

impl Assembly {
    /// Begins with the first answer.
    ///
    /// # Errors
    /// When no honest node of this form sends that.
    pub fn begin(shape: &Shape, first: &[u8]) -> Result<Self, Unacceptable> {
        if shape.form != FORM {
            return Err(Unacceptable::Form);
        }
        if !(SIZE_MIN..=SIZE_MAX).contains(&shape.size) {
            return Err(Unacceptable::Size);
        }
        if shape.open.len() > PATHS_MAX || shape.ranges.len() > PATHS_MAX {
            return Err(Unacceptable::Paths);
        }
        let ranges = shape.ranges.iter().map(|reach| (reach.path, (reach.least, reach.greatest)));
        let summary = Summary {
            bits: Bits::unfilled(),
            open: shape.open.iter().copied().collect::<BTreeSet<u32>>(),
            is_open: shape.is_open,
            ranges: ranges.collect(),
            knows_all_ranges: shape.knows_all_ranges,
        };
        let mut assembly = Self { summary, bytes: (1 << shape.size) / 8 };
        assembly.push(first)?;
        Ok(assembly)
    }

    /// Which part comes next; `None` when all are there.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let have = self.summary.bits.bytes();
        (have < self.bytes).then(|| u32::try_from(have / PART_BYTES).unwrap_or(u32::MAX))
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// When it is not as long as it must be.
    pub fn push(&mut self, part: &[u8]) -> Result<(), Unacceptable> {
        let left = self.bytes - self.summary.bits.bytes();
        if part.len() != left.min(PART_BYTES) || part.is_empty() {
            return Err(Unacceptable::Part);
        }
        self.summary.bits.extend(part);
        Ok(())
    }

    /// The summary, if no part is missing.
    #[must_use]
    pub fn finish(self) -> Option<Summary> {
        self.next().is_none().then_some(self.summary)
    }
}

frames! {
    SummaryAsk: encode, decode;
    SummaryAnswer: encode_long, decode_long;
}
