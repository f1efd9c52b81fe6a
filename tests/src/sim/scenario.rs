//! Scenarios: what kinds of worlds there are. They are data; a seed makes one world of a scenario.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::random::Random;

/// From the first number to the second, both included; each world draws its own.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(from = "(u64, u64)")]
pub(super) struct Span {
    min: u64,
    max: u64,
}

impl From<(u64, u64)> for Span {
    fn from((min, max): (u64, u64)) -> Self {
        Self { min, max: max.max(min) }
    }
}

impl Span {
    pub(super) fn draw(self, random: &mut Random) -> u64 {
        random.within(self.min..self.max + 1)
    }
}

/// One kind of world. Counts are for the whole time of a world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name, for reports.
    pub name: String,
    /// Nodes that are there from the beginning.
    pub(super) nodes: Span,
    /// How long faults happen, in seconds.
    pub(super) seconds: u64,
    /// How long all may take to agree after the last fault, in seconds.
    pub(super) settle_seconds: u64,
    /// Up to how many members all watch all; above, monitors do.
    pub(super) mesh_max: usize,
    /// Messages and pings that are lost, in a hundred.
    pub(super) loss_percent: Span,
    /// How long a message takes, in milliseconds.
    pub(super) delay_ms: Span,
    /// Up to how much longer it takes at times.
    pub(super) jitter_ms: Span,
    /// True if the promised times for joins and crashes, and no false death, hold in these worlds.
    #[serde(default)]
    pub(super) strict: bool,
    /// What clients write.
    #[serde(default)]
    pub(super) writes: Span,
    /// Life of an envelope and time between refreshes, in seconds, instead of the defaults.
    #[serde(default)]
    pub(super) lifetime_seconds: Option<(u64, u64)>,
    /// What goes wrong.
    #[serde(default)]
    pub(super) faults: Faults,
}

/// What goes wrong in a world.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Faults {
    /// Nodes that start later for the first time.
    pub(super) joins: Span,
    /// Processes that are killed: their links are reset at once.
    pub(super) kills: Span,
    /// Machines that lose their power: their links only fall silent.
    pub(super) power_cuts: Span,
    /// How long they stay away.
    pub(super) away_seconds: Span,
    /// Of those that come back, how many in a hundred have lost their disk.
    pub(super) wiped_percent: u64,
    /// Of those that go, how many in a hundred never come back.
    pub(super) never_back_percent: u64,
    /// Nodes that stop in order.
    pub(super) leaves: Span,
    /// Nodes that are stopped as by SIGSTOP.
    pub(super) pauses: Span,
    pub(super) pause_ms: Span,
    /// Cuts of the network into two parts.
    pub(super) partitions: Span,
    /// Cuts between two nodes, both ways.
    pub(super) cuts: Span,
    /// Cuts from one node to another.
    pub(super) one_way_cuts: Span,
    pub(super) cut_seconds: Span,
    /// Nodes that are short of processor time all along: they are stopped and run by turns.
    pub(super) stalled_percent: u64,
    pub(super) stall_ms: Span,
    pub(super) run_ms: Span,
    /// Nodes whose clock is wrong by up to `skew_seconds`.
    pub(super) skewed_percent: u64,
    pub(super) skew_seconds: Span,
    /// Nodes whose clock is wrong by hours.
    pub(super) mad_clocks: Span,
    /// Clocks that jump by up to `skew_seconds`.
    pub(super) clock_jumps: Span,
    /// Nodes that lie.
    pub(super) liars: Span,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When the text is not one; the error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        toml::from_str(text).context("this is no scenario")
    }

    /// The scenarios of small worlds, which `--worlds` takes in turn.
    #[must_use]
    pub fn small() -> Vec<Self> {
        [
            include_str!("../../data/sim/small_mesh.toml"),
            include_str!("../../data/sim/small_monitored.toml"),
            include_str!("../../data/sim/short_lives.toml"),
            include_str!("../../data/sim/wrong_clocks.toml"),
            include_str!("../../data/sim/liars.toml"),
        ]
        .map(built_in)
        .to_vec()
    }

    /// The scenario of a big federation under loss and stalls.
    #[must_use]
    pub fn large() -> Self {
        built_in(include_str!("../../data/sim/large.toml"))
    }

    /// With another number of nodes.
    #[must_use]
    pub fn with_nodes(mut self, nodes: u64) -> Self {
        self.nodes = Span { min: nodes, max: nodes };
        self
    }

    /// With another length.
    #[must_use]
    pub fn with_seconds(mut self, seconds: u64) -> Self {
        self.seconds = seconds;
        self
    }
}

fn built_in(text: &str) -> Scenario {
    Scenario::parse(text).expect("a test reads the built-in scenarios")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scenarios_are_read_and_have_names_of_their_own() {
        let mut names: Vec<String> = Scenario::small().into_iter().map(|scenario| scenario.name).collect();
        names.push(Scenario::large().name);
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn an_unknown_word_is_refused_with_its_line() {
        let error = Scenario::parse("name = \"x\"\nnods = [3, 4]\n").unwrap_err();
        assert!(format!("{error:#}").contains("nods"), "{error:#}");
    }
}
