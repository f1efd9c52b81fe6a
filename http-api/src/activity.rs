//! What one connection is doing, and whether it has done nothing for too long. Time comes in as an
//! argument, so the rules can be tested without waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::{Config, H2_CONNECTION_WINDOW};

/// Bytes a client may send between two requests. An honest HTTP/2 client may send as much as its window
/// of content ahead, before its request has reached a handler; more than that is a flood of control
/// frames. Headers are held to far less by the envelope, and HTTP/1.1 by its read buffer.
const HEAD_BYTES_MAX: usize = 2 * H2_CONNECTION_WINDOW as usize;

/// The ledger of one connection, shared by its socket, its requests and its watch.
#[derive(Debug)]
pub(crate) struct Activity(Mutex<Ledger>);

#[derive(Debug)]
struct Ledger {
    /// Requests in flight. `Some`: the answer is streaming, and this is when it last moved.
    requests: HashMap<u64, Option<Instant>>,
    begun: u64,
    /// Since when no request is in flight.
    idle_since: Instant,
    /// Since when bytes of a next request have been coming.
    head_since: Option<Instant>,
    head_bytes: usize,
    /// An answer went out before its request had come in.
    unread: bool,
}

/// What the watch should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing; look again at this time.
    Fine(Instant),
    /// Say goodbye: no request came in time.
    Idle,
    /// Hang up: an answer is not being read.
    Stalled,
}

impl Activity {
    /// A connection that was accepted now.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Ledger {
            requests: HashMap::new(),
            begun: 0,
            idle_since: now,
            head_since: None,
            head_bytes: 0,
            unread: false,
        }))
    }

    /// A request's headers are in.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut ledger = self.ledger();
        let id = ledger.begun;
        ledger.begun += 1;
        ledger.requests.insert(id, None);
        ledger.head_since = None;
        ledger.head_bytes = 0;
        InFlight { activity: Arc::clone(self), id }
    }

    /// Bytes came in. False if they are more than any headers may be.
    pub(crate) fn received(&self, bytes: usize, now: Instant) -> bool {
        let mut ledger = self.ledger();
        if !ledger.requests.is_empty() {
            return true;
        }
        ledger.head_since.get_or_insert(now);
        ledger.head_bytes += bytes;
        ledger.head_bytes <= HEAD_BYTES_MAX
    }

    /// Whether the client may still be sending what nobody will read.
    pub(crate) fn has_unread(&self) -> bool {
        let ledger = self.ledger();
        ledger.unread || ledger.head_since.is_some()
    }

    /// Judges the connection.
    pub(crate) fn verdict(&self, now: Instant, config: &Config) -> Verdict {
        self.ledger().verdict(now, config)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn verdict(&self, now: Instant, config: &Config) -> Verdict {
        if self.requests.is_empty() {
            let limit = match (self.head_since, self.begun) {
                (Some(since), _) => since + config.header_timeout,
                (None, 0) => self.idle_since + config.header_timeout,
                (None, _) => self.idle_since + config.idle_timeout,
            };
            return if now >= limit { Verdict::Idle } else { Verdict::Fine(limit) };
        }
        let oldest = self.requests.values().flatten().min();
        let limit = oldest.map_or(now, |moved| *moved) + config.stall_timeout;
        if now >= limit { Verdict::Stalled } else { Verdict::Fine(limit.min(now + LOOK_AGAIN)) }
    }
}

/// How often the watch looks while requests are in flight.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// One request, from its headers until its answer is sent or given up.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    id: u64,
}

impl InFlight {
    /// The answer moved on.
    pub(crate) fn moved(&self, now: Instant) {
        if let Some(clock) = self.activity.ledger().requests.get_mut(&self.id) {
            *clock = Some(now);
        }
    }

    /// The answer is made although the request has not come in whole.
    pub(crate) fn leave_unread(&self) {
        self.activity.ledger().unread = true;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.activity.ledger();
        ledger.requests.remove(&self.id);
        ledger.idle_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_connection_without_a_request_is_idle_after_the_header_timeout() {
        let (start, config) = (Instant::now(), Config::default());
        let activity = Activity::new(start);
        assert_eq!(activity.verdict(start, &config), Verdict::Fine(after(start, 15)));
        assert_eq!(activity.verdict(after(start, 15), &config), Verdict::Idle);
    }

    #[test]
    fn dripping_headers_do_not_extend_the_time() {
        let (start, config) = (Instant::now(), Config::default());
        let activity = Activity::new(start);
        for second in 0..15 {
            assert!(activity.received(1, after(start, second)));
        }
        assert_eq!(activity.verdict(after(start, 15), &config), Verdict::Idle);
        assert!(activity.has_unread());
    }

    #[test]
    fn a_kept_connection_may_rest_longer_but_not_drip() {
        let (start, config) = (Instant::now(), Config::default());
        let activity = Arc::new(Activity::new(start));
        drop(activity.begin());
        assert!(matches!(activity.verdict(after(start, 70), &config), Verdict::Fine(_)));
        assert_eq!(activity.verdict(after(start, 80), &config), Verdict::Idle);
        activity.received(1, after(start, 20));
        assert_eq!(activity.verdict(after(start, 35), &config), Verdict::Idle);
    }

    #[test]
    fn a_working_handler_is_never_idle_or_stalled() {
        let (start, config) = (Instant::now(), Config::default());
        let activity = Arc::new(Activity::new(start));
        let _request = activity.begin();
        assert!(matches!(activity.verdict(after(start, 3600), &config), Verdict::Fine(_)));
    }

    #[test]
    fn an_answer_that_nobody_reads_is_stalled_though_others_move() {
        let (start, config) = (Instant::now(), Config::default());
        let activity = Arc::new(Activity::new(start));
        let (stuck, moving) = (activity.begin(), activity.begin());
        stuck.moved(start);
        moving.moved(after(start, 59));
        assert!(matches!(activity.verdict(after(start, 59), &config), Verdict::Fine(_)));
        assert_eq!(activity.verdict(after(start, 60), &config), Verdict::Stalled);
        drop(stuck);
        assert!(matches!(activity.verdict(after(start, 60), &config), Verdict::Fine(_)));
    }

    #[test]
    fn content_that_is_sent_ahead_is_no_flood() {
        let now = Instant::now();
        let activity = Arc::new(Activity::new(now));
        drop(activity.begin());
        assert!(activity.received(1000, now));
        assert!(activity.received(H2_CONNECTION_WINDOW as usize, now));
    }

    #[test]
    fn headers_without_end_are_cut() {
        let now = Instant::now();
        let activity = Arc::new(Activity::new(now));
        assert!(activity.received(HEAD_BYTES_MAX, now));
        assert!(!activity.received(1, now));
        let request = activity.begin();
        assert!(activity.received(usize::MAX / 2, now), "bodies are counted elsewhere");
        assert!(!activity.has_unread());
        request.leave_unread();
        assert!(activity.has_unread());
    }
}
