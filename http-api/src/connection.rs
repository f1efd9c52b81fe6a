//! One connection from accept to close: HTTP/1.1 or HTTP/2, watched for clients that stall.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::activity::{Activity, InFlight, Verdict};
use crate::config::{Config, H2_CONNECTION_WINDOW};
use crate::extract::declared_length;
use crate::operator::ClientAddr;
use crate::paced::{Paced, Watched};
use crate::presence::Presence;
use crate::socket::Socket;

/// Requests one HTTP/2 connection may have open; more wait at the client.
const H2_STREAMS_MAX: u32 = 64;
const H2_HEADER_BYTES_MAX: u32 = 16 * 1024;
/// What a client may send ahead on one stream.
const H2_STREAM_WINDOW: u32 = 1024 * 1024;
/// Read and write buffer of an HTTP/1.1 connection; it grows to this only under load.
const H1_BUFFER_BYTES: usize = 256 * 1024;
/// An unread body up to this size has come with the headers, and hyper reads it away.
const SMALL_BODY_BYTES: u64 = 8 * 1024;
/// After a goodbye, a connection has this long to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves one accepted stream until it ends, stalls, or the node stops and its last request is answered.
pub(crate) async fn run(stream: TcpStream, router: Router, config: Arc<Config>, stop: CancellationToken) {
    let activity = Arc::new(Activity::new(Instant::now()));
    let client = ClientAddr(stream.peer_addr().ok());
    let presence = Presence::of(&stream);
    let socket = TokioIo::new(Socket::new(stream, Arc::clone(&activity)));
    let (requests, settings) = (Arc::clone(&activity), Arc::clone(&config));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(presence.clone());
        answer(router.clone(), request, requests.begin(), &settings)
    });
    let builder = builder();
    let mut connection = std::pin::pin!(builder.serve_connection(socket, service));
    let mut leaving = false;
    let mut look = Instant::now();
    loop {
        tokio::select! {
            ended = connection.as_mut() => return log_end(ended),
            () = stop.cancelled(), if !leaving => {
                connection.as_mut().graceful_shutdown();
                leaving = true;
            }
            () = sleep_until(look.into()) => match activity.verdict(Instant::now(), &config) {
                Verdict::Fine(next) => look = next,
                Verdict::Idle if !leaving => {
                    connection.as_mut().graceful_shutdown();
                    leaving = true;
                    look = Instant::now() + GRACE;
                }
                Verdict::Idle | Verdict::Stalled => return,
            }
        }
    }
}

fn log_end(ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The watch has one rule for both protocols and for silence before any byte.
        .header_read_timeout(None)
        // A client may close its sending side and still wait for the answer.
        .half_close(true)
        .max_buf_size(H1_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(H2_HEADER_BYTES_MAX)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW);
    builder
}

/// Hands a request to the router with its body paced, and the answer back with its body watched.
fn answer(
    mut router: Router,
    request: Request<Incoming>,
    in_flight: InFlight,
    config: &Config,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let (parts, body) = request.into_parts();
    let version = parts.version;
    let small = declared_length(&parts.headers).is_some_and(|length| length <= SMALL_BODY_BYTES);
    let (body, whole) = paced(body, config);
    let answered = router.call(Request::from_parts(parts, body));
    async move {
        let Ok(mut response) = answered.await;
        if !small && whole.is_some_and(|whole| !whole.load(Ordering::Acquire)) {
            in_flight.leave_unread();
            if version < Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        Ok(response.map(|body| Body::new(Watched::new(body, in_flight))))
    }
}

fn paced(body: Incoming, config: &Config) -> (Body, Option<Arc<AtomicBool>>) {
    if body.is_end_stream() {
        return (Body::empty(), None);
    }
    let (body, whole) = Paced::new(body, config);
    (Body::new(body), Some(whole))
}
