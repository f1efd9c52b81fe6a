//! `[worker]` and `[[functions]]`: what can be invoked, where its assets are staged, and how much of it at once.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use assetmesh_http_api::{FunctionConfig, Functions, InvocationLimits};
use assetmesh_node::staging;
use serde::Deserialize;
use uuid::Uuid;

use super::Layers;
use crate::exit::Fault;
use crate::value::{ByteSize, Listen, Span};

/// One of `[[functions]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FunctionSection {
    id: Uuid,
    name: Option<String>,
    url: String,
    version_id: Option<String>,
}

/// `[worker]` of the settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerSection {
    pub(super) http: Option<Listen>,
    asset_root: Option<PathBuf>,
    invocations_max: Option<NonZeroUsize>,
    staged_bytes_max: Option<ByteSize>,
    assets_max: Option<NonZeroUsize>,
    answer_timeout: Option<Span>,
    answers_kept_max: Option<NonZeroUsize>,
    answers_kept_for: Option<Span>,
}

/// How functions are invoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Invocations {
    /// Where assets are staged, if not at the default place.
    pub(crate) asset_root: Option<PathBuf>,
    /// How much is staged.
    pub(crate) staging: staging::Config,
    /// What can be invoked.
    pub(crate) functions: Functions,
    /// How long that may take.
    pub(crate) limits: InvocationLimits,
}

impl Layers<'_> {
    pub(super) fn invocations(
        &self,
        asset_root: Option<PathBuf>,
        file: WorkerSection,
        functions: Vec<FunctionSection>,
    ) -> Result<Invocations, Fault> {
        let (staging, limits) = (staging::Config::default(), InvocationLimits::default());
        let count = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, NonZeroUsize::get));
        let span = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |Span(span)| span));
        Ok(Invocations {
            asset_root: self.pick(asset_root, "ASSETMESH_ASSET_ROOT", file.asset_root)?,
            staging: staging::Config {
                invocations_max: count(
                    "ASSETMESH_WORKER_INVOCATIONS_MAX",
                    file.invocations_max,
                    staging.invocations_max,
                )?,
                bytes_max: self
                    .pick(None, "ASSETMESH_WORKER_STAGED_BYTES_MAX", file.staged_bytes_max)?
                    .map_or(staging.bytes_max, |ByteSize(bytes)| bytes),
                assets_max: count("ASSETMESH_WORKER_ASSETS_MAX", file.assets_max, staging.assets_max)?,
                ..staging
            },
            functions: checked(functions)?,
            limits: InvocationLimits {
                answer_within: span(
                    "ASSETMESH_WORKER_ANSWER_TIMEOUT",
                    file.answer_timeout,
                    limits.answer_within,
                )?,
                kept_max: count("ASSETMESH_WORKER_ANSWERS_KEPT_MAX", file.answers_kept_max, limits.kept_max)?,
                keep_for: span("ASSETMESH_WORKER_ANSWERS_KEPT_FOR", file.answers_kept_for, limits.keep_for)?,
            },
        })
    }
}

fn checked(functions: Vec<FunctionSection>) -> Result<Functions, Fault> {
    let configs: Vec<FunctionConfig> = functions
        .into_iter()
        .map(|FunctionSection { id, name, url, version_id }| FunctionConfig { id, version_id, name, url })
        .collect();
    Functions::new(&configs).map_err(|error| Fault::usage(format!("[[functions]]: {error}")))
}
