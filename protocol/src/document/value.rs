//! Reads the binary form in place. Every read is bounds-checked: bytes that are no document give fewer
//! members or null, never a panic and never an endless loop.

use std::fmt;

use crate::document::encode::{
    ARRAY, DOUBLE, FALSE, INT_1, INT_4, INT_8, KEY_LONG, NULL, OBJECT, TEXT_LONG, TEXT_SHORT, TRUE,
};

/// How deep a reader follows nested values. Documents are far below it; damaged bytes may not be.
pub(super) const NEST_MAX: usize = 256;

/// A value inside a document, or a scalar of its own.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number that was written without fraction and exponent.
    Int(i64),
    /// Any other number; always finite.
    Double(f64),
    /// A string.
    String(Text<'a>),
    /// An object.
    Object(ObjectRef<'a>),
    /// An array.
    Array(ArrayRef<'a>),
}

/// A string inside a document, in UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<'a>(&'a [u8]);

/// An object inside a document.
#[derive(Clone, Copy)]
pub struct ObjectRef<'a>(&'a [u8]);

/// An array inside a document.
#[derive(Clone, Copy)]
pub struct ArrayRef<'a>(&'a [u8]);

impl<'a> ValueRef<'a> {
    /// Reads bytes that were once a document's and that a checksum has vouched for since. Other bytes
    /// are read without harm, as some value or as null.
    #[must_use]
    pub fn from_stored(bytes: &'a [u8]) -> Self {
        bytes
            .split_first()
            .and_then(|(tag, payload)| read(*tag, payload))
            .map_or(Self::Null, |(value, _)| value)
    }

    /// The string, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::String(text) => text.as_str(),
            _ => None,
        }
    }

    /// The object, if this is one.
    #[must_use]
    pub const fn as_object(&self) -> Option<ObjectRef<'a>> {
        match self {
            Self::Object(object) => Some(*object),
            _ => None,
        }
    }

    /// The array, if this is one.
    #[must_use]
    pub const fn as_array(&self) -> Option<ArrayRef<'a>> {
        match self {
            Self::Array(array) => Some(*array),
            _ => None,
        }
    }

    /// How many bytes reading the whole value would touch, roughly.
    pub(crate) const fn byte_len(&self) -> usize {
        match self {
            Self::String(text) => text.0.len(),
            Self::Object(object) => object.0.len(),
            Self::Array(array) => array.0.len(),
            _ => 8,
        }
    }

    /// Whether this is `null`.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl<'a> Text<'a> {
    /// A string that stands outside any document.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text.as_bytes())
    }

    /// The UTF-8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The string; nothing if the bytes were damaged.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }
}

impl<'a> ObjectRef<'a> {
    /// The object without members.
    pub const EMPTY: Self = Self(&[]);

    /// The value of a member.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &str) -> Option<ValueRef<'a>> {
        let wanted = key.as_bytes();
        let mut rest = self.0;
        loop {
            let (tag, name, payload) = split_member(rest)?;
            if name == wanted {
                return read(tag, payload).map(|(value, _)| value);
            }
            rest = payload.get(length(tag, payload)?..)?;
        }
    }

    /// The members in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, ValueRef<'a>)> + use<'a> {
        self.members().map(|(key, value)| (std::str::from_utf8(key).unwrap_or_default(), value))
    }

    /// The members in their order, keys as bytes.
    pub(crate) fn members(&self) -> Members<'a> {
        Members(self.0)
    }

    /// The number of members, counted by a walk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members().count()
    }

    /// Whether there is no member.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) const fn body(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> ArrayRef<'a> {
    /// The elements in their order.
    #[must_use]
    pub const fn iter(&self) -> Elements<'a> {
        Elements(self.0)
    }

    /// The number of elements, counted by a walk.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no element.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The element at a position.
    #[must_use]
    pub fn get(&self, position: usize) -> Option<ValueRef<'a>> {
        self.iter().nth(position)
    }

    /// Whether both are the same array at the same place, not merely equal ones.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }

    pub(super) const fn body(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> IntoIterator for ArrayRef<'a> {
    type Item = ValueRef<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// Walks over the elements of an array.
#[derive(Clone)]
pub struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = ValueRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ValueRef<'a>> {
        let (tag, payload) = self.0.split_first()?;
        // Unreadable bytes end the walk, and so does a second call after them.
        self.0 = &[];
        let (value, length) = read(*tag, payload)?;
        self.0 = payload.get(length..)?;
        Some(value)
    }
}

