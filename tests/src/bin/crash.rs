//! The long crash run: kill -9 at random moments, and every acknowledged write must be there.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{CrashPlan, Disk, run_crashes};
use clap::Parser;

/// Kills a node at random moments of uploads, updates, renames and deletes by several clients, starts
/// it again, and compares it with the history.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often the node is killed.
    #[arg(long, default_value_t = 300)]
    cycles: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many clients write at once.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// How soon the node must be ready again, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    ready_ms: u64,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = CrashPlan {
        seed: arguments.seed,
        cycles: arguments.cycles,
        clients: arguments.clients,
        disk: Disk::Kept,
        ready_within: Duration::from_millis(arguments.ready_ms),
    };
    let report = run_crashes(&plan, |report| {
        if report.cycles % 25 == 0 {
            println!("{report}");
        }
    })?;
    println!("{report}");
    Ok(report.exit_code())
}
