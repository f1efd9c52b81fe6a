//! The one place that reads the wall clock, for timestamps that people see. Everything else takes `now` as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970-01-01T00:00:00Z; zero if the clock is set before that.
#[must_use]
pub fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the single reader of the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}
