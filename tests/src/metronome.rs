//! How late this machine itself is: a thread that asks to be woken each millisecond, and notes when it was not. A late
//! answer on a machine that stood still is no fault of the node.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::wait::wait_until;

const BEAT: Duration = Duration::from_millis(1);
/// Shorter delays are no news.
const NOTED_FROM: Duration = Duration::from_millis(3);

/// Beats until it is dropped.
#[derive(Debug)]
pub(crate) struct Metronome {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    late: Mutex<Vec<(Instant, Duration)>>,
}

impl Metronome {
    pub(crate) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let beating = Arc::clone(&shared);
        Self { shared, thread: Some(thread::spawn(move || beating.beat())) }
    }

    /// The worst delay of a beat that was due or over between two moments.
    pub(crate) fn worst(&self, from: Instant, to: Instant) -> Duration {
        let late = self.shared.late.lock().unwrap_or_else(PoisonError::into_inner);
        let during =
            late.iter().rev().take_while(|(at, _)| *at >= from).filter(|(at, late)| *at - *late <= to);
        during.map(|(_, late)| *late).max().unwrap_or_default()
    }
}

impl Shared {
    fn beat(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let before = Instant::now();
            wait_until(BEAT, || None::<()>);
            let now = Instant::now();
            let late = (now - before).saturating_sub(BEAT);
            if late >= NOTED_FROM {
                self.late.lock().unwrap_or_else(PoisonError::into_inner).push((now, late));
            }
        }
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its end says nothing more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_delay_of_a_time_is_found() {
        let metronome = Metronome { shared: Arc::default(), thread: None };
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let late = [(10, 5), (50, 20), (90, 7)];
        let late = late.map(|(when, late)| (at(when), Duration::from_millis(late)));
        metronome.shared.late.lock().unwrap().extend(late);
        let worst = |from, to| metronome.worst(at(from), at(to)).as_millis();
        assert_eq!((worst(0, 100), worst(0, 20), worst(60, 100), worst(95, 99)), (20, 5, 7, 0));
        assert_eq!(worst(40, 45), 20, "it was due in between");
    }
}
