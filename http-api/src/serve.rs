//! The accept loop: takes connections up to a cap, survives a shortage of descriptors, and stops
//! gracefully by a deadline.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use assetmesh_node::Node;
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::invoke::Invoker;
use crate::{connection, descriptors, routes};

/// Unsent bytes that the kernel may queue for one connection; a slow reader's progress then shows in
/// steps of this size instead of megabytes.
const UNSENT_BYTES: u32 = 256 * 1024;
/// Before the stop deadline, for answers that say that the node stops.
const GOODBYE: Duration = Duration::from_secs(5);
/// After an accept failed for want of descriptors or memory.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Serves a node until `stop` is cancelled; then finishes what is in flight, within the stop deadline.
///
/// # Errors
/// When the listener does not work at all.
pub async fn serve(
    listener: TcpListener,
    node: Node,
    config: Config,
    stop: CancellationToken,
) -> io::Result<()> {
    let served = routes::with_invoker(node, &config);
    with_router(listener, served, config, stop).await
}

/// Serves a router until `stop` is cancelled, and ends its invocations.
pub(crate) async fn with_router(
    listener: TcpListener,
    (router, invoker): (Router, Invoker),
    config: Config,
    stop: CancellationToken,
) -> io::Result<()> {
    descriptors::make_room_for(config.connections_max);
    let cut = cut_invocations(&invoker, &stop, config.stop_deadline);
    let served = tokio::select! {
        served = accept(listener, router, config, stop.clone()) => served,
        () = cut => Ok(()),
    };
    invoker.stop().await;
    served
}

/// Shortly before the end, who still waits for a container is told so. Never ends.
async fn cut_invocations(invoker: &Invoker, stop: &CancellationToken, deadline: Duration) {
    stop.cancelled().await;
    sleep(deadline.saturating_sub(GOODBYE)).await;
    invoker.cut();
    std::future::pending().await
}

async fn accept(
    listener: TcpListener,
    router: Router,
    config: Config,
    stop: CancellationToken,
) -> io::Result<()> {
    listener.local_addr()?;
    let config = Arc::new(config);
    let permits = Arc::new(Semaphore::new(config.connections_max));
    let mut connections = JoinSet::new();
    while let Some((stream, permit)) = next(&listener, &permits, &stop).await {
        let connection = connection::run(stream, router.clone(), Arc::clone(&config), stop.clone());
        connections.spawn(async move {
            connection.await;
            drop(permit);
        });
        while let Some(ended) = connections.try_join_next() {
            report(ended);
        }
    }
    drop(listener);
    let drained = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if timeout(config.stop_deadline, drained).await.is_err() {
        tracing::warn!(connections = connections.len(), "cut at the stop deadline");
        connections.shutdown().await;
    }
    Ok(())
}

/// The next connection, once there is room for it; `None` at the stop.
async fn next(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    stop.run_until_cancelled(async {
        let permit = Arc::clone(permits).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tune(&stream);
                    return Some((stream, permit));
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection now");
                    sleep(BACK_OFF).await;
                }
            }
        }
    })
    .await?
}

/// Errors of a connection that ended before it was accepted.
fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Both settings only make things better; a kernel without them serves as well.
fn tune(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection panicked");
    }
}
