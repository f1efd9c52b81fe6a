//! The body of an invocation on its way to the container: small ones are taken at once, so that a client can be sent away
//! to ask again; large ones stream, and tell when they are through.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::{BoxError, Error};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::extract::declared_length;
use crate::paced::TooSlow;

/// What is taken at once. With all invocations that may be, 8 MiB.
const SMALL_BYTES: u64 = 64 * 1024;

/// What is known of a body that goes on to the container.
#[derive(Debug, Clone)]
pub(crate) struct Passage {
    /// Told when it has gone on whole.
    through: CancellationToken,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    /// When a piece of it, or its end, last went on.
    moved: Instant,
    broken: Option<ApiError>,
}

impl Passage {
    fn new() -> Self {
        let seen = Seen { moved: Instant::now(), broken: None };
        Self { through: CancellationToken::new(), seen: Arc::new(Mutex::new(seen)) }
    }

    /// Waits until the client has sent all of it.
    pub(crate) async fn through(&self) {
        self.through.cancelled().await;
    }

    /// When a piece of it last went on; before there was one, when it began to be awaited.
    pub(crate) fn moved(&self) -> Instant {
        self.seen().moved
    }

    /// Waits until no piece of it has gone on for so long, from now on.
    pub(crate) async fn rests(&self, long: Duration) {
        let begun = Instant::now();
        let mut left = long;
        while !left.is_zero() {
            sleep(left).await;
            left = long.saturating_sub(self.moved().max(begun).elapsed());
        }
    }

    /// Why it did not come in whole, if that is so.
    pub(crate) fn broken(&self) -> Option<ApiError> {
        self.seen().broken.clone()
    }

    fn fail(&self, error: ApiError) {
        self.seen().broken = Some(error);
    }

    fn step(&self) {
        self.seen().moved = Instant::now();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Prepares a client's body.
///
/// # Errors
/// A small one does not come.
pub(crate) async fn prepare(headers: &HeaderMap, body: Body) -> Result<(Body, Passage), ApiError> {
    let passage = Passage::new();
    if HttpBody::is_end_stream(&body) {
        passage.through.cancel();
        return Ok((Body::empty(), passage));
    }
    if declared_length(headers).is_none_or(|length| length > SMALL_BYTES) {
        let body = Body::new(Passing { body, passage: passage.clone() });
        return Ok((body, passage));
    }
    let whole = Limited::new(body, SMALL_BYTES as usize).collect().await.map_err(|error| broken(&*error))?;
    passage.through.cancel();
    Ok((Body::from(whole.to_bytes()), passage))
}

fn broken(error: &(dyn std::error::Error + 'static)) -> ApiError {
    let mut below = Some(error);
    while let Some(cause) = below {
        if cause.is::<TooSlow>() {
            return ApiError::too_slow();
        }
        below = cause.source();
    }
    ApiError::broken_body(error)
}

#[derive(Debug)]
struct Passing {
    body: Body,
    passage: Passage,
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled: Poll<Option<Result<Frame<Bytes>, Error>>> = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(Some(Ok(_)) | None)) {
            self.passage.step();
        }
        match &polled {
            Poll::Ready(Some(Err(error))) => self.passage.fail(broken(error)),
            Poll::Ready(_) if HttpBody::is_end_stream(&self.body) => self.passage.through.cancel(),
            Poll::Ready(None) => self.passage.through.cancel(),
            _ => {}
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        HttpBody::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        HttpBody::size_hint(&self.body)
    }
}
