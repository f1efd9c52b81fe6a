//! Short fault runs; the long ones are programs of this crate (`crash`, `powercut`).

use std::time::Duration;

use assetmesh_tests::{CrashPlan, Disk, Ext4, run_crashes};

/// A debug build on a busy machine; the long run holds the promised second.
const READY_WITHIN: Duration = Duration::from_secs(10);

fn plan(disk: Disk, cycles: u64) -> CrashPlan {
    CrashPlan { seed: 11, cycles, clients: 6, disk, ready_within: READY_WITHIN }
}

#[test]
fn acknowledged_writes_survive_kill_9() {
    let report = run_crashes(&plan(Disk::Kept, 15), |_| {}).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn acknowledged_writes_survive_a_power_cut_and_lies_about_fsync_are_seen() {
    if let Err(error) = Ext4::new(16 << 20) {
        println!("no disk of our own to cut the power of, so kill -9 has to do: {error:#}");
        return;
    }
    let report = run_crashes(&plan(Disk::PowerCut, 6), |_| {}).unwrap();
    assert!(report.passed(), "{report}");
    if let Err(error) = std::process::Command::new("strace").arg("-V").output() {
        println!("no strace, so no negative control: {error}");
        return;
    }
    let report = run_crashes(&plan(Disk::PowerCutWithoutSync, 6), |_| {}).unwrap();
    assert!(!report.violations.is_empty(), "a lost write was not seen: {report}");
}
