//! Computes an expression for one document.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::document::{ArrayBuilder, ObjectBuilder, ValueRef};
use crate::filter::error::EvalError;
use crate::filter::expr::budget::Budget;
use crate::filter::expr::tree::{Expr, Function, Relation, Source};
use crate::filter::expr::value::{self, Value};
use crate::filter::expr::{list, number, text};
use crate::filter::node::Run;
use crate::filter::pattern::Patience;

/// One document, and the variables that are in force.
pub(super) struct Evaluation<'e> {
    root: ValueRef<'e>,
    pub(super) budget: &'e Budget,
    pub(super) patience: &'e Patience,
    variables: Vec<Value<'e>>,
}

impl<'e> Evaluation<'e> {
    pub(super) const fn new(root: ValueRef<'e>, run: &'e Run) -> Self {
        Self { root, budget: &run.budget, patience: &run.patience, variables: Vec::new() }
    }

    pub(super) fn value(&mut self, expr: &'e Expr) -> Result<Value<'e>, EvalError> {
        self.budget.step(0)?;
        Ok(match expr {
            Expr::Constant(constant) => Value::Part(constant.root()),
            Expr::Field(source, names) => self.field(*source, names)?,
            Expr::List(items) => self.list(items)?,
            Expr::Object(members) => self.object(members)?,
            Expr::All(items) => Value::bool(!self.any(items, false)?),
            Expr::Any(items) => Value::bool(self.any(items, true)?),
            Expr::Not(operand) => Value::bool(!self.value(operand)?.is_true()),
            Expr::Compare(relation, pair) => self.compare(*relation, pair)?,
            Expr::Choice(parts) => {
                let [condition, then, other] = &**parts;
                let chosen = if self.value(condition)?.is_true() { then } else { other };
                self.value(chosen)?
            }
            Expr::IfNull(items) => self.if_null(items)?,
            Expr::Switch { branches, default } => self.switch(branches, default.as_deref())?,
            Expr::Let { values, body } => {
                let values: Result<Vec<_>, _> = values.iter().map(|v| self.value(v)).collect();
                let outer = self.variables.len();
                self.variables.extend(values?);
                let result = self.value(body)?;
                self.variables.truncate(outer);
                result
            }
            Expr::Map { input, body } => self.map(input, body)?,
            Expr::Keep { input, body } => self.keep(input, body)?,
            Expr::Concat(items) => self.concat(items)?,
            Expr::RegexMatch(parts) => text::regex_match(self, parts)?,
            Expr::Call(function, arguments) => {
                let arguments: Result<Vec<_>, _> = arguments.iter().map(|a| self.value(a)).collect();
                self.call(*function, &arguments?)?
            }
        })
    }

    fn field(&self, source: Source, names: &[Box<str>]) -> Result<Value<'e>, EvalError> {
        match source {
            Source::Document => Value::Part(self.root).follow(names, self.budget),
            Source::Variable(place) => match self.variables.get(place) {
                Some(variable) => variable.follow(names, self.budget),
                None => Ok(Value::Missing),
            },
        }
    }

