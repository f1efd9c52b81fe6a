//! Where things are printed: data on standard output, all else on standard error. It knows no verb.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use crate::args::OutputArgs;
use crate::exit::StdoutClosed;

/// What a name or a list of tags needs in a table; `--json` shows all.
const CELL_CHARS_MAX: usize = 48;

/// How the user wants to be told things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    progress: bool,
}

impl From<&OutputArgs> for Output {
    fn from(args: &OutputArgs) -> Self {
        Self { json: args.json, quiet: args.quiet, progress: !args.quiet && !args.no_progress }
    }
}

impl Output {
    /// Whether data is wanted as JSON.
    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Whether lines for the user are wanted.
    pub(crate) fn notes(self) -> bool {
        !self.quiet
    }

    /// One line of data on standard output.
    pub(crate) fn data(self, line: impl Display) -> anyhow::Result<()> {
        stdout(writeln!(io::stdout().lock(), "{line}"))
    }

    /// A JSON document on standard output: one line with `--json`, else indented.
    pub(crate) fn document(self, document: &Value) -> anyhow::Result<()> {
        let text = if self.json { document.to_string() } else { format!("{document:#}") };
        self.data(escape_controls(&text))
    }

    /// One line for the user on standard error, unless `-q` was given.
    pub(crate) fn note(self, line: impl Display) {
        if !self.quiet {
            complain(line);
        }
    }

    /// A bar for a transfer of `total` bytes. It shows only on a terminal.
    pub(crate) fn bar(self, total: Option<u64>, verb: &'static str) -> ProgressBar {
        if !self.progress || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = match total {
            Some(total) => ProgressBar::new(total).with_style(style(
                "{msg} {bar:30} {percent:>3} % {binary_bytes} of {binary_total_bytes} {binary_bytes_per_sec}, {eta} left",
            )),
            None => ProgressBar::no_length().with_style(style("{msg} {binary_bytes} {binary_bytes_per_sec}")),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.enable_steady_tick(Duration::from_millis(500));
        bar.with_message(verb)
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// One line on standard error. If that is closed there is nobody left to tell.
pub(crate) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Turns the outcome of a write to standard output into an error that knows a closed pipe.
pub(crate) fn stdout<T>(written: io::Result<T>) -> anyhow::Result<T> {
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => StdoutClosed.into(),
        _ => anyhow::Error::new(error).context("cannot write to standard output"),
    })
}

/// Text from elsewhere, made harmless for a terminal: control characters are shown escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// Text from elsewhere for a cell of a table: harmless, and cut, so that one long text does not push all others away.
pub(crate) fn cell(text: &str) -> String {
    let shown = printable(text);
    match shown.char_indices().nth(CELL_CHARS_MAX) {
        None => shown,
        Some((end, _)) => format!("{}…", &shown[..end]),
    }
}

/// JSON text with the control characters that JSON leaves as they are, and a terminal obeys, escaped.
fn escape_controls(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() && character != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// A number of bytes as people read it.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_from_elsewhere_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{9b}é"), "a\\u{1b}[2Jb\\nc\\u{9b}é");
    }

    #[test]
    fn a_cell_is_cut_at_a_character_and_a_short_one_is_not() {
        assert_eq!(cell(&"é".repeat(48)), "é".repeat(48));
        assert_eq!(cell(&"é".repeat(5_000)), format!("{}…", "é".repeat(48)));
        assert_eq!(cell("a\n"), "a\\n");
    }

    #[test]
    fn json_stays_the_same_value_when_its_controls_are_escaped() {
        let value = serde_json::json!({"a\u{9b}": "\u{7f}\n\u{1b}é"});
        let text = escape_controls(&format!("{value:#}"));
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn a_closed_pipe_is_told_from_a_broken_disk() {
        let closed: io::Result<()> = Err(io::ErrorKind::BrokenPipe.into());
        assert!(stdout(closed).unwrap_err().downcast_ref::<StdoutClosed>().is_some());
        let broken: io::Result<()> = Err(io::ErrorKind::StorageFull.into());
        assert!(stdout(broken).unwrap_err().downcast_ref::<StdoutClosed>().is_none());
    }
}
