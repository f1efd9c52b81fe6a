//! Sorting: the keys of a sort, and the key bytes of a document under it. Keys of documents compare as
//! plain bytes, so that they can be merged, kept in a heap and put into cursors.

mod key;
mod select;

use crate::document::{Document, JsonError, ValueRef};
use crate::filter::limits::PATH_COMPONENTS_MAX;
use crate::filter::path::Path;

/// The most keys of one sort; MongoDB's own bound for compound indexes.
pub const SORT_KEYS_MAX: usize = 32;

/// A checked sort order.
#[derive(Debug, Clone)]
pub struct Sort {
    fields: Vec<Field>,
}

#[derive(Debug, Clone)]
struct Field {
    path: Path,
    descending: bool,
}

/// Why a sort is refused, or does not apply to a document. Every case names the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SortError {
    /// The JSON form is not JSON.
    #[error("the sort is not JSON: {0}")]
    Json(JsonError),
    /// The JSON form is not an object.
    #[error("the sort is not an object of paths and directions")]
    NotAnObject,
    /// Too many keys.
    #[error("more than {SORT_KEYS_MAX} sort keys")]
    TooManyKeys,
    /// A path with an empty component, one that begins with `$`, or too many.
    #[error("cannot sort by `{path}`: a component is empty or begins with `$`, or there are too many")]
    BadPath {
        /// The path as written.
        path: String,
    },
    /// A direction that is neither 1 nor -1.
    #[error("cannot sort by `{path}`: the direction must be 1 or -1")]
    BadDirection {
        /// The path as written.
        path: String,
    },
    /// Two keys lead into two different arrays of one document.
    #[error("cannot sort by `{path}`: a document has parallel arrays under the sort keys")]
    ParallelArrays {
        /// The later of the two paths.
        path: String,
    },
    /// A component is a position in an array and a key of its elements.
    #[error("cannot sort by `{path}`: `{component}` is both a position and a key in a document")]
    Ambiguous {
        /// The path as written.
        path: String,
        /// The component.
        component: String,
    },
}

impl SortError {
    /// The code that clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "bad_sort"
    }
}

/// The place of a document in a sort: the smaller key comes first, descending keys included. Keys of one
/// sort compare as bytes; keys of different sorts do not compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SortKey(Box<[u8]>);

impl SortKey {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the bytes away.
    #[must_use]
    pub fn into_bytes(self) -> Box<[u8]> {
        self.0
    }

    /// Takes over bytes that [`SortKey::as_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(bytes.into())
    }
}

impl Sort {
    /// Reads `-a.b,c` (a minus for descending) or `{"a.b":-1,"c":1}`.
    ///
    /// # Errors
    /// See [`SortError`].
    pub fn parse(keys: &str) -> Result<Self, SortError> {
        if keys.trim_start().starts_with('{') {
            let document = Document::from_json(keys.as_bytes()).map_err(SortError::Json)?;
            return Self::from_document(document.root());
        }
        let directed = keys.split(',').map(|key| match key.strip_prefix('-') {
            Some(path) => (path, true),
            None => (key, false),
        });
        let fields: Result<Vec<_>, _> =
            directed.map(|(path, descending)| Field::new(path, descending)).collect();
        Self::of(fields?)
    }

    /// Reads an object of paths and directions.
    ///
    /// # Errors
    /// See [`SortError`].
    pub fn from_document(document: ValueRef<'_>) -> Result<Self, SortError> {
        let object = document.as_object().ok_or(SortError::NotAnObject)?;
        let mut fields = Vec::new();
        for (path, direction) in object.iter() {
            let descending = if direction.eq_total(&ValueRef::Int(1)) {
                false
            } else if direction.eq_total(&ValueRef::Int(-1)) {
                true
            } else {
                let path = path.to_owned();
                return Err(SortError::BadDirection { path });
            };
            fields.push(Field::new(path, descending)?);
        }
        Self::of(fields)
    }

    fn of(fields: Vec<Field>) -> Result<Self, SortError> {
        if fields.len() > SORT_KEYS_MAX {
            return Err(SortError::TooManyKeys);
        }
        Ok(Self { fields })
    }

    /// The key of a document.
    ///
    /// # Errors
    /// A document with parallel arrays, or with a key that is a position as well.
    pub fn key(&self, document: ValueRef<'_>) -> Result<SortKey, SortError> {
        let chosen = select::select(&self.fields, document)?;
        let mut bytes = Vec::with_capacity(16 * self.fields.len());
        for (field, value) in self.fields.iter().zip(chosen) {
            let start = bytes.len();
            key::write(value, &mut bytes);
            if field.descending {
                bytes[start..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        Ok(SortKey(bytes.into()))
    }
}

impl Field {
    fn new(dotted: &str, descending: bool) -> Result<Self, SortError> {
        let path = Path::new(dotted);
        let named = |name: &str| !name.is_empty() && !name.starts_with('$');
        if path.len() > PATH_COMPONENTS_MAX || !path.names().all(named) {
            return Err(SortError::BadPath { path: dotted.to_owned() });
        }
        Ok(Self { path, descending })
    }
}

#[cfg(test)]
mod tests;
