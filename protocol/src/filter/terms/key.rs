//! Scalars as bytes whose order is the order of the scalars, for the keys of an index. Long strings are
//! cut, so a key stands for at least its scalar, and the evaluator tells apart what shares one.

use xxhash_rust::xxh3::xxh3_64;

use crate::filter::literal::Number;
use crate::filter::terms::{Bound, Scalar, ScalarRef};

/// Strings up to so many bytes stand in a key as they are.
pub const SHORT_TEXT_MAX: usize = 24;

/// So many bytes of a longer string stand in its key, followed by 8 bytes of hash.
pub const LONG_TEXT_PREFIX: usize = 16;

/// The first byte of a key: the type's place in the total order.
const NUMBER: u8 = 2;
const TEXT: u8 = 3;
const BOOL: u8 = 8;

impl ScalarRef<'_> {
    /// Appends the key. Equal scalars have equal keys, and keys are ordered as their scalars are, but
    /// for strings that share their first [`LONG_TEXT_PREFIX`] bytes and numbers that share a double.
    pub fn index_key(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool(value) => out.extend_from_slice(&[BOOL, u8::from(*value)]),
            Self::Number(number) => {
                out.push(NUMBER);
                out.extend_from_slice(&number_key(*number));
            }
            Self::String(text) => {
                out.push(TEXT);
                let bytes = text.as_bytes();
                if bytes.len() <= SHORT_TEXT_MAX {
                    out.extend_from_slice(bytes);
                } else {
                    out.extend_from_slice(&bytes[..LONG_TEXT_PREFIX]);
                    out.extend_from_slice(&xxh3_64(bytes).to_be_bytes());
                }
            }
        }
    }
}

impl Scalar {
    /// As [`ScalarRef::index_key`].
    pub fn index_key(&self, out: &mut Vec<u8>) {
        self.as_ref().index_key(out);
    }
}

/// The first and the last key, both inclusive, between which every scalar of a range has its key. Bounds
/// are of one type, and only scalars of that type are in the range. Without any bound it is everything.
#[must_use]
pub fn range_keys(low: Option<&Bound>, high: Option<&Bound>) -> (Vec<u8>, Vec<u8>) {
    let Some(kind) = low.or(high).map(|bound| kind(&bound.value)) else {
        return (Vec::new(), vec![u8::MAX]);
    };
    let mut first = vec![kind];
    if let Some(bound) = low {
        first.clear();
        bound.value.index_key(&mut first);
        first.truncate(1 + cut(&bound.value));
    }
    let mut last = vec![kind];
    match high {
        Some(bound) => {
            last.clear();
            bound.value.index_key(&mut last);
            last.truncate(1 + cut(&bound.value));
            if last.len() == 1 + LONG_TEXT_PREFIX {
                last.resize(1 + SHORT_TEXT_MAX + 1, u8::MAX);
            }
        }
        None => last.resize(1 + SHORT_TEXT_MAX + 1, u8::MAX),
    }
    (first, last)
}

const fn kind(value: &Scalar) -> u8 {
    match value {
        Scalar::Bool(_) => BOOL,
        Scalar::Number(_) => NUMBER,
        Scalar::String(_) => TEXT,
    }
}

/// How many bytes of a key after the first are ordered as the scalars are.
const fn cut(value: &Scalar) -> usize {
    match value {
        Scalar::String(_) => LONG_TEXT_PREFIX,
        _ => usize::MAX - 1,
    }
}

/// A double's bits, turned so that their order as unsigned integers is the order of the doubles.
pub(in crate::filter) const fn double_key(value: f64) -> u64 {
    // Adding zero makes one zero of the two.
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Integers are rounded to the nearest double, which keeps the order.
const fn number_key(number: Number) -> [u8; 8] {
    let double = match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    };
    double_key(double).to_be_bytes()
}
