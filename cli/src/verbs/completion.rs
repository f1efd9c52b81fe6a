//! `assetmesh completion`: prints a script for a shell.

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::output::stdout;

/// Prints the completion script of `shell`.
pub(crate) fn run(shell: clap_complete::Shell) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "assetmesh", &mut script);
    stdout(std::io::Write::write_all(&mut std::io::stdout().lock(), &script))
}