    fn list(&mut self, items: &'e [Expr]) -> Result<Value<'e>, EvalError> {
        let mut list = ArrayBuilder::new();
        for item in items {
            let value = self.value(item)?;
            self.append(&mut list, &value)?;
        }
        Ok(Value::Made(Rc::new(list.finish())))
    }

    /// A missing element becomes null.
    fn append(&self, list: &mut ArrayBuilder, value: &Value<'e>) -> Result<(), EvalError> {
        let value = value.get().unwrap_or(ValueRef::Null);
        self.budget.make(value.byte_len() + 2)?;
        list.push(value);
        Ok(())
    }

    fn object(&mut self, members: &'e [(Box<str>, Expr)]) -> Result<Value<'e>, EvalError> {
        let mut object = ObjectBuilder::new();
        for (key, member) in members {
            if let Some(value) = self.value(member)?.get() {
                self.budget.make(key.len() + value.byte_len() + 2)?;
                object.push(key, value);
            }
        }
        Ok(Value::Made(Rc::new(object.finish())))
    }

    /// Whether the truth of some item is the wanted one; later items are not looked at.
    fn any(&mut self, items: &'e [Expr], wanted: bool) -> Result<bool, EvalError> {
        for item in items {
            if self.value(item)?.is_true() == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn compare(&mut self, relation: Relation, pair: &'e [Expr; 2]) -> Result<Value<'e>, EvalError> {
        let (a, b) = (self.value(&pair[0])?, self.value(&pair[1])?);
        let order = value::compare(&a, &b, self.budget)?;
        Ok(match relation {
            Relation::Equal => Value::bool(order.is_eq()),
            Relation::NotEqual => Value::bool(order.is_ne()),
            Relation::Less => Value::bool(order.is_lt()),
            Relation::LessOrEqual => Value::bool(order.is_le()),
            Relation::Greater => Value::bool(order.is_gt()),
            Relation::GreaterOrEqual => Value::bool(order.is_ge()),
            Relation::Order => sign(order),
        })
    }

    fn if_null(&mut self, items: &'e [Expr]) -> Result<Value<'e>, EvalError> {
        let mut last = Value::NULL;
        for item in items {
            last = self.value(item)?;
            if !last.is_nothing() {
                break;
            }
        }
        Ok(last)
    }

    fn switch(
        &mut self,
        branches: &'e [(Expr, Expr)],
        default: Option<&'e Expr>,
    ) -> Result<Value<'e>, EvalError> {
        for (case, then) in branches {
            if self.value(case)?.is_true() {
                return self.value(then);
            }
        }
        match default {
            Some(default) => self.value(default),
            None => Err(EvalError::expression("$switch", "no branch applies and there is no default")),
        }
    }

    fn map(&mut self, input: &'e Expr, body: &'e Expr) -> Result<Value<'e>, EvalError> {
        let Some(elements) = self.input("$map", input)? else {
            return Ok(Value::NULL);
        };
        let mut list = ArrayBuilder::new();
        for element in elements {
            self.variables.push(element);
            let value = self.value(body)?;
            self.variables.pop();
            self.append(&mut list, &value)?;
        }
        Ok(Value::Made(Rc::new(list.finish())))
    }

    fn keep(&mut self, input: &'e Expr, body: &'e Expr) -> Result<Value<'e>, EvalError> {
        let Some(elements) = self.input("$filter", input)? else {
            return Ok(Value::NULL);
        };
        let mut list = ArrayBuilder::new();
        for element in elements {
            self.variables.push(element.clone());
            let kept = self.value(body)?.is_true();
            self.variables.pop();
            if kept {
                self.append(&mut list, &element)?;
            }
        }
        Ok(Value::Made(Rc::new(list.finish())))
    }

    /// The elements of an array; nothing for null and missing.
    fn input(
        &mut self,
        operator: &'static str,
        input: &'e Expr,
    ) -> Result<Option<Vec<Value<'e>>>, EvalError> {
        let input = self.value(input)?;
        if input.is_nothing() {
            return Ok(None);
        }
        let elements = input.elements(self.budget)?;
        elements.map(Some).ok_or_else(|| EvalError::expression(operator, "expected an array as input"))
    }

    /// Stops at the first null: what follows is not looked at.
    fn concat(&mut self, items: &'e [Expr]) -> Result<Value<'e>, EvalError> {
        let mut whole = String::new();
        for item in items {
            let value = self.value(item)?;
            if value.is_nothing() {
                return Ok(Value::NULL);
            }
            let part = value.as_str();
            let part = part.ok_or_else(|| EvalError::expression("$concat", "expected strings only"))?;
            self.budget.make(part.len())?;
            whole.push_str(part);
        }
        Value::text(&whole, self.budget)
    }

    fn call(&self, function: Function, arguments: &[Value<'e>]) -> Result<Value<'e>, EvalError> {
        match function {
            Function::Add
            | Function::Multiply
            | Function::Subtract
            | Function::Divide
            | Function::Modulo
            | Function::Abs
            | Function::Ceil
            | Function::Floor
            | Function::Trunc => number::arithmetic(function, arguments),
            Function::Sum | Function::Average => number::total(function, arguments, self.budget),
            Function::Min | Function::Max => list::extreme(function, arguments, self.budget),
            Function::ToLower
            | Function::ToUpper
            | Function::CompareCaseless
            | Function::LengthInCharacters
            | Function::LengthInBytes
            | Function::Substring
            | Function::IndexOf
            | Function::Split => text::call(function, arguments, self.budget),
            Function::Size
            | Function::IsArray
            | Function::In
            | Function::ElementAt
            | Function::IsSubset
            | Function::AnyTrue
            | Function::AllTrue
            | Function::Type => list::call(function, arguments, self.budget),
        }
    }
}

/// -1, 0 or 1
pub(super) const fn sign<'e>(order: Ordering) -> Value<'e> {
    Value::int(order as i64)
}
