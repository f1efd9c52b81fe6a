//! The long run of the union: what a filter finds through any node is what it finds over all assets.

use std::process::ExitCode;

use anyhow::Result;
use assetmesh_tests::{UnionPlan, run_union};
use clap::Parser;

/// Spreads assets over several nodes, asks every recorded and many made up filters on random nodes, page by page, and
/// compares with the filter run over the union.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many nodes.
    #[arg(long, default_value_t = 5)]
    nodes: usize,
    /// How many assets they hold together.
    #[arg(long, default_value_t = 200_000)]
    assets: usize,
    /// Questions that are made up.
    #[arg(long, default_value_t = 500)]
    questions: usize,
    /// One of so many recorded questions is asked.
    #[arg(long, default_value_t = 1)]
    step: usize,
    /// Pages that are read of most answers; every twentieth is read to its end.
    #[arg(long, default_value_t = 4)]
    pages: usize,
    /// How many ask at once.
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// Repeats the choices of an earlier run.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Believes in an asset that is nowhere, which must be found.
    #[arg(long)]
    control: bool,
}

#[expect(clippy::print_stdout, reason = "the report is what this program is for")]
fn main() -> Result<ExitCode> {
    let Arguments { nodes, assets, questions, step, pages, clients, seed, control } = Arguments::parse();
    let step = step.max(1);
    let report = run_union(&UnionPlan { seed, nodes, assets, questions, step, pages, clients, control })?;
    println!("{report}");
    Ok(report.exit_code())
}
