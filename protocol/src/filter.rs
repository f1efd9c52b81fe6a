//! The filter language of `POST /assets`: what MongoDB's `find` does for values that JSON can express.
//! A filter is parsed and checked once, then evaluated in place on documents in binary form. Nothing
//! here does I/O, reads a clock or runs code that a client sent.

mod element;
mod error;
mod expr;
mod limits;
mod literal;
mod node;
mod operand;
mod parse;
mod path;
mod pattern;
mod predicate;
mod projection;
mod sort;
pub mod terms;

use serde_json::Value;

use crate::document::{Document, ValueRef};
use crate::filter::node::{Node, Run};

// The names of this module: its children are private, so that one path leads to each type.
pub use crate::filter::error::{EvalError, EvalFault, FilterError, Place};
pub use crate::filter::limits::{
    BRANCHES_MAX, EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX, FILTER_DEPTH_MAX, FILTER_NODES_MAX, LIST_MAX,
    PATH_COMPONENTS_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX,
};
pub use crate::filter::literal::Number;
pub use crate::filter::projection::{Projection, ProjectionError};
pub use crate::filter::sort::{SORT_KEYS_MAX, Sort, SortError, SortKey};
pub use crate::filter::terms::Need;

/// A checked filter. It may be shared between threads.
#[derive(Debug)]
pub struct Filter {
    node: Node,
    need: Need,
}

impl Filter {
    /// Checks a filter that was already parsed as JSON.
    ///
    /// # Errors
    /// A filter that is not of the language or exceeds a limit; the error names operator and path.
    pub fn parse(filter: &Value) -> Result<Self, FilterError> {
        Self::of(&Document::from_value_bounded(filter, FILTER_DEPTH_MAX)?)
    }

    /// Checks a filter in JSON text.
    ///
    /// # Errors
    /// As [`Filter::parse`], and text that is not JSON.
    pub fn parse_json(text: &[u8]) -> Result<Self, FilterError> {
        Self::of(&Document::from_json_bounded(text, FILTER_DEPTH_MAX)?)
    }

    fn of(filter: &Document) -> Result<Self, FilterError> {
        let node = parse::parse(filter.root())?;
        let need = node.need(None).simplified();
        Ok(Self { node, need })
    }

    /// Whether a document satisfies the filter. A document that is no object has no members.
    ///
    /// # Errors
    /// A run-time error of `$expr`, or a document on which the filter costs more than the limits allow.
    pub fn matches(&self, document: ValueRef<'_>) -> Result<bool, EvalError> {
        self.node.holds_for_document(document, &Run::default())
    }

    /// A condition on the terms of a document that every matching document satisfies.
    #[must_use]
    pub fn need(&self) -> Need {
        self.need.clone()
    }
}

#[cfg(test)]
mod tests;
