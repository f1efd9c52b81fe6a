//! Work that would hold up the async runtime, done on threads that may block: long work, and reading a store, of which
//! only so much goes on at once and none for long after nobody waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Bytes of input up to which work is done where it comes up: some 100 µs, little more than another thread costs.
const SHORT_BYTES_MAX: usize = 32 * 1024;

/// Does work whose length goes by its input. `None` when that broke off: the node is stopping.
pub async fn by_length<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if bytes <= SHORT_BYTES_MAX {
        return Some(work());
    }
    spawn_blocking(work).await.ok()
}

/// Those who read a store: so many at once, the others wait for their turn.
#[derive(Debug)]
pub(crate) struct Readers {
    places: Arc<Semaphore>,
}

/// Why nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRead {
    /// There was no turn in time.
    Busy,
    /// The node is stopping.
    Stopped,
}

/// How long a reader may go on.
#[derive(Debug)]
pub(crate) struct Turn {
    until: Instant,
    is_given_up: Arc<AtomicBool>,
}

impl Readers {
    pub(crate) fn new(at_once: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(at_once)) }
    }

    /// Reads within some time, the waiting included. When this future is dropped, the turn is over.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        within: Duration,
        read: impl FnOnce(&Turn) -> T + Send + 'static,
    ) -> Result<T, NotRead> {
        let until = Instant::now() + within;
        let place = tokio::time::timeout(within, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| NotRead::Busy)?.map_err(|_| NotRead::Stopped)?;
        let turn = Turn { until, is_given_up: Arc::default() };
        let _give_up = GiveUpOnDrop(Arc::clone(&turn.is_given_up));
        let work = move || {
            let _place = place;
            read(&turn)
        };
        spawn_blocking(work).await.map_err(|_| NotRead::Stopped)
    }
}

impl Turn {
    /// Whether the time is up, or nobody waits any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed) || Instant::now() >= self.until
    }

    /// One that is over at some time.
    #[cfg(test)]
    pub(crate) fn until(until: Instant) -> Self {
        Self { until, is_given_up: Arc::default() }
    }
}

struct GiveUpOnDrop(Arc<AtomicBool>);

impl Drop for GiveUpOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn long_work_goes_to_another_thread_and_short_work_stays() {
        let here = thread::current().id();
        let on = |bytes| by_length(bytes, || thread::current().id());
        assert_eq!(on(SHORT_BYTES_MAX).await, Some(here));
        assert_ne!(on(SHORT_BYTES_MAX + 1).await, Some(here));
    }

    #[tokio::test]
    async fn who_has_no_turn_in_time_is_told_so_and_a_turn_ends_with_who_waited_for_it() {
        let readers = Readers::new(1);
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let (ended, has_ended) = mpsc::channel();
        let long = readers.read(LONG, move |turn| {
            begun.send(()).unwrap();
            while !turn.is_over() {
                thread::yield_now();
            }
            ended.send(()).unwrap();
        });
        tokio::select! {
            _ = long => unreachable!("it reads until it is told to stop"),
            other = async {
                has_begun.await.unwrap();
                readers.read(Duration::ZERO, |_| ()).await
            } => assert_eq!(other, Err(NotRead::Busy)),
        }
        has_ended.recv_timeout(LONG).unwrap();
        assert_eq!(readers.read(LONG, Turn::is_over).await, Ok(false));
    }
}
