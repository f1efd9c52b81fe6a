//! Who can be asked, and who is struck now: one node at a time is stopped for a while, or killed and started again.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cluster::Cluster;
use crate::random::Random;
use crate::wait::wait_until;

/// The nodes as clients see them.
#[derive(Debug)]
pub(super) struct Stage {
    places: Mutex<Vec<Place>>,
    strikes: AtomicU64,
}

#[derive(Debug, Clone)]
struct Place {
    turn: Turn,
    is_struck: bool,
}

/// A time in which a node runs undisturbed at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) address: SocketAddr,
    number: u64,
}

impl Stage {
    pub(super) fn of(cluster: &Cluster) -> Self {
        let place = |at| {
            let turn = Turn { address: cluster.node(at).address(), number: 0 };
            Place { turn, is_struck: false }
        };
        let places = Mutex::new((0..cluster.len()).map(place).collect());
        Self { places, strikes: AtomicU64::new(0) }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a node was struck.
    pub(super) fn strikes(&self) -> u64 {
        self.strikes.load(Ordering::Relaxed)
    }

    /// A node that can be asked now.
    pub(super) fn pick(&self, random: &mut Random) -> Option<(usize, Turn)> {
        let places = self.places();
        let at = random.below(places.len());
        (!places[at].is_struck).then(|| (at, places[at].turn.clone()))
    }

    /// Whether a node was not struck since.
    pub(super) fn is_still(&self, at: usize, turn: &Turn) -> bool {
        let places = self.places();
        places[at].turn == *turn && !places[at].is_struck
    }

    fn begin(&self, at: usize) {
        let mut places = self.places();
        places[at].is_struck = true;
        places[at].turn.number += 1;
        drop(places);
        self.strikes.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self, at: usize, address: SocketAddr) {
        let mut places = self.places();
        places[at].turn.address = address;
        places[at].is_struck = false;
    }
}

/// Strikes one node after the other until `is_over`, and leaves all running.
pub(super) fn strike(
    cluster: &mut Cluster,
    stage: &Stage,
    random: &mut Random,
    is_over: impl Fn() -> bool,
) -> Result<()> {
    while !is_over() {
        pass(random.within(100..1500), &is_over);
        let at = random.below(cluster.len());
        stage.begin(at);
        if random.chance(60) {
            cluster.node(at).pause()?;
            pass(random.within(500..5000), &is_over);
            cluster.node(at).resume()?;
        } else {
            cluster.kill(at);
            pass(random.within(50..4000), &is_over);
            cluster.restart(at)?;
        }
        stage.end(at, cluster.node(at).address());
    }
    Ok(())
}

/// Lets time pass, or the run end.
pub(super) fn pass(millis: u64, is_over: impl Fn() -> bool) {
    let begun = Instant::now();
    let is_past = || begun.elapsed() >= Duration::from_millis(millis) || is_over();
    wait_until(Duration::from_secs(60), || is_past().then_some(()));
}
