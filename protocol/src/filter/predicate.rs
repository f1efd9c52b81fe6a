//! The tests that a single value may be put to, and nothing of how the value was found.

use std::cmp::Ordering;

use crate::document::ValueRef;
use crate::filter::element;
use crate::filter::error::EvalError;
use crate::filter::literal::{Literal, Set};
use crate::filter::node::{Node, Run};
use crate::filter::pattern::Pattern;

/// A test of one value, or of a missing one.
#[derive(Debug)]
pub(super) enum Predicate {
    Equals(Literal),
    Compare(Comparison, Literal),
    In(Set),
    Exists,
    Type(TypeSet),
    Size(usize),
    Modulo { divisor: i64, remainder: i64 },
    Bits(BitTest, u64),
    Regex(Box<Pattern>),
    ElementValue(Box<Node>),
    ElementDocument(Box<Node>),
}

impl Predicate {
    /// Whether a final array is opened for this test.
    pub(super) const fn opens_arrays(&self) -> bool {
        !matches!(self, Self::Exists | Self::Size(_) | Self::ElementValue(_) | Self::ElementDocument(_))
    }

    #[inline]
    pub(super) fn holds(&self, candidate: Option<ValueRef<'_>>, run: &Run) -> Result<bool, EvalError> {
        Ok(match self {
            Self::Equals(literal) => literal.equals(candidate),
            Self::Compare(comparison, literal) => comparison.holds(candidate, literal),
            Self::In(set) => set.contains(candidate),
            Self::Exists => candidate.is_some(),
            Self::Type(types) => candidate.is_some_and(|value| types.contains(value)),
            Self::Size(size) => match candidate {
                Some(ValueRef::Array(array)) => array.iter().take(size + 1).count() == *size,
                _ => false,
            },
            Self::Modulo { divisor, remainder } => candidate
                .and_then(truncated)
                .is_some_and(|value| value.checked_rem(*divisor).unwrap_or(0) == *remainder),
            Self::Bits(test, mask) => candidate.and_then(whole).is_some_and(|value| test.holds(value, *mask)),
            Self::Regex(pattern) => match candidate {
                Some(ValueRef::String(text)) => return pattern.is_found_in(text, &run.patience),
                _ => false,
            },
            Self::ElementValue(node) => return element::any_value(candidate, node, run),
            Self::ElementDocument(node) => return element::any_document(candidate, node, run),
        })
    }
}

/// The four comparisons of filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) const fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }

    /// Only values of the literal's own type compare; a missing one counts as null.
    #[inline]
    fn holds(self, candidate: Option<ValueRef<'_>>, literal: &Literal) -> bool {
        let value = match (candidate, literal) {
            (Some(value), _) => value,
            (None, Literal::Null) => ValueRef::Null,
            (None, _) => return false,
        };
        let bound = literal.value();
        value.rank() == bound.rank() && self.accepts(value.cmp_total(&bound))
    }
}

/// BSON's type codes, each a bit. Types that JSON lacks are known and match nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TypeSet(u32);

/// Names and codes of the types, as MongoDB numbers them.
pub(super) const TYPES: [(&str, i64); 21] = [
    ("double", 1),
    ("string", 2),
    ("object", 3),
    ("array", 4),
    ("binData", 5),
    ("undefined", 6),
    ("objectId", 7),
    ("bool", 8),
    ("date", 9),
    ("null", 10),
    ("regex", 11),
    ("dbPointer", 12),
    ("javascript", 13),
    ("symbol", 14),
    ("javascriptWithScope", 15),
    ("int", 16),
    ("timestamp", 17),
    ("long", 18),
    ("decimal", 19),
    ("minKey", -1),
    ("maxKey", 127),
];

impl TypeSet {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const NUMBER: Self = Self(1 << 1 | 1 << 16 | 1 << 18 | 1 << 19);

    /// The set of one known type code.
    pub(super) const fn of(code: i64) -> Self {
        match code {
            1..=19 => Self(1 << code),
            _ => Self(1),
        }
    }

    pub(super) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn contains(self, value: ValueRef<'_>) -> bool {
        self.0 & (1 << type_code(value)) != 0
    }
}

/// The type code of a value. Integers of 32 bits are `int`, wider ones `long`.
pub(super) const fn type_code(value: ValueRef<'_>) -> i64 {
    match value {
        ValueRef::Double(_) => 1,
        ValueRef::String(_) => 2,
        ValueRef::Object(_) => 3,
        ValueRef::Array(_) => 4,
        ValueRef::Bool(_) => 8,
        ValueRef::Null => 10,
        ValueRef::Int(value) if value == (value as i32) as i64 => 16,
        ValueRef::Int(_) => 18,
    }
}

/// The four tests of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BitTest {
    AllSet,
    AnySet,
    AllClear,
    AnyClear,
}

impl BitTest {
    /// Bits of the two's complement; bit 63 of the mask stands for every higher one as well.
    const fn holds(self, value: i64, mask: u64) -> bool {
        let set = value.cast_unsigned() & mask;
        match self {
            Self::AllSet => set == mask,
            Self::AnySet => set != 0,
            Self::AllClear => set == 0,
            Self::AnyClear => set != mask,
        }
    }
}

/// A number cut off at the decimal point, if that fits 64 bits.
pub(super) fn truncated(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Int(value) => Some(value),
        ValueRef::Double(value) => double_to_int(value.trunc()),
        _ => None,
    }
}

/// A number without a fraction, if it fits 64 bits.
pub(super) fn whole(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Double(double) if double.trunc() != double => None,
        value => truncated(value),
    }
}
fn double_to_int(whole: f64) -> Option<i64> {
    const TWO_63: f64 = 9_223_372_036_854_775_808.0;
    (-TWO_63..TWO_63).contains(&whole).then_some(whole as i64)
}
