//! The settings file: TOML as typed text. It fills in no defaults and merges nothing.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::nvcf::NvcfSection;
use super::worker::{FunctionSection, WorkerSection};
use crate::exit::Fault;
use crate::value::{
    AuthMode, ByteSize, Issuer, Listen, LogFormat, Network, NodeUrl, ProbeReach, PublicUrl, ReadsMode,
    RemoteWrites, Span,
};

/// Everything that may stand in the file. An unknown key is an error with its line.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSettings {
    #[serde(default)]
    pub(crate) node: NodeSection,
    #[serde(default)]
    pub(crate) federation: FederationSection,
    #[serde(default)]
    pub(crate) auth: AuthSection,
    #[serde(default)]
    pub(crate) nvcf: NvcfSection,
    #[serde(default)]
    pub(crate) worker: WorkerSection,
    #[serde(default)]
    pub(crate) functions: Vec<FunctionSection>,
    #[serde(default)]
    pub(crate) http: HttpSection,
    #[serde(default)]
    pub(crate) log: LogSection,
    #[serde(default)]
    pub(crate) client: ClientSection,
}

/// `[node]`: one node and what it says about itself.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeSection {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) http: Option<Listen>,
    pub(crate) public_url: Option<PublicUrl>,
    pub(crate) name: Option<String>,
    pub(crate) labels: Option<Vec<String>>,
    pub(crate) cache_max: Option<ByteSize>,
}

/// `[federation]`: how a node finds the others, and is found.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FederationSection {
    pub(crate) network: Option<Network>,
    pub(crate) network_key_file: Option<PathBuf>,
    pub(crate) p2p: Option<Vec<String>>,
    pub(crate) bootstrap: Option<Vec<String>>,
    pub(crate) mdns: Option<bool>,
    pub(crate) remote_writes: Option<RemoteWrites>,
}

/// `[auth]`: who may do what.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthSection {
    pub(crate) mode: Option<AuthMode>,
    pub(crate) reads: Option<ReadsMode>,
    pub(crate) allow_anonymous_writes: Option<bool>,
    pub(crate) trusted_issuers: Option<Vec<Issuer>>,
    pub(crate) issuers: Option<Vec<OutsideIssuer>>,
}

/// One of `[auth] issuers`: somebody outside of the federation whose tokens are accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OutsideIssuer {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) jwks_file: PathBuf,
}

/// `[http]`: the limits of the HTTP listener and of requests.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpSection {
    pub(crate) connections_max: Option<NonZeroUsize>,
    pub(crate) header_timeout: Option<Span>,
    pub(crate) idle_timeout: Option<Span>,
    pub(crate) stall_timeout: Option<Span>,
    pub(crate) progress_window: Option<Span>,
    pub(crate) progress_bytes_min: Option<ByteSize>,
    pub(crate) stop_deadline: Option<Span>,
    pub(crate) upload_bytes_max: Option<ByteSize>,
    pub(crate) probe: Option<ProbeReach>,
}

/// `[log]`: what a node logs, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    pub(crate) filter: Option<String>,
    pub(crate) format: Option<LogFormat>,
}

/// `[client]`: how the client verbs reach a node.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientSection {
    pub(crate) node: Option<NodeUrl>,
    pub(crate) token: Option<String>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) idle_timeout: Option<Span>,
    pub(crate) retries: Option<u32>,
}

impl FileSettings {
    /// Reads a file. Errors name it, the line and the key.
    pub(crate) fn read(path: &Path) -> Result<Self, Fault> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Fault::usage(format!("cannot read the settings file {}: {error}", path.display()))
        })?;
        Self::parse(&text).map_err(|error| Fault::usage(format!("{}: {}", path.display(), error.trim_end())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = FileSettings::parse("[node]\nname = \"a\"\ndata-dir = \"x\"\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("data-dir"), "{error}");
        let error = FileSettings::parse("[nodes]\n").unwrap_err();
        assert!(error.contains("line 1") && error.contains("nodes"), "{error}");
    }

    #[test]
    fn a_value_of_the_wrong_form_is_refused_with_its_line() {
        let error = FileSettings::parse("[node]\n\nhttp = \"4000\"\n").unwrap_err();
        assert!(error.contains("line 3") && error.contains("address and port"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = FileSettings::read(Path::new("/no/such/file.toml")).unwrap_err();
        assert!(error.to_string().contains("/no/such/file.toml"), "{error}");
    }
}
