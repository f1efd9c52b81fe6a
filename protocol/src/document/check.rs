//! Checks that bytes are exactly one canonical value. Whatever passes can be read without surprise.

use crate::document::encode::{INT_1, INT_4, INT_8, TEXT_LONG};
use crate::document::value::{ArrayRef, ObjectRef, ValueRef, read, split_member};
use crate::document::{DEPTH_MAX, DOCUMENT_BYTES_MAX, encode};

/// Why bytes are not a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length reaches past the end, or a tag is unknown.
    #[error("the document is cut short or holds an unknown tag")]
    Structure,
    /// Bytes follow the value.
    #[error("bytes follow the document")]
    Trailing,
    /// A key or a string is not UTF-8.
    #[error("a string of the document is not UTF-8")]
    Utf8,
    /// A number is stored wider than it needs to be, or is not finite.
    #[error("a value of the document is not in its canonical form")]
    NotCanonical,
    /// Two members of one object have the same key.
    #[error("an object of the document repeats a key")]
    RepeatedKey,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("the document is nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// Longer than [`DOCUMENT_BYTES_MAX`].
    #[error("the document is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge,
}

pub(super) fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(Malformed::TooLarge);
    }
    let (tag, payload) = bytes.split_first().ok_or(Malformed::Structure)?;
    match value(*tag, payload, DEPTH_MAX)? {
        length if length == payload.len() => Ok(()),
        _ => Err(Malformed::Trailing),
    }
}

/// Checks one value and returns the length of its payload.
fn value(tag: u8, payload: &[u8], depth: usize) -> Result<usize, Malformed> {
    let (value, length) = read(tag, payload).ok_or(Malformed::Structure)?;
    match value {
        ValueRef::Null | ValueRef::Bool(_) => {}
        ValueRef::Int(int) => {
            let narrow = i8::try_from(int).is_ok();
            let canonical = match tag {
                INT_1 => true,
                INT_4 => !narrow,
                INT_8 => i32::try_from(int).is_err(),
                _ => false,
            };
            require(canonical, Malformed::NotCanonical)?;
        }
        ValueRef::Double(double) => require(double.is_finite(), Malformed::NotCanonical)?,
        ValueRef::String(text) => {
            let narrow = u8::try_from(text.as_bytes().len()).is_ok();
            require(tag != TEXT_LONG || !narrow, Malformed::NotCanonical)?;
            require(text.as_str().is_some(), Malformed::Utf8)?;
        }
        ValueRef::Object(object) => members(object, depth)?,
        ValueRef::Array(array) => elements(array, depth)?,
    }
    Ok(length)
}

fn members(object: ObjectRef<'_>, depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let mut rest = object.body();
    while !rest.is_empty() {
        let (tag, key, payload) = split_member(rest).ok_or(Malformed::Structure)?;
        require(std::str::from_utf8(key).is_ok(), Malformed::Utf8)?;
        let header = rest.len() - payload.len() - key.len();
        require((header == 2) == (key.len() < 255), Malformed::NotCanonical)?;
        rest = &payload[value(tag, payload, depth)?..];
    }
    require(!encode::has_repeated(object.body()), Malformed::RepeatedKey)
}

fn elements(array: ArrayRef<'_>, depth: usize) -> Result<(), Malformed> {
    let depth = depth.checked_sub(1).ok_or(Malformed::TooDeep)?;
    let mut rest = array.body();
    while let Some((tag, payload)) = rest.split_first() {
        rest = &payload[value(*tag, payload, depth)?..];
    }
    Ok(())
}

fn require(holds: bool, otherwise: Malformed) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(otherwise) }
}
