//! The simulator as a program: one big federation, or many small worlds.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use assetmesh_tests::{Control, Scenario, SimPlan, run_sim};
use clap::Parser;

/// Runs the node's real decisions on registry and liveness under one virtual clock, with everything that can go wrong.
/// Without `--worlds` one big federation, else that many small worlds. The seed repeats a run exactly.
#[derive(Debug, Parser)]
struct Arguments {
    /// Nodes of the big federation.
    #[arg(long, default_value_t = 1000)]
    nodes: u64,
    /// The seed; of many worlds the first one's.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How long the big federation runs, in virtual seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// How many small worlds to run instead.
    #[arg(long)]
    worlds: Option<u64>,
    /// A scenario of your own instead of the built-in ones.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// Breaks a rule on purpose, which must be found: `tie-break`, `tombstone` or `haste`.
    #[arg(long, default_value = "none")]
    control: Control,
    /// Prints everything that happens.
    #[arg(long)]
    trace: bool,
    /// Threads to run worlds on.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Worlds between two lines of progress.
const TELL_EVERY: u64 = 1000;

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let scenarios = match &arguments.scenario {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            vec![Scenario::parse(&text).with_context(|| path.display().to_string())?]
        }
        None if arguments.worlds.is_some() => Scenario::small(),
        None => vec![Scenario::large().with_nodes(arguments.nodes)],
    };
    let seconds = arguments.seconds;
    let longer = |scenario: Scenario| match seconds {
        Some(seconds) => scenario.with_seconds(seconds),
        None => scenario,
    };
    let plan = SimPlan {
        seed: arguments.seed,
        worlds: arguments.worlds.unwrap_or(1),
        scenarios: scenarios.into_iter().map(longer).collect(),
        control: arguments.control,
        trace: arguments.trace,
        threads: arguments.threads,
    };
    let report = run_sim(&plan, |done| {
        if done % TELL_EVERY == 0 {
            println!("{done} worlds done");
        }
    });
    println!("{report}");
    Ok(report.exit_code())
}
