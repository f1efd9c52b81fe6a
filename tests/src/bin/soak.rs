//! The long run of many transfers: none stalls, and nothing is left behind.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{SoakPlan, run_soak};
use clap::Parser;

/// Keeps many transfers between two nodes going, and watches memory, files, tasks and streams of both.
#[derive(Debug, Parser)]
struct Arguments {
    /// Transfers at once; one of eight is left midway.
    #[arg(long, default_value_t = 200)]
    clients: u64,
    /// How long.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// KiB of the smallest content; the largest has eight times as many.
    #[arg(long, default_value_t = 512)]
    kib: usize,
    /// Different contents, at least two a client.
    #[arg(long, default_value_t = 800)]
    contents: usize,
    /// A download that brings nothing for so many milliseconds has stalled.
    #[arg(long, default_value_t = 8_000)]
    stall_ms: u64,
    /// How often a client may be told that the holder was not heard in time.
    #[arg(long, default_value_t = 0)]
    unsure_max: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// An argument of `node run`, for both nodes; may be repeated.
    #[arg(long = "node-arg", allow_hyphen_values = true)]
    node_arguments: Vec<String>,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let report = run_soak(&SoakPlan {
        seed: arguments.seed,
        clients: arguments.clients,
        lasting: Duration::from_secs(arguments.seconds),
        bytes: arguments.kib << 10,
        contents: arguments.contents,
        stall: Duration::from_millis(arguments.stall_ms),
        unsure_max: arguments.unsure_max,
        node_arguments: arguments.node_arguments,
    })?;
    println!("{report}");
    Ok(report.exit_code())
}
