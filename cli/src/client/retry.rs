//! When a request that may be repeated is repeated, and how long to wait before.

use std::time::Duration;

use crate::exit::{Again, Fault};

/// The first pause; it doubles with each attempt in vain.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause, and the longest that a node may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Counts the attempts in vain since the last progress.
#[derive(Debug)]
pub(crate) struct Retry {
    left: u32,
    all: u32,
    repeatable: bool,
    /// A node was there during an earlier attempt.
    reached: bool,
}

impl Retry {
    /// At most `all` repetitions without progress. `repeatable` says that doing the request twice does no harm.
    pub(super) fn new(all: u32, repeatable: bool) -> Self {
        Self { left: all, all, repeatable, reached: false }
    }

    /// Something was achieved: the count begins anew.
    pub(crate) fn progressed(&mut self) {
        self.left = self.all;
        self.reached = true;
    }

    /// Waits before the next attempt, or gives the fault back if there shall be none.
    pub(crate) async fn pause_after(&mut self, fault: Fault) -> Result<(), Fault> {
        match self.next_pause(&fault) {
            Some(pause) => {
                tokio::time::sleep(pause).await;
                Ok(())
            }
            None => Err(fault),
        }
    }

    fn next_pause(&mut self, fault: &Fault) -> Option<Duration> {
        let asked = match fault.again() {
            Again::Refused(pause) => pause,
            Again::Lost if self.repeatable => Duration::ZERO,
            Again::Unreached if self.reached => Duration::ZERO,
            Again::Lost | Again::Unreached | Again::Never => return None,
        };
        self.reached = true;
        let before = self.all - self.left;
        self.left = self.left.checked_sub(1)?;
        let own = FIRST_PAUSE.saturating_mul(1 << before.min(16));
        Some(own.max(asked).min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn lost() -> Fault {
        Fault::new(Exit::Unreachable, "lost").worth(Again::Lost)
    }

    fn refused(seconds: u64) -> Fault {
        Fault::new(Exit::Unreachable, "busy").worth(Again::Refused(Duration::from_secs(seconds)))
    }

    #[test]
    fn pauses_double_until_the_attempts_are_used_up() {
        let mut retry = Retry::new(3, true);
        let pauses: Vec<_> = (0..4).map(|_| retry.next_pause(&lost()).map(|p| p.as_millis())).collect();
        assert_eq!(pauses, [Some(250), Some(500), Some(1000), None]);
    }

    #[test]
    fn a_node_may_ask_for_a_longer_pause_but_not_for_any() {
        let mut retry = Retry::new(3, false);
        assert_eq!(retry.next_pause(&refused(2)), Some(Duration::from_secs(2)));
        assert_eq!(retry.next_pause(&refused(3_600)), Some(LONGEST_PAUSE));
    }

    #[test]
    fn progress_starts_the_count_anew() {
        let mut retry = Retry::new(1, true);
        assert!(retry.next_pause(&lost()).is_some());
        retry.progressed();
        assert!(retry.next_pause(&lost()).is_some());
        assert!(retry.next_pause(&lost()).is_none());
    }

    #[test]
    fn a_node_that_was_there_is_waited_for_and_one_that_never_was_is_not() {
        let absent = || Fault::new(Exit::Unreachable, "refused").worth(Again::Unreached);
        assert_eq!(Retry::new(9, true).next_pause(&absent()), None);
        let mut retry = Retry::new(9, true);
        assert!(retry.next_pause(&lost()).is_some());
        assert!(retry.next_pause(&absent()).is_some());
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_if_that_is_harmless() {
        assert_eq!(Retry::new(9, false).next_pause(&lost()), None);
        assert!(Retry::new(9, false).next_pause(&refused(0)).is_some());
        assert_eq!(Retry::new(9, true).next_pause(&Fault::usage("no")), None);
    }
}
