//! Short runs of the programs that show that any node answers for all; the long ones are programs of this crate.

use assetmesh_tests::{UnionPlan, run_union};

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
