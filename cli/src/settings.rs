//! Settings: flag, then `ASSETMESH_*`, then the TOML file, then the default, merged into checked objects.
//! Nothing starts before all of them are checked.

mod access;
pub(crate) mod file;
mod nvcf;
mod worker;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use assetmesh_http_api::Reach;
use assetmesh_node::blobs;

pub(crate) use self::access::Access;
use self::file::{FederationSection, FileSettings, HttpSection};
pub(crate) use self::worker::{Invocations, WorkerSettings};
use crate::args::{ClientArgs, NodeRunArgs};
use crate::exit::Fault;
use crate::value::{ByteSize, Listen, LogFormat, Network, NodeUrl, PublicUrl, RemoteWrites, Span};

/// A token is a header line; more than this is a wrong file.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// In the working folder, so that a trial needs no rights and leaves nothing elsewhere.
const DEFAULT_DATA_DIR: &str = "./assetmesh-data";

/// What the peer network's library says below an error is about single dials and streams.
const DEFAULT_LOG: &str = "info,libp2p=error";

/// A node with default settings.
const DEFAULT_NODE: &str = "http://127.0.0.1:4000";

/// On loopback until it is told otherwise, beside the default of HTTP.
const DEFAULT_P2P: &str = "/ip4/127.0.0.1/tcp/4001";

/// How `assetmesh node run` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeSettings {
    /// The folder of the node's key and stores; it is made if missing.
    pub(crate) data_dir: PathBuf,
    /// Where HTTP is served. Loopback, because a node without tokens must not be open to the network by accident.
    pub(crate) http: Listen,
    /// The URL that others use, if it is not the bound address.
    pub(crate) public_url: Option<PublicUrl>,
    /// The node's name for people.
    pub(crate) name: Option<String>,
    /// Tags of the node.
    pub(crate) labels: Vec<String>,
    /// Bytes that content of other nodes may take beside its own.
    pub(crate) cache_max: u64,
    /// How it finds the other nodes of its federation, and is found.
    pub(crate) federation: Federation,
    /// Who may do what.
    pub(crate) access: Access,
    /// Input assets.
    pub(crate) nvcf: assetmesh_node::nvcf::Config,
    /// How functions are invoked.
    pub(crate) invocations: Invocations,
    /// The limits of the HTTP listener and of requests.
    pub(crate) http_limits: assetmesh_http_api::Config,
    /// What is logged, in the form of `RUST_LOG`.
    pub(crate) log_filter: String,
    /// How it is logged.
    pub(crate) log_format: LogFormat,
}

/// How a node takes part in a federation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Federation {
    /// Its name. The same for all who start without one, so that a first trial of two nodes needs no setting.
    pub(crate) network: Network,
    /// The key that closes it.
    pub(crate) network_key: Option<PathBuf>,
    /// Where the node listens for peers. Loopback, as for HTTP.
    pub(crate) p2p: Vec<String>,
    /// Nodes to begin with.
    pub(crate) bootstrap: Vec<String>,
    /// Whether to look around in the local network. Off: it tells everybody there that the node exists.
    pub(crate) mdns: bool,
    /// Whose changes of its assets it takes. Without a word, members' if strangers cannot join.
    pub(crate) remote_writes: Option<RemoteWrites>,
}

/// How a client verb reaches its node.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSettings {
    /// The node to ask.
    pub(crate) node: NodeUrl,
    /// The bearer token, if there is one.
    pub(crate) token: Option<String>,
    /// The longest wait without a byte in either direction. Longer than a node needs to sync a large upload.
    pub(crate) idle_timeout: Duration,
    /// How often a lost connection is tried again without progress. With the doubling pause: about half a minute.
    pub(crate) retries: u32,
}

impl std::fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientSettings")
            .field("node", &self.node)
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .field("idle_timeout", &self.idle_timeout)
            .field("retries", &self.retries)
            .finish()
    }
}

/// The layers below the flags: the environment and the settings file.
pub(crate) struct Layers<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    file: FileSettings,
}

impl std::fmt::Debug for Layers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layers").finish_non_exhaustive()
    }
}

impl<'a> Layers<'a> {
    /// Reads the settings file that the flag or `ASSETMESH_CONFIG` names; without one there is none.
    /// `env` looks up a variable; an empty one counts as not set.
    pub(crate) fn read(flag: Option<&Path>, env: &'a dyn Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let mut layers = Self { env, file: FileSettings::default() };
        let path = flag.map(PathBuf::from).or_else(|| layers.var("ASSETMESH_CONFIG").map(PathBuf::from));
        if let Some(path) = path {
            layers.file = FileSettings::read(&path)?;
        }
        Ok(layers)
    }

