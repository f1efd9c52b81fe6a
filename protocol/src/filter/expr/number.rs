//! Arithmetic. Integers stay integers as long as they fit; beyond that they become doubles.

use crate::filter::error::EvalError;
use crate::filter::expr::budget::Budget;
use crate::filter::expr::list::listed;
use crate::filter::expr::tree::Function;
use crate::filter::expr::value::Value;
use crate::filter::literal::Number;

/// Functions of numbers. `$add` and `$multiply` take their arguments in order: the first that is null or
/// missing makes null, the first that is no number an error. For the others null comes before errors.
pub(super) fn arithmetic<'e>(function: Function, arguments: &[Value<'e>]) -> Result<Value<'e>, EvalError> {
    let in_order = matches!(function, Function::Add | Function::Multiply);
    if !in_order && arguments.iter().any(Value::is_nothing) {
        return Ok(Value::NULL);
    }
    let mut numbers = Vec::with_capacity(arguments.len());
    for argument in arguments {
        if argument.is_nothing() {
            return Ok(Value::NULL);
        }
        let number = argument.as_number();
        numbers.push(number.ok_or_else(|| EvalError::expression(function.name(), "expected numbers only"))?);
    }
    let result = match (function, &*numbers) {
        (Function::Add, all) => all.iter().fold(Number::Int(0), |a, b| add(a, *b)),
        (Function::Multiply, all) => all.iter().fold(Number::Int(1), |a, b| multiply(a, *b)),
        (Function::Subtract, [a, b]) => subtract(*a, *b),
        (Function::Divide, [_, b]) | (Function::Modulo, [_, b]) if double(*b) == 0.0 => {
            return Err(EvalError::expression(function.name(), "division by zero"));
        }
        (Function::Divide, [a, b]) => Number::Double(double(*a) / double(*b)),
        (Function::Modulo, [a, b]) => modulo(*a, *b),
        (Function::Abs, [Number::Int(value)]) => {
            (value.checked_abs()).map_or_else(|| Number::Double(-(*value as f64)), Number::Int)
        }
        (Function::Abs, [Number::Double(value)]) => Number::Double(value.abs()),
        (Function::Ceil, [Number::Double(value)]) => Number::Double(value.ceil()),
        (Function::Floor, [Number::Double(value)]) => Number::Double(value.floor()),
        (Function::Trunc, [Number::Double(value)]) => Number::Double(value.trunc()),
        (_, [first, ..]) => *first,
        (_, []) => return Ok(Value::NULL),
    };
    Ok(Value::number(result))
}

const fn double(number: Number) -> f64 {
    match number {
        Number::Int(value) => value as f64,
        Number::Double(value) => value,
    }
}

fn add(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(x), Number::Int(y)) if x.checked_add(y).is_some() => Number::Int(x + y),
        _ => Number::Double(double(a) + double(b)),
    }
}

fn subtract(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(x), Number::Int(y)) if x.checked_sub(y).is_some() => Number::Int(x - y),
        _ => Number::Double(double(a) - double(b)),
    }
}

fn multiply(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(x), Number::Int(y)) if x.checked_mul(y).is_some() => Number::Int(x * y),
        _ => Number::Double(double(a) * double(b)),
    }
}

/// The remainder has the sign of the dividend.
fn modulo(a: Number, b: Number) -> Number {
    match (a, b) {
        (Number::Int(x), Number::Int(y)) => Number::Int(x.checked_rem(y).unwrap_or(0)),
        _ => Number::Double(double(a) % double(b)),
    }
}

/// `$sum` and `$avg`: what is not a number does not count.
pub(super) fn total<'e>(
    function: Function,
    arguments: &[Value<'e>],
    budget: &Budget,
) -> Result<Value<'e>, EvalError> {
    let mut total = Total::default();
    for value in &*listed(arguments, budget)? {
        if let Some(number) = value.as_number() {
            total.add(number);
        }
    }
    Ok(match function {
        Function::Sum => Value::number(total.sum()),
        _ if total.count == 0 => Value::NULL,
        _ => Value::number(Number::Double(double(total.sum()) / total.count as f64)),
    })
}

/// Adds integers exactly, and doubles with Neumaier's correction, so that the order hardly matters.
#[derive(Default)]
struct Total {
    count: u64,
    ints: i128,
    doubles: f64,
    correction: f64,
    has_double: bool,
}

impl Total {
    fn add(&mut self, number: Number) {
        self.count += 1;
        match number {
            Number::Int(value) => self.ints += i128::from(value),
            Number::Double(value) => {
                self.has_double = true;
                let sum = self.doubles + value;
                self.correction += if self.doubles.abs() >= value.abs() {
                    (self.doubles - sum) + value
                } else {
                    (value - sum) + self.doubles
                };
                self.doubles = sum;
            }
        }
    }

    fn sum(&self) -> Number {
        match i64::try_from(self.ints) {
            Ok(ints) if !self.has_double => Number::Int(ints),
            // A sum beyond the doubles has no correction.
            _ if !self.doubles.is_finite() => Number::Double(self.doubles),
            _ => Number::Double(self.ints as f64 + (self.doubles + self.correction)),
        }
    }
}
