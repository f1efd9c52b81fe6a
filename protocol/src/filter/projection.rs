//! Projections: which members of a document an answer shows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::Value;

use crate::document::{ArrayBuilder, ArrayRef, Document, JsonError, ObjectBuilder, ObjectRef, ValueRef};
use crate::filter::error::{EvalError, FilterError};
use crate::filter::limits::PATH_COMPONENTS_MAX;
use crate::filter::node::Run;
use crate::filter::parse;
use crate::filter::predicate::{Predicate, truncated};

/// The member that is neither asked for nor left out unless it is named.
const ID: &str = "_id";

/// A checked projection.
#[derive(Debug)]
pub struct Projection {
    tree: Tree,
    /// Whether only the named members are shown, or all others.
    inclusive: bool,
    id: Option<bool>,
}

type Tree = HashMap<Box<str>, Branch>;

/// What happens to a named member.
#[derive(Debug)]
enum Branch {
    /// It is the one that is shown, or left out.
    Whole,
    Slice(Slice),
    /// The first element of an array that satisfies the predicate.
    Element(Predicate),
    Below(Tree),
}

/// Part of an array.
#[derive(Debug, Clone, Copy)]
struct Slice {
    /// Where it begins; negative from the end.
    skip: i64,
    /// How many elements; nothing for all.
    take: Option<i64>,
}

/// Why a projection is refused. Every case names the path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// The projection is not an object that can be taken in.
    #[error("the projection is not an object: {0}")]
    NotAnObject(String),
    /// A path with an empty component, one that begins with `$`, or too many.
    #[error("projection of `{path}`: a component is empty or begins with `$`, or there are too many")]
    BadPath {
        /// The path.
        path: String,
    },
    /// A path and its own beginning, or a path twice.
    #[error("projection of `{path}`: it collides with another path")]
    Collision {
        /// The path.
        path: String,
    },
    /// Members to show beside members to leave out.
    #[error("projection of `{path}`: members to show and members to leave out cannot be mixed")]
    Mixed {
        /// The path that does not fit the earlier ones.
        path: String,
    },
    /// A value that is no projection, an unknown operator, or a wrong operand.
    #[error("projection of `{path}`: {reason}")]
    BadValue {
        /// The path.
        path: String,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
    /// The condition of an `$elemMatch`.
    #[error("projection of `{path}`: {error}")]
    Condition {
        /// The path.
        path: String,
        /// What is wrong with it.
        error: FilterError,
    },
}

impl ProjectionError {
    /// The code that clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "bad_projection"
    }
}

impl From<JsonError> for ProjectionError {
    fn from(error: JsonError) -> Self {
        Self::NotAnObject(error.to_string())
    }
}

impl Projection {
    /// Checks a projection.
    ///
    /// # Errors
    /// See [`ProjectionError`].
    pub fn parse(projection: &Value) -> Result<Self, ProjectionError> {
        let document = Document::from_value(projection)?;
        let object = document.root().as_object();
        let object =
            object.ok_or_else(|| ProjectionError::NotAnObject("expected paths and 1 or 0".into()))?;
        let mut reader = Reader::default();
        reader.members("", object)?;
        let only_id = reader.tree.is_empty() && reader.inclusive.is_none();
        Ok(Self {
            inclusive: reader.inclusive.unwrap_or(only_id && reader.id == Some(true)),
            tree: reader.tree,
            id: reader.id,
        })
    }

    /// What the projection shows of a document. A document that is no object is shown whole.
    ///
    /// # Errors
    /// A condition of an `$elemMatch` that cannot be decided.
    pub fn apply(&self, document: ValueRef<'_>) -> Result<Document, EvalError> {
        let ValueRef::Object(object) = document else {
            return Ok(document.into());
        };
        let mut shown = ObjectBuilder::new();
        for (key, value) in object.iter() {
            match self.id {
                Some(true) if key == ID => shown.push(key, value),
                Some(false) if key == ID => {}
                _ => self.member(&self.tree, key, value, &mut shown)?,
            }
        }
        Ok(shown.finish())
    }

    fn object(&self, tree: &Tree, object: ObjectRef<'_>) -> Result<Document, EvalError> {
        let mut shown = ObjectBuilder::new();
        for (key, value) in object.iter() {
            self.member(tree, key, value, &mut shown)?;
        }
        Ok(shown.finish())
    }

    fn member(
        &self,
        tree: &Tree,
        key: &str,
        value: ValueRef<'_>,
        shown: &mut ObjectBuilder,
    ) -> Result<(), EvalError> {
        match (tree.get(key), value) {
            (None, _) if self.inclusive => {}
            (None, _) => shown.push(key, value),
            (Some(Branch::Whole), _) if self.inclusive => shown.push(key, value),
            (Some(Branch::Whole), _) => {}
            (Some(Branch::Slice(slice)), ValueRef::Array(array)) => {
                shown.push(key, &slice.of(array));
            }
            (Some(Branch::Slice(_)), _) => shown.push(key, value),
            (Some(Branch::Element(predicate)), ValueRef::Array(array)) => {
                if let Some(found) = first_element(predicate, array)? {
                    shown.push(key, &found);
                }
            }
            (Some(Branch::Element(_)), _) => {}
            (Some(Branch::Below(tree)), _) => {
                if let Some(part) = self.below(tree, value)? {
                    shown.push(key, &part);
                }
            }
        }
        Ok(())
    }

