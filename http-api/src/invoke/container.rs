//! One call of a container: a connection of its own, the request as told, the answer as it comes. Dropping what is here
//! ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::invocation::fault::Fault;
use crate::invocation::functions::Target;

/// A container sits on this machine or beside it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Room for the headers of an answer; hyper gives up above it.
const BUFFER_BYTES: usize = 256 * 1024;

type Line = Pin<Box<Connection<TokioIo<TcpStream>, Body>>>;

/// What comes after the head of an answer, and the connection it comes by.
#[derive(Debug)]
pub(crate) struct Conversation {
    answer: Incoming,
    /// Gone once it has ended.
    line: Option<Line>,
}

/// Calls the container and waits for the head of its answer.
///
/// # Errors
/// It cannot be reached, breaks off, or does not answer within `answer_within`.
pub(crate) async fn call(
    target: &Target,
    request: Request<Body>,
    answer_within: Duration,
) -> Result<(Parts, Conversation), Fault> {
    let late = |within: Duration| move |_| Fault::Timeout(within.as_secs());
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect(target.address())).await;
    let stream = stream.map_err(late(CONNECT_WITHIN))?;
    let stream = stream.map_err(|error| Fault::Unreachable(format!("{target}: {error}")))?;
    // Only makes things better.
    let _ = stream.set_nodelay(true);
    let broken = |error: hyper::Error| Fault::Broken(cause_of(target, &error));
    let mut builder = Builder::new();
    builder.preserve_header_case(true).max_buf_size(BUFFER_BYTES);
    let (sender, line) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let answered = timeout(answer_within, exchange(sender, Box::pin(line), request)).await;
    let (parts, conversation) = answered.map_err(late(answer_within))?.map_err(broken)?;
    if parts.status.is_informational() || parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::Broken(format!("{target}: answered {}", parts.status)));
    }
    Ok((parts, conversation))
}

/// Drives the connection until the head of the answer is there.
async fn exchange(
    mut sender: SendRequest<Body>,
    line: Line,
    request: Request<Body>,
) -> hyper::Result<(Parts, Conversation)> {
    let mut line = Some(line);
    let mut answer = std::pin::pin!(sender.send_request(request));
    let response = std::future::poll_fn(|context| {
        drive(&mut line, context);
        answer.as_mut().poll(context)
    })
    .await?;
    let (parts, answer) = response.into_parts();
    Ok((parts, Conversation { answer, line }))
}

/// What the connection has to say, it says by way of the answer.
fn drive(line: &mut Option<Line>, context: &mut Context<'_>) {
    if let Some(connection) = line
        && connection.as_mut().poll(context).is_ready()
    {
        *line = None;
    }
}

/// With what lies below it: hyper's own sentences name no cause.
fn cause_of(target: &Target, error: &dyn std::error::Error) -> String {
    let mut text = format!("{target}: {error}");
    let mut below = error.source();
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}

impl HttpBody for Conversation {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        drive(&mut this.line, context);
        Pin::new(&mut this.answer).poll_frame(context).map_err(io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
