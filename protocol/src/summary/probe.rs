//! What is looked for in summaries: the need of a filter, or a name, made ready once and put to many.

use uuid::Uuid;

use super::mark::{self, BLOB, URI};
use crate::filter::Need;
use crate::filter::terms::{Scalar, ScalarRef, range_keys};
use crate::ids::{AssetId, RecordId};

/// Terms of one question. With more it is put to every node: looking all of them up in many summaries would take longer.
const TERMS_MAX: usize = 256;

/// A condition on the marks of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Any row may do.
    Anything,
    /// No row does.
    Nothing,
    /// A row with this term.
    Token {
        /// The path.
        path: u32,
        /// The value at it.
        hash: u64,
    },
    /// A row with a number between these, both inclusive.
    Range {
        /// The path.
        path: u32,
        /// The least.
        first: [u8; 8],
        /// The greatest.
        last: [u8; 8],
    },
    /// All of them; not necessarily one row for all.
    All(Vec<Probe>),
    /// At least one of them.
    Any(Vec<Probe>),
}

impl Probe {
    /// What every row that satisfies a filter must be, by the filter's [`Need`].
    #[must_use]
    pub fn of(need: &Need) -> Self {
        let mut room = TERMS_MAX;
        let probe = build(need, &mut room);
        if room == 0 { Self::Anything } else { probe }
    }

    /// A row that goes by this uri or record id.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let uri = token(mark::mark(URI, ScalarRef::String(name), &mut Vec::new()));
        match Uuid::try_parse(name) {
            Ok(record) => Self::Any(vec![uri, token(mark::record_mark(RecordId(record)))]),
            Err(_) => uri,
        }
    }

    /// A row that names this content.
    #[must_use]
    pub fn of_blob(blob: &AssetId) -> Self {
        token(mark::mark(BLOB, ScalarRef::String(&blob.to_string()), &mut Vec::new()))
    }
}

const fn token(mark: mark::Mark) -> Probe {
    Probe::Token { path: mark.path, hash: mark.hash }
}

/// `room` is what is left of [`TERMS_MAX`]; none left means that the result is of no use.
fn build(need: &Need, room: &mut usize) -> Probe {
    *room = room.saturating_sub(1);
    if *room == 0 {
        return Probe::Anything;
    }
    match need {
        Need::Nothing => Probe::Nothing,
        Need::Equals { path, value } if mark::is_covered(path) => {
            token(mark::mark(path, value.as_ref(), &mut Vec::new()))
        }
        Need::Range { path, low, high } if mark::is_covered(path) => {
            let bounds = [low, high];
            let is_number =
                bounds.iter().copied().flatten().all(|end| matches!(end.value, Scalar::Number(_)));
            if !is_number || (low.is_none() && high.is_none()) {
                return Probe::Anything;
            }
            let (first, last) = range_keys(low.as_ref(), high.as_ref());
            Probe::Range { path: mark::place(path).0, first: mark::number(&first), last: mark::number(&last) }
        }
        Need::All(needs) => Probe::All(needs.iter().map(|need| build(need, room)).collect()),
        Need::Any(needs) => Probe::Any(needs.iter().map(|need| build(need, room)).collect()),
        Need::Anything | Need::Equals { .. } | Need::Range { .. } => Probe::Anything,
    }
}
