//! The long bit-flip run over both files of a stopped node.

use std::process::ExitCode;

use anyhow::Result;
use assetmesh_tests::{FlipPlan, run_flips};
use clap::Parser;

/// Flips one bit of a stopped node's files, starts it, and judges everything it serves; again and again.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many bits are flipped, one at a time.
    #[arg(long, default_value_t = 300)]
    flips: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Only this file: blobs.redb or catalog.redb.
    #[arg(long)]
    file: Option<String>,
    /// Also print what became of each flip that did some harm.
    #[arg(long)]
    each: bool,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let Arguments { flips, seed, file, each } = Arguments::parse();
    let report = run_flips(&FlipPlan { seed, flips, file, each }, |report| {
        if report.cycles % 50 == 0 && !each {
            println!("{report}");
        }
    })?;
    println!("{report}");
    Ok(report.exit_code())
}
