//! Values while an expression is computed: parts of the document, which are borrowed, and new ones.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::document::{ArrayBuilder, Document, ValueRef};
use crate::filter::error::EvalError;
use crate::filter::expr::budget::Budget;
use crate::filter::literal::Number;

/// A value, or its absence.
#[derive(Clone)]
pub(super) enum Value<'e> {
    Missing,
    /// A scalar, or a part of the document or of the filter.
    Part(ValueRef<'e>),
    /// A string, array or object that was made.
    Made(Rc<Document>),
}

impl<'e> Value<'e> {
    pub(super) const NULL: Self = Self::Part(ValueRef::Null);

    pub(super) const fn bool(value: bool) -> Self {
        Self::Part(ValueRef::Bool(value))
    }

    pub(super) const fn int(value: i64) -> Self {
        Self::Part(ValueRef::Int(value))
    }

    pub(super) fn count(value: usize) -> Self {
        Self::int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    pub(super) const fn number(value: Number) -> Self {
        Self::Part(value.value())
    }

    /// A string that was made.
    pub(super) fn text(text: &str, budget: &Budget) -> Result<Self, EvalError> {
        budget.make(text.len())?;
        Ok(Self::Made(Rc::new(Document::from(ValueRef::from(text)))))
    }

    /// A copy of a value whose place does not live long enough.
    pub(super) fn detached(value: ValueRef<'_>, budget: &Budget) -> Result<Self, EvalError> {
        Ok(match value {
            ValueRef::Null => Self::NULL,
            ValueRef::Bool(value) => Self::bool(value),
            ValueRef::Int(value) => Self::int(value),
            ValueRef::Double(value) => Self::Part(ValueRef::Double(value)),
            _ => {
                budget.make(value.byte_len())?;
                Self::Made(Rc::new(Document::from(value)))
            }
        })
    }

    pub(super) fn get(&self) -> Option<ValueRef<'_>> {
        match self {
            Self::Missing => None,
            Self::Part(value) => Some(*value),
            Self::Made(document) => Some(document.root()),
        }
    }

    /// Missing or null.
    pub(super) fn is_nothing(&self) -> bool {
        self.get().is_none_or(|value| value.is_null())
    }

    /// Everything but missing, null, false and zero.
    pub(super) fn is_true(&self) -> bool {
        match self.get() {
            None | Some(ValueRef::Null | ValueRef::Bool(false) | ValueRef::Int(0)) => false,
            Some(ValueRef::Double(value)) => value != 0.0,
            Some(_) => true,
        }
    }

    pub(super) fn as_number(&self) -> Option<Number> {
        match self.get()? {
            ValueRef::Int(value) => Some(Number::Int(value)),
            ValueRef::Double(value) => Some(Number::Double(value)),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        self.get()?.as_str()
    }

    /// The elements, if this is an array.
    pub(super) fn elements(&self, budget: &Budget) -> Result<Option<Vec<Value<'e>>>, EvalError> {
        match self {
            Self::Part(ValueRef::Array(array)) => {
                budget.step(array.len() * 16)?;
                Ok(Some(array.iter().map(Self::Part).collect()))
            }
            Self::Made(document) => match document.root() {
                ValueRef::Array(array) => {
                    let elements = array.iter().map(|element| Self::detached(element, budget));
                    elements.collect::<Result<_, _>>().map(Some)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }

    /// Follows names through objects. Arrays on the way give an array of what their objects yield.
    pub(super) fn follow(&self, names: &[Box<str>], budget: &Budget) -> Result<Value<'e>, EvalError> {
        match self {
            _ if names.is_empty() => Ok(self.clone()),
            Self::Missing => Ok(Self::Missing),
            Self::Part(value) => follow(*value, names, budget),
            Self::Made(document) => match follow(document.root(), names, budget)? {
                Value::Missing => Ok(Self::Missing),
                Value::Part(part) => Self::detached(part, budget),
                Value::Made(made) => Ok(Self::Made(made)),
            },
        }
    }
}

fn follow<'v>(value: ValueRef<'v>, names: &[Box<str>], budget: &Budget) -> Result<Value<'v>, EvalError> {
    let Some((name, rest)) = names.split_first() else {
        return Ok(Value::Part(value));
    };
    match value {
        ValueRef::Object(object) => {
            budget.step(value.byte_len() / 8)?;
            object.get(name).map_or(Ok(Value::Missing), |value| follow(value, rest, budget))
        }
        ValueRef::Array(array) => {
            let mut found = ArrayBuilder::new();
            for element in array {
                budget.step(0)?;
                if !matches!(element, ValueRef::Object(_)) {
                    continue;
                }
                if let Some(value) = follow(element, names, budget)?.get() {
                    budget.make(value.byte_len())?;
                    found.push(value);
                }
            }
            Ok(Value::Made(Rc::new(found.finish())))
        }
        _ => Ok(Value::Missing),
    }
}

/// The total order, with a missing value below all others.
pub(super) fn compare(a: &Value<'_>, b: &Value<'_>, budget: &Budget) -> Result<Ordering, EvalError> {
    Ok(match (a.get(), b.get()) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => {
            budget.step(a.byte_len().min(b.byte_len()))?;
            a.cmp_total(&b)
        }
    })
}
