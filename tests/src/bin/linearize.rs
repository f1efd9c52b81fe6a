//! The long run of many writers and readers on one uri, each history checked.

use std::process::ExitCode;

use anyhow::Result;
use assetmesh_tests::{Contention, NodeOptions, Report, linearize};
use clap::Parser;
use tempfile::TempDir;

/// Lets many clients write and read one uri, and looks for an order that one register could have shown.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 30)]
    rounds: u64,
    /// How many clients at once.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Calls of each client.
    #[arg(long, default_value_t = 30)]
    calls: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut report = Report::of("linearize", arguments.seed);
    let mut calls_checked = 0;
    for round in 0..arguments.rounds {
        let folder = TempDir::new()?;
        let node = NodeOptions::new(folder.path()).start()?;
        // A delete has no value of its own, so a history with deletes is harder to order: fewer clients.
        let removals = round % 2 == 1;
        let clients = if removals { arguments.clients.min(10) } else { arguments.clients };
        let seed = arguments.seed + round;
        let contention = Contention { clients, calls_each: arguments.calls, removals, seed };
        let calls = contention.run(node.address())?;
        report.cycles += 1;
        report.faults += clients;
        calls_checked += calls.len();
        if let Err(stuck) = linearize(None, &calls) {
            report.violations.push(format!("round {round}: {stuck}"));
        }
    }
    report.fact("calls", calls_checked);
    println!("{report}");
    Ok(report.exit_code())
}
