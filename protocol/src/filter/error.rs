//! What can be wrong with a filter when it is read, and when it runs. Sentences name operator and path.

use std::fmt;

use crate::document::{JsonError, JsonFault};

/// Why a filter is refused before any document is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The filter is not JSON, or holds a number that cannot be represented.
    #[error("the filter cannot be read: {0}")]
    Json(JsonError),
    /// An operand, a path or the shape of the filter is wrong.
    #[error("{place}: {reason}")]
    Bad {
        /// Operator and path.
        place: Place,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
    /// An operator that does not exist, or that is refused by policy.
    #[error("{place}: {reason}")]
    Unsupported {
        /// Operator and path.
        place: Place,
        /// Whether it is unknown or refused.
        reason: &'static str,
    },
    /// One of the limits is exceeded.
    #[error("the filter is too large: {0}")]
    TooLarge(String),
}

/// Where in a filter something is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The operator; empty where a value stands without one.
    pub operator: String,
    /// The dotted path the operator is applied to; nothing at the top level.
    pub path: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.operator.as_str(), &self.path) {
            ("", None) => f.write_str("the filter"),
            ("", Some(path)) => write!(f, "the condition on {path}"),
            (operator, None) => f.write_str(operator),
            (operator, Some(path)) => write!(f, "{operator} at {path}"),
        }
    }
}

impl FilterError {
    /// The code that clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Bad { .. } => "bad_filter",
            Self::Unsupported { .. } => "unsupported_operator",
            Self::TooLarge(_) => "filter_too_large",
        }
    }
}

impl From<JsonError> for FilterError {
    fn from(error: JsonError) -> Self {
        match error.fault() {
            JsonFault::TooDeep(_) | JsonFault::TooLarge => Self::TooLarge(error.to_string()),
            _ => Self::Json(error),
        }
    }
}

/// Why a filter cannot be decided for some document. The whole request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct EvalError(Box<EvalFault>);

impl EvalError {
    /// What happened.
    #[must_use]
    pub const fn fault(&self) -> &EvalFault {
        &self.0
    }

    /// The code that clients see.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match *self.0 {
            EvalFault::Expression { .. } => "bad_filter",
            EvalFault::Pattern { .. } | EvalFault::Work { .. } => "filter_too_costly",
        }
    }

    /// A run-time error of an expression.
    pub(super) fn expression(operator: &'static str, reason: impl Into<String>) -> Self {
        Self::from(EvalFault::Expression { operator, reason: reason.into() })
    }
}

impl From<EvalFault> for EvalError {
    fn from(fault: EvalFault) -> Self {
        Self(Box::new(fault))
    }
}

/// What can go wrong while a filter runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalFault {
    /// A regular expression takes too long on a string.
    #[error("{operator} at {path}: the pattern costs too much on a string of {bytes} bytes")]
    Pattern {
        /// `$regex` or `$regexMatch`.
        operator: &'static str,
        /// The dotted path.
        path: String,
        /// The length of the string.
        bytes: usize,
    },
    /// An expression meets values it is not made for.
    #[error("{operator} in $expr: {reason}")]
    Expression {
        /// The operator.
        operator: &'static str,
        /// What is wrong, as the end of a sentence.
        reason: String,
    },
    /// A document on which the filter needs too many steps or bytes.
    #[error("{what} costs too much on one of the documents")]
    Work {
        /// The part of the filter.
        what: &'static str,
    },
}
