//! What the expressions of a filter may spend on one document.

use std::cell::Cell;

use crate::filter::error::{EvalError, EvalFault};
use crate::filter::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_STEPS_MAX};

/// So many bytes handled cost as much as one call.
const BYTES_A_STEP: usize = 64;

/// Steps and bytes that are left.
pub(in crate::filter) struct Budget {
    steps: Cell<u32>,
    bytes: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: Cell::new(EXPRESSION_STEPS_MAX), bytes: Cell::new(EXPRESSION_BYTES_MAX) }
    }
}

impl Budget {
    /// Pays for one step that handles some bytes.
    pub(super) fn step(&self, bytes: usize) -> Result<(), EvalError> {
        let cost = u32::try_from(1 + bytes / BYTES_A_STEP).unwrap_or(u32::MAX);
        let left = self.steps.get().checked_sub(cost).ok_or_else(exhausted)?;
        self.steps.set(left);
        Ok(())
    }

    /// Pays for a new value of some bytes.
    pub(super) fn make(&self, bytes: usize) -> Result<(), EvalError> {
        let left = self.bytes.get().checked_sub(bytes).ok_or_else(exhausted)?;
        self.bytes.set(left);
        self.step(bytes)
    }
}

fn exhausted() -> EvalError {
    EvalError::from(EvalFault::Work { what: "$expr" })
}
