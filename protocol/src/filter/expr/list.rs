//! Functions of arrays, of sets, and of any list of values.

use crate::document::ValueRef;
use crate::filter::error::EvalError;
use crate::filter::expr::budget::Budget;
use crate::filter::expr::tree::Function;
use crate::filter::expr::value::{Value, compare};
use crate::filter::predicate::{TYPES, type_code, whole};

pub(super) fn call<'e>(
    function: Function,
    arguments: &[Value<'e>],
    budget: &Budget,
) -> Result<Value<'e>, EvalError> {
    let array = |argument: &Value<'e>| {
        let elements = argument.elements(budget)?;
        elements.ok_or_else(|| EvalError::expression(function.name(), "expected an array"))
    };
    Ok(match (function, arguments) {
        (Function::IsArray, [value]) => Value::bool(matches!(value.get(), Some(ValueRef::Array(_)))),
        (Function::Type, [value]) => Value::Part(ValueRef::from(type_name(value.get()))),
        (Function::Size, [list]) => match list.get() {
            Some(ValueRef::Array(list)) => {
                budget.step(list.len())?;
                Value::count(list.len())
            }
            _ => return Err(EvalError::expression("$size", "expected an array")),
        },
        (Function::In, [wanted, list]) => is_in(wanted, list, budget)?,
        (Function::ElementAt, [list, position]) => element_at(list, position, budget)?,
        (Function::IsSubset, [part, whole]) => Value::bool(is_subset(&array(part)?, array(whole)?, budget)?),
        (Function::AnyTrue, [list]) => Value::bool(array(list)?.iter().any(Value::is_true)),
        (Function::AllTrue, [list]) => Value::bool(array(list)?.iter().all(Value::is_true)),
        _ => Value::NULL,
    })
}

fn type_name(value: Option<ValueRef<'_>>) -> &'static str {
    let code = value.map(type_code);
    TYPES.iter().find(|(_, known)| Some(*known) == code).map_or("missing", |(name, _)| name)
}

fn is_in<'e>(wanted: &Value<'_>, list: &Value<'_>, budget: &Budget) -> Result<Value<'e>, EvalError> {
    let Some(ValueRef::Array(list)) = list.get() else {
        return Err(EvalError::expression("$in", "expected an array"));
    };
    for element in list {
        if compare(wanted, &Value::Part(element), budget)?.is_eq() {
            return Ok(Value::bool(true));
        }
    }
    Ok(Value::bool(false))
}

fn element_at<'e>(list: &Value<'e>, position: &Value<'_>, budget: &Budget) -> Result<Value<'e>, EvalError> {
    if list.is_nothing() || position.is_nothing() {
        return Ok(Value::NULL);
    }
    let wrong = |reason| EvalError::expression("$arrayElemAt", reason);
    let Some(ValueRef::Array(array)) = list.get() else {
        return Err(wrong("expected an array"));
    };
    let position = position.get().and_then(whole);
    let position = position.ok_or_else(|| wrong("expected a whole number as position"))?;
    budget.step(ValueRef::Array(array).byte_len())?;
    let position = match usize::try_from(position) {
        Ok(position) => Some(position),
        // Negative: counted from the end.
        Err(_) => {
            usize::try_from(position.unsigned_abs()).ok().and_then(|back| array.len().checked_sub(back))
        }
    };
    let Some(position) = position else {
        return Ok(Value::Missing);
    };
    // Elements of the document are borrowed; those of a made array would not live long enough.
    if let Value::Part(ValueRef::Array(array)) = list {
        return Ok(array.get(position).map_or(Value::Missing, Value::Part));
    }
    let element = array.get(position);
    element.map_or(Ok(Value::Missing), |element| Value::detached(element, budget))
}

fn is_subset(part: &[Value<'_>], mut whole: Vec<Value<'_>>, budget: &Budget) -> Result<bool, EvalError> {
    // A comparison costs by size, and sorting and searching need at most so many.
    for value in part.iter().chain(&whole) {
        let size = value.get().map_or(0, |value| value.byte_len());
        budget.step(size.saturating_mul(16))?;
    }
    let key = |value: &Value<'_>, other: &Value<'_>| match (value.get(), other.get()) {
        (Some(a), Some(b)) => a.cmp_total(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    whole.sort_by(key);
    Ok(part.iter().all(|wanted| whole.binary_search_by(|member| key(member, wanted)).is_ok()))
}

/// The values of a function that takes either a list of arguments or one array.
pub(super) fn listed<'v, 'e>(
    arguments: &'v [Value<'e>],
    budget: &Budget,
) -> Result<std::borrow::Cow<'v, [Value<'e>]>, EvalError> {
    if let [single] = arguments
        && let Some(elements) = single.elements(budget)?
    {
        return Ok(elements.into());
    }
    Ok(arguments.into())
}

/// `$min` and `$max`: null and missing do not count.
pub(super) fn extreme<'e>(
    function: Function,
    arguments: &[Value<'e>],
    budget: &Budget,
) -> Result<Value<'e>, EvalError> {
    let mut best = Value::NULL;
    for value in &*listed(arguments, budget)? {
        if value.is_nothing() {
            continue;
        }
        let order = compare(value, &best, budget)?;
        let better = match function {
            Function::Min => order.is_lt(),
            _ => order.is_gt(),
        };
        if better || best.is_nothing() {
            best = value.clone();
        }
    }
    Ok(best)
}
