//! The gathering writer over streams that take little, late, or nothing.

use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Takes at most so many bytes at once, and nothing each other time.
#[derive(Debug)]
struct Slow {
    came: Vec<u8>,
    writes: usize,
    flushes: usize,
    at_most: usize,
    pends: bool,
    is_closed: bool,
}

impl Slow {
    const fn new(at_most: usize, pends: bool) -> Self {
        Self { came: Vec::new(), writes: 0, flushes: 0, at_most, pends, is_closed: false }
    }
}

impl AsyncWrite for Slow {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writes += 1;
        if self.pends && self.writes % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = bytes.len().min(self.at_most);
        self.came.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_closed = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.came.len().min(into.len());
        into[..read].copy_from_slice(&self.came[..read]);
        self.came.drain(..read);
        Poll::Ready(Ok(read))
    }
}

/// Flushes once, as the multiplexer does: it goes on whatever comes of it.
async fn flush_once(gathered: &mut Gathered<Slow>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *gathered).poll_flush(cx).is_ready())).await
}

#[tokio::test]
async fn frames_that_follow_each_other_go_out_together() {
    let mut gathered = Gathered::new(Slow::new(usize::MAX, false));
    let mut sent = Vec::new();
    for frame in 0..3 {
        for part in [vec![frame; 12], vec![frame + 9; 16 * 1024]] {
            gathered.write_all(&part).await.unwrap();
            sent.extend(part);
        }
        assert!(!flush_once(&mut gathered).await);
    }
    assert_eq!(gathered.stream.writes, 0);
    assert!(flush_once(&mut gathered).await, "nothing was written in between");
    assert_eq!((gathered.stream.writes, gathered.stream.flushes), (1, 1));
    assert_eq!(gathered.stream.came, sent);
}

#[tokio::test]
async fn what_is_flushed_goes_out_without_another_write() {
    let mut gathered = Gathered::new(Slow::new(usize::MAX, false));
    gathered.write_all(b"ping").await.unwrap();
    gathered.flush().await.unwrap();
    assert_eq!(gathered.stream.came, b"ping");
    assert_eq!(gathered.bytes.capacity(), 0, "a connection at rest holds nothing");
    let mut read = [0; 4];
    gathered.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"ping");
}

#[tokio::test]
async fn a_full_one_is_sent_before_more_is_taken() {
    let mut gathered = Gathered::new(Slow::new(usize::MAX, false));
    gathered.write_all(&vec![1; GATHERED_BYTES_MAX]).await.unwrap();
    assert!(flush_once(&mut gathered).await, "there is no room for more to wait for");
    gathered.write_all(&vec![2; 2 * GATHERED_BYTES_MAX + 1]).await.unwrap();
    assert!(gathered.bytes.capacity() <= 2 * GATHERED_BYTES_MAX);
    assert_eq!(gathered.stream.came.len(), 3 * GATHERED_BYTES_MAX);
}

#[tokio::test]
async fn a_slow_stream_gets_every_byte_in_order() {
    let all: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
    let mut gathered = Gathered::new(Slow::new(1000, true));
    for (number, part) in all.chunks(7001).enumerate() {
        gathered.write_all(part).await.unwrap();
        if number % 3 == 0 {
            gathered.flush().await.unwrap();
        } else {
            flush_once(&mut gathered).await;
        }
    }
    gathered.close().await.unwrap();
    assert!(gathered.stream.came == all && gathered.stream.is_closed);
}

#[tokio::test]
async fn a_stream_that_takes_nothing_more_is_an_error() {
    let mut gathered = Gathered::new(Slow::new(0, false));
    gathered.write_all(b"lost").await.unwrap();
    assert_eq!(gathered.flush().await.unwrap_err().kind(), io::ErrorKind::WriteZero);
}
