//! The socket of one connection. It counts what comes before a request, gives bare refusals a body, and
//! ends politely: a client that is still sending gets to read the answer before the connection is gone.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;
use crate::early;

/// A client that sends nothing for this long after our goodbye has read it.
const QUIET: Duration = Duration::from_secs(2);
/// Nobody is listened to for longer than this after our goodbye.
const LINGER: Duration = Duration::from_secs(20);
const SCRATCH_BYTES: usize = 64 * 1024;

/// A stream that lingers. Closing a socket with unread bytes makes the kernel send a reset, which can
/// destroy an answer that the client has not read yet (RFC 9112 §9.6); so those bytes are read and dropped.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    activity: Arc<Activity>,
    instead: Option<Instead>,
    goodbye: Option<Goodbye>,
}

/// An answer that goes out in place of another.
#[derive(Debug)]
struct Instead {
    answer: Bytes,
    /// The length of what it stands for.
    stands_for: usize,
}

#[derive(Debug)]
struct Goodbye {
    end: Pin<Box<Sleep>>,
    quiet: Pin<Box<Sleep>>,
    scratch: Box<[u8]>,
}

impl<S> Socket<S> {
    /// Wraps an accepted stream.
    pub(crate) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity, instead: None, goodbye: None }
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Whether something else goes out, now or since an earlier call, than these bytes.
    fn replace(&mut self, bytes: &[u8]) -> Option<()> {
        if self.instead.is_none() {
            let answer = early::reworded(bytes)?;
            self.instead = Some(Instead { answer: answer.into(), stands_for: bytes.len() });
        }
        Some(())
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(instead) = &mut self.instead else { return Poll::Ready(Ok(0)) };
        while !instead.answer.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &instead.answer))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            instead.answer.advance(written);
        }
        let stands_for = instead.stands_for;
        self.instead = None;
        Poll::Ready(Ok(stands_for))
    }
}

impl Goodbye {
    fn new() -> Self {
        Self {
            end: Box::pin(sleep(LINGER)),
            quiet: Box::pin(sleep(QUIET)),
            scratch: vec![0; SCRATCH_BYTES].into(),
        }
    }

    /// Ready when the client has closed, gone quiet, or talked for too long.
    fn poll_over(&mut self, stream: Pin<&mut impl AsyncRead>, context: &mut Context<'_>) -> Poll<()> {
        let mut stream = stream;
        loop {
            if self.end.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut self.scratch);
            match stream.as_mut().poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.quiet.as_mut().reset(tokio::time::Instant::now() + QUIET);
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.quiet.as_mut().poll(context),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = buffer.filled().len() - before;
        if bytes > 0 && !self.activity.received(bytes, Instant::now()) {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other("more bytes than any request's headers")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.replace(bytes) {
            Some(()) => self.poll_instead(context),
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = slices.iter().filter(|slice| !slice.is_empty());
        match (full.next(), full.next()) {
            (Some(only), None) => self.poll_write(context, only),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.goodbye.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.activity.has_unread() {
                return Poll::Ready(Ok(()));
            }
        }
        let goodbye = this.goodbye.get_or_insert_with(Goodbye::new);
        goodbye.poll_over(Pin::new(&mut this.stream), context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn pair(unread: bool) -> (DuplexStream, Socket<DuplexStream>) {
        let (client, server) = duplex(1024);
        let activity = Arc::new(Activity::new(Instant::now()));
        if unread {
            activity.begin().leave_unread();
        }
        (client, Socket::new(server, activity))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_still_sends_can_read_the_answer() {
        let (mut client, mut socket) = pair(true);
        let server = async move {
            socket.write_all(b"413").await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let client = async move {
            client.write_all(&vec![0; 1_000_000]).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"413");
        };
        tokio::join!(server, client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_client_is_left_after_a_moment() {
        let (_client, mut socket) = pair(true);
        let started = tokio::time::Instant::now();
        socket.shutdown().await.unwrap();
        assert_eq!(started.elapsed().as_secs(), QUIET.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_ends_is_left_in_the_end() {
        let (mut client, mut socket) = pair(true);
        let talk = async move {
            while client.write_all(b"x").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let started = tokio::time::Instant::now();
        tokio::select! {
            ended = socket.shutdown() => ended.unwrap(),
            () = talk => panic!("the client ended first"),
        }
        assert_eq!(started.elapsed().as_secs(), LINGER.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_lingers_when_all_was_read() {
        let (_client, mut socket) = pair(false);
        let started = tokio::time::Instant::now();
        socket.shutdown().await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_bare_refusal_goes_out_with_a_body_however_slowly() {
        let (mut client, server) = duplex(16);
        let mut socket = Socket::new(server, Arc::new(Activity::new(Instant::now())));
        let write = async move {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            socket.write_all(b"more").await.unwrap();
        };
        let mut seen = String::new();
        let (_, read) = tokio::join!(write, client.read_to_string(&mut seen));
        read.unwrap();
        assert!(seen.contains("\"code\":\"bad_request\"") && seen.ends_with("}more"), "{seen}");
    }

    #[tokio::test]
    async fn endless_headers_end_the_connection() {
        let (mut client, mut socket) = pair(false);
        let flood = async move { client.write_all(&vec![b'a'; 10_000_000]).await };
        let mut taken = Vec::new();
        let (_, read) = tokio::join!(flood, async {
            let read = socket.read_to_end(&mut taken).await;
            drop(socket);
            read
        });
        assert!(read.is_err() && taken.len() < 9_000_000);
    }
}
