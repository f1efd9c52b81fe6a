//! Short runs of the programs that show that any node answers for all; the long ones are programs of this crate.

use std::time::Duration;

use assetmesh_tests::{
    HerdPlan, Manner, RoguesPlan, SoakPlan, TransferPlan, UnionPlan, VoicesPlan, run_herd, run_rogues,
    run_soak, run_transfers, run_union, run_voices, time_federated,
};

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

#[test]
fn content_of_which_a_thousand_clients_want_all_comes_over_once() {
    let plan = HerdPlan { seed: 3, clients: 200, bytes: 2 << 20, rounds: 1, node_arguments: Vec::new() };
    let report = run_herd(&plan).unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn many_transfers_at_once_do_not_stall_and_leave_nothing_behind() {
    let report = run_soak(&SoakPlan {
        seed: 4,
        clients: 32,
        lasting: Duration::from_secs(6),
        bytes: 64 << 10,
        contents: 96,
        stall: Duration::from_secs(20),
        unsure_max: 100,
        node_arguments: Vec::new(),
    });
    let report = report.unwrap();
    assert!(report.passed(), "{report}");
}

/// Speed and memory are for release builds on a quiet machine; who gives and what comes is judged here.
#[test]
fn three_providers_all_give_and_a_killed_one_is_not_missed() {
    let report = run_transfers(&TransferPlan {
        seed: 5,
        bytes: 48 << 20,
        runs: 1,
        raw: None,
        ratio_min: 0.0,
        first_byte_max: Duration::from_secs(5),
        memory_max: 256 << 20,
        node_arguments: Vec::new(),
    });
    let report = report.unwrap();
    assert!(report.passed(), "{report}");
}

/// Those who stall are left to the long run: each takes as long as a node is patient.
#[test]
fn peers_that_lie_about_content_are_found_out() {
    let manners = Manner::ALL.into_iter().filter(|manner| !manner.stalls()).collect();
    let report = run_rogues(&RoguesPlan {
        seed: 6,
        manners,
        // Large enough that its peer is not done before it has lied.
        bytes: 64 << 20,
        stall: Duration::from_secs(10),
        next_within: Duration::from_secs(5),
        threads: 2,
    });
    let report = report.unwrap();
    assert!(report.passed(), "{report}");
}

#[test]
fn the_federation_gives_a_hundred_rows_of_all_nodes() {
    let timed = time_federated(3, 600, 10).unwrap();
    assert!(timed.everywhere.rate() > 0.0 && timed.slowest_alone.percentile(50) > Duration::ZERO);
}
