//! Checks the operands of field operators. A failure is the end of a sentence: `expected a whole number`.

use crate::document::ValueRef;
use crate::filter::predicate::{TYPES, TypeSet, truncated, whole};

/// What is wrong with an operand.
pub(super) type Reason = String;

/// `$exists`: false-like are only `false`, `null` and zero.
pub(super) fn is_true_like(operand: ValueRef<'_>) -> bool {
    match operand {
        ValueRef::Null | ValueRef::Bool(false) | ValueRef::Int(0) => false,
        ValueRef::Double(value) => value != 0.0,
        _ => true,
    }
}

/// `$size`
pub(super) fn size(operand: ValueRef<'_>) -> Result<usize, Reason> {
    match operand {
        ValueRef::Int(value) => {
            usize::try_from(value).map_err(|_| "expected a number that is not negative".into())
        }
        ValueRef::Double(value) if value.trunc() != value => Err("expected a whole number".into()),
        ValueRef::Double(value) if value < 0.0 => Err("expected a number that is not negative".into()),
        // A double beyond every length is legal and matches nothing.
        ValueRef::Double(_) => {
            Ok(whole(operand).and_then(|value| usize::try_from(value).ok()).unwrap_or(usize::MAX - 1))
        }
        _ => Err("expected a whole number".into()),
    }
}

/// `$mod`
pub(super) fn modulo(operand: ValueRef<'_>) -> Result<(i64, i64), Reason> {
    let wrong = || "expected a list of divisor and remainder, two numbers".to_owned();
    let list = operand.as_array().ok_or_else(wrong)?;
    let mut numbers = list.iter();
    let (Some(divisor), Some(remainder), None) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(wrong());
    };
    if divisor.rank() != 2 || remainder.rank() != 2 {
        return Err(wrong());
    }
    let beyond = || "divisor and remainder must fit 64 bits".to_owned();
    let divisor = truncated(divisor).ok_or_else(beyond)?;
    let remainder = truncated(remainder).ok_or_else(beyond)?;
    if divisor == 0 {
        return Err("the divisor must not be 0".into());
    }
    Ok((divisor, remainder))
}

/// `$type`: a name, a code, or a list of them.
pub(super) fn types(operand: ValueRef<'_>) -> Result<TypeSet, Reason> {
    let Some(list) = operand.as_array() else {
        return one_type(operand);
    };
    if list.is_empty() {
        return Err("expected at least one type".into());
    }
    list.iter().try_fold(TypeSet::EMPTY, |set, item| Ok(set.union(one_type(item)?)))
}

fn one_type(operand: ValueRef<'_>) -> Result<TypeSet, Reason> {
    if let Some(name) = operand.as_str() {
        if name == "number" {
            return Ok(TypeSet::NUMBER);
        }
        return TYPES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, code)| TypeSet::of(*code))
            .ok_or_else(|| format!("unknown type {name:?}"));
    }
    if operand.rank() != 2 {
        return Err("expected the name or code of a type, or a list of them".into());
    }
    whole(operand)
        .filter(|code| TYPES.iter().any(|(_, known)| known == code))
        .map(TypeSet::of)
        .ok_or_else(|| format!("unknown type code {operand:?}"))
}

/// `$bitsAllSet` and its kin: a mask, in which bit 63 stands for every higher position as well.
pub(super) fn bits(operand: ValueRef<'_>) -> Result<u64, Reason> {
    let wrong = || "expected a whole number or a list of bit positions, not negative".to_owned();
    let Some(list) = operand.as_array() else {
        let mask = whole(operand).ok_or_else(wrong)?;
        return u64::try_from(mask).map_err(|_| wrong());
    };
    list.iter().try_fold(0, |mask, item| {
        let position = whole(item).and_then(|position| u32::try_from(position).ok());
        let position = position.filter(|position| i32::try_from(*position).is_ok());
        Ok(mask | 1 << position.ok_or_else(wrong)?.min(63))
    })
}
