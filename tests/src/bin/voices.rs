//! The long run of silent nodes: no answer hides that a node was not heard, and none is late.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{VoicesPlan, run_voices};
use clap::Parser;

/// Asks nodes at random, with deadlines of 0.2 to 2 s, while another node is stopped, goes on, is killed and returns.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How many assets they hold together.
    #[arg(long, default_value_t = 5_000)]
    assets: usize,
    /// How many questions are answered.
    #[arg(long, default_value_t = 1_000)]
    questions: u64,
    /// How many ask at once.
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// What a client waits between two questions on average, in milliseconds.
    #[arg(long, default_value_t = 150)]
    pause_ms: u64,
    /// How long an answer may take beyond its deadline, in milliseconds.
    #[arg(long, default_value_t = 100)]
    grace_ms: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Believes in an asset that is nowhere, which must be found.
    #[arg(long)]
    control: bool,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let Arguments { nodes, assets, questions, clients, pause_ms, grace_ms, seed, control } =
        Arguments::parse();
    let grace = Duration::from_millis(grace_ms);
    let plan = VoicesPlan { seed, nodes, assets, questions, clients, pause_ms, grace, control };
    let report = run_voices(&plan)?;
    println!("{report}");
    Ok(report.exit_code())
}
