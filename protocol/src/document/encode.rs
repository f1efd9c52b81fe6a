//! Writes the binary form. It knows the layout and nothing of JSON.
//!
//! Layout. value = tag, payload. member = tag, key length, key, payload. The payload is nothing (null,
//! booleans), a little-endian integer of 1, 4 or 8 bytes, a double, or a length and so many bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::document::value::{self, ValueRef};

pub(super) const NULL: u8 = 0;
pub(super) const FALSE: u8 = 1;
pub(super) const TRUE: u8 = 2;
pub(super) const INT_1: u8 = 3;
pub(super) const INT_4: u8 = 4;
pub(super) const INT_8: u8 = 5;
pub(super) const DOUBLE: u8 = 6;
/// A string whose length fits one byte.
pub(super) const TEXT_SHORT: u8 = 7;
pub(super) const TEXT_LONG: u8 = 8;
pub(super) const OBJECT: u8 = 9;
pub(super) const ARRAY: u8 = 10;

/// A key length byte of this value is followed by the true length in four bytes.
pub(super) const KEY_LONG: u8 = 255;

/// Up to so many members, repeated keys are looked for pair by pair.
const PAIRWISE_MAX: usize = 12;

/// Appends values. Whoever writes a value first reserves the slot of its tag, because a member's key
/// stands between the tag and the payload.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    /// Reserves the tag of the root or of an array element.
    pub(super) fn slot(&mut self) -> usize {
        self.out.push(NULL);
        self.out.len() - 1
    }

    /// Reserves the tag of a member and writes its key.
    pub(super) fn member(&mut self, key: &str) -> usize {
        let at = self.slot();
        match u8::try_from(key.len()) {
            Ok(length) if length != KEY_LONG => self.out.push(length),
            _ => {
                self.out.push(KEY_LONG);
                self.length(key.len());
            }
        }
        self.out.extend_from_slice(key.as_bytes());
        at
    }

    pub(super) fn bool(&mut self, at: usize, value: bool) {
        self.out[at] = if value { TRUE } else { FALSE };
    }

    pub(super) fn int(&mut self, at: usize, value: i64) {
        if let Ok(small) = i8::try_from(value) {
            self.out[at] = INT_1;
            self.out.extend_from_slice(&small.to_le_bytes());
        } else if let Ok(middle) = i32::try_from(value) {
            self.out[at] = INT_4;
            self.out.extend_from_slice(&middle.to_le_bytes());
        } else {
            self.out[at] = INT_8;
            self.out.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn double(&mut self, at: usize, value: f64) {
        self.out[at] = DOUBLE;
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn text(&mut self, at: usize, value: &[u8]) {
        if let Ok(length) = u8::try_from(value.len()) {
            self.out[at] = TEXT_SHORT;
            self.out.push(length);
        } else {
            self.out[at] = TEXT_LONG;
            self.length(value.len());
        }
        self.out.extend_from_slice(value);
    }

    /// Begins an object or array and returns where its body begins, which [`Encoder::close`] wants.
    pub(super) fn open(&mut self, at: usize, tag: u8) -> usize {
        self.out[at] = tag;
        self.length(0);
        self.out.len()
    }

    /// Ends an array.
    pub(super) fn close(&mut self, body: usize) {
        let length = length_of(self.out.len() - body).to_le_bytes();
        self.out[body - 4..body].copy_from_slice(&length);
    }

    /// Ends an object: a repeated key keeps its first position and its last value.
    pub(super) fn close_object(&mut self, body: usize) {
        if let Some(merged) = merge_repeated(&self.out[body..]) {
            self.out.truncate(body);
            self.out.extend_from_slice(&merged);
        }
        self.close(body);
    }

    /// Writes a value that is already in binary form.
    pub(super) fn copy(&mut self, at: usize, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.out[at] = NULL,
            ValueRef::Bool(value) => self.bool(at, value),
            ValueRef::Int(value) => self.int(at, value),
            ValueRef::Double(value) => self.double(at, value),
            ValueRef::String(text) => self.text(at, text.as_bytes()),
            ValueRef::Object(object) => self.copy_body(at, OBJECT, object.body()),
            ValueRef::Array(array) => self.copy_body(at, ARRAY, array.body()),
        }
    }

    fn copy_body(&mut self, at: usize, tag: u8, bytes: &[u8]) {
        self.out[at] = tag;
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn length(&mut self, length: usize) {
        self.out.extend_from_slice(&length_of(length).to_le_bytes());
    }
}

fn length_of(length: usize) -> u32 {
    u32::try_from(length).expect("every way in is bounded far below 4 GiB")
}

/// The body with each repeated key merged, or nothing if no key is repeated.
fn merge_repeated(body: &[u8]) -> Option<Vec<u8>> {
    if !has_repeated(body) {
        return None;
    }
    let mut order: Vec<&[u8]> = Vec::new();
    let mut last: HashMap<&[u8], usize> = HashMap::new();
    for member in value::raw_members(body) {
        match last.entry(member.key) {
            Entry::Vacant(entry) => {
                entry.insert(order.len());
                order.push(member.whole);
            }
            Entry::Occupied(entry) => order[*entry.get()] = member.whole,
        }
    }
    Some(order.concat())
}

/// Whether two members of an object's body have one key.
pub(super) fn has_repeated(body: &[u8]) -> bool {
    if value::raw_members(body).nth(PAIRWISE_MAX).is_some() {
        let mut seen = std::collections::HashSet::new();
        return value::raw_members(body).any(|member| !seen.insert(member.key));
    }
    value::raw_members(body)
        .enumerate()
        .any(|(n, member)| value::raw_members(body).take(n).any(|earlier| earlier.key == member.key))
}
