//! Reads a filter into its tree. Everything is checked here, before any document is looked at.

use crate::document::{ArrayRef, ObjectRef, ValueRef};
use crate::filter::error::{FilterError, Place};
use crate::filter::expr;
use crate::filter::limits::{
    FILTER_NODES_MAX, LIST_MAX, PATH_COMPONENTS_MAX, PATTERN_BYTES_MAX, PATTERNS_MAX,
};
use crate::filter::literal::{Literal, Set};
use crate::filter::node::{Leaf, Node};
use crate::filter::operand;
use crate::filter::path::Path;
use crate::filter::pattern::Pattern;
use crate::filter::predicate::{BitTest, Comparison, Predicate};

/// Reads a whole filter.
pub(super) fn parse(filter: ValueRef<'_>) -> Result<Node, FilterError> {
    let object = filter
        .as_object()
        .ok_or_else(|| FilterError::Bad { place: Place::default(), reason: "expected an object".into() })?;
    Parser::default().document(object, Level::Document)
}

/// Reads the operand of an `$elemMatch` that stands in a projection.
pub(super) fn parse_element(path: &str, operand: ValueRef<'_>) -> Result<Predicate, FilterError> {
    let at = At { operator: "$elemMatch", path: Some(path) };
    Parser::default().element_predicate(at, operand)
}

/// Where a filter object stands. `$expr` may not stand below an `$elemMatch`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Document,
    Element,
}

/// Operator and path at hand, for errors.
#[derive(Clone, Copy)]
pub(super) struct At<'f> {
    pub(super) operator: &'f str,
    pub(super) path: Option<&'f str>,
}

impl At<'_> {
    fn place(self) -> Place {
        Place { operator: self.operator.to_owned(), path: self.path.map(str::to_owned) }
    }

    pub(super) fn bad(self, reason: impl Into<String>) -> FilterError {
        FilterError::Bad { place: self.place(), reason: reason.into() }
    }

    /// An operator that is unknown here, or refused everywhere.
    pub(super) fn unsupported(self) -> FilterError {
        let refused = REFUSED.contains(&self.operator) || self.operator.starts_with("$_internal");
        FilterError::Unsupported {
            place: self.place(),
            reason: if refused { "this operator is not supported here" } else { "unknown operator" },
        }
    }
}

/// Operators that MongoDB has and this language refuses: they run code, search text or maps, or are
/// not a function of the document.
const REFUSED: [&str; 13] = [
    "$where",
    "$function",
    "$accumulator",
    "$text",
    "$meta",
    "$near",
    "$nearSphere",
    "$geoWithin",
    "$geoIntersects",
    "$jsonSchema",
    "$sampleRate",
    "$rand",
    "$natural",
];

/// Names that make the operand of an `$elemMatch` a document condition though they begin with `$`.
const DOCUMENT_LEVEL: [&str; 14] = [
    "$and",
    "$or",
    "$nor",
    "$comment",
    "$expr",
    "$where",
    "$text",
    "$jsonSchema",
    "$sampleRate",
    "$alwaysTrue",
    "$alwaysFalse",
    "$ref",
    "$id",
    "$db",
];

/// Names that may not begin a member of an `$all`.
const FIELD_OPERATORS: [&str; 25] = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$exists",
    "$type",
    "$size",
    "$mod",
    "$regex",
    "$options",
    "$elemMatch",
    "$all",
    "$bitsAllSet",
    "$bitsAnySet",
    "$bitsAllClear",
    "$bitsAnyClear",
    "$near",
    "$nearSphere",
    "$geoWithin",
    "$within",
    "$geoIntersects",
];

/// Counts what the limits bound.
#[derive(Default)]
pub(super) struct Parser {
    nodes: usize,
    patterns: usize,
}

impl Parser {
    /// Counts one more condition or expression.
    pub(super) fn count(&mut self) -> Result<(), FilterError> {
        self.nodes += 1;
        if self.nodes > FILTER_NODES_MAX {
            return Err(FilterError::TooLarge(format!("more than {FILTER_NODES_MAX} conditions")));
        }
        Ok(())
    }

    fn document(&mut self, filter: ObjectRef<'_>, level: Level) -> Result<Node, FilterError> {
        let mut nodes = Vec::new();
        for (key, value) in filter.iter() {
            self.count()?;
            if key.starts_with('$') {
                self.top_level(key, value, level, &mut nodes)?;
            } else if let Some(operators) = as_operators(value) {
                self.operators(key, operators, &mut nodes)?;
            } else {
                let literal = Literal::new(value);
                nodes.push(leaf(key, Predicate::Equals(literal))?);
            }
        }
        Ok(conjunction(nodes))
    }