impl fmt::Debug for Elements<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.clone()).finish()
    }
}

/// Walks over the members of an object.
#[derive(Clone)]
pub(crate) struct Members<'a>(&'a [u8]);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], ValueRef<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.0);
        let (tag, key, payload) = split_member(rest)?;
        let (value, length) = read(tag, payload)?;
        self.0 = payload.get(length..)?;
        Some((key, value))
    }
}

/// A member as it lies in the body of an object.
pub(super) struct RawMember<'a> {
    pub(super) key: &'a [u8],
    pub(super) whole: &'a [u8],
}

pub(super) fn raw_members(body: &[u8]) -> impl Iterator<Item = RawMember<'_>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (tag, key, payload) = split_member(rest)?;
        let tail = payload.get(length(tag, payload)?..)?;
        let whole = &rest[..rest.len() - tail.len()];
        rest = tail;
        Some(RawMember { key, whole })
    })
}

/// Tag, key, and everything from the payload on.
#[inline]
pub(super) fn split_member(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, short], rest) = bytes.split_first_chunk::<2>()?;
    if short == KEY_LONG {
        let (long, rest) = split_length(rest)?;
        let (key, payload) = rest.split_at_checked(long)?;
        return Some((tag, key, payload));
    }
    let (key, payload) = rest.split_at_checked(usize::from(short))?;
    Some((tag, key, payload))
}

/// How many bytes the payload takes.
#[inline]
fn length(tag: u8, payload: &[u8]) -> Option<usize> {
    match tag {
        NULL | FALSE | TRUE => Some(0),
        INT_1 => Some(1),
        INT_4 => Some(4),
        INT_8 | DOUBLE => Some(8),
        TEXT_SHORT => Some(usize::from(*payload.first()?) + 1),
        TEXT_LONG | OBJECT | ARRAY => split_length(payload)?.0.checked_add(4),
        _ => None,
    }
}

/// The value and how many bytes its payload takes.
#[inline]
pub(super) fn read(tag: u8, payload: &[u8]) -> Option<(ValueRef<'_>, usize)> {
    Some(match tag {
        NULL => (ValueRef::Null, 0),
        FALSE => (ValueRef::Bool(false), 0),
        TRUE => (ValueRef::Bool(true), 0),
        INT_1 => {
            let bytes = *payload.first_chunk::<1>()?;
            (ValueRef::Int(i64::from(i8::from_le_bytes(bytes))), 1)
        }
        INT_4 => {
            let bytes = *payload.first_chunk::<4>()?;
            (ValueRef::Int(i64::from(i32::from_le_bytes(bytes))), 4)
        }
        INT_8 => {
            let bytes = *payload.first_chunk::<8>()?;
            (ValueRef::Int(i64::from_le_bytes(bytes)), 8)
        }
        DOUBLE => {
            let bytes = *payload.first_chunk::<8>()?;
            (ValueRef::Double(f64::from_le_bytes(bytes)), 8)
        }
        TEXT_SHORT => {
            let (&short, rest) = payload.split_first()?;
            let text = rest.get(..usize::from(short))?;
            (ValueRef::String(Text(text)), text.len() + 1)
        }
        TEXT_LONG => {
            let body = long_body(payload)?;
            (ValueRef::String(Text(body)), body.len() + 4)
        }
        OBJECT => {
            let body = long_body(payload)?;
            (ValueRef::Object(ObjectRef(body)), body.len() + 4)
        }
        ARRAY => {
            let body = long_body(payload)?;
            (ValueRef::Array(ArrayRef(body)), body.len() + 4)
        }
        _ => return None,
    })
}

fn long_body(payload: &[u8]) -> Option<&[u8]> {
    let (length, rest) = split_length(payload)?;
    rest.get(..length)
}

#[inline]
fn split_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, rest))
}

impl<'a> From<&'a crate::document::Document> for ValueRef<'a> {
    fn from(document: &'a crate::document::Document) -> Self {
        document.root()
    }
}

impl<'a> From<&'a str> for ValueRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::new(text))
    }
}

impl From<i64> for ValueRef<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for ValueRef<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
