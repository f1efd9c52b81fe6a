//! `$expr`: a condition computed from the members of a document, by a subset of MongoDB's aggregation
//! expressions. It is a pure function of the document, bounded in steps and in what it makes.

mod budget;
mod eval;
mod list;
mod number;
mod parse;
mod text;
mod tree;
mod value;

use crate::document::ValueRef;
use crate::filter::error::{EvalError, FilterError};
use crate::filter::expr::eval::Evaluation;
use crate::filter::expr::tree::Expr;
use crate::filter::node::Run;
use crate::filter::parse::Parser;
use crate::filter::path::Fields;

pub(super) use crate::filter::expr::budget::Budget;

/// A checked expression.
#[derive(Debug)]
pub(super) struct Expression(Expr);

/// Reads the operand of `$expr`.
pub(super) fn parse(parser: &mut Parser, operand: ValueRef<'_>) -> Result<Expression, FilterError> {
    parse::parse(parser, operand).map(Expression)
}

impl Expression {
    /// Whether the expression yields anything but a missing value, null, false or zero.
    pub(super) fn is_true(&self, fields: Fields<'_>, run: &Run) -> Result<bool, EvalError> {
        let root = match fields {
            Fields::Object(object) => ValueRef::Object(object),
            Fields::Array(array) => ValueRef::Array(array),
        };
        Ok(Evaluation::new(root, run).value(&self.0)?.is_true())
    }
}

#[cfg(test)]
mod tests;
