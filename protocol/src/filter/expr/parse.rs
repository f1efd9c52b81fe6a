//! Reads expressions: names, argument counts and variables are checked before any document is seen.

use crate::document::{ArrayBuilder, ObjectBuilder, ObjectRef, ValueRef};
use crate::filter::error::FilterError;
use crate::filter::expr::text::PatternCache;
use crate::filter::expr::tree::{Expr, FUNCTIONS, PatternSource, RegexMatch, Relation, Source};
use crate::filter::limits::PATH_COMPONENTS_MAX;
use crate::filter::parse::{At, Parser};

/// Reads one expression.
pub(super) fn parse(parser: &mut Parser, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
    let mut reader = Reader { parser, variables: Vec::new() };
    reader.expr(operand)
}

struct Reader<'p> {
    parser: &'p mut Parser,
    /// The names on the stack of variables, outermost first.
    variables: Vec<String>,
}

/// An operator, for errors.
const fn at(operator: &str) -> At<'_> {
    At { operator, path: Some("$expr") }
}

impl Reader<'_> {
    fn expr(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        match operand {
            ValueRef::String(text) => match text.as_str().and_then(|text| text.strip_prefix('$')) {
                Some(path) => self.field(path),
                None => self.constant(operand),
            },
            ValueRef::Array(list) => {
                self.parser.count()?;
                let items: Result<Vec<_>, _> = list.iter().map(|item| self.expr(item)).collect();
                Ok(fold_list(items?))
            }
            ValueRef::Object(object) => self.object(object),
            _ => self.constant(operand),
        }
    }

    fn constant(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        self.parser.count()?;
        Ok(Expr::Constant(operand.into()))
    }

    fn object(&mut self, object: ObjectRef<'_>) -> Result<Expr, FilterError> {
        self.parser.count()?;
        if let Some((operator, operand)) = object.iter().find(|(key, _)| key.starts_with('$')) {
            if object.len() > 1 {
                return Err(at(operator).bad("it must be the only key of its object"));
            }
            return self.operator(operator, operand);
        }
        let mut members = Vec::new();
        for (key, value) in object.iter() {
            members.push((key.into(), self.expr(value)?));
        }
        Ok(fold_object(members))
    }

    /// A field path or a variable, after the first `$`.
    fn field(&mut self, path: &str) -> Result<Expr, FilterError> {
        self.parser.count()?;
        let (name, names) = match path.strip_prefix('$') {
            Some(path) => path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest))),
            None => ("CURRENT", Some(path)),
        };
        let names: Vec<Box<str>> =
            names.map(|names| names.split('.').map(Into::into).collect()).unwrap_or_default();
        let legal = |name: &str| !name.is_empty() && !name.starts_with('$');
        if !names.iter().all(|name| legal(name)) {
            return Err(
                at("").bad(format!("\"${path}\" is not a field path: a name is empty or begins with $"))
            );
        }
        if names.len() > PATH_COMPONENTS_MAX {
            return Err(FilterError::TooLarge(format!(
                "a path has more than {PATH_COMPONENTS_MAX} components"
            )));
        }
        let source = match self.variables.iter().rposition(|known| known == name) {
            Some(place) => Source::Variable(place),
            None if name == "ROOT" || name == "CURRENT" => Source::Document,
            None => return Err(at("").bad(format!("unknown variable $${name}"))),
        };
        Ok(Expr::Field(source, names.into()))
    }

    fn operator(&mut self, operator: &str, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        Ok(match operator {
            "$literal" => Expr::Constant(operand.into()),
            "$eq" => self.compare(operator, Relation::Equal, operand)?,
            "$ne" => self.compare(operator, Relation::NotEqual, operand)?,
            "$lt" => self.compare(operator, Relation::Less, operand)?,
            "$lte" => self.compare(operator, Relation::LessOrEqual, operand)?,
            "$gt" => self.compare(operator, Relation::Greater, operand)?,
            "$gte" => self.compare(operator, Relation::GreaterOrEqual, operand)?,
            "$cmp" => self.compare(operator, Relation::Order, operand)?,
            "$and" => Expr::All(self.arguments(operator, operand, 0, usize::MAX)?),
            "$or" => Expr::Any(self.arguments(operator, operand, 0, usize::MAX)?),
            "$not" => Expr::Not(Box::new(self.one_argument(operator, operand)?)),
            "$concat" => Expr::Concat(self.arguments(operator, operand, 0, usize::MAX)?),
            "$ifNull" => Expr::IfNull(self.arguments(operator, operand, 2, usize::MAX)?),
            "$cond" => self.cond(operand)?,
            "$switch" => self.switch(operand)?,
            "$let" => self.r#let(operand)?,
            "$map" => {
                let (input, body) = self.each(operator, operand, "in")?;
                Expr::Map { input, body }
            }
            "$filter" => {
                let (input, body) = self.each(operator, operand, "cond")?;
                Expr::Keep { input, body }
            }
            "$regexMatch" => self.regex_match(operand)?,
            _ => {
                let known = FUNCTIONS.iter().find(|(name, ..)| *name == operator);
                let (_, function, least, most) = known.ok_or_else(|| at(operator).unsupported())?;
                Expr::Call(*function, self.arguments(operator, operand, *least, *most)?)
            }
        })
    }

    /// A list is the arguments; anything else is the only one.
    fn arguments(
        &mut self,
        operator: &str,
        operand: ValueRef<'_>,
        least: usize,
        most: usize,
    ) -> Result<Vec<Expr>, FilterError> {
        let arguments = match operand {
            ValueRef::Array(list) => list.iter().map(|item| self.expr(item)).collect(),
            single => self.expr(single).map(|argument| vec![argument]),
        }?;
        if (least..=most).contains(&arguments.len()) {
            return Ok(arguments);
        }
        let wanted = match (least, most) {
            (least, usize::MAX) => format!("at least {least} arguments"),
            (1, 1) => "1 argument".to_owned(),
            (least, most) if least == most => format!("{least} arguments"),
            (least, most) => format!("{least} to {most} arguments"),
        };
        let found = arguments.len();
        Err(at(operator).bad(format!("expected {wanted}, found {found}")))
    }

    fn one_argument(&mut self, operator: &str, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        let mut arguments = self.arguments(operator, operand, 1, 1)?;
        arguments.pop().ok_or_else(|| at(operator).bad("expected 1 argument"))
    }

    fn compare(
        &mut self,
        operator: &str,
        relation: Relation,
        operand: ValueRef<'_>,
    ) -> Result<Expr, FilterError> {
        let arguments = self.arguments(operator, operand, 2, 2)?;
        let pair = arguments.try_into();
        let pair = pair.map_err(|_| at(operator).bad("expected 2 arguments"))?;
        Ok(Expr::Compare(relation, Box::new(pair)))
    }

    fn cond(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        let parts = match operand {
            ValueRef::Object(object) if !is_operator(object) => {
                let [yes, then, other] = members(at("$cond"), object, ["if", "then", "else"], &[])?;
                vec![self.expr(yes)?, self.expr(then)?, self.expr(other)?]
            }
            _ => self.arguments("$cond", operand, 3, 3)?,
        };
        let parts = parts.try_into();
        let parts = parts.map_err(|_| at("$cond").bad("expected 3 arguments"))?;
        Ok(Expr::Choice(Box::new(parts)))
    }

    fn switch(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        let at = at("$switch");
        let object = expect_object(at, operand)?;
        let [list] = members(at, object, ["branches"], &["default"])?;
        let list = list.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or_else(|| at.bad("expected a list of branches"))?;
        let mut branches = Vec::new();
        for branch in list {
            let [case, then] = members(at, expect_object(at, branch)?, ["case", "then"], &[])?;
            branches.push((self.expr(case)?, self.expr(then)?));
        }
        let default = object.get("default").map(|default| self.expr(default));
        Ok(Expr::Switch { branches, default: default.transpose()?.map(Box::new) })
    }

    fn r#let(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        let at = at("$let");
        let [vars, body] = members(at, expect_object(at, operand)?, ["vars", "in"], &[])?;
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for (name, value) in expect_object(at, vars)?.iter() {
            check_variable(at, name)?;
            values.push(self.expr(value)?);
            names.push(name.to_owned());
        }
        let outer = self.variables.len();
        self.variables.extend(names);
        let body = Box::new(self.expr(body)?);
        self.variables.truncate(outer);
        Ok(Expr::Let { values, body })
    }

    /// Input and body of `$map` and `$filter`.
    fn each(
        &mut self,
        operator: &str,
        operand: ValueRef<'_>,
        body_key: &str,
    ) -> Result<(Box<Expr>, Box<Expr>), FilterError> {
        let at = at(operator);
        let object = expect_object(at, operand)?;
        let [input, body] = members(at, object, ["input", body_key], &["as"])?;
        let name = object.get("as").map_or(Some("this"), |name| name.as_str());
        let name = name.ok_or_else(|| at.bad("expected a name as `as`"))?;
        check_variable(at, name)?;
        let input = Box::new(self.expr(input)?);
        self.variables.push(name.to_owned());
        let body = Box::new(self.expr(body)?);
        self.variables.pop();
        Ok((input, body))
    }

    fn regex_match(&mut self, operand: ValueRef<'_>) -> Result<Expr, FilterError> {
        let at = at("$regexMatch");
        let object = expect_object(at, operand)?;
        let [input, pattern] = members(at, object, ["input", "regex"], &["options"])?;
        let input = self.expr(input)?;
        let pattern = self.expr(pattern)?;
        let options = self.expr(object.get("options").unwrap_or(ValueRef::Null))?;
        let pattern = match (&pattern, &options) {
            (Expr::Constant(text), Expr::Constant(flags))
                if text.root().as_str().is_some()
                    && (flags.root().is_null() || flags.root().as_str().is_some()) =>
            {
                let flags = Some(flags.root()).filter(|flags| !flags.is_null());
                let fixed = self.parser.expression_pattern(at, text.root(), flags)?;
                PatternSource::Fixed(Box::new(fixed))
            }
            _ => PatternSource::Computed { pattern, options, cache: PatternCache::default() },
        };
        Ok(Expr::RegexMatch(Box::new(RegexMatch { input, pattern })))
    }
}

