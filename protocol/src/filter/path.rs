//! Dotted paths, and the values of a document that a path leads to. A component is a name; it is a
//! position as well where it meets an array and is written as a plain decimal.

use std::cell::Cell;

use crate::document::canonical_position;
use crate::document::{ArrayRef, ObjectRef, ValueRef};
use crate::filter::error::{EvalError, EvalFault};
use crate::filter::limits::BRANCHES_MAX;

/// A path split at its dots.
#[derive(Debug, Clone)]
pub(super) struct Path {
    components: Box<[Component]>,
}

/// One name of a path.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub(super) name: Box<str>,
    /// The position that the name stands for where it meets an array.
    pub(super) position: Option<usize>,
}

impl Path {
    pub(super) fn new(dotted: &str) -> Self {
        let component = |name: &str| Component { name: name.into(), position: canonical_position(name) };
        Self { components: dotted.split('.').map(component).collect() }
    }

    pub(super) fn len(&self) -> usize {
        self.components.len()
    }

    pub(super) fn components(&self) -> &[Component] {
        &self.components
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.components.iter().map(|component| &*component.name)
    }

    /// The path as it was written.
    pub(super) fn dotted(&self) -> String {
        self.names().collect::<Vec<_>>().join(".")
    }

    /// Whether a component could be a position in an array.
    pub(super) fn has_position(&self) -> bool {
        self.components.iter().any(|c| c.position.is_some())
    }
}

/// What has members: an object, or an array seen as an object with the keys `0`, `1`, ...
#[derive(Clone, Copy)]
pub(super) enum Fields<'a> {
    Object(ObjectRef<'a>),
    Array(ArrayRef<'a>),
}

impl<'a> Fields<'a> {
    fn get(self, component: &Component) -> Option<ValueRef<'a>> {
        match self {
            Self::Object(object) => object.get(&component.name),
            Self::Array(array) => array.get(component.position?),
        }
    }
}

/// Bounds the ways through one document.
pub(super) struct Branches(Cell<u32>);

impl Default for Branches {
    fn default() -> Self {
        Self(Cell::new(BRANCHES_MAX))
    }
}

impl Branches {
    fn spend(&self) -> Result<(), EvalError> {
        let left = self.0.get().checked_sub(1).ok_or(EvalFault::Work { what: "a path with positions" })?;
        self.0.set(left);
        Ok(())
    }
}

/// Tries a test on the values that a path leads to, until one satisfies it.
pub(super) struct Walk<'t, T> {
    /// Given a value, or nothing where the path leads to a missing one.
    pub(super) test: T,
    /// Whether a final array is opened: its elements are candidates before itself.
    pub(super) open: bool,
    pub(super) branches: &'t Branches,
}

impl<'a, T> Walk<'_, T>
where
    T: FnMut(Option<ValueRef<'a>>) -> Result<bool, EvalError>,
{
    pub(super) fn any(&mut self, fields: Fields<'a>, path: &Path) -> Result<bool, EvalError> {
        self.fields(fields, &path.components)
    }

    fn fields(&mut self, mut fields: Fields<'a>, mut path: &[Component]) -> Result<bool, EvalError> {
        while let Some((component, rest)) = path.split_first() {
            let Some(value) = fields.get(component) else {
                return (self.test)(None);
            };
            if rest.is_empty() {
                return self.last(value);
            }
            match value {
                ValueRef::Object(object) => fields = Fields::Object(object),
                ValueRef::Array(array) => return self.array(array, rest),
                _ => return (self.test)(None),
            }
            path = rest;
        }
        Ok(false)
    }

    fn last(&mut self, value: ValueRef<'a>) -> Result<bool, EvalError> {
        if let (true, ValueRef::Array(array)) = (self.open, value) {
            for element in array {
                if (self.test)(Some(element))? {
                    return Ok(true);
                }
            }
        }
        (self.test)(Some(value))
    }

    /// The rest of a path meets an array: it goes on in each object, and in the element at its position.
    fn array(&mut self, array: ArrayRef<'a>, path: &[Component]) -> Result<bool, EvalError> {
        let Some((component, rest)) = path.split_first() else {
            return Ok(false);
        };
        for (n, element) in array.iter().enumerate() {
            let here = component.position == Some(n);
            if let ValueRef::Object(object) = element {
                if here {
                    self.branches.spend()?;
                }
                if self.fields(Fields::Object(object), path)? {
                    return Ok(true);
                }
            }
            if here && self.position(element, rest)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The element that a component names by its position.
    fn position(&mut self, element: ValueRef<'a>, rest: &[Component]) -> Result<bool, EvalError> {
        if rest.is_empty() {
            return (self.test)(Some(element));
        }
        match element {
            ValueRef::Object(object) => self.fields(Fields::Object(object), rest),
            ValueRef::Array(array) => self.array(array, rest),
            _ => Ok(false),
        }
    }
}
