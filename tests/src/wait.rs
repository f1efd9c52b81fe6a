//! Waiting for an event with a deadline: the only place where a test may let time pass.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `event` again and again until it yields something or `deadline` has passed.
pub fn wait_until<T>(deadline: Duration, mut event: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = event() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_ends_the_wait_and_a_deadline_does_too() {
        let mut asked = 0;
        let third = wait_until(Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(third, Some(3));
        assert_eq!(wait_until(Duration::from_millis(2), || None::<()>), None);
    }
}
