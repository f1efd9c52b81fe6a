//! The long run of lying peers: everyone of them is found out, and no client gets a wrong byte under a clean end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use assetmesh_tests::{Manner, RoguesPlan, run_rogues};
use clap::Parser;

/// Downloads content through a node that a lying peer offers it to: beside an honest provider, and without one.
#[derive(Debug, Parser)]
struct Arguments {
    /// MiB of each content.
    #[arg(long, default_value_t = 32)]
    mib: usize,
    /// How soon the next provider must bring something, in milliseconds.
    #[arg(long, default_value_t = 1_000)]
    next_ms: u64,
    /// Manners of lying that are tried at once.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Makes the contents.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let report = run_rogues(&RoguesPlan {
        seed: arguments.seed,
        manners: Manner::ALL.to_vec(),
        bytes: arguments.mib << 20,
        stall: Duration::from_secs(10),
        next_within: Duration::from_millis(arguments.next_ms),
        threads: arguments.threads.max(1),
    })?;
    println!("{report}");
    Ok(report.exit_code())
}