    /// The settings of a node.
    pub(crate) fn node(&mut self, args: &NodeRunArgs) -> Result<NodeSettings, Fault> {
        let data_dir = self.data_dir(args.data_dir.clone())?;
        let file = std::mem::take(&mut self.file.node);
        let file_http = std::mem::take(&mut self.file.http);
        let federation = std::mem::take(&mut self.file.federation);
        let access = std::mem::take(&mut self.file.auth);
        let nvcf = std::mem::take(&mut self.file.nvcf);
        let worker = std::mem::take(&mut self.file.worker);
        let functions = std::mem::take(&mut self.file.functions);
        let log = std::mem::take(&mut self.file.log);
        let labels = if args.labels.is_empty() { None } else { Some(args.labels.clone()) };
        let env_labels = self.var("ASSETMESH_LABELS").map(|list| split_list(&list));
        let rust_log = self.var("RUST_LOG");
        Ok(NodeSettings {
            data_dir,
            http: self
                .pick(args.http, "ASSETMESH_HTTP", file.http)?
                .unwrap_or(Listen(([127, 0, 0, 1], 4000).into())),
            public_url: self.pick(args.public_url.clone(), "ASSETMESH_PUBLIC_URL", file.public_url)?,
            name: self.pick(args.name.clone(), "ASSETMESH_NAME", file.name)?,
            labels: labels.or(env_labels).or(file.labels).unwrap_or_default(),
            cache_max: self
                .pick(args.cache_max, "ASSETMESH_CACHE_MAX", file.cache_max)?
                .map_or(blobs::Config::default().cache_bytes_max, |ByteSize(bytes)| bytes),
            federation: self.federation(args, federation)?,
            access: self.access(&args.access, access)?,
            nvcf: self.nvcf(nvcf)?,
            invocations: self.invocations(args.asset_root.clone(), worker, functions)?,
            http_limits: self.http_limits(args, file_http)?,
            log_filter: self
                .pick(args.log.clone(), "ASSETMESH_LOG", rust_log.or(log.filter))?
                .unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            log_format: self
                .pick(args.log_format, "ASSETMESH_LOG_FORMAT", log.format)?
                .unwrap_or(LogFormat::Text),
        })
    }

    fn federation(&self, args: &NodeRunArgs, file: FederationSection) -> Result<Federation, Fault> {
        let list = |flags: &[String], name, file: Option<Vec<String>>| {
            let flags = (!flags.is_empty()).then(|| flags.to_vec());
            flags.or_else(|| self.var(name).map(|list| split_list(&list))).or(file)
        };
        Ok(Federation {
            network: self.pick(args.network.clone(), "ASSETMESH_NETWORK", file.network)?.unwrap_or_default(),
            network_key: self.pick(
                args.network_key.clone(),
                "ASSETMESH_NETWORK_KEY_FILE",
                file.network_key_file,
            )?,
            p2p: list(&args.p2p, "ASSETMESH_P2P", file.p2p).unwrap_or_else(|| vec![DEFAULT_P2P.to_owned()]),
            bootstrap: list(&args.bootstrap, "ASSETMESH_BOOTSTRAP", file.bootstrap).unwrap_or_default(),
            mdns: self.pick(args.mdns.then_some(true), "ASSETMESH_MDNS", file.mdns)?.unwrap_or_default(),
            remote_writes: self.pick(args.remote_writes, "ASSETMESH_REMOTE_WRITES", file.remote_writes)?,
        })
    }

