//! Values that stand in a filter: single ones, and the sorted set of an `$in`.

use std::cmp::Ordering;

use crate::document::{Document, ValueRef, compare_int_double};

/// A value of a filter, ready to be compared.
#[derive(Debug, Clone)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    /// An object or array.
    Nested(Document),
}

impl Literal {
    pub(super) fn new(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Int(value) => Self::Int(value),
            ValueRef::Double(value) => Self::Double(value),
            ValueRef::String(text) => Self::Text(text.as_str().unwrap_or_default().into()),
            ValueRef::Object(_) | ValueRef::Array(_) => Self::Nested(value.into()),
        }
    }

    #[inline]
    pub(super) fn value(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Bool(value) => ValueRef::Bool(*value),
            Self::Int(value) => ValueRef::Int(*value),
            Self::Double(value) => ValueRef::Double(*value),
            Self::Text(text) => ValueRef::from(&**text),
            Self::Nested(document) => document.root(),
        }
    }

    /// Equality as filters mean it: a missing value equals null.
    #[inline]
    pub(super) fn equals(&self, candidate: Option<ValueRef<'_>>) -> bool {
        match (self, candidate) {
            (Self::Null, candidate) => candidate.is_none_or(|value| value.is_null()),
            (_, None) => false,
            (literal, Some(value)) => value.eq_total(&literal.value()),
        }
    }
}

/// The members of an `$in`, sorted by type so that each look-up is a binary search.
#[derive(Debug, Clone, Default)]
pub(super) struct Set {
    null: bool,
    no: bool,
    yes: bool,
    numbers: Box<[Number]>,
    texts: Box<[Box<str>]>,
    nested: Box<[Document]>,
}

impl Set {
    pub(super) fn new<'a>(members: impl Iterator<Item = ValueRef<'a>>) -> Self {
        let mut set = Self::default();
        let (mut numbers, mut texts, mut nested) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            match Literal::new(member) {
                Literal::Null => set.null = true,
                Literal::Bool(false) => set.no = true,
                Literal::Bool(true) => set.yes = true,
                Literal::Int(value) => numbers.push(Number::Int(value)),
                Literal::Double(value) => numbers.push(Number::Double(value)),
                Literal::Text(text) => texts.push(text),
                Literal::Nested(document) => nested.push(document),
            }
        }
        numbers.sort_by(Number::cmp_exact);
        texts.sort_unstable();
        nested.sort_by(|a, b| a.root().cmp_total(&b.root()));
        set.numbers = numbers.into();
        set.texts = texts.into();
        set.nested = nested.into();
        set
    }

    pub(super) fn contains(&self, candidate: Option<ValueRef<'_>>) -> bool {
        match candidate {
            None | Some(ValueRef::Null) => self.null,
            Some(ValueRef::Bool(value)) => (value && self.yes) || (!value && self.no),
            Some(ValueRef::Int(value)) => self.has_number(Number::Int(value)),
            Some(ValueRef::Double(value)) => self.has_number(Number::Double(value)),
            Some(ValueRef::String(text)) => {
                let wanted = text.as_bytes();
                let found = self.texts.binary_search_by(|m| m.as_bytes().cmp(wanted));
                found.is_ok()
            }
            Some(value) => {
                let found = |member: &Document| member.root().cmp_total(&value);
                self.nested.binary_search_by(found).is_ok()
            }
        }
    }

    fn has_number(&self, number: Number) -> bool {
        self.numbers.binary_search_by(|member| member.cmp_exact(&number)).is_ok()
    }

    /// The members, in no particular order.
    pub(super) fn members(&self) -> impl Iterator<Item = ValueRef<'_>> {
        let null = self.null.then_some(ValueRef::Null);
        let no = self.no.then_some(ValueRef::Bool(false));
        let yes = self.yes.then_some(ValueRef::Bool(true));
        (null.into_iter().chain(no).chain(yes))
            .chain(self.numbers.iter().map(|number| number.value()))
            .chain(self.texts.iter().map(|text| ValueRef::from(&**text)))
            .chain(self.nested.iter().map(Document::root))
    }
}

/// A number with its type.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// Any integer literal.
    Int(i64),
    /// Any other number; finite.
    Double(f64),
}

impl Number {
    /// The number as a value.
    #[must_use]
    pub const fn value(self) -> ValueRef<'static> {
        match self {
            Self::Int(value) => ValueRef::Int(value),
            Self::Double(value) => ValueRef::Double(value),
        }
    }

    /// Compares by exact value.
    #[must_use]
    pub fn cmp_exact(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Int(a), Self::Double(b)) => compare_int_double(*a, *b),
            (Self::Double(a), Self::Int(b)) => compare_int_double(*b, *a).reverse(),
            (a @ Self::Double(_), b @ Self::Double(_)) => a.value().cmp_total(&b.value()),
        }
    }
}

/// Equal numbers of different types are equal.
impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp_exact(other).is_eq()
    }
}
