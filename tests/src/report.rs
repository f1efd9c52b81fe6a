//! What a fault run prints: seed, cycles, faults injected, violations. A run without faults is a failed run.

use std::fmt;
use std::process::ExitCode;

/// The counts of one run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which run.
    pub name: &'static str,
    /// What repeats it.
    pub seed: u64,
    /// How often the node was started anew.
    pub cycles: u64,
    /// How often something was really broken.
    pub faults: u64,
    /// Named counts that help to judge the run.
    pub facts: Vec<(&'static str, String)>,
    /// What happened on the way, for those who asked for it.
    pub notes: Vec<String>,
    /// What must not be; each a sentence with the cycle.
    pub violations: Vec<String>,
}

impl Report {
    /// A run that has not begun.
    #[must_use]
    pub fn of(name: &'static str, seed: u64) -> Self {
        Self { name, seed, ..Self::default() }
    }

    /// Adds a named count.
    pub fn fact(&mut self, name: &'static str, value: impl fmt::Display) {
        self.facts.push((name, value.to_string()));
    }

    /// Success if faults were injected and none was visible.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.faults > 0 && self.violations.is_empty()
    }

    /// The exit code of a program that did this run.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

const VIOLATIONS_SHOWN: usize = 20;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        for violation in self.violations.iter().take(VIOLATIONS_SHOWN) {
            writeln!(f, "violation: {violation}")?;
        }
        if self.violations.len() > VIOLATIONS_SHOWN {
            writeln!(f, "… and {} more", self.violations.len() - VIOLATIONS_SHOWN)?;
        }
        write!(f, "{}: seed {}, cycles {}, ", self.name, self.seed, self.cycles)?;
        write!(f, "faults injected {}, violations {}", self.faults, self.violations.len())?;
        for (name, value) in &self.facts {
            write!(f, ", {name} {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_faults_has_not_passed() {
        let mut report = Report::of("crash", 7);
        assert!(!report.passed());
        report.faults = 1;
        assert!(report.passed());
        report.violations.push("lost".into());
        assert!(!report.passed());
        assert!(report.to_string().contains("seed 7, cycles 0, faults injected 1, violations 1"));
    }
}
