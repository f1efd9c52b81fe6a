//! Destroys input assets whose time is up, and frees their bytes. What counts as up is decided by the rows themselves.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::writer::Change;
use super::{Error, Nvcf};

/// Time between sweeps, so that the disk is free soon after; less where assets live for less.
const EVERY_MAX: Duration = Duration::from_secs(60);
const EVERY_MIN: Duration = Duration::from_millis(200);

/// Runs until the node stops.
pub(super) async fn run(nvcf: Nvcf, stop: CancellationToken) {
    let config = &nvcf.inner.setup.config;
    let every = config.lifetime.min(config.upload_within) / 4;
    let mut timer = tokio::time::interval(every.clamp(EVERY_MIN, EVERY_MAX));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let swept = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            swept = nvcf.sweep() => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(swept) => tracing::info!(swept, "input assets expired"),
            Err(error) => tracing::warn!(%error, "the sweep of input assets broke off"),
        }
    }
}

impl Nvcf {
    /// Destroys all that is due. Returns how many there were.
    pub(super) async fn sweep(&self) -> Result<usize, Error> {
        let mut swept = 0;
        loop {
            let done = self.change(Change::Sweep).await?;
            swept += done.swept;
            self.inner.metrics.expired.inc_by(done.swept as u64);
            self.free(done.unheld).await;
            if !done.has_more {
                return Ok(swept);
            }
        }
    }
}
