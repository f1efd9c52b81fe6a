//! Many large invocations at once.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use assetmesh_tests::{InvocationPlan, run_invocations};
use clap::Parser;

/// Invokes a function from many clients at once, with large assets, and watches memory, disk and hashes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Invocations at once.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Invocations of each client, one after another.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Assets of each invocation.
    #[arg(long, default_value_t = 3)]
    assets: usize,
    /// The size of each asset, in MiB.
    #[arg(long, default_value_t = 100)]
    mib: usize,
    /// Where to work; it needs room for all that is staged at once (the defaults: 20 GB).
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let Arguments { clients, rounds, assets, mib, folder } = Arguments::parse();
    let plan = InvocationPlan { clients, rounds, assets, bytes: mib << 20, folder };
    let report = run_invocations(&plan)?;
    println!("{report}");
    Ok(report.exit_code())
}
