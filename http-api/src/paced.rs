//! Bodies with a pace: a request body that drips is given up, an answer reports each step it takes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::activity::InFlight;
use crate::config::Config;

/// Answers leave in pieces of at most this size, so that a slow reader is seen to move.
const PIECE_BYTES: usize = 64 * 1024;

/// A request body brought too little in a window of time.
#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
pub(crate) struct TooSlow;

/// A request body that must bring some bytes in every window of waiting. Only the time in which the
/// handler waits for the client counts, so a slow disk is never taken for a slow client.
#[derive(Debug)]
pub(crate) struct Paced<B> {
    body: B,
    window: Duration,
    bytes_min: u64,
    bytes: u64,
    waited: Duration,
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    whole: Arc<AtomicBool>,
}

impl<B> Paced<B> {
    /// Wraps a body. The flag is set once the body has come in whole.
    pub(crate) fn new(body: B, config: &Config) -> (Self, Arc<AtomicBool>) {
        let whole = Arc::new(AtomicBool::new(false));
        let paced = Self {
            body,
            window: config.progress_window,
            bytes_min: config.progress_bytes_min,
            bytes: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
            whole: Arc::clone(&whole),
        };
        (paced, whole)
    }

    /// Bytes came after however long a wait.
    fn received(&mut self, bytes: u64) -> Result<(), TooSlow> {
        self.bytes += bytes;
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
        self.judge()
    }

    /// Nothing is there. Ready if it has been so for too long.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<TooSlow> {
        loop {
            let now = Instant::now();
            if self.waiting_since.is_none() {
                self.waiting_since = Some(now);
                let end = now + self.window.saturating_sub(self.waited);
                match &mut self.timer {
                    Some(timer) => timer.as_mut().reset(end),
                    None => self.timer = Some(Box::pin(sleep_until(end))),
                }
            }
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(context));
            }
            if let Err(slow) = self.received(0) {
                return Poll::Ready(slow);
            }
        }
    }

    fn judge(&mut self) -> Result<(), TooSlow> {
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < self.bytes_min {
            return Err(TooSlow);
        }
        self.bytes = 0;
        self.waited = Duration::ZERO;
        Ok(())
    }
}

impl<B> HttpBody for Paced<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if self.body.is_end_stream() {
                    self.whole.store(true, Ordering::Release);
                }
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                let frame = self.received(bytes).map(|()| frame);
                Poll::Ready(Some(frame.map_err(Into::into)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.whole.store(true, Ordering::Release);
                Poll::Ready(None)
            }
            Poll::Pending => self.wait(context).map(|slow| Some(Err(slow.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body that notes each step and holds its request in flight until it ends.
#[derive(Debug)]
pub(crate) struct Watched {
    body: Body,
    rest: Bytes,
    request: InFlight,
}

impl Watched {
    /// Wraps the body of an answer.
    pub(crate) fn new(body: Body, request: InFlight) -> Self {
        request.moved(Instant::now().into_std());
        Self { body, rest: Bytes::new(), request }
    }

    fn next_piece(&mut self) -> Frame<Bytes> {
        let length = self.rest.len().min(PIECE_BYTES);
        Frame::data(self.rest.split_to(length))
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.request.moved(Instant::now().into_std());
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(self.next_piece())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    Some(Ok(self.next_piece()))
                }
                Err(other) => Some(Ok(other)),
            },
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tokio::time::sleep;

    use super::*;
    use crate::activity::Activity;

    /// Pieces of a body, each after a pause in seconds.
    fn dripping(pieces: Vec<(u64, usize)>) -> Body {
        Body::from_stream(stream::iter(pieces).then(|(pause, size)| async move {
            sleep(Duration::from_secs(pause)).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![0; size]))
        }))
    }

    async fn read(pieces: Vec<(u64, usize)>) -> Result<usize, BoxError> {
        let (body, whole) = Paced::new(dripping(pieces), &Config::default());
        let result = body.collect().await.map(|body| body.to_bytes().len());
        assert_eq!(whole.load(Ordering::Acquire), result.is_ok());
        result
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_at_a_fair_pace_comes_through() {
        assert_eq!(read(vec![(29, 40_000), (29, 40_000), (20, 5)]).await.unwrap(), 80_005);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_body_is_given_up() {
        let error = read((0..100).map(|_| (1, 1)).collect()).await.unwrap_err();
        assert!(error.is::<TooSlow>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_is_given_up_in_the_next_window() {
        let started = tokio::time::Instant::now();
        let error = read(vec![(0, 40_000), (3600, 1)]).await.unwrap_err();
        assert!(error.is::<TooSlow>());
        assert!(started.elapsed() <= Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handler_is_not_the_fault_of_the_client() {
        let (mut body, _) = Paced::new(dripping(vec![(1, 10), (1, 10), (1, 10)]), &Config::default());
        for _ in 0..3 {
            assert!(body.frame().await.unwrap().is_ok());
            sleep(Duration::from_secs(100)).await;
        }
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn answers_leave_in_small_pieces_without_a_change() {
        let now = Instant::now();
        let activity = Arc::new(Activity::new(now.into_std()));
        let content: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        let mut body = Watched::new(Body::from(content.clone()), activity.begin());
        let mut left = content.len() as u64;
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE_BYTES);
            left -= data.len() as u64;
            seen.extend_from_slice(&data);
            assert_eq!(body.size_hint().exact(), Some(left));
            assert_eq!(body.is_end_stream(), left == 0);
        }
        assert!(seen == content);
    }
}
