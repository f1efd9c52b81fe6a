//! Sets one value at a dotted path, as MongoDB's `$set` does.

use crate::document::encode::{ARRAY, Encoder, OBJECT};
use crate::document::value::{ArrayRef, NEST_MAX, ObjectRef, ValueRef};
use crate::document::{DEPTH_MAX, Document};

/// How many nulls an update may put in front of a new array element.
pub const ARRAY_PADDING_MAX: usize = 1500;

/// Why a value cannot be set at a path. The text does not repeat the path: whoever tells it names that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetPathError {
    /// The path has an empty component or one that begins with `$`.
    #[error("a component is empty or begins with `$`")]
    BadPath {
        /// The whole path.
        path: String,
    },
    /// A value on the way is neither object nor array.
    #[error("`{at}` is not an object")]
    NotAnObject {
        /// The whole path.
        path: String,
        /// The part of the path that leads to the value in the way.
        at: String,
    },
    /// A component under an array is not a position.
    #[error("`{at}` is an array, and the next component is not a position in it")]
    NotAPosition {
        /// The whole path.
        path: String,
        /// The part of the path that leads to the array.
        at: String,
    },
    /// The position is too far beyond the end of the array.
    #[error("more than {ARRAY_PADDING_MAX} elements would have to be made up")]
    TooFar {
        /// The whole path.
        path: String,
    },
    /// The document would be nested too deep.
    #[error("the document would be nested deeper than {DEPTH_MAX} levels")]
    TooDeep {
        /// The whole path.
        path: String,
    },
}

/// The document with the value at the path: objects are created on the way, a position in an array sets
/// that element, and a position beyond its end pads with null.
///
/// # Errors
/// A path that cannot be followed; see [`SetPathError`].
pub fn set_path(document: &Document, path: &str, value: ValueRef<'_>) -> Result<Document, SetPathError> {
    let components: Vec<&str> = path.split('.').collect();
    let named = |component: &&str| !component.is_empty() && !component.starts_with('$');
    if !components.iter().all(named) {
        let path = path.to_owned();
        return Err(SetPathError::BadPath { path });
    }
    if components.len() + depth(value, NEST_MAX) > DEPTH_MAX {
        let path = path.to_owned();
        return Err(SetPathError::TooDeep { path });
    }
    let mut setter = Setter {
        encoder: Encoder::with_capacity(document.as_bytes().len() + path.len() + 64),
        components,
        value,
    };
    let at = setter.encoder.slot();
    setter.set(at, 0, Some(document.root()))?;
    Ok(Document::of(setter.encoder))
}

struct Setter<'a> {
    encoder: Encoder,
    components: Vec<&'a str>,
    value: ValueRef<'a>,
}

impl Setter<'_> {
    /// Writes what stands after the first `level` components; `old` is what stands there now.
    fn set(&mut self, at: usize, level: usize, old: Option<ValueRef<'_>>) -> Result<(), SetPathError> {
        if level == self.components.len() {
            self.encoder.copy(at, self.value);
            return Ok(());
        }
        match old {
            None => self.object(at, level, ObjectRef::EMPTY),
            Some(ValueRef::Object(object)) => self.object(at, level, object),
            Some(ValueRef::Array(array)) => self.array(at, level, array),
            Some(_) => {
                Err(SetPathError::NotAnObject { path: self.path(), at: self.components[..level].join(".") })
            }
        }
    }

    fn object(&mut self, at: usize, level: usize, object: ObjectRef<'_>) -> Result<(), SetPathError> {
        let wanted = self.components[level];
        let body = self.encoder.open(at, OBJECT);
        let mut found = false;
        for (key, value) in object.iter() {
            let at = self.encoder.member(key);
            if key == wanted {
                found = true;
                self.set(at, level + 1, Some(value))?;
            } else {
                self.encoder.copy(at, value);
            }
        }
        if !found {
            let at = self.encoder.member(wanted);
            self.set(at, level + 1, None)?;
        }
        self.encoder.close(body);
        Ok(())
    }

    fn array(&mut self, at: usize, level: usize, array: ArrayRef<'_>) -> Result<(), SetPathError> {
        let wanted = self.components[level];
        let position = canonical_position(wanted).ok_or_else(|| SetPathError::NotAPosition {
            path: self.path(),
            at: self.components[..level].join("."),
        })?;
        let length = array.len();
        if position > length.saturating_add(ARRAY_PADDING_MAX) {
            return Err(SetPathError::TooFar { path: self.path() });
        }
        let body = self.encoder.open(at, ARRAY);
        for (n, value) in array.iter().enumerate() {
            let at = self.encoder.slot();
            if n == position {
                self.set(at, level + 1, Some(value))?;
            } else {
                self.encoder.copy(at, value);
            }
        }
        if position >= length {
            for _ in length..position {
                self.encoder.slot();
            }
            let at = self.encoder.slot();
            self.set(at, level + 1, None)?;
        }
        self.encoder.close(body);
        Ok(())
    }

    fn path(&self) -> String {
        self.components.join(".")
    }
}

/// The position that a path component names, if it is written as a plain decimal: `0`, `12`, not `00`.
pub(crate) fn canonical_position(component: &str) -> Option<usize> {
    let digits = component.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = component == "0" || !component.starts_with('0');
    if digits && canonical { component.parse().ok() } else { None }
}

fn depth(value: ValueRef<'_>, bound: usize) -> usize {
    let Some(bound) = bound.checked_sub(1) else {
        return 0;
    };
    match value {
        ValueRef::Object(object) => {
            1 + (object.members()).map(|(_, value)| depth(value, bound)).max().unwrap_or(0)
        }
        ValueRef::Array(array) => 1 + (array.iter()).map(|value| depth(value, bound)).max().unwrap_or(0),
        _ => 0,
    }
}
