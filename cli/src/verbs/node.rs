//! `assetmesh node run`: binds, starts a node, serves it, and stops it in good order. It decides nothing about assets.

pub(super) mod log;

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use assetmesh_http_api::{Auth, Reads};
use assetmesh_node::storage::OpenError;
use assetmesh_node::{Node, StartError, blobs, catalog, query, tokens};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Fault};
use crate::settings::{Access, NodeSettings};
use crate::value::{LogFormat, RemoteWrites};

/// Room beyond the deadline of the requests in flight, for closing what they used.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Beyond a commit on a slow disk. A disk that is full takes none for now, and the node serves what it has.
const OWN_RECORD_WITHIN: Duration = Duration::from_secs(2);

/// Runs a node until SIGTERM or Ctrl-C.
pub(crate) async fn run(settings: NodeSettings) -> anyhow::Result<()> {
    log::start(&settings.log_filter, settings.log_format)?;
    settings.access.check_address(settings.http.0)?;
    let mut signals = Signals::listen()?;
    let listener = bind(settings.http.0).await?;
    let bound = listener.local_addr().context("cannot tell the bound address")?;
    let node =
        Node::start(node_config(&settings, bound)).map_err(|error| refused(&error, &settings.data_dir))?;
    wait_for_own_record(node.registry().registered()).await;
    tracing::info!("{}", banner(&settings, bound));
    if settings.public_url.is_none() && bound.ip().is_unspecified() {
        let told = reachable(bound);
        tracing::warn!(
            "HTTP is served on every address, and others are told {told}, which leads them to themselves: \
             name this node with --public-url"
        );
    }
    tracing::info!("peers reach this node at {}", node.swarm().listen_addrs().join(" "));

    let stop = CancellationToken::new();
    tell_access(&settings.access, bound);
    let config = assetmesh_http_api::Config {
        auth: settings.access.auth,
        public_url: settings.public_url.as_ref().map(ToString::to_string),
        functions: settings.invocations.functions.clone(),
        invocations: settings.invocations.limits.clone(),
        ..settings.http_limits.clone()
    };
    let serving = assetmesh_http_api::serve(listener, node.clone(), config, stop.clone());
    let served =
        serve_until(serving, node.failed(), &mut signals, &stop, settings.http_limits.stop_deadline).await;
    node.stop().await;
    tracing::info!("stopped");
    served
}

/// The first client finds this node's own record, if that can be stored at all.
async fn wait_for_own_record(registered: impl Future<Output = ()>) {
    if tokio::time::timeout(OWN_RECORD_WITHIN, registered).await.is_err() {
        tracing::warn!(
            "this node's own record is not stored yet: it may be missing from answers for a while"
        );
    }
}

/// Serves until a signal, then lets what is in flight end. A store that gives up for good ends the node as well.
pub(super) async fn serve_until(
    serving: impl Future<Output = io::Result<()>>,
    failed: impl Future<Output = String>,
    signals: &mut Signals,
    stop: &CancellationToken,
    deadline: Duration,
) -> anyhow::Result<()> {
    let mut serving = std::pin::pin!(serving);
    let failed = tokio::select! {
        ended = &mut serving => return ended.context("cannot go on serving HTTP"),
        reason = failed => Some(reason),
        name = signals.next() => {
            tracing::info!("{name}: stopping; requests in flight have {deadline:?} to end, a second signal ends them at once");
            None
        }
    };
    stop.cancel();
    tokio::select! {
        ended = tokio::time::timeout(deadline + STOP_GRACE, &mut serving) => match ended {
            Ok(ended) => ended.context("cannot stop serving HTTP in good order")?,
            Err(_) => tracing::warn!("some requests did not end in time and were cut"),
        },
        name = signals.next() => {
            return Err(Fault::new(Exit::Unexpected, format!("{name} again: requests in flight were cut")).into());
        }
    }
    match failed {
        None => Ok(()),
        Some(reason) => Err(Fault::new(Exit::Unexpected, format!("the store cannot go on: {reason}")).into()),
    }
}

fn node_config(settings: &NodeSettings, bound: SocketAddr) -> assetmesh_node::Config {
    let swarm = assetmesh_node::swarm::Config {
        data_dir: settings.data_dir.clone(),
        network: settings.federation.network.0.clone(),
        network_key: settings.federation.network_key.clone(),
        listen: settings.federation.p2p.clone(),
        bootstrap: settings.federation.bootstrap.clone(),
        mdns: settings.federation.mdns,
        ..assetmesh_node::swarm::Config::default()
    };
    let remote_writes = match settings.federation.remote_writes {
        Some(RemoteWrites::Deny) => query::RemoteWrites::Deny,
        Some(RemoteWrites::Members) => query::RemoteWrites::Members,
        None if swarm.is_closed() => query::RemoteWrites::Members,
        None => query::RemoteWrites::Deny,
    };
    assetmesh_node::Config {
        data_dir: settings.data_dir.clone(),
        name: settings.name.clone().unwrap_or_default(),
        labels: settings.labels.clone(),
        http_addr: bound,
        swarm,
        query: query::Config { remote_writes, ..query::Config::default() },
        blobs: blobs::Config { cache_bytes_max: settings.cache_max, ..blobs::Config::default() },
        public_url: Some(settings.public_url.as_ref().map_or_else(|| reachable(bound), ToString::to_string)),
        tokens: settings.access.tokens.clone(),
        nvcf: settings.nvcf.clone(),
        asset_root: settings.invocations.asset_root.clone(),
        staging: settings.invocations.staging.clone(),
        ..assetmesh_node::Config::default()
    }
}

