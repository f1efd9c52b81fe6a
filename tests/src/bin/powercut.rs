//! The power-cut run: an own ext4 loses what was never synced. `--no-fsync` is its negative control.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{CrashPlan, Disk, run_crashes};
use clap::Parser;

/// Cuts the power of a node's disk at random moments, starts the node again, and compares it with the
/// history. Needs root, loop devices and mkfs.ext4.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often the power is cut.
    #[arg(long, default_value_t = 200)]
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
    /// Negative control: fsync only claims to work (needs strace). Succeeds if lost writes are seen.
    #[arg(long)]
    no_fsync: bool,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let disk = if arguments.no_fsync { Disk::PowerCutWithoutSync } else { Disk::PowerCut };
    let plan = CrashPlan {
        seed: arguments.seed,
        cycles: arguments.cycles,
        clients: arguments.clients,
        disk,
        ready_within: Duration::from_millis(arguments.ready_ms),
    };
    let report = run_crashes(&plan, |report| {
        if report.cycles % 25 == 0 {
            println!("{report}");
        }
    })?;
    println!("{report}");
    if arguments.no_fsync {
        let caught = report.faults > 0 && !report.violations.is_empty();
        println!("negative control: {}", if caught { "the loss was seen" } else { "NOTHING WAS SEEN" });
        return Ok(if caught { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    Ok(report.exit_code())
}