/// The wanted members of an operator's object; every other key but the optional ones is refused.
fn members<'a, const N: usize>(
    at: At<'_>,
    object: ObjectRef<'a>,
    wanted: [&str; N],
    optional: &[&str],
) -> Result<[ValueRef<'a>; N], FilterError> {
    for (key, _) in object.iter() {
        if !wanted.contains(&key) && !optional.contains(&key) {
            return Err(at.bad(format!("unknown key {key:?}")));
        }
    }
    let mut found = [ValueRef::Null; N];
    for (place, key) in found.iter_mut().zip(wanted) {
        let value = object.get(key);
        *place = value.ok_or_else(|| at.bad(format!("expected the key {key:?}")))?;
    }
    Ok(found)
}

fn expect_object<'a>(at: At<'_>, operand: ValueRef<'a>) -> Result<ObjectRef<'a>, FilterError> {
    operand.as_object().ok_or_else(|| at.bad("expected an object"))
}

fn is_operator(object: ObjectRef<'_>) -> bool {
    object.iter().any(|(key, _)| key.starts_with('$'))
}

/// Names of users' variables begin with a small letter; only `CURRENT` may be given anew.
fn check_variable(at: At<'_>, name: &str) -> Result<(), FilterError> {
    let first = |letter: char| letter.is_ascii_lowercase() || !letter.is_ascii();
    let other = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || !letter.is_ascii();
    if name == "CURRENT" || (name.starts_with(first) && name.chars().all(other)) {
        return Ok(());
    }
    Err(at.bad(format!("{name:?} is not the name of a variable")))
}

/// A list of constants is a constant.
fn fold_list(items: Vec<Expr>) -> Expr {
    let mut list = ArrayBuilder::new();
    for item in &items {
        match item {
            Expr::Constant(constant) => list.push(constant),
            _ => return Expr::List(items),
        }
    }
    Expr::Constant(list.finish())
}

/// An object of constants is a constant.
fn fold_object(members: Vec<(Box<str>, Expr)>) -> Expr {
    let mut object = ObjectBuilder::new();
    for (key, value) in &members {
        match value {
            Expr::Constant(constant) => object.push(key, constant),
            _ => return Expr::Object(members),
        }
    }
    Expr::Constant(object.finish())
}
