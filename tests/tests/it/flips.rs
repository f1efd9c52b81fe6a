//! A short run of flipped bits; the long one is a program of this crate (`flips`).

use assetmesh_tests::{FlipPlan, run_flips};

#[test]
fn flipped_bits_are_never_served() {
    for file in ["blobs.redb", "catalog.redb"] {
        let plan = FlipPlan { seed: 11, flips: 10, file: Some(file.to_owned()), each: false };
        let report = run_flips(&plan, |_| {}).unwrap();
        assert!(report.passed(), "{report}");
    }
}
