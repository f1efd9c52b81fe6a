//! The scrub: reads all content now and then, slowly, so that damage is found and mended while others still hold what
//! is right.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::{Check, Mending, Told};
use crate::actor::Tasks;

/// When and how fast a node reads its content through.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time from the start to the first scrub, and from the end of one to the next. A day: damage at rest is rare, and
    /// other nodes keep what is right for long.
    pub every: Duration,
    /// Bytes a second. 16 MiB: a tenth of what a slow disk gives, and 1 TiB in less than a day.
    pub bytes_per_second: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: Duration::from_secs(24 * 3600), bytes_per_second: 16 << 20 }
    }
}

/// Starts the scrub.
pub(crate) fn start(tasks: &mut Tasks, mending: Mending, config: Config) {
    tasks.run("scrub", |stop| async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(config.every) => {}
            }
            // While the operator has one running, that will do.
            let Some(check) = mending.begin() else { continue };
            tokio::select! {
                () = stop.cancelled() => return,
                () = scrub(check, &config, &stop) => {}
            }
        }
    });
}

async fn scrub(mut check: Check, config: &Config, stop: &CancellationToken) {
    let begun = Instant::now();
    while !stop.is_cancelled() {
        match check.next_within(config.bytes_per_second, begun).await {
            Ok(Some(Told::Progress(_))) => {}
            Ok(Some(Told::Found(finding))) => tracing::warn!(?finding, "the scrub found damage"),
            Ok(None) => return tracing::info!(summary = ?check.summary(), "scrub done"),
            Err(error) => return tracing::warn!(%error, "the scrub broke off"),
        }
    }
}

/// How long a reader must wait so that it was no faster than this since it began. Pure.
pub(super) fn due(bytes: u64, bytes_per_second: u64, since: Duration) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).saturating_sub(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_waits_for_what_it_was_too_fast() {
        let second = Duration::from_secs(1);
        assert_eq!(due(30 << 20, 10 << 20, second), 2 * second);
        assert_eq!(due(5 << 20, 10 << 20, second), Duration::ZERO);
        assert_eq!(due(u64::MAX, 0, second), Duration::from_nanos(u64::MAX) - second);
    }
}
