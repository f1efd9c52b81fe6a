//! The condition on the terms of a document that every document matching a filter satisfies.

use crate::document::ValueRef;
use crate::filter::literal::Literal;
use crate::filter::node::{Leaf, Node};
use crate::filter::predicate::{Comparison, Predicate};
use crate::filter::terms::{Scalar, ScalarRef};

/// So many terms of one literal are asked for; more would hardly narrow further.
const TERMS_MAX: usize = 16;

/// A condition that every matching document satisfies.
#[derive(Debug, Clone, PartialEq)]
pub enum Need {
    /// Any document may match.
    Anything,
    /// No document can match.
    Nothing,
    /// Some scalar at the path equals the value.
    Equals {
        /// The dotted path, without positions of arrays.
        path: String,
        /// The value.
        value: Scalar,
    },
    /// Some scalar at the path, of the same type as the bounds, lies between them.
    Range {
        /// The dotted path, without positions of arrays.
        path: String,
        /// The lower bound.
        low: Option<Bound>,
        /// The upper bound.
        high: Option<Bound>,
    },
    /// All of them; each alone narrows already.
    All(Vec<Need>),
    /// At least one of them.
    Any(Vec<Need>),
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// A number or a string.
    pub value: Scalar,
    /// Whether the value itself is in the range.
    pub inclusive: bool,
}

impl Need {
    /// The same condition without parts that say nothing.
    pub(in crate::filter) fn simplified(self) -> Self {
        match self {
            Self::All(needs) => {
                let mut kept = Vec::new();
                for need in needs {
                    match need.simplified() {
                        Self::Anything => {}
                        Self::Nothing => return Self::Nothing,
                        Self::All(inner) => kept.extend(inner),
                        need => kept.push(need),
                    }
                }
                single(kept, Self::All, Self::Anything)
            }
            Self::Any(needs) => {
                let mut kept = Vec::new();
                for need in needs {
                    match need.simplified() {
                        Self::Anything => return Self::Anything,
                        Self::Nothing => {}
                        Self::Any(inner) => kept.extend(inner),
                        need => kept.push(need),
                    }
                }
                single(kept, Self::Any, Self::Nothing)
            }
            need => need,
        }
    }
}

fn single(mut needs: Vec<Need>, many: fn(Vec<Need>) -> Need, none: Need) -> Need {
    match (needs.len(), needs.pop()) {
        (_, None) => none,
        (1, Some(need)) => need,
        (_, Some(last)) => {
            needs.push(last);
            many(needs)
        }
    }
}

impl Node {
    /// What a matching document must hold. `outer` is the path of the array whose elements the condition
    /// is put to, if it stands in an `$elemMatch`.
    pub(in crate::filter) fn need(&self, outer: Option<&str>) -> Need {
        match self {
            Self::All(nodes) => Need::All(nodes.iter().map(|node| node.need(outer)).collect()),
            Self::Any(nodes) => Need::Any(nodes.iter().map(|node| node.need(outer)).collect()),
            Self::Not(_) | Self::Expression(_) => Need::Anything,
            Self::Leaf(leaf) => leaf_need(leaf, outer),
        }
    }
}

fn leaf_need(leaf: &Leaf, outer: Option<&str>) -> Need {
    // A component that may be a position is no part of the path of a term.
    if leaf.path.has_position() {
        return Need::Anything;
    }
    let path = match outer {
        Some(outer) => format!("{outer}.{}", leaf.path.dotted()),
        None => leaf.path.dotted(),
    };
    match &leaf.predicate {
        Predicate::Equals(literal) => literal_need(&path, literal.value()),
        Predicate::Compare(comparison, literal) => range_need(path, *comparison, literal),
        Predicate::In(set) => Need::Any((set.members()).map(|member| literal_need(&path, member)).collect()),
        // The conditions inside bear the path of the array, as their elements' terms do.
        Predicate::ElementValue(node) => element_need(node, outer),
        Predicate::ElementDocument(node) => node.need(Some(&path)),
        Predicate::Exists
        | Predicate::Type(_)
        | Predicate::Size(_)
        | Predicate::Modulo { .. }
        | Predicate::Bits(..)
        | Predicate::Regex(_) => Need::Anything,
    }
}

/// A value that equals the literal has all its scalars, at the same paths below its own.
fn literal_need(path: &str, value: ValueRef<'_>) -> Need {
    let mut needs = Vec::new();
    collect(path, value, &mut needs);
    Need::All(needs).simplified()
}

fn collect(path: &str, value: ValueRef<'_>, needs: &mut Vec<Need>) {
    if needs.len() >= TERMS_MAX {
        return;
    }
    match value {
        ValueRef::Object(object) => {
            for (key, value) in object.iter() {
                collect(&format!("{path}.{key}"), value, needs);
            }
        }
        ValueRef::Array(array) => {
            for element in array {
                collect(path, element, needs);
            }
        }
        scalar => {
            if let Some(scalar) = ScalarRef::of(scalar) {
                needs.push(Need::Equals { path: path.to_owned(), value: scalar.to_scalar() });
            }
        }
    }
}

fn range_need(path: String, comparison: Comparison, literal: &Literal) -> Need {
    let value = match ScalarRef::of(literal.value()) {
        Some(value @ (ScalarRef::Number(_) | ScalarRef::String(_))) => value.to_scalar(),
        _ => return Need::Anything,
    };
    let inclusive = matches!(comparison, Comparison::LessOrEqual | Comparison::GreaterOrEqual);
    let bound = Some(Bound { value, inclusive });
    let (low, high) = match comparison {
        Comparison::Greater | Comparison::GreaterOrEqual => (bound, None),
        Comparison::Less | Comparison::LessOrEqual => (None, bound),
    };
    Need::Range { path, low, high }
}

/// Comparisons that one and the same element satisfies make one range; those on a path alone do not,
/// since different elements may satisfy them.
fn element_need(node: &Node, outer: Option<&str>) -> Need {
    let Node::All(nodes) = node else {
        return node.need(outer);
    };
    let mut needs = Vec::new();
    let mut range: Option<Need> = None;
    for node in nodes {
        let need = node.need(outer);
        if !is_comparison(node) {
            needs.push(need);
            continue;
        }
        let joined = range.as_ref().and_then(|known| intersection(known, &need));
        match joined {
            Some(joined) => range = Some(joined),
            None => needs.extend(range.replace(need)),
        }
    }
    needs.extend(range);
    Need::All(needs)
}

const fn is_comparison(node: &Node) -> bool {
    match node {
        Node::Leaf(leaf) => matches!(leaf.predicate, Predicate::Compare(..)),
        _ => false,
    }
}

/// One range of a lower and an upper bound, if that is what the two are.
fn intersection(a: &Need, b: &Need) -> Option<Need> {
    let ends = |need: &Need| match need {
        Need::Range { path, low, high } => Some((path.clone(), low.clone(), high.clone())),
        _ => None,
    };
    let ((path, a_low, a_high), (_, b_low, b_high)) = (ends(a)?, ends(b)?);
    if (a_low.is_some() && b_low.is_some()) || (a_high.is_some() && b_high.is_some()) {
        return None;
    }
    let (low, high) = (a_low.or(b_low)?, a_high.or(b_high)?);
    same_kind(&low.value, &high.value).then_some(Need::Range { path, low: Some(low), high: Some(high) })
}

const fn same_kind(a: &Scalar, b: &Scalar) -> bool {
    matches!((a, b), (Scalar::Number(_), Scalar::Number(_)) | (Scalar::String(_), Scalar::String(_)))
}
