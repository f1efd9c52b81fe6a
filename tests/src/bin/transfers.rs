//! Measures transfers between nodes, and kills a provider midway. Prints `name=value` pairs, for scripts/bench.sh.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{TransferPlan, run_transfers};
use clap::Parser;

/// Downloads content through a node that does not hold it: beside a raw stream, from three providers, and from one
/// that is killed.
#[derive(Debug, Parser)]
struct Arguments {
    /// MiB of each content.
    #[arg(long, default_value_t = 1024)]
    mib: usize,
    /// How often the speed is measured; the best counts.
    #[arg(long, default_value_t = 3)]
    runs: u64,
    /// The program that sends a raw stream: `cargo build -p assetmesh-node --example raw_stream`.
    #[arg(long)]
    raw: Option<PathBuf>,
    /// The speed must be at least this share of the raw stream's.
    #[arg(long, default_value_t = 0.8)]
    ratio_min: f64,
    /// The first byte must be there within so many milliseconds.
    #[arg(long, default_value_t = 200)]
    first_byte_ms: u64,
    /// MiB that either end may use beyond what it used idle.
    #[arg(long, default_value_t = 64)]
    memory_mib: u64,
    /// Makes the contents.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// An argument of `node run`, for all nodes; may be repeated.
    #[arg(long = "node-arg", allow_hyphen_values = true)]
    node_arguments: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the figures are what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let report = run_transfers(&TransferPlan {
        seed: arguments.seed,
        bytes: arguments.mib << 20,
        runs: arguments.runs.max(1),
        raw: arguments.raw,
        ratio_min: arguments.ratio_min,
        first_byte_max: Duration::from_millis(arguments.first_byte_ms),
        memory_max: arguments.memory_mib << 20,
        node_arguments: arguments.node_arguments,
    })?;
    let figures = report.facts.iter().map(|(name, value)| format!("{name}={value}"));
    println!("{}", figures.collect::<Vec<_>>().join(" "));
    println!("{report}");
    Ok(report.exit_code())
}
