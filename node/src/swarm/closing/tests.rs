//! Closing what closes at once, fails, or never would.

use std::io;
use std::time::{Duration, Instant};

use futures_util::io::Cursor;

use super::*;

/// Closes as it is told; never where that is nothing.
struct Scripted(Option<Result<(), io::ErrorKind>>);

impl StreamMuxer for Scripted {
    type Substream = Cursor<Vec<u8>>;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Ready(Ok(Cursor::new(b"in".to_vec())))
    }

    fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
        Poll::Ready(Ok(Cursor::new(b"out".to_vec())))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.map_or(Poll::Pending, |closed| Poll::Ready(closed.map_err(io::Error::from)))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Poll::Pending
    }
}

/// What closing comes to, and how long it takes.
async fn closed(script: Option<Result<(), io::ErrorKind>>) -> (Result<(), io::ErrorKind>, Duration) {
    let mut muxer = Closing::new(Scripted(script));
    let begun = Instant::now();
    let closed = std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await;
    (closed.map_err(|error| error.kind()), begun.elapsed())
}

#[tokio::test]
async fn what_never_closes_is_given_up() {
    let closing = tokio::time::timeout(10 * limits::CLOSING_WITHIN, closed(None));
    let (closed, took) = closing.await.expect("it ends");
    assert!(closed.is_ok() && took >= limits::CLOSING_WITHIN, "{closed:?} after {took:?}");
}

#[tokio::test]
async fn what_closes_or_fails_says_so_at_once() {
    for outcome in [Ok(()), Err(io::ErrorKind::BrokenPipe)] {
        let (closed, took) = closed(Some(outcome)).await;
        assert!(closed == outcome && took < limits::CLOSING_WITHIN, "{closed:?} after {took:?}");
    }
}

#[tokio::test]
async fn streams_pass() {
    let mut muxer = Closing::new(Scripted(None));
    let come = std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_inbound(cx)).await.unwrap();
    let gone = std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await.unwrap();
    assert_eq!((come.into_inner(), gone.into_inner()), (b"in".to_vec(), b"out".to_vec()));
}
