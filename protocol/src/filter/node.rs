//! The parsed filter as a tree, and its evaluation.

use crate::document::{ObjectRef, ValueRef};
use crate::filter::error::EvalError;
use crate::filter::expr::{Budget, Expression};
use crate::filter::path::{Branches, Fields, Path, Walk};
use crate::filter::pattern::Patience;
use crate::filter::predicate::Predicate;

/// A condition on a document, or on an element of an array.
#[derive(Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// Boxed, so that a list of conditions stays small.
    Leaf(Box<Leaf>),
    Expression(Box<Expression>),
}

/// A test of the values that a path leads to.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Path,
    pub(super) predicate: Predicate,
}

/// What one evaluation of one document may still spend.
#[derive(Default)]
pub(super) struct Run {
    branches: Branches,
    pub(super) budget: Budget,
    pub(super) patience: Patience,
}

impl Node {
    pub(super) fn holds_for_document(&self, document: ValueRef<'_>, run: &Run) -> Result<bool, EvalError> {
        let object = document.as_object().unwrap_or(ObjectRef::EMPTY);
        self.holds_for_fields(Fields::Object(object), run)
    }

    pub(super) fn holds_for_fields(&self, fields: Fields<'_>, run: &Run) -> Result<bool, EvalError> {
        match self {
            Self::All(nodes) => all(nodes, |node| node.holds_for_fields(fields, run)),
            Self::Any(nodes) => any(nodes, |node| node.holds_for_fields(fields, run)),
            Self::Not(node) => Ok(!node.holds_for_fields(fields, run)?),
            Self::Leaf(leaf) => {
                let mut walk = Walk {
                    test: |candidate| leaf.predicate.holds(candidate, run),
                    open: leaf.predicate.opens_arrays(),
                    branches: &run.branches,
                };
                walk.any(fields, &leaf.path)
            }
            Self::Expression(expression) => expression.is_true(fields, run),
        }
    }

    /// The condition put to one value itself: paths do not count.
    pub(super) fn holds_for_element(&self, element: ValueRef<'_>, run: &Run) -> Result<bool, EvalError> {
        match self {
            Self::All(nodes) => all(nodes, |node| node.holds_for_element(element, run)),
            Self::Any(nodes) => any(nodes, |node| node.holds_for_element(element, run)),
            Self::Not(node) => Ok(!node.holds_for_element(element, run)?),
            Self::Leaf(leaf) => leaf.predicate.holds(Some(element), run),
            Self::Expression(_) => Ok(false),
        }
    }
}

fn all(nodes: &[Node], mut holds: impl FnMut(&Node) -> Result<bool, EvalError>) -> Result<bool, EvalError> {
    for node in nodes {
        if !holds(node)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any(nodes: &[Node], mut holds: impl FnMut(&Node) -> Result<bool, EvalError>) -> Result<bool, EvalError> {
    for node in nodes {
        if holds(node)? {
            return Ok(true);
        }
    }
    Ok(false)
}
