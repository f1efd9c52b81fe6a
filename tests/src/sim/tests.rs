//! The simulator on itself: it repeats, it finds what is broken on purpose.

use super::*;

fn plan(scenarios: Vec<Scenario>, worlds: u64, control: Control) -> SimPlan {
    let trace = control == Control::None;
    SimPlan { seed: 1, worlds, scenarios, control, trace, threads: 2 }
}

fn named(name: &str) -> Vec<Scenario> {
    Scenario::small().into_iter().filter(|scenario| scenario.name == name).collect()
}

#[test]
fn one_seed_makes_one_history() {
    for scenario in Scenario::small() {
        let name = scenario.name.clone();
        let plan = plan(vec![scenario], 1, Control::None);
        let (one, other) = (run_sim(&plan, |_| {}), run_sim(&plan, |_| {}));
        assert!(one.notes.len() > 20, "{name}: nothing happened");
        assert_eq!(one.notes, other.notes, "{name}");
        assert_eq!(one.to_string(), other.to_string(), "{name}");
    }
}

#[test]
fn a_broken_tie_break_is_found() {
    let report = run_sim(&plan(named("liars"), 10, Control::TieBreak), |_| {});
    assert!(report.violations.iter().any(|violation| violation.contains("differ")), "{report}");
}

#[test]
fn tombstones_that_die_too_soon_are_found() {
    let report = run_sim(&plan(named("small mesh"), 20, Control::Tombstone), |_| {});
    let found = ["brought", "shows the deleted", "lost"];
    let seen = |violation: &String| found.iter().any(|word| violation.contains(word));
    assert!(report.violations.iter().any(seen), "{report}");
}

#[test]
fn nodes_that_give_up_in_haste_are_found() {
    let plan = plan([named("small mesh"), named("small monitored")].concat(), 20, Control::Haste);
    let report = run_sim(&plan, |_| {});
    let given_up =
        |who: &str| report.violations.iter().any(|line| line.contains(who) && line.contains("gave up"));
    assert!(given_up("small mesh") && given_up("small monitored"), "{report}");
}
