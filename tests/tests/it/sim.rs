//! The simulator at small size; the program `sim` runs it at large.

use assetmesh_tests::{Control, Scenario, SimPlan, run_sim};

fn plan(seed: u64, worlds: u64, scenarios: Vec<Scenario>) -> SimPlan {
    SimPlan { seed, worlds, scenarios, control: Control::None, trace: false, threads: 2 }
}

#[test]
fn small_worlds_agree_once_their_faults_stop() {
    let report = run_sim(&plan(100, 100, Scenario::small()), |_| {});
    assert!(report.passed(), "{report}");
}

#[test]
fn with_loss_and_stalls_joins_and_crashes_are_seen_in_time_and_nobody_is_given_up() {
    let scenario = Scenario::large().with_nodes(120).with_seconds(120);
    let report = run_sim(&plan(3, 1, vec![scenario]), |_| {});
    assert!(report.passed(), "{report}");
}
