//! The log of a running node: where it goes and in which form.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::exit::Fault;
use crate::value::LogFormat;

/// The words about start and stop are always logged: whoever starts a node or worker must learn where it answers.
const ALWAYS: &str = "assetmesh::verbs::node=info,assetmesh::verbs::worker=info";

/// Starts logging to standard error.
pub(in crate::verbs) fn start(directives: &str, format: LogFormat) -> Result<(), Fault> {
    let filter = filter(directives)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Fault::usage(format!("cannot start logging: {error}")))
}

fn filter(directives: &str) -> Result<EnvFilter, Fault> {
    EnvFilter::try_new(format!("{directives},{ALWAYS}")).map_err(|error| {
        Fault::usage(format!(
            "`{directives}` is not a log filter such as info or assetmesh_node=debug,warn: {error}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_checked() {
        assert!(filter("warn,assetmesh_node=debug").is_ok());
        assert!(filter("a=b=c").unwrap_err().to_string().contains("`a=b=c`"));
    }
}
