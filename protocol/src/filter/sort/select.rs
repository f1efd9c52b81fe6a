//! Chooses the sort key of a document that has several: one for each element of an array on the way.

use std::cmp::Ordering;

use crate::document::{ArrayRef, ValueRef};
use crate::filter::path::Component;
use crate::filter::sort::{Field, SortError};

/// The value under one sort key; nothing stands for an empty array, which sorts below null.
pub(super) type Key<'a> = Option<ValueRef<'a>>;

/// How far one sort key has been followed.
#[derive(Clone, Copy)]
enum Step<'a, 's> {
    Done(Key<'a>),
    Follow(ValueRef<'a>, &'s [Component]),
}

/// The values of the compound key that comes first in the order of the sort.
pub(super) fn select<'a>(fields: &[Field], document: ValueRef<'a>) -> Result<Vec<Key<'a>>, SortError> {
    let steps = fields.iter().map(|field| match document {
        ValueRef::Object(_) => Step::Follow(document, field.path.components()),
        _ => Step::Done(Some(ValueRef::Null)),
    });
    let mut selection = Selection { fields, best: None };
    selection.spread(steps.collect())?;
    Ok(selection.best.unwrap_or_default())
}

struct Selection<'a, 's> {
    fields: &'s [Field],
    best: Option<Vec<Key<'a>>>,
}

impl<'a, 's> Selection<'a, 's> {
    /// Offers every compound key that the steps lead to. All paths that meet an array meet the same one
    /// and go through its elements together.
    fn spread(&mut self, mut steps: Vec<Step<'a, 's>>) -> Result<(), SortError> {
        let mut common: Option<ArrayRef<'a>> = None;
        let mut open = Vec::new();
        for (n, step) in steps.iter_mut().enumerate() {
            let Step::Follow(value, path) = *step else {
                continue;
            };
            *step = through_objects(value, path);
            if let Step::Follow(ValueRef::Array(array), _) = *step {
                if common.is_some_and(|known| !known.is_same(&array)) {
                    let path = self.fields[n].path.dotted();
                    return Err(SortError::ParallelArrays { path });
                }
                common = Some(array);
                open.push(n);
            }
        }
        let Some(array) = common else {
            self.offer(&steps);
            return Ok(());
        };
        let mut spread = Vec::new();
        for n in open {
            match self.position(n, array, steps[n])? {
                Some(step) => steps[n] = step,
                None => spread.push(n),
            }
        }
        if spread.is_empty() {
            return self.spread(steps);
        }
        self.elements(array, &steps, &spread)
    }

    /// The step into one element, if the next component is a position in the array.
    fn position(
        &self,
        n: usize,
        array: ArrayRef<'a>,
        step: Step<'a, 's>,
    ) -> Result<Option<Step<'a, 's>>, SortError> {
        let Step::Follow(_, path) = step else {
            return Ok(None);
        };
        let Some((component, rest)) = path.split_first() else {
            return Ok(None);
        };
        let Some(element) = component.position.and_then(|position| array.get(position)) else {
            return Ok(None);
        };
        let named = |element: ValueRef<'_>| {
            let object = element.as_object();
            object.is_some_and(|object| object.get(&component.name).is_some())
        };
        if array.iter().any(named) {
            return Err(SortError::Ambiguous {
                path: self.fields[n].path.dotted(),
                component: component.name.to_string(),
            });
        }
        Ok(Some(match element {
            _ if !rest.is_empty() => Step::Follow(element, rest),
            ValueRef::Array(array) if array.is_empty() => Step::Done(None),
            element => Step::Done(Some(element)),
        }))
    }

    fn elements(
        &mut self,
        array: ArrayRef<'a>,
        steps: &[Step<'a, 's>],
        spread: &[usize],
    ) -> Result<(), SortError> {
        let into = |element: Option<ValueRef<'a>>| {
            let mut next = steps.to_vec();
            for n in spread {
                if let Step::Follow(_, path) = next[*n] {
                    next[*n] = match element {
                        element if path.is_empty() => Step::Done(element),
                        Some(object @ ValueRef::Object(_)) => Step::Follow(object, path),
                        _ => Step::Done(Some(ValueRef::Null)),
                    };
                }
            }
            next
        };
        if array.is_empty() {
            return self.spread(into(None));
        }
        for element in array {
            self.spread(into(Some(element)))?;
        }
        Ok(())
    }

    /// Keeps the compound key if it comes before the best one so far.
    fn offer(&mut self, steps: &[Step<'a, 's>]) {
        let key = |step: &Step<'a, 's>| match step {
            Step::Done(key) => *key,
            Step::Follow(value, _) => Some(*value),
        };
        let keys: Vec<_> = steps.iter().map(key).collect();
        let better = match &self.best {
            None => true,
            Some(best) => self.order(&keys, best).is_lt(),
        };
        if better {
            self.best = Some(keys);
        }
    }

    fn order(&self, a: &[Key<'a>], b: &[Key<'a>]) -> Ordering {
        for ((field, a), b) in self.fields.iter().zip(a).zip(b) {
            let order = match (a, b) {
                (Some(a), Some(b)) => a.cmp_total(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            if order.is_ne() {
                return if field.descending { order.reverse() } else { order };
            }
        }
        Ordering::Equal
    }
}

/// Follows a path until an array, its end or its absence.
fn through_objects<'a, 's>(mut value: ValueRef<'a>, mut path: &'s [Component]) -> Step<'a, 's> {
    while let (Some((component, rest)), ValueRef::Object(object)) = (path.split_first(), value) {
        let Some(member) = object.get(&component.name) else {
            return Step::Done(Some(ValueRef::Null));
        };
        (value, path) = (member, rest);
    }
    match value {
        ValueRef::Array(_) => Step::Follow(value, path),
        _ if path.is_empty() => Step::Done(Some(value)),
        _ => Step::Done(Some(ValueRef::Null)),
    }
}
