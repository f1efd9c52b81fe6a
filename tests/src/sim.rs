//! The simulator: the node's real decisions on registry and liveness, under one virtual clock and one seed.
//! It links only the pure cores; sockets, disks and clocks are its own.

mod clients;
mod controls;
mod faults;
mod judge;
mod ledger;
mod liar;
mod network;
mod node;
mod queue;
mod scenario;
mod watch;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};

use assetmesh_node::registry::{StateConfig, Timing};

use crate::report::Report;
pub use controls::Control;
pub use scenario::Scenario;
use watch::{Measures, percentile};
use world::World;

/// Which worlds to run.
#[derive(Debug, Clone)]
pub struct SimPlan {
    /// The first seed; world number n has this plus n.
    pub seed: u64,
    /// How many worlds.
    pub worlds: u64,
    /// They are taken in turn.
    pub scenarios: Vec<Scenario>,
    /// A rule that is broken on purpose, to see that it is found.
    pub control: Control,
    /// Whether to keep a line for everything that happens.
    pub trace: bool,
    /// Threads to run worlds on.
    pub threads: usize,
}

/// Runs the worlds and reports. `progress` is called now and then with how many are done.
#[must_use]
pub fn run_sim(plan: &SimPlan, progress: impl Fn(u64) + Sync) -> Report {
    let next = AtomicU64::new(0);
    let work = || {
        let mut measures = Measures::default();
        let mut notes = Vec::new();
        loop {
            let world = next.fetch_add(1, Ordering::Relaxed);
            if world >= plan.worlds {
                return (measures, notes);
            }
            let (one, lines) = run_world(plan, world);
            measures.add(one);
            notes.extend(lines);
            progress(world + 1);
        }
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..plan.threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a world panicked")).collect()
    });
    let mut all = Measures::default();
    let mut report = Report::of("sim", plan.seed);
    report.cycles = plan.worlds;
    for (measures, notes) in results {
        all.add(measures);
        report.notes.extend(notes);
    }
    tell(&mut report, all);
    report
}

fn run_world(plan: &SimPlan, number: u64) -> (Measures, Vec<String>) {
    let seed = plan.seed.wrapping_add(number);
    let at = usize::try_from(seed % plan.scenarios.len() as u64).expect("below a length");
    let scenario = plan.scenarios[at].clone();
    let mut config = StateConfig { rules: plan.control.rules(), ..StateConfig::default() };
    if let Some((ttl, refresh)) = scenario.lifetime_seconds {
        config.timing = Timing {
            ttl_ms: ttl * 1000,
            refresh_every_ms: refresh * 1000,
            drift_ms: 5_000,
            grace_ms: 3_000,
            ..config.timing
        };
    }
    let name = scenario.name.clone();
    let mut world = World::new(scenario, seed, config, plan.control);
    world.trace = plan.trace.then(Vec::new);
    world.populate();
    world.settle();
    let mut measures = world.measures;
    for violation in &mut measures.violations {
        *violation = format!("seed {seed}, {name}: {violation}");
    }
    (measures, world.trace.unwrap_or_default())
}

fn tell(report: &mut Report, mut all: Measures) {
    report.faults = all.faults.values().sum();
    report.violations = std::mem::take(&mut all.violations);
    report.violations.sort();
    let hours = all.node_ms as f64 / 3_600_000.0;
    report.fact("node-hours", format!("{hours:.1}"));
    for (name, times) in [("join", &mut all.joins), ("crash", &mut all.crashes), ("agreed", &mut all.agreed)]
    {
        let [half, most, last] = [50, 99, 100].map(|percent| percentile(times, percent));
        report.fact(name, format!("{half}/{most}/{last} s (p50/p99/max of {})", times.len()));
    }
    report.fact("false deaths", all.false_deaths);
    report.fact("deaths of the stopped or cut off", all.excused_deaths);
    report.fact("suspicions of live nodes", all.suspicions);
    report.fact("refutations", all.refutations);
    report.fact("acknowledged writes", all.acknowledged);
    let rate = all.messages as f64 / (all.node_ms as f64 / 1000.0).max(1.0);
    report.fact("messages a node and second", format!("{rate:.2}"));
    let faults: Vec<String> = all.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
    report.fact("broken:", faults.join(" + "));
}

#[cfg(test)]
mod tests;
