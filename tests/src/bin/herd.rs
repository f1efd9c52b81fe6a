//! The long run of the herd: a thousand clients ask one node at once for content that it does not hold.

use std::process::ExitCode;

use anyhow::Result;
use assetmesh_tests::{HerdPlan, run_herd};
use clap::Parser;

/// Lets many clients ask one node at once for the same content of another, and counts how often it comes over.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many at once; every tenth hangs up midway.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// MiB of the content.
    #[arg(long, default_value_t = 16)]
    mib: usize,
    /// How many times, each with other content.
    #[arg(long, default_value_t = 3)]
    rounds: u64,
    /// Makes the content.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// An argument of `node run`, for all nodes; may be repeated.
    #[arg(long = "node-arg", allow_hyphen_values = true)]
    node_arguments: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let Arguments { clients, mib, rounds, seed, node_arguments } = Arguments::parse();
    let report = run_herd(&HerdPlan { seed, clients, bytes: mib << 20, rounds, node_arguments })?;
    println!("{report}");
    Ok(report.exit_code())
}
