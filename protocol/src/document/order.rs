//! The total order of values, which filters, `$expr` and sorting share. Numbers compare by their exact
//! mathematical value, strings by their UTF-8 bytes, objects pair by pair in key order.

use std::cmp::Ordering;

use crate::document::value::{ArrayRef, NEST_MAX, ObjectRef, ValueRef};

/// 2^63, the first double above every `i64`.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

impl<'a> ValueRef<'a> {
    /// The place of this value's type in the total order:
    /// null 1, number 2, string 3, object 4, array 5, bool 8.
    #[must_use]
    #[inline]
    pub const fn rank(&self) -> u8 {
        match self {
            Self::Null => 1,
            Self::Int(_) | Self::Double(_) => 2,
            Self::String(_) => 3,
            Self::Object(_) => 4,
            Self::Array(_) => 5,
            Self::Bool(_) => 8,
        }
    }

    /// Compares two values of any types in the total order.
    #[must_use]
    pub fn cmp_total(&self, other: &ValueRef<'_>) -> Ordering {
        compare(*self, *other, NEST_MAX)
    }

    /// Whether both have the same rank and compare equal: `1` and `1.0` are, `{a, b}` and `{b, a}` are not.
    #[must_use]
    #[inline]
    pub fn eq_total(&self, other: &ValueRef<'_>) -> bool {
        match (self, other) {
            (Self::String(a), ValueRef::String(b)) => a == b,
            (Self::Int(a), ValueRef::Int(b)) => a == b,
            _ => self.rank() == other.rank() && self.cmp_total(other).is_eq(),
        }
    }
}

fn compare(a: ValueRef<'_>, b: ValueRef<'_>, depth: usize) -> Ordering {
    let Some(depth) = depth.checked_sub(1) else {
        return Ordering::Equal;
    };
    match (a, b) {
        (ValueRef::Int(a), ValueRef::Int(b)) => a.cmp(&b),
        (ValueRef::Int(a), ValueRef::Double(b)) => compare_int_double(a, b),
        (ValueRef::Double(a), ValueRef::Int(b)) => compare_int_double(b, a).reverse(),
        (ValueRef::Double(a), ValueRef::Double(b)) => compare_doubles(a, b),
        (ValueRef::String(a), ValueRef::String(b)) => compare_bytes(a.as_bytes(), b.as_bytes()),
        (ValueRef::Bool(a), ValueRef::Bool(b)) => a.cmp(&b),
        (ValueRef::Object(a), ValueRef::Object(b)) => compare_objects(a, b, depth),
        (ValueRef::Array(a), ValueRef::Array(b)) => compare_arrays(a, b, depth),
        _ => a.rank().cmp(&b.rank()),
    }
}

/// A string is often compared with itself, when one document gives many sort keys.
fn compare_bytes(a: &[u8], b: &[u8]) -> Ordering {
    if std::ptr::eq(a, b) {
        return Ordering::Equal;
    }
    a.cmp(b)
}

/// First the ranks of the two values, then the keys, then the values; the shorter object is the smaller.
fn compare_objects(a: ObjectRef<'_>, b: ObjectRef<'_>, depth: usize) -> Ordering {
    let (mut left, mut right) = (a.members(), b.members());
    loop {
        let ((a_key, a_value), (b_key, b_value)) = match (left.next(), right.next()) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
        };
        let order = (a_value.rank().cmp(&b_value.rank()))
            .then_with(|| a_key.cmp(b_key))
            .then_with(|| compare(a_value, b_value, depth));
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_arrays(a: ArrayRef<'_>, b: ArrayRef<'_>, depth: usize) -> Ordering {
    let (mut left, mut right) = (a.iter(), b.iter());
    loop {
        let order = match (left.next(), right.next()) {
            (Some(a), Some(b)) => compare(a, b, depth),
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// Doubles of a document are finite. Damaged bytes may hold a NaN, which stands below every number.
fn compare_doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// Compares an integer with a double by exact value: nothing is rounded.
#[must_use]
pub fn compare_int_double(int: i64, double: f64) -> Ordering {
    if double.is_nan() || double < -TWO_63 {
        return Ordering::Greater;
    }
    if double >= TWO_63 {
        return Ordering::Less;
    }
    let whole = double.trunc();
    let order = int.cmp(&(whole as i64));
    order.then_with(|| compare_doubles(whole, double))
}