    fn top_level(
        &mut self,
        operator: &str,
        operand: ValueRef<'_>,
        level: Level,
        nodes: &mut Vec<Node>,
    ) -> Result<(), FilterError> {
        let at = At { operator, path: None };
        nodes.push(match operator {
            "$and" => Node::All(self.branches(at, operand, level)?),
            "$or" => Node::Any(self.branches(at, operand, level)?),
            "$nor" => Node::Not(Box::new(Node::Any(self.branches(at, operand, level)?))),
            "$comment" => return Ok(()),
            "$expr" if level == Level::Document => Node::Expression(Box::new(expr::parse(self, operand)?)),
            "$expr" => return Err(at.bad("it may not stand inside $elemMatch")),
            "$alwaysTrue" => one(at, operand).map(|()| Node::All(Vec::new()))?,
            "$alwaysFalse" => one(at, operand).map(|()| Node::Any(Vec::new()))?,
            _ => return Err(at.unsupported()),
        });
        Ok(())
    }

    fn branches(
        &mut self,
        at: At<'_>,
        operand: ValueRef<'_>,
        level: Level,
    ) -> Result<Vec<Node>, FilterError> {
        let list = operand.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| at.bad("expected a list of at least one object"))?;
        let mut nodes = Vec::new();
        for branch in list {
            self.count()?;
            let object = branch.as_object();
            let object = object.ok_or_else(|| at.bad("expected a list of objects"))?;
            nodes.push(self.document(object, level)?);
        }
        Ok(nodes)
    }

    /// The operators on one path; all of them must hold.
    fn operators(
        &mut self,
        path: &str,
        operators: ObjectRef<'_>,
        nodes: &mut Vec<Node>,
    ) -> Result<(), FilterError> {
        for (operator, operand) in operators.iter() {
            self.count()?;
            let at = At { operator, path: Some(path) };
            match operator {
                "$options" => match operators.get("$regex") {
                    Some(_) => {}
                    None => return Err(at.bad("expected a $regex beside it")),
                },
                "$regex" => {
                    let pattern = self.pattern(at, operand, operators.get("$options"))?;
                    nodes.push(leaf(path, Predicate::Regex(Box::new(pattern)))?);
                }
                "$all" => nodes.push(self.all(at, path, operand)?),
                "$not" => nodes.push(self.not(at, path, operand)?),
                "$elemMatch" => {
                    let predicate = self.element_predicate(at, operand)?;
                    nodes.push(leaf(path, predicate)?);
                }
                _ => nodes.push(simple(at, path, operand)?),
            }
        }
        Ok(())
    }

    /// Checks and compiles a regular expression with its flags.
    pub(super) fn pattern(
        &mut self,
        at: At<'_>,
        pattern: ValueRef<'_>,
        options: Option<ValueRef<'_>>,
    ) -> Result<Pattern, FilterError> {
        let text = pattern.as_str();
        let text = text.ok_or_else(|| at.bad("expected a string"))?;
        let flags = options.map_or(Some(""), |options| options.as_str());
        let flags = flags.ok_or_else(|| at.bad("expected a string as $options"))?;
        if text.len() > PATTERN_BYTES_MAX {
            return Err(FilterError::TooLarge(format!("a pattern is longer than {PATTERN_BYTES_MAX} bytes")));
        }
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            return Err(FilterError::TooLarge(format!("more than {PATTERNS_MAX} regular expressions")));
        }
        Pattern::new(text, flags, at.path).map_err(|reason| at.bad(reason))
    }

    /// A pattern of `$expr`, which is applied to no path.
    pub(super) fn expression_pattern(
        &mut self,
        at: At<'_>,
        pattern: ValueRef<'_>,
        options: Option<ValueRef<'_>>,
    ) -> Result<Pattern, FilterError> {
        let nowhere = At { path: None, ..at };
        self.pattern(nowhere, pattern, options)
    }

    fn not(&mut self, at: At<'_>, path: &str, operand: ValueRef<'_>) -> Result<Node, FilterError> {
        let operators = operand.as_object().filter(|object| !object.is_empty());
        let operators = operators.ok_or_else(|| at.bad("expected an object of operators"))?;
        let mut nodes = Vec::new();
        self.operators(path, operators, &mut nodes)?;
        Ok(Node::Not(Box::new(conjunction(nodes))))
    }

    fn all(&mut self, at: At<'_>, path: &str, operand: ValueRef<'_>) -> Result<Node, FilterError> {
        let list = list(at, operand)?;
        let Some(first) = list.get(0) else {
            return Ok(Node::Any(Vec::new()));
        };
        let mut nodes = Vec::new();
        let of_elements = first_key(first) == Some("$elemMatch");
        for member in list {
            self.count()?;
            let predicate = match first_key(member) {
                Some("$elemMatch") if of_elements => {
                    let operand = member.as_object().and_then(|o| o.get("$elemMatch"));
                    self.element_predicate(at, operand.unwrap_or(ValueRef::Null))?
                }
                _ if of_elements => {
                    return Err(at.bad("expected $elemMatch in every member or in none"));
                }
                Some(key) if FIELD_OPERATORS.contains(&key) => {
                    return Err(at.bad(format!("{key} may not stand in a member")));
                }
                _ => Predicate::Equals(Literal::new(member)),
            };
            nodes.push(leaf(path, predicate)?);
        }
        Ok(conjunction(nodes))
    }

    /// The first key of the operand decides whether elements are tested as values or as documents.
    fn element_predicate(&mut self, at: At<'_>, operand: ValueRef<'_>) -> Result<Predicate, FilterError> {
        let object = operand.as_object();
        let object = object.ok_or_else(|| at.bad("expected an object"))?;
        let first = first_key(operand).unwrap_or_default();
        if first.starts_with('$') && !DOCUMENT_LEVEL.contains(&first) {
            let mut nodes = Vec::new();
            self.operators(at.path.unwrap_or_default(), object, &mut nodes)?;
            return Ok(Predicate::ElementValue(Box::new(conjunction(nodes))));
        }
        let node = self.document(object, Level::Element)?;
        Ok(Predicate::ElementDocument(Box::new(node)))
    }
}

