//! `[worker]` and `[[functions]]`: what can be invoked, where its assets are staged, and how much of it at once.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use assetmesh_http_api::{FunctionConfig, Functions, InvocationLimits};
use assetmesh_node::staging;
use serde::Deserialize;
use uuid::Uuid;

use super::{DEFAULT_LOG, DEFAULT_NODE, Layers};
use crate::args::{NodeRunArgs, WorkerRunArgs};
use crate::exit::Fault;
use crate::value::{ByteSize, Listen, LogFormat, NodeUrl, Span};

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
    account_invocations_max: Option<NonZeroUsize>,
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

/// How `assetmesh worker run` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkerSettings {
    /// Where invocations are served. Loopback, beside the default of a node.
    pub(crate) http: Listen,
    /// The node that knows accounts and assets.
    pub(crate) node: NodeUrl,
    /// What is invoked, and how.
    pub(crate) invocations: Invocations,
    /// The limits of the HTTP listener and of requests.
    pub(crate) http_limits: assetmesh_http_api::Config,
    /// What is logged, in the form of `RUST_LOG`.
    pub(crate) log_filter: String,
    /// How it is logged.
    pub(crate) log_format: LogFormat,
}

impl Layers<'_> {
    /// The settings of a worker in a process of its own.
    pub(crate) fn worker(&mut self, args: &WorkerRunArgs) -> Result<WorkerSettings, Fault> {
        let mut worker = std::mem::take(&mut self.file.worker);
        let functions = std::mem::take(&mut self.file.functions);
        let (http, log) = (std::mem::take(&mut self.file.http), std::mem::take(&mut self.file.log));
        let node = self.file.client.node.take();
        let rust_log = self.var("RUST_LOG");
        Ok(WorkerSettings {
            http: self
                .pick(args.http, "ASSETMESH_WORKER_HTTP", worker.http.take())?
                .unwrap_or(Listen(([127, 0, 0, 1], 4100).into())),
            node: match self.pick(args.node.clone(), "ASSETMESH_NODE", node)? {
                Some(node) => node,
                None => DEFAULT_NODE.parse().map_err(|unfit| Fault::usage(format!("{unfit}")))?,
            },
            invocations: self.invocations(args.asset_root.clone(), worker, functions)?,
            http_limits: self.http_limits(&NodeRunArgs::default(), http)?,
            log_filter: self
                .pick(args.log.clone(), "ASSETMESH_LOG", rust_log.or(log.filter))?
                .unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: self
                .pick(args.log_format, "ASSETMESH_LOG_FORMAT", log.format)?
                .unwrap_or(LogFormat::Text),
        })
    }

    pub(super) fn invocations(
        &self,
        asset_root: Option<PathBuf>,
        file: WorkerSection,
        functions: Vec<FunctionSection>,
    ) -> Result<Invocations, Fault> {
        let (staging, limits) = (staging::Config::default(), InvocationLimits::default());
        let count = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, NonZeroUsize::get));
        let span = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |Span(span)| span));
        let invocations_max =
            count("ASSETMESH_WORKER_INVOCATIONS_MAX", file.invocations_max, staging.invocations_max)?;
        Ok(Invocations {
            asset_root: self.pick(asset_root, "ASSETMESH_ASSET_ROOT", file.asset_root)?,
            staging: staging::Config {
                invocations_max,
                account_invocations_max: count(
                    "ASSETMESH_WORKER_ACCOUNT_INVOCATIONS_MAX",
                    file.account_invocations_max,
                    staging::account_share(invocations_max),
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn read(env: &dyn Fn(&str) -> Option<String>, file: &str) -> Result<WorkerSettings, Fault> {
        Layers { env, file: toml::from_str(file).unwrap() }.worker(&WorkerRunArgs::default())
    }

    #[test]
    fn a_worker_without_settings_sits_beside_a_node_without_settings() {
        let settings = read(&|_| None, "").unwrap();
        assert_eq!(settings.http, Listen(([127, 0, 0, 1], 4100).into()));
        assert_eq!(settings.node.to_string().trim_end_matches('/'), "http://127.0.0.1:4000");
        assert_eq!(settings.invocations.staging, staging::Config::default());
        assert_eq!(settings.invocations.limits, InvocationLimits::default());
        assert_eq!(settings.invocations.functions, Functions::default());
    }

    #[test]
    fn every_setting_of_a_worker_has_its_variable() {
        let env = |name: &str| {
            let value = match name {
                "ASSETMESH_WORKER_HTTP" => "127.0.0.1:1",
                "ASSETMESH_NODE" => "http://other:1",
                "ASSETMESH_ASSET_ROOT" => "/r",
                "ASSETMESH_WORKER_INVOCATIONS_MAX" => "2",
                "ASSETMESH_WORKER_ACCOUNT_INVOCATIONS_MAX" => "1",
                "ASSETMESH_WORKER_STAGED_BYTES_MAX" => "3KiB",
                "ASSETMESH_WORKER_ASSETS_MAX" => "4",
                "ASSETMESH_WORKER_ANSWER_TIMEOUT" => "5s",
                "ASSETMESH_WORKER_ANSWERS_KEPT_MAX" => "6",
                "ASSETMESH_WORKER_ANSWERS_KEPT_FOR" => "7s",
                _ => return None,
            };
            Some(value.to_owned())
        };
        // What stands in the file does not count where there is a variable.
        let file = "[worker]\nhttp = \"127.0.0.1:9\"\nasset_root = \"/f\"\nassets_max = 9\nanswer_timeout = \"9s\"\n";
        let settings = read(&env, file).unwrap();
        assert_eq!(settings.http, Listen(([127, 0, 0, 1], 1).into()));
        assert_eq!(settings.node.to_string().trim_end_matches('/'), "http://other:1");
        let Invocations { asset_root, staging, limits, .. } = settings.invocations;
        assert_eq!(asset_root, Some(PathBuf::from("/r")));
        assert_eq!((staging.invocations_max, staging.bytes_max, staging.assets_max), (2, 3072, 4));
        assert_eq!(staging.account_invocations_max, 1);
        assert_eq!((limits.answer_within.as_secs(), limits.kept_max, limits.keep_for.as_secs()), (5, 6, 7));
    }

    #[rstest]
    #[case::one_account_can_work_alone(1, 1)]
    #[case::a_place_is_left_where_there_are_four(4, 3)]
    #[case::a_quarter_is_left_of_many(1000, 750)]
    fn what_one_account_may_have_goes_with_what_all_may(
        #[case] invocations: usize,
        #[case] of_account: usize,
    ) {
        let settings = read(&|_| None, &format!("[worker]\ninvocations_max = {invocations}\n")).unwrap();
        assert_eq!(settings.invocations.staging.account_invocations_max, of_account);
    }

    #[rstest]
    #[case("url = \"https://h/\"", "http://host")]
    #[case("url = \"http://h/\"\nversion_id = \"a/b\"", "version_id")]
    fn a_function_that_cannot_be_called_is_refused_before_anything_starts(
        #[case] lines: &str,
        #[case] named: &str,
    ) {
        let id = "11111111-1111-4111-8111-111111111111";
        let error = read(&|_| None, &format!("[[functions]]\nid = \"{id}\"\n{lines}\n")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(named) && text.contains(id), "{text}");
    }
}
