//! What an index over documents holds, and what a filter needs of it. An index only narrows: whatever
//! is not certain here is left to the evaluator, so that no matching document is ever missed.

mod key;
mod need;

use crate::document::ValueRef;
use crate::filter::literal;

pub(in crate::filter) use crate::filter::terms::key::double_key;

use crate::filter::literal::Number;
pub use crate::filter::terms::key::{LONG_TEXT_PREFIX, SHORT_TEXT_MAX, range_keys};
pub use crate::filter::terms::need::{Bound, Need};

/// How deep values are followed; documents are far below it.
const NEST_MAX: usize = 256;

/// A value that an index can hold: anything but null, objects and arrays.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// `true` or `false`
    Bool(bool),
    /// A number; equal numbers of different types are equal.
    Number(Number),
    /// A string.
    String(String),
}

/// A value that an index can hold, inside a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ScalarRef<'a> {
    /// `true` or `false`
    Bool(bool),
    /// A number; equal numbers of different types are equal.
    Number(Number),
    /// A string.
    String(&'a str),
}

impl<'a> ScalarRef<'a> {
    /// The scalar in a value, if it is one that an index can hold.
    #[must_use]
    pub fn of(value: ValueRef<'a>) -> Option<Self> {
        match value {
            ValueRef::Bool(value) => Some(Self::Bool(value)),
            ValueRef::Int(value) => Some(Self::Number(Number::Int(value))),
            ValueRef::Double(value) => Some(Self::Number(Number::Double(value))),
            ValueRef::String(text) => text.as_str().map(Self::String),
            ValueRef::Null | ValueRef::Object(_) | ValueRef::Array(_) => None,
        }
    }

    /// An owned copy.
    #[must_use]
    pub fn to_scalar(self) -> Scalar {
        match self {
            Self::Bool(value) => Scalar::Bool(value),
            Self::Number(number) => Scalar::Number(number),
            Self::String(text) => Scalar::String(text.to_owned()),
        }
    }
}

impl Scalar {
    /// The scalar, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> ScalarRef<'_> {
        match self {
            Self::Bool(value) => ScalarRef::Bool(*value),
            Self::Number(number) => ScalarRef::Number(*number),
            Self::String(text) => ScalarRef::String(text),
        }
    }
}

impl From<literal::Number> for Scalar {
    fn from(number: literal::Number) -> Self {
        Self::Number(number)
    }
}

/// Gives every scalar of a document with its dotted path. Arrays do not count as a step of the path:
/// their elements stand at the path of the array, however deep they are nested.
pub fn terms<'a>(document: ValueRef<'a>, emit: &mut dyn FnMut(&str, ScalarRef<'a>)) {
    let mut path = String::new();
    walk(document, &mut path, true, NEST_MAX, emit);
}

fn walk<'a>(
    value: ValueRef<'a>,
    path: &mut String,
    outermost: bool,
    depth: usize,
    emit: &mut dyn FnMut(&str, ScalarRef<'a>),
) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    match value {
        ValueRef::Object(object) => {
            let length = path.len();
            for (key, value) in object.iter() {
                if !outermost {
                    path.push('.');
                }
                path.push_str(key);
                walk(value, path, false, depth, emit);
                path.truncate(length);
            }
        }
        ValueRef::Array(array) => {
            for element in array {
                walk(element, path, outermost, depth, emit);
            }
        }
        scalar => {
            if let Some(scalar) = ScalarRef::of(scalar) {
                emit(path, scalar);
            }
        }
    }
}

#[cfg(test)]
mod tests;