/// Operators whose operand holds no further conditions.
fn simple(at: At<'_>, path: &str, operand: ValueRef<'_>) -> Result<Node, FilterError> {
    let literal = || Literal::new(operand);
    let reason = |reason| at.bad(reason);
    let predicate = match at.operator {
        "$eq" => Predicate::Equals(literal()),
        "$ne" => return negation(path, Predicate::Equals(literal())),
        "$gt" => Predicate::Compare(Comparison::Greater, literal()),
        "$gte" => Predicate::Compare(Comparison::GreaterOrEqual, literal()),
        "$lt" => Predicate::Compare(Comparison::Less, literal()),
        "$lte" => Predicate::Compare(Comparison::LessOrEqual, literal()),
        "$in" => Predicate::In(members(at, operand)?),
        "$nin" => return negation(path, Predicate::In(members(at, operand)?)),
        "$exists" if operand::is_true_like(operand) => Predicate::Exists,
        "$exists" => return negation(path, Predicate::Exists),
        "$type" => Predicate::Type(operand::types(operand).map_err(reason)?),
        "$size" => Predicate::Size(operand::size(operand).map_err(reason)?),
        "$mod" => {
            let (divisor, remainder) = operand::modulo(operand).map_err(reason)?;
            Predicate::Modulo { divisor, remainder }
        }
        "$bitsAllSet" => Predicate::Bits(BitTest::AllSet, operand::bits(operand).map_err(reason)?),
        "$bitsAnySet" => Predicate::Bits(BitTest::AnySet, operand::bits(operand).map_err(reason)?),
        "$bitsAllClear" => Predicate::Bits(BitTest::AllClear, operand::bits(operand).map_err(reason)?),
        "$bitsAnyClear" => Predicate::Bits(BitTest::AnyClear, operand::bits(operand).map_err(reason)?),
        operator if operator.starts_with('$') => return Err(at.unsupported()),
        _ => return Err(at.bad("a plain key may not stand beside operators")),
    };
    leaf(path, predicate)
}

fn negation(path: &str, predicate: Predicate) -> Result<Node, FilterError> {
    Ok(Node::Not(Box::new(leaf(path, predicate)?)))
}

fn leaf(path: &str, predicate: Predicate) -> Result<Node, FilterError> {
    let path = Path::new(path);
    if path.len() > PATH_COMPONENTS_MAX {
        return Err(FilterError::TooLarge(format!("a path has more than {PATH_COMPONENTS_MAX} components")));
    }
    Ok(Node::Leaf(Box::new(Leaf { path, predicate })))
}

/// One condition stands for itself.
fn conjunction(mut nodes: Vec<Node>) -> Node {
    match (nodes.len(), nodes.pop()) {
        (1, Some(node)) => node,
        (_, last) => {
            nodes.extend(last);
            Node::All(nodes)
        }
    }
}

fn one(at: At<'_>, operand: ValueRef<'_>) -> Result<(), FilterError> {
    if operand.eq_total(&ValueRef::Int(1)) {
        return Ok(());
    }
    Err(at.bad("expected the number 1"))
}

fn list<'a>(at: At<'_>, operand: ValueRef<'a>) -> Result<ArrayRef<'a>, FilterError> {
    let list = operand.as_array();
    let list = list.ok_or_else(|| at.bad("expected a list"))?;
    if list.iter().nth(LIST_MAX).is_some() {
        return Err(FilterError::TooLarge(format!("{} has more than {LIST_MAX} members", at.place())));
    }
    Ok(list)
}

fn members(at: At<'_>, operand: ValueRef<'_>) -> Result<Set, FilterError> {
    let list = list(at, operand)?;
    if list.iter().any(|member| as_operators(member).is_some()) {
        return Err(at.bad("a member may not be an operator"));
    }
    Ok(Set::new(list.iter()))
}

fn first_key(value: ValueRef<'_>) -> Option<&str> {
    let (key, _) = value.as_object()?.iter().next()?;
    Some(key)
}

/// An object whose first key begins with `$` holds operators, unless it is a database reference.
fn as_operators(value: ValueRef<'_>) -> Option<ObjectRef<'_>> {
    let object = value.as_object()?;
    let is_reference = || object.get("$ref").is_some() && object.get("$id").is_some();
    (first_key(value)?.starts_with('$') && !is_reference()).then_some(object)
}
