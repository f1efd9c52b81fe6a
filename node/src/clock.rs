//! The one place that reads the wall clock, for timestamps that people see. Everything else takes `now` as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Time since 1970-01-01T00:00:00Z; zero if the clock is set before that.
#[must_use]
pub fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the single reader of the wall clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A time since 1970 as RFC 3339, to the millisecond.
pub(crate) fn text(since_1970: Duration) -> Option<String> {
    let millis = i64::try_from(since_1970.as_millis()).ok()?;
    Timestamp::from_millisecond(millis).ok().map(|time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_to_the_millisecond() {
        assert_eq!(text(Duration::from_millis(1_500)).unwrap(), "1970-01-01T00:00:01.500Z");
        assert_eq!(text(Duration::MAX), None);
    }
}
