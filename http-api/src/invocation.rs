//! What an invocation is, without doing one: functions, headers, limits, and what can go wrong. Pure.

pub(crate) mod asked;
pub(crate) mod fault;
pub(crate) mod functions;
pub(crate) mod headers;

use std::time::Duration;

/// How long invocations may take, and what is kept of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A container that sends nothing for this long, once it has the body or does not take it, is given up, and so are
    /// assets that have not come by then. 1 h: as long as a client may wait at once.
    pub answer_within: Duration,
    /// Answers that are kept for clients that were sent away. 256: with what is taken of each, 128 KiB and a piece, at most 96 MiB.
    pub kept_max: usize,
    /// How long such an answer is kept. 5 min: clients ask again at once, and have some time to restart.
    pub keep_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { answer_within: Duration::from_secs(3600), kept_max: 256, keep_for: Duration::from_secs(300) }
    }
}