/// Says who may write, so that nobody learns it from what was written.
fn tell_access(access: &Access, bound: SocketAddr) {
    match access.auth {
        Auth::Token { reads: Reads::Open } => {
            tracing::info!("writes need a token (`assetmesh token create`); anybody may read");
        }
        Auth::Token { reads: Reads::Token } => {
            tracing::info!("reads and writes need a token (`assetmesh token create`)");
        }
        Auth::None if bound.ip().to_canonical().is_loopback() => {
            tracing::info!(
                "open_writes: everybody on this machine may write; `--auth token` asks for tokens"
            );
        }
        Auth::None => {
            tracing::warn!(
                "open_writes: everybody who reaches {bound} may write; `--auth token` asks for tokens"
            );
        }
    }
}

/// A URL that reaches the bound address from this machine: "any address" is none to connect to.
pub(super) fn reachable(bound: SocketAddr) -> String {
    let host = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, bound.port()))
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or choose another address with --http"
            }
            io::ErrorKind::PermissionDenied => "this user may not: choose a port above 1023 with --http",
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: choose another with --http"
            }
            _ => "choose another address with --http",
        };
        Fault::usage(format!("cannot listen on {address} ({error}): {advice}"))
    })
}

/// Why the node did not start, as something the user can act on.
fn refused(error: &StartError, data_dir: &Path) -> Fault {
    let (exit, advice) = match error {
        StartError::DataDir { .. } => {
            (Exit::Usage, "choose a folder that this user may write, with --data-dir")
        }
        StartError::Swarm(_) => {
            (Exit::Usage, "nothing was started: see --p2p, --bootstrap and --network-key")
        }
        StartError::Tokens(tokens::StartError::Keys(_) | tokens::StartError::NamedTwice(_)) => {
            (Exit::Usage, "nothing is served: see [auth] issuers in the settings file")
        }
        StartError::Staging(_) => (Exit::Usage, "choose another folder with --asset-root"),
        StartError::Blobs(blobs::Error::Open(open)) => advice(open),
        StartError::Catalog(catalog::StartError::Open(open)) => advice(open),
        _ => (Exit::Unexpected, "the folder was left as it is"),
    };
    Fault::new(exit, format!("cannot start a node in {}: {error}; {advice}", data_dir.display()))
}

fn advice(error: &OpenError) -> (Exit, &'static str) {
    match error {
        OpenError::Io { .. } => (Exit::Usage, "choose a folder that this user may write, with --data-dir"),
        OpenError::InUse(_) => {
            (Exit::Usage, "stop that node, or give this one a folder of its own with --data-dir")
        }
        OpenError::Damaged { .. } => (
            Exit::Integrity,
            "`assetmesh verify` tells more: restore a backup, or choose another folder with --data-dir",
        ),
        OpenError::Kind { .. } | OpenError::Format { .. } => {
            (Exit::Usage, "use the version that wrote it, or choose another folder with --data-dir")
        }
    }
}

/// What a newcomer needs first: where it answers, where the data is, and three requests to try.
fn banner(settings: &NodeSettings, bound: SocketAddr) -> String {
    let url = reachable(bound);
    let data_dir = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let mut text = format!("serving {url}, data in {}", data_dir.display());
    if settings.log_format == LogFormat::Text {
        let form =
            r#"'asset_metadata={"asset_name":"cat","asset_version":{"version":"1.0","tag":"initial"}}'"#;
        let token = r#" -H "Authorization: Bearer $ASSETMESH_TOKEN""#;
        let (write, read) = match settings.access.auth {
            Auth::None => ("", ""),
            Auth::Token { reads: Reads::Open } => (token, ""),
            Auth::Token { reads: Reads::Token } => (token, token),
        };
        let _ = write!(
            text,
            "\n  curl{write} -F asset=@cat.png -F {form} {url}/upload_asset\
             \n  curl{read} {url}/asset/cat:1.0-initial\
             \n  curl{read} -H 'Content-Type: application/json' -d '{{\"asset_name\":\"cat\"}}' {url}/assets"
        );
    }
    text
}

/// The signals that ask a process to stop.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_record_that_cannot_be_stored_delays_the_start_for_a_moment_only() {
        let began = tokio::time::Instant::now();
        wait_for_own_record(std::future::pending()).await;
        assert!(began.elapsed() < Duration::from_secs(3));
    }

    #[test]
    fn any_address_is_reached_by_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()), "http://127.0.0.1:80");
        assert_eq!(reachable("[::]:80".parse().unwrap()), "http://[::1]:80");
        assert_eq!(reachable("192.0.2.1:80".parse().unwrap()), "http://192.0.2.1:80");
    }

    #[test]
    fn a_folder_in_use_is_a_usage_error_and_a_damaged_one_is_not() {
        let error = |open| StartError::Catalog(catalog::StartError::Open(open));
        let in_use = refused(&error(OpenError::InUse("d/catalog.redb".into())), Path::new("d"));
        assert_eq!(in_use.exit(), Exit::Usage);
        assert!(in_use.to_string().contains("--data-dir"), "{in_use}");
        let damaged = OpenError::Damaged { path: "d/catalog.redb".into(), reason: "a page".to_owned() };
        assert_eq!(refused(&error(damaged), Path::new("d")).exit(), Exit::Integrity);
    }

    #[tokio::test]
    async fn a_port_in_use_is_a_usage_error_that_says_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let fault = bind(first.local_addr().unwrap()).await.unwrap_err();
        assert_eq!(fault.exit(), Exit::Usage);
        assert!(fault.to_string().contains("--http"), "{fault}");
    }
}