    fn http_limits(
        &self,
        args: &NodeRunArgs,
        file: HttpSection,
    ) -> Result<assetmesh_http_api::Config, Fault> {
        let default = assetmesh_http_api::Config::default();
        let span = |name, file, default| Ok(self.pick(None, name, file)?.map_or(default, |Span(span)| span));
        let size = |name, flag, file| Ok(self.pick(flag, name, file)?.map(|ByteSize(bytes)| bytes));
        Ok(assetmesh_http_api::Config {
            connections_max: self
                .pick(args.connections_max, "ASSETMESH_CONNECTIONS_MAX", file.connections_max)?
                .map_or(default.connections_max, NonZeroUsize::get),
            header_timeout: span("ASSETMESH_HEADER_TIMEOUT", file.header_timeout, default.header_timeout)?,
            idle_timeout: span("ASSETMESH_HTTP_IDLE_TIMEOUT", file.idle_timeout, default.idle_timeout)?,
            stall_timeout: span("ASSETMESH_STALL_TIMEOUT", file.stall_timeout, default.stall_timeout)?,
            progress_window: span(
                "ASSETMESH_PROGRESS_WINDOW",
                file.progress_window,
                default.progress_window,
            )?,
            progress_bytes_min: size("ASSETMESH_PROGRESS_BYTES_MIN", None, file.progress_bytes_min)?
                .unwrap_or(default.progress_bytes_min),
            stop_deadline: span("ASSETMESH_STOP_DEADLINE", file.stop_deadline, default.stop_deadline)?,
            upload_bytes_max: size("ASSETMESH_UPLOAD_MAX", args.upload_max, file.upload_bytes_max)?
                .or(default.upload_bytes_max),
            probe: self.pick(args.probe, "ASSETMESH_PROBE", file.probe)?.map_or(default.probe, Reach::from),
            // Not a limit: it stands in `Access`.
            auth: default.auth,
            // That of the node.
            public_url: default.public_url,
            // They stand in `Invocations`.
            functions: default.functions,
            invocations: default.invocations,
        })
    }

    /// The data directory of a node of one's own.
    pub(crate) fn data_dir(&self, flag: Option<PathBuf>) -> Result<PathBuf, Fault> {
        let found = self.pick(flag, "ASSETMESH_DATA_DIR", self.file.node.data_dir.clone())?;
        Ok(found.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)))
    }

    /// The settings of a client verb.
    pub(crate) fn client(&mut self, args: &ClientArgs) -> Result<ClientSettings, Fault> {
        let file = std::mem::take(&mut self.file.client);
        let token = match args.token.clone() {
            Some(token) => Some(token),
            None => match self.secret_var("ASSETMESH_TOKEN")? {
                Some(token) => Some(token),
                None => secret(file.token, file.token_file, "client.token")?,
            },
        };
        Ok(ClientSettings {
            node: match self.pick(args.node.clone(), "ASSETMESH_NODE", file.node)? {
                Some(node) => node,
                None => DEFAULT_NODE.parse().map_err(|unfit| Fault::usage(format!("{unfit}")))?,
            },
            token,
            idle_timeout: self
                .pick(args.idle_timeout, "ASSETMESH_IDLE_TIMEOUT", file.idle_timeout)?
                .map_or(Duration::from_secs(60), |Span(span)| span),
            retries: self.pick(args.retries, "ASSETMESH_RETRIES", file.retries)?.unwrap_or(6),
        })
    }

    /// The first layer that has a value: flag, environment, file.
    fn pick<T>(&self, flag: Option<T>, name: &str, file: Option<T>) -> Result<Option<T>, Fault>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        if flag.is_some() {
            return Ok(flag);
        }
        match self.var(name) {
            Some(text) => text.parse().map(Some).map_err(|unfit| Fault::usage(format!("{name}: {unfit}"))),
            None => Ok(file),
        }
    }

    fn var(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.is_empty())
    }

    fn secret_var(&self, name: &str) -> Result<Option<String>, Fault> {
        let file = self.var(&format!("{name}_FILE")).map(PathBuf::from);
        secret(self.var(name), file, name)
    }
}

/// A secret that is given either itself or as the file that holds it.
fn secret(direct: Option<String>, file: Option<PathBuf>, name: &str) -> Result<Option<String>, Fault> {
    match (direct, file) {
        (Some(_), Some(_)) => {
            Err(Fault::usage(format!("{name} is given both directly and as a file: keep one")))
        }
        (Some(direct), None) => Ok(Some(direct)),
        (None, Some(file)) => read_secret(&file, name).map(Some),
        (None, None) => Ok(None),
    }
}

fn read_secret(path: &Path, name: &str) -> Result<String, Fault> {
    let unfit = |why: String| Fault::usage(format!("the file of {name}, {}: {why}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| unfit(error.to_string()))?.len();
    if size > SECRET_BYTES_MAX {
        return Err(unfit(format!("{size} bytes are too many for a secret")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
    match text.trim_end() {
        "" => Err(unfit("it is empty".to_owned())),
        secret => Ok(secret.to_owned()),
    }
}

fn split_list(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|label| !label.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests;
