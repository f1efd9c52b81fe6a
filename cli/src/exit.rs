//! Exit codes: how a failure tells its kind to scripts. It decides no wording and prints nothing.

use std::process::ExitCode;
use std::time::Duration;

/// The kinds of outcome that scripts can tell apart, with their fixed codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Nothing foresaw this failure.
    Unexpected = 1,
    /// The command line, a setting or the input is wrong.
    Usage = 2,
    /// What was asked for does not exist.
    NotFound = 3,
    /// The token lacks the right, or there is none.
    NotAllowed = 4,
    /// It exists already, or someone else is using it.
    Conflict = 5,
    /// Bytes are not those that their hash names.
    Integrity = 6,
    /// Some nodes did not answer, and `--allow-partial` was not given.
    Partial = 7,
    /// No node answered, or not in time.
    Unreachable = 8,
    /// Too large, or no room.
    TooLarge = 9,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A failure of a known kind, as one sentence that says what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct Fault {
    exit: Exit,
    sentence: String,
    again: Again,
}

/// Whether the same request may succeed when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Repeating mends nothing.
    Never,
    /// The node refused for now and did nothing: any request may be repeated after this long.
    Refused(Duration),
    /// No node was there. Worth a repetition only if one was there a moment ago, and may be starting again.
    Unreached,
    /// Nobody knows whether it was done: only a request that may be done twice may be repeated.
    Lost,
}

impl Fault {
    /// A failure that repeating does not mend.
    pub(crate) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self { exit, sentence: sentence.into(), again: Again::Never }
    }

    /// A wrong command line, setting or input.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    /// Says whether the same request may succeed when it is sent again.
    pub(crate) fn worth(self, again: Again) -> Self {
        Self { again, ..self }
    }

    /// Whether the same request may succeed when it is sent again.
    pub(crate) fn again(&self) -> Again {
        self.again
    }

    /// The kind of this failure.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

/// The reader of our standard output has gone, as in `assetmesh ls | head`. That is no failure.
#[derive(Debug, thiserror::Error)]
#[error("standard output was closed")]
pub(crate) struct StdoutClosed;

/// The exit code of a failed verb, and whether there is something to say about it.
pub(crate) fn code_of(error: &anyhow::Error) -> Option<Exit> {
    if error.downcast_ref::<StdoutClosed>().is_some() {
        return None;
    }
    Some(error.downcast_ref::<Fault>().map_or(Exit::Unexpected, Fault::exit))
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_kind_survives_any_context() {
        let failed: anyhow::Result<()> = Err(Fault::new(Exit::NotFound, "no such asset").into());
        let error = failed.context("cannot show x").context("again").unwrap_err();
        assert_eq!(code_of(&error), Some(Exit::NotFound));
        assert_eq!(format!("{error:#}"), "again: cannot show x: no such asset");
    }

    #[test]
    fn a_failure_without_a_kind_is_unexpected_and_a_closed_pipe_is_silent() {
        assert_eq!(code_of(&anyhow::anyhow!("oops")), Some(Exit::Unexpected));
        assert_eq!(code_of(&StdoutClosed.into()), None);
    }
}