    /// Goes on in objects, also in those inside arrays. Scalars on the way vanish when members are
    /// shown, and stay when members are left out.
    fn below(&self, tree: &Tree, value: ValueRef<'_>) -> Result<Option<Document>, EvalError> {
        match value {
            ValueRef::Object(object) => self.object(tree, object).map(Some),
            ValueRef::Array(array) => {
                let mut shown = ArrayBuilder::new();
                for element in array {
                    if let Some(part) = self.below(tree, element)? {
                        shown.push(&part);
                    }
                }
                Ok(Some(shown.finish()))
            }
            _ if self.inclusive => Ok(None),
            scalar => Ok(Some(scalar.into())),
        }
    }
}

fn first_element(predicate: &Predicate, array: ArrayRef<'_>) -> Result<Option<Document>, EvalError> {
    let run = Run::default();
    for element in array {
        let mut one = ArrayBuilder::new();
        one.push(element);
        let one = one.finish();
        if predicate.holds(Some(one.root()), &run)? {
            return Ok(Some(one));
        }
    }
    Ok(None)
}

impl Slice {
    fn of(self, array: ArrayRef<'_>) -> Document {
        let mut part = ArrayBuilder::new();
        let skip = match usize::try_from(self.skip) {
            Ok(skip) => skip,
            Err(_) => {
                let back = usize::try_from(self.skip.unsigned_abs()).unwrap_or(usize::MAX);
                array.len().saturating_sub(back)
            }
        };
        let take = self.take.map_or(usize::MAX, |take| usize::try_from(take).unwrap_or_default());
        for element in array.iter().skip(skip).take(take) {
            part.push(element);
        }
        part.finish()
    }

    /// `n`, or `[skip, n]` with a positive `n`.
    fn parse(operand: ValueRef<'_>) -> Option<Self> {
        let Some(list) = operand.as_array() else {
            let count = truncated(operand)?;
            return Some(if count < 0 {
                Self { skip: count, take: None }
            } else {
                Self { skip: 0, take: Some(count) }
            });
        };
        let mut numbers = list.iter();
        let (skip, take) = (numbers.next()?, numbers.next()?);
        let (skip, take) = (truncated(skip)?, truncated(take)?);
        (numbers.next().is_none() && take > 0).then_some(Self { skip, take: Some(take) })
    }
}

#[derive(Default)]
struct Reader {
    tree: Tree,
    inclusive: Option<bool>,
    id: Option<bool>,
}

impl Reader {
    fn members(&mut self, prefix: &str, members: ObjectRef<'_>) -> Result<(), ProjectionError> {
        for (key, value) in members.iter() {
            let path = format!("{prefix}{key}");
            match value {
                ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Double(_) => {
                    let shown = parse_flag(value);
                    if path == ID {
                        self.id = Some(shown);
                        continue;
                    }
                    self.mode(&path, shown)?;
                    self.put(&path, Branch::Whole)?;
                }
                ValueRef::Object(object) => match object.iter().next() {
                    Some((operator, operand)) if operator.starts_with('$') => {
                        if object.len() > 1 {
                            return Err(bad_value(path, "expected one operator".into()));
                        }
                        self.operator(path, operator, operand)?;
                    }
                    Some(_) => self.members(&format!("{path}."), object)?,
                    None => return Err(bad_value(path, "expected 1 or 0".into())),
                },
                _ => return Err(bad_value(path, "expected 1 or 0".into())),
            }
        }
        Ok(())
    }

    fn operator(
        &mut self,
        path: String,
        operator: &str,
        operand: ValueRef<'_>,
    ) -> Result<(), ProjectionError> {
        match operator {
            "$slice" => match Slice::parse(operand) {
                Some(slice) => self.put(&path, Branch::Slice(slice)),
                None => Err(bad_value(path, "$slice takes a number or [skip, count]".into())),
            },
            "$elemMatch" if path.contains('.') => {
                Err(bad_value(path, "$elemMatch is for members of the document itself".into()))
            }
            "$elemMatch" => match parse::parse_element(&path, operand) {
                Ok(predicate) => {
                    self.mode(&path, true)?;
                    self.put(&path, Branch::Element(predicate))
                }
                Err(error) => Err(ProjectionError::Condition { path, error }),
            },
            _ => Err(bad_value(path, format!("unknown operator {operator}"))),
        }
    }

    fn mode(&mut self, path: &str, shown: bool) -> Result<(), ProjectionError> {
        if self.inclusive.is_some_and(|known| known != shown) {
            return Err(ProjectionError::Mixed { path: path.to_owned() });
        }
        self.inclusive = Some(shown);
        Ok(())
    }

    fn put(&mut self, path: &str, branch: Branch) -> Result<(), ProjectionError> {
        let named = |name: &&str| !name.is_empty() && !name.starts_with('$');
        let names: Vec<&str> = path.split('.').collect();
        if names.len() > PATH_COMPONENTS_MAX || !names.iter().all(named) {
            let path = path.to_owned();
            return Err(ProjectionError::BadPath { path });
        }
        let collision = || ProjectionError::Collision { path: path.to_owned() };
        let (last, above) = names.split_last().ok_or_else(collision)?;
        let mut tree = &mut self.tree;
        for name in above {
            let below = Branch::Below(Tree::new());
            match tree.entry((*name).into()).or_insert(below) {
                Branch::Below(next) => tree = next,
                _ => return Err(collision()),
            }
        }
        match tree.entry((*last).into()) {
            Entry::Vacant(entry) => {
                entry.insert(branch);
                Ok(())
            }
            Entry::Occupied(_) => Err(collision()),
        }
    }
}

fn parse_flag(value: ValueRef<'_>) -> bool {
    match value {
        ValueRef::Bool(value) => value,
        ValueRef::Int(value) => value != 0,
        ValueRef::Double(value) => value != 0.0,
        _ => false,
    }
}

const fn bad_value(path: String, reason: String) -> ProjectionError {
    ProjectionError::BadValue { path, reason }
}

#[cfg(test)]
mod tests;
