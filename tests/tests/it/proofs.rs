//! Short runs of the programs that show that any node answers for all; the long ones are programs of this crate.

use std::time::Duration;

use assetmesh_tests::{UnionPlan, VoicesPlan, run_union, run_voices};

const UNION: UnionPlan = UnionPlan {
    seed: 11,
    nodes: 3,
    assets: 1_300,
    questions: 40,
    step: 9,
    pages: 3,
    clients: 2,
    control: false,
};

#[test]
fn the_merged_answer_is_the_filter_run_over_the_union() {
    let report = run_union(&UNION).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn an_asset_that_the_merged_answer_lacks_is_noticed() {
    let report = run_union(&UnionPlan { assets: 300, control: true, ..UNION }).unwrap();
    assert!(!report.violations.is_empty(), "{report}");
}

/// A debug build on a busy machine gets more than the 100 ms that are promised for a release.
const VOICES: VoicesPlan = VoicesPlan {
    seed: 5,
    nodes: 4,
    assets: 400,
    questions: 120,
    clients: 3,
    pause_ms: 60,
    grace: Duration::from_millis(600),
    control: false,
};

#[test]
fn no_answer_hides_a_silent_node_or_waits_for_it() {
    let report = run_voices(&VOICES).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn an_answer_that_hides_an_asset_is_noticed() {
    let report = run_voices(&VoicesPlan { questions: 40, control: true, ..VOICES }).unwrap();
    let hides = |violation: &String| violation.contains("is not there");
    assert!(report.violations.iter().any(hides), "{report}");
}
