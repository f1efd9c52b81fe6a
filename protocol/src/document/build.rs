//! Puts documents together from values that are already in binary form.

use crate::document::encode::{ARRAY, Encoder, OBJECT};
use crate::document::{Document, ValueRef};

/// Builds an object member by member. A repeated key keeps its first position and its last value.
#[derive(Debug)]
pub struct ObjectBuilder {
    encoder: Encoder,
    body: usize,
}

impl ObjectBuilder {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        let mut encoder = Encoder::default();
        let at = encoder.slot();
        let body = encoder.open(at, OBJECT);
        Self { encoder, body }
    }

    /// Appends a member.
    pub fn push<'v>(&mut self, key: &str, value: impl Into<ValueRef<'v>>) {
        let at = self.encoder.member(key);
        self.encoder.copy(at, value.into());
    }

    /// The object.
    #[must_use]
    pub fn finish(mut self) -> Document {
        self.encoder.close_object(self.body);
        Document::of(self.encoder)
    }
}

impl Default for ObjectBuilder {
    fn default() -> Self {
        Self::new()
    }
}

/// Builds an array element by element.
#[derive(Debug)]
pub struct ArrayBuilder {
    encoder: Encoder,
    body: usize,
}

impl ArrayBuilder {
    /// An array without elements.
    #[must_use]
    pub fn new() -> Self {
        let mut encoder = Encoder::default();
        let at = encoder.slot();
        let body = encoder.open(at, ARRAY);
        Self { encoder, body }
    }

    /// Appends an element.
    pub fn push<'v>(&mut self, value: impl Into<ValueRef<'v>>) {
        let at = self.encoder.slot();
        self.encoder.copy(at, value.into());
    }

    /// The array.
    #[must_use]
    pub fn finish(mut self) -> Document {
        self.encoder.close(self.body);
        Document::of(self.encoder)
    }
}

impl Default for ArrayBuilder {
    fn default() -> Self {
        Self::new()
    }
}
