//! One call of a container: a connection of its own, the request as told, the answer as it comes. Dropping what is here
//! ends the connection.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::request_body::Passage;
use crate::invocation::fault::Fault;
use crate::invocation::functions::Target;

/// A container sits on this machine or beside it.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Room for the headers of an answer; hyper gives up above it.
const BUFFER_BYTES: usize = 256 * 1024;

type Line = BoxFuture<'static, hyper::Result<()>>;

/// What comes after the head of an answer, and the connection it comes by.
pub(crate) struct Conversation {
    answer: Incoming,
    /// Gone once it has ended.
    line: Option<Line>,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("answer", &self.answer).finish_non_exhaustive()
    }
}

/// Calls the container and waits for the head of its answer.
///
/// # Errors
/// It cannot be reached, breaks off, or is silent for `answer_within` while no piece of the client's body goes on either.
pub(crate) async fn call(
    target: &Target,
    request: Request<Body>,
    passage: &Passage,
    answer_within: Duration,
) -> Result<(Parts, Conversation), Fault> {
    let stream = timeout(CONNECT_WITHIN, TcpStream::connect(target.address())).await;
    let stream = stream.map_err(|_| Fault::Timeout(CONNECT_WITHIN.as_secs()))?;
    let stream = stream.map_err(|error| Fault::Unreachable(format!("{target}: {error}")))?;
    // Only makes things better.
    let _ = stream.set_nodelay(true);
    converse(target, stream, request, passage, answer_within).await
}

/// Calls it on a connection that stands.
async fn converse<S>(
    target: &Target,
    stream: S,
    request: Request<Body>,
    passage: &Passage,
    answer_within: Duration,
) -> Result<(Parts, Conversation), Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| Fault::Broken(cause_of(target, &error));
    let mut builder = Builder::new();
    builder.preserve_header_case(true).max_buf_size(BUFFER_BYTES);
    let (sender, line) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let (parts, conversation) = tokio::select! {
        biased;
        answered = exchange(sender, line.boxed(), request) => answered.map_err(broken)?,
        () = passage.rests(answer_within) => return Err(Fault::Timeout(answer_within.as_secs())),
    };
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
        && connection.poll_unpin(context).is_ready()
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

#[cfg(test)]
mod tests {
    use futures_util::{Stream, stream};
    use http::HeaderMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::invocation::functions::{FunctionConfig, Functions};
    use crate::invoke::request_body::prepare;

    const WITHIN: Duration = Duration::from_secs(60);

    fn target() -> Target {
        let url = "http://127.0.0.1:1/".to_owned();
        let config = FunctionConfig { id: uuid::Uuid::nil(), version_id: None, name: None, url };
        Functions::new(&[config]).unwrap().find(uuid::Uuid::nil(), None).unwrap().target.clone()
    }

    /// Pieces that come as seldom.
    fn upload(pieces: usize, pause: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        stream::unfold(pieces, move |left| async move {
            sleep(pause).await;
            Some((Ok(Bytes::from_static(&[b'x'; 512])), left.checked_sub(1)?))
        })
    }

    /// The status that a container answers to this body.
    async fn ask(
        container: DuplexStream,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<StatusCode, Fault> {
        let (body, passage) = prepare(&HeaderMap::new(), Body::from_stream(body)).await.unwrap();
        let request = Request::post("/").body(body).unwrap();
        let (parts, _) = converse(&target(), container, request, &passage, WITHIN).await?;
        Ok(parts.status)
    }

    /// Reads the whole request.
    async fn read(container: &mut DuplexStream) {
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            assert!(container.read_buf(&mut seen).await.unwrap() > 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_an_upload_is_not_the_silence_of_the_container() {
        let (near, mut far) = duplex(1024);
        let container = async {
            read(&mut far).await;
            sleep(WITHIN * 9 / 10).await;
            far.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        };
        let body = upload(10, WITHIN * 2 / 3);
        let (status, ()) = tokio::join!(ask(near, body), container);
        assert_eq!(status.unwrap(), StatusCode::CREATED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_has_read_all_and_is_silent_is_given_up() {
        let (near, mut far) = duplex(1024);
        let begun = Instant::now();
        let (status, ()) = tokio::join!(ask(near, upload(3, WITHIN / 2)), read(&mut far));
        assert!(matches!(status, Err(Fault::Timeout(60))));
        // Three pieces and the end of the body, then the silence.
        let late = begun.elapsed() - (WITHIN * 2 + WITHIN);
        assert!(late < Duration::from_secs(1), "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_does_not_read_is_given_up() {
        let (near, _far) = duplex(1024);
        let begun = Instant::now();
        let status = ask(near, upload(usize::MAX, Duration::from_millis(1))).await;
        assert!(matches!(status, Err(Fault::Timeout(60))));
        assert!(begun.elapsed() < WITHIN * 2, "{:?}", begun.elapsed());
    }
}
