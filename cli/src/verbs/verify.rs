//! `assetmesh verify`: checks the data directory of a stopped node and lists what is damaged; or, with `--node`, has a
//! running node check its content and mend what other nodes hold. It mends nothing itself.

mod running;

use std::path::Path;

use anyhow::Context as _;
use assetmesh_node::storage::OpenError;
use assetmesh_node::verify::{self, Error, Finding, Summary};
use serde_json::json;

use crate::args::VerifyArgs;
use crate::exit::{Exit, Fault};
use crate::output::{Output, human_bytes, printable};

pub(crate) use self::running::ask;

/// Prints a line for each damage; fails with [`Exit::Integrity`] if there is any.
pub(crate) async fn run(args: &VerifyArgs, data_dir: &Path) -> anyhow::Result<()> {
    let what = || format!("cannot verify {}", data_dir.display());
    if !data_dir.is_dir() {
        let missing = Fault::new(Exit::NotFound, "there is no such folder: name it with --data-dir");
        return Err(missing).with_context(what);
    }
    let mut report = Report::new((&args.output).into());
    let checked =
        verify::run(data_dir, args.all, &mut |finding: Finding| report.add(&finding.to_string())).await;
    let summary = checked.map_err(explain).with_context(what)?;
    report.end(&told(&summary, args.all))
}

fn explain(error: Error) -> anyhow::Error {
    match &error {
        Error::Open(OpenError::InUse(_)) => Fault::new(
            Exit::Conflict,
            format!("{error}: stop the node that runs on it first, or name it with --node"),
        )
        .into(),
        _ => error.into(),
    }
}

fn told(summary: &Summary, all: bool) -> String {
    let rows = summary.catalog.rows;
    if all {
        let bytes = human_bytes(summary.blobs.bytes);
        return format!("{rows} descriptions and {bytes} in {} contents are sound", summary.blobs.blobs);
    }
    format!("{rows} descriptions are sound; --all checks every byte of content too")
}

/// What was found so far, told line by line.
struct Report {
    output: Output,
    damage: u64,
    /// The first line that could not be printed; the check goes on, because its exit code matters too.
    unprinted: Option<anyhow::Error>,
}

impl Report {
    fn new(output: Output) -> Self {
        Self { output, damage: 0, unprinted: None }
    }

    fn add(&mut self, finding: &str) {
        self.damage += 1;
        let printed = if self.output.json() {
            self.output.document(&json!({"damage": finding}))
        } else {
            self.output.data(printable(finding))
        };
        if let Err(error) = printed {
            self.unprinted.get_or_insert(error);
        }
    }

    fn end(self, summary: &str) -> anyhow::Result<()> {
        self.output.note(summary);
        match (self.damage, self.unprinted) {
            (0, None) => Ok(()),
            (0, Some(error)) => Err(error),
            (damage, _) => {
                let sentence = format!(
                    "{damage} damaged: fetch these assets again from where they came, or restore a backup"
                );
                Err(Fault::new(Exit::Integrity, sentence).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::OutputArgs;
    use crate::exit::code_of;

    fn report() -> Report {
        Report::new((&OutputArgs { json: false, quiet: true, no_progress: true }).into())
    }

    #[test]
    fn damage_is_an_integrity_failure() {
        assert!(report().end("1 blob").is_ok());
        let mut damaged = report();
        damaged.add("a flipped bit");
        assert_eq!(code_of(&damaged.end("1 blob").unwrap_err()), Some(Exit::Integrity));
    }

    #[test]
    fn a_running_node_is_a_conflict() {
        let error = explain(Error::Open(OpenError::InUse("x/catalog.redb".into())));
        assert_eq!(code_of(&error), Some(Exit::Conflict));
    }
}
