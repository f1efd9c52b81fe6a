//! The parsed form of an expression.

use crate::document::Document;
use crate::filter::pattern::Pattern;

/// An expression.
#[derive(Debug)]
pub(super) enum Expr {
    Constant(Document),
    /// Names followed from the document or from a variable.
    Field(Source, Box<[Box<str>]>),
    List(Vec<Expr>),
    Object(Vec<(Box<str>, Expr)>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Compare(Relation, Box<[Expr; 2]>),
    /// The second if the first is true, else the third.
    Choice(Box<[Expr; 3]>),
    /// The first that is neither missing nor null, else the last.
    IfNull(Vec<Expr>),
    Switch {
        branches: Vec<(Expr, Expr)>,
        default: Option<Box<Expr>>,
    },
    /// The values become variables for the body.
    Let {
        values: Vec<Expr>,
        body: Box<Expr>,
    },
    /// The body for each element of the input, which is a variable in it.
    Map {
        input: Box<Expr>,
        body: Box<Expr>,
    },
    /// The elements of the input for which the body is true.
    Keep {
        input: Box<Expr>,
        body: Box<Expr>,
    },
    Concat(Vec<Expr>),
    RegexMatch(Box<RegexMatch>),
    Call(Function, Vec<Expr>),
}

/// Where a field path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Document,
    /// The variable at this place on the stack.
    Variable(usize),
}

/// The comparisons; they use the total order, whatever the types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The order itself: -1, 0 or 1.
    Order,
}

/// `$regexMatch`
#[derive(Debug)]
pub(super) struct RegexMatch {
    pub(super) input: Expr,
    pub(super) pattern: PatternSource,
}

/// The pattern of a `$regexMatch`.
#[derive(Debug)]
pub(super) enum PatternSource {
    Fixed(Box<Pattern>),
    /// Pattern and options are computed for each document.
    Computed {
        pattern: Expr,
        options: Expr,
        cache: super::text::PatternCache,
    },
}

/// Functions of evaluated arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Add,
    Multiply,
    Subtract,
    Divide,
    Modulo,
    Abs,
    Ceil,
    Floor,
    Trunc,
    Sum,
    Average,
    Min,
    Max,
    ToLower,
    ToUpper,
    CompareCaseless,
    LengthInCharacters,
    LengthInBytes,
    Substring,
    IndexOf,
    Split,
    Size,
    IsArray,
    In,
    ElementAt,
    IsSubset,
    AnyTrue,
    AllTrue,
    Type,
}

/// The names of the functions, with the least and the largest number of arguments.
pub(super) const FUNCTIONS: [(&str, Function, usize, usize); 29] = [
    ("$add", Function::Add, 0, usize::MAX),
    ("$multiply", Function::Multiply, 0, usize::MAX),
    ("$subtract", Function::Subtract, 2, 2),
    ("$divide", Function::Divide, 2, 2),
    ("$mod", Function::Modulo, 2, 2),
    ("$abs", Function::Abs, 1, 1),
    ("$ceil", Function::Ceil, 1, 1),
    ("$floor", Function::Floor, 1, 1),
    ("$trunc", Function::Trunc, 1, 1),
    ("$sum", Function::Sum, 0, usize::MAX),
    ("$avg", Function::Average, 0, usize::MAX),
    ("$min", Function::Min, 0, usize::MAX),
    ("$max", Function::Max, 0, usize::MAX),
    ("$toLower", Function::ToLower, 1, 1),
    ("$toUpper", Function::ToUpper, 1, 1),
    ("$strcasecmp", Function::CompareCaseless, 2, 2),
    ("$strLenCP", Function::LengthInCharacters, 1, 1),
    ("$strLenBytes", Function::LengthInBytes, 1, 1),
    ("$substrCP", Function::Substring, 3, 3),
    ("$indexOfCP", Function::IndexOf, 2, 4),
    ("$split", Function::Split, 2, 2),
    ("$size", Function::Size, 1, 1),
    ("$isArray", Function::IsArray, 1, 1),
    ("$in", Function::In, 2, 2),
    ("$arrayElemAt", Function::ElementAt, 2, 2),
    ("$setIsSubset", Function::IsSubset, 2, 2),
    ("$anyElementTrue", Function::AnyTrue, 1, 1),
    ("$allElementsTrue", Function::AllTrue, 1, 1),
    ("$type", Function::Type, 1, 1),
];

impl Function {
    /// The name, for errors.
    pub(super) fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("$expr", |(name, ..)| name)
    }
}
