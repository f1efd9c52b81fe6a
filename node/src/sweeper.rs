//! The sweeper: looks now and then for bytes that no record refers to, and has them removed; and what is kept of other
//! nodes brought back below its bound. It decides nothing itself: the blob store asks the catalog about each blob.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::actor::Tasks;
use crate::blobs::Blobs;

/// When the sweeper works.
#[derive(Debug, Clone)]
pub struct Config {
    /// Time between sweeps; the first runs at the start. An hour: orphans come only from crashes and from
    /// clients that left in the middle of a delete.
    pub every: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { every: Duration::from_secs(3600) }
    }
}

/// Starts the sweeper.
pub(crate) fn start(tasks: &mut Tasks, blobs: Blobs, config: Config) {
    tasks.run("sweeper", |stop| run(blobs, config, stop));
}

async fn run(blobs: Blobs, config: Config, stop: CancellationToken) {
    let mut timer = tokio::time::interval(config.every);
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
            swept = blobs.sweep() => swept,
        };
        match swept {
            Ok(swept) => tracing::info!(?swept, "sweep done"),
            Err(error) => tracing::warn!(%error, "sweep broke off"),
        }
        if let Err(error) = blobs.tidy_cache().await {
            tracing::warn!(%error, "what is kept of other nodes could not be tidied");
        }
    }
}
