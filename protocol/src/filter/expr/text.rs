//! Functions of strings. Positions and lengths count code points; upper and lower case are ASCII's.

use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use crate::document::{ArrayBuilder, ValueRef};
use crate::filter::error::EvalError;
use crate::filter::expr::budget::Budget;
use crate::filter::expr::eval::{Evaluation, sign};
use crate::filter::expr::tree::{Function, PatternSource, RegexMatch};
use crate::filter::expr::value::Value;
use crate::filter::limits::PATTERN_BYTES_MAX;
use crate::filter::pattern::Pattern;
use crate::filter::predicate::whole;

pub(super) fn call<'e>(
    function: Function,
    arguments: &[Value<'e>],
    budget: &Budget,
) -> Result<Value<'e>, EvalError> {
    for argument in arguments {
        budget.step(argument.get().map_or(0, |value| value.byte_len()))?;
    }
    let text = |value: &Value<'_>| coerced(function, value);
    Ok(match (function, arguments) {
        (Function::ToLower, [value]) => Value::text(&text(value)?.to_ascii_lowercase(), budget)?,
        (Function::ToUpper, [value]) => Value::text(&text(value)?.to_ascii_uppercase(), budget)?,
        (Function::CompareCaseless, [a, b]) => sign(compare_caseless(&text(a)?, &text(b)?)),
        (Function::LengthInCharacters, [value]) => Value::count(required(function, value)?.chars().count()),
        (Function::LengthInBytes, [value]) => Value::count(required(function, value)?.len()),
        (Function::Substring, [value, start, length]) => {
            let (start, length) = (position(function, start)?, position(function, length)?);
            let part: String = text(value)?.chars().skip(start).take(length).collect();
            Value::text(&part, budget)?
        }
        (Function::IndexOf, [value, ..]) if value.is_nothing() => Value::NULL,
        (Function::IndexOf, [value, wanted, bounds @ ..]) => {
            let (value, wanted) = (required(function, value)?, required(function, wanted)?);
            let bounds: Result<Vec<_>, _> = bounds.iter().map(|b| position(function, b)).collect();
            index_of(value, wanted, &bounds?).map_or(Value::int(-1), Value::count)
        }
        (Function::Split, [value, separator]) if value.is_nothing() || separator.is_nothing() => Value::NULL,
        (Function::Split, [value, separator]) => {
            let (value, separator) = (required(function, value)?, required(function, separator)?);
            split(value, separator, budget)?
        }
        _ => Value::NULL,
    })
}

/// A string; numbers are written out, and null and missing are empty.
fn coerced(function: Function, value: &Value<'_>) -> Result<String, EvalError> {
    match value.get() {
        None | Some(ValueRef::Null) => Ok(String::new()),
        Some(ValueRef::Int(value)) => Ok(value.to_string()),
        Some(ValueRef::Double(value)) => Ok(value.to_string()),
        _ => required(function, value).map(str::to_owned),
    }
}

fn required<'v>(function: Function, value: &'v Value<'_>) -> Result<&'v str, EvalError> {
    value.as_str().ok_or_else(|| EvalError::expression(function.name(), "expected a string"))
}

fn position(function: Function, value: &Value<'_>) -> Result<usize, EvalError> {
    let number = value.get().and_then(whole);
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| EvalError::expression(function.name(), "expected a whole number that is not negative"))
}

fn compare_caseless(a: &str, b: &str) -> Ordering {
    a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase())
}

/// The first place of a string between two bounds, all in code points.
fn index_of(text: &str, wanted: &str, bounds: &[usize]) -> Option<usize> {
    let start = bounds.first().copied().unwrap_or(0);
    let end = bounds.get(1).copied().unwrap_or(usize::MAX);
    let count = text.chars().count();
    let end = end.min(count);
    if start > end {
        return None;
    }
    let byte = |position: usize| {
        let mut places = text.char_indices().map(|(byte, _)| byte);
        places.nth(position).unwrap_or(text.len())
    };
    let part = &text[byte(start)..byte(end)];
    let found = part.find(wanted)?;
    Some(start + part[..found].chars().count())
}

fn split<'e>(text: &str, separator: &str, budget: &Budget) -> Result<Value<'e>, EvalError> {
    if separator.is_empty() {
        let reason = "expected a separator that is not empty";
        return Err(EvalError::expression("$split", reason));
    }
    let mut parts = ArrayBuilder::new();
    for part in text.split(separator) {
        budget.make(part.len() + 2)?;
        parts.push(part);
    }
    Ok(Value::Made(Rc::new(parts.finish())))
}

pub(super) fn regex_match<'e>(
    evaluation: &mut Evaluation<'e>,
    parts: &'e RegexMatch,
) -> Result<Value<'e>, EvalError> {
    let wrong = |reason: &str| EvalError::expression("$regexMatch", reason);
    let input = evaluation.value(&parts.input)?;
    let pattern = match &parts.pattern {
        PatternSource::Fixed(pattern) => Ok(&**pattern),
        PatternSource::Computed { pattern, options, cache } => {
            let pattern = evaluation.value(pattern)?;
            let options = evaluation.value(options)?;
            if pattern.is_nothing() {
                return Ok(Value::bool(false));
            }
            let text = pattern.as_str();
            let text = text.ok_or_else(|| wrong("expected a string as regex"))?;
            let flags = if options.is_nothing() { Some("") } else { options.as_str() };
            let flags = flags.ok_or_else(|| wrong("expected a string as options"))?;
            Err(cache.get(text, flags, evaluation.budget)?)
        }
    };
    if input.is_nothing() {
        return Ok(Value::bool(false));
    }
    let Some(ValueRef::String(text)) = input.get() else {
        return Err(wrong("expected a string as input"));
    };
    evaluation.budget.step(text.as_bytes().len())?;
    let found = match &pattern {
        Ok(fixed) => fixed.is_found_in(text, evaluation.patience)?,
        Err(computed) => computed.is_found_in(text, evaluation.patience)?,
    };
    Ok(Value::bool(found))
}

/// How many computed patterns stay compiled.
const CACHE_MAX: usize = 16;

/// What compiling a pattern costs, in bytes handled.
const COMPILE_COST: usize = 64 * 1000;

/// The latest patterns that documents brought along.
#[derive(Default)]
pub(super) struct PatternCache(Mutex<Vec<Cached>>);

struct Cached {
    text: String,
    flags: String,
    pattern: Arc<Pattern>,
}

impl PatternCache {
    fn get(&self, text: &str, flags: &str, budget: &Budget) -> Result<Arc<Pattern>, EvalError> {
        // A panic elsewhere leaves the list whole: it is changed by single pushes and removals.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.iter().find(|c| c.text == text && c.flags == flags) {
            return Ok(Arc::clone(&known.pattern));
        }
        budget.step(COMPILE_COST)?;
        if text.len() > PATTERN_BYTES_MAX {
            let reason = format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes");
            return Err(EvalError::expression("$regexMatch", reason));
        }
        let pattern = Pattern::new(text, flags, None);
        let pattern = pattern.map_err(|reason| EvalError::expression("$regexMatch", reason))?;
        let pattern = Arc::new(pattern);
        if kept.len() == CACHE_MAX {
            kept.remove(0);
        }
        kept.push(Cached { text: text.to_owned(), flags: flags.to_owned(), pattern: Arc::clone(&pattern) });
        Ok(pattern)
    }
}

impl fmt::Debug for PatternCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PatternCache")
    }
}
