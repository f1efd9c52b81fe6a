//! Documents: JSON values in a compact binary form that is read in place, member by member, without
//! building a tree. This module and its children only encode, read, compare and edit; they store nothing.
//!
//! A value is a tag byte and a payload; containers and strings bear their length, so that any value is
//! skipped in one step. Key order is kept, because equality of objects depends on it.

mod build;
mod check;
mod edit;
mod encode;
mod json;
mod order;
mod print;
mod value;

use std::fmt;

use crate::document::encode::Encoder;

pub use crate::document::build::{ArrayBuilder, ObjectBuilder};
pub use crate::document::check::Malformed;
// The names of this module: its children are private, so that one path leads to each type.
pub(crate) use crate::document::edit::canonical_position;
pub use crate::document::edit::{ARRAY_PADDING_MAX, SetPathError, set_path};
pub use crate::document::json::{JsonError, JsonFault};
pub use crate::document::order::compare_int_double;
pub use crate::document::value::{ArrayRef, ObjectRef, Text, ValueRef};

/// How many objects and arrays may stand inside one another in a document, the outermost included.
pub const DEPTH_MAX: usize = 100;

/// The longest JSON text, and the longest binary form, that is taken in. Lengths are stored in 32 bits,
/// and the binary form is at most two and a half times as long as the text.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 30;

/// An owned JSON value of any type in its binary form. Equal bytes are equal values, types included:
/// the form is canonical, so `1` and `1.0` differ here though a filter holds them equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Document(Box<[u8]>);

impl Document {
    /// Reads one JSON text (RFC 8259). A repeated key keeps its first position and its last value.
    ///
    /// # Errors
    /// Text that is not JSON, goes on after the value, is nested deeper than [`DEPTH_MAX`], or holds an
    /// integer outside 64 bits, a number outside the doubles or half a surrogate pair.
    pub fn from_json(text: &[u8]) -> Result<Self, JsonError> {
        json::read(text, DEPTH_MAX)
    }

    /// As [`Document::from_json`], with a depth bound of the caller's.
    pub(crate) fn from_json_bounded(text: &[u8], depth_max: usize) -> Result<Self, JsonError> {
        json::read(text, depth_max)
    }

    /// Takes over a parsed JSON value.
    ///
    /// # Errors
    /// A value nested deeper than [`DEPTH_MAX`], or an integer above the signed 64 bits.
    pub fn from_value(value: &serde_json::Value) -> Result<Self, JsonError> {
        json::convert(value, DEPTH_MAX)
    }

    /// As [`Document::from_value`], with a depth bound of the caller's.
    pub(crate) fn from_value_bounded(value: &serde_json::Value, depth_max: usize) -> Result<Self, JsonError> {
        json::convert(value, depth_max)
    }

    /// Takes over bytes that [`Document::as_bytes`] gave, and checks every one of them.
    ///
    /// # Errors
    /// Bytes that are not exactly one canonical value.
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Result<Self, Malformed> {
        let bytes = bytes.into();
        check::check(&bytes)?;
        Ok(Self(bytes))
    }

    /// The binary form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The binary form, given away.
    #[must_use]
    pub fn into_bytes(self) -> Box<[u8]> {
        self.0
    }

    /// The value itself, to be read in place.
    #[must_use]
    pub fn root(&self) -> ValueRef<'_> {
        ValueRef::from_stored(&self.0)
    }

    /// The value as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = Vec::with_capacity(self.0.len() * 2);
        self.root().write_json(&mut out);
        String::from_utf8(out).expect("JSON text is written from strings that are UTF-8")
    }

    /// The value as a JSON tree.
    #[must_use]
    pub fn to_value(&self) -> serde_json::Value {
        self.root().to_value()
    }

    /// Takes over what an encoder of this module wrote.
    fn of(encoder: Encoder) -> Self {
        Self(encoder.into_bytes().into_boxed_slice())
    }
}

impl From<ValueRef<'_>> for Document {
    fn from(value: ValueRef<'_>) -> Self {
        let mut encoder = Encoder::default();
        let at = encoder.slot();
        encoder.copy(at, value);
        Self::of(encoder)
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

#[cfg(test)]
mod tests;
