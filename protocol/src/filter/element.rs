//! `$elemMatch`: some element of an array satisfies a whole condition.

use crate::document::ValueRef;
use crate::filter::error::EvalError;
use crate::filter::node::{Node, Run};
use crate::filter::path::Fields;

/// Value form: the condition is put to the element itself.
pub(super) fn any_value(candidate: Option<ValueRef<'_>>, node: &Node, run: &Run) -> Result<bool, EvalError> {
    let Some(ValueRef::Array(array)) = candidate else {
        return Ok(false);
    };
    for element in array {
        if node.holds_for_element(element, run)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Object form: the condition is put to the members of an element; an inner array has its positions
/// as keys.
pub(super) fn any_document(
    candidate: Option<ValueRef<'_>>,
    node: &Node,
    run: &Run,
) -> Result<bool, EvalError> {
    let Some(ValueRef::Array(array)) = candidate else {
        return Ok(false);
    };
    for element in array {
        let fields = match element {
            ValueRef::Object(object) => Fields::Object(object),
            ValueRef::Array(array) => Fields::Array(array),
            _ => continue,
        };
        if node.holds_for_fields(fields, run)? {
            return Ok(true);
        }
    }
    Ok(false)
}
