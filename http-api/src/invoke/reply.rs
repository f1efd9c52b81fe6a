//! The answer of a container on its way to the client. It holds the invocation's folder: the last bytes go out after the
//! folder is gone, and whoever drops an answer half way drops the container's connection and the folder with it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use assetmesh_node::staging::Invocation;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::response::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::container::Conversation;
use super::early::Early;
use super::metrics::Course;
use super::request_body::Passage;
use crate::presence::Presence;

/// How often a silent answer shows that it is alive: the watch over connections sees it move. Well below the time after
/// which it takes an answer for stalled.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Head and body of an answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: Parts,
    pub(crate) body: ReplyBody,
}

/// The body of an answer.
pub(crate) struct ReplyBody {
    /// What was taken while nobody asked.
    early: Early,
    rest: Rest,
    gone: Option<BoxFuture<'static, ()>>,
    beat: Interval,
    moved: Instant,
    /// The client may still send while the container answers.
    passage: Passage,
    quiet_max: Duration,
}

/// What is still to come.
enum Rest {
    Open {
        conversation: Box<Conversation>,
        invocation: Invocation,
        course: Course,
    },
    /// The container has said all; the folder goes.
    Closing(BoxFuture<'static, ()>, Option<Frame<Bytes>>),
    Over,
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody").field("early", &self.early.len()).finish_non_exhaustive()
    }
}

impl ReplyBody {
    /// The rest of an answer. If there is none, the folder is gone when this returns.
    pub(crate) async fn new(
        conversation: Conversation,
        (invocation, mut course): (Invocation, Course),
        passage: Passage,
        quiet_max: Duration,
    ) -> Self {
        let rest = if conversation.is_end_stream() {
            drop(conversation);
            course.finish();
            invocation.close().await;
            Rest::Over
        } else {
            Rest::Open { conversation: Box::new(conversation), invocation, course }
        };
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { early: Early::default(), rest, gone: None, beat, moved: Instant::now(), passage, quiet_max }
    }

    /// Ends as soon as the client has gone, even if there is nothing to send.
    pub(crate) fn for_client(mut self, presence: Presence) -> Self {
        self.gone = Some(Box::pin(presence.gone()));
        self
    }

    /// Whether all has come from the container.
    pub(crate) const fn is_whole(&self) -> bool {
        matches!(self.rest, Rest::Over)
    }

    /// Bytes that were taken early.
    pub(crate) fn early_bytes(&self) -> usize {
        self.early.len()
    }

    /// Takes a piece of what is still to come, for a client that will ask later.
    ///
    /// # Errors
    /// The container broke off.
    pub(crate) async fn take_early(&mut self) -> io::Result<()> {
        match std::future::poll_fn(|context| self.poll_rest(context)).await {
            Some(Ok(frame)) => self.early.push(frame),
            Some(Err(error)) => return Err(error),
            None => {}
        }
        Ok(())
    }

    fn poll_rest(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match &mut self.rest {
                Rest::Over => return Poll::Ready(None),
                Rest::Closing(closing, last) => {
                    ready!(closing.as_mut().poll(context));
                    let last = last.take();
                    self.rest = Rest::Over;
                    return Poll::Ready(last.map(Ok));
                }
                Rest::Open { conversation, .. } => {
                    let Poll::Ready(frame) = Pin::new(&mut **conversation).poll_frame(context) else {
                        return self.wait(context);
                    };
                    self.moved = Instant::now();
                    match frame {
                        Some(Ok(frame)) if !conversation.is_end_stream() => {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                        Some(Ok(frame)) => self.close(Some(frame)),
                        None => self.close(None),
                        Some(Err(error)) => {
                            self.fail();
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
            }
        }
    }

    /// Nothing has come. The beat has this looked at again in time.
    fn wait(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        while self.beat.poll_tick(context).is_ready() {}
        if self.moved.max(self.passage.moved()).elapsed() < self.quiet_max {
            return Poll::Pending;
        }
        self.fail();
        Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::TimedOut, "the container has gone quiet"))))
    }

    fn close(&mut self, last: Option<Frame<Bytes>>) {
        if let Rest::Open { conversation, invocation, mut course } =
            std::mem::replace(&mut self.rest, Rest::Over)
        {
            drop(conversation);
            course.finish();
            let closing = async move {
                invocation.close().await;
                drop(course);
            };
            self.rest = Rest::Closing(Box::pin(closing), last);
        }
    }

    /// The container broke off.
    fn fail(&mut self) {
        if let Rest::Open { course, .. } = &mut self.rest {
            course.fail();
        }
        self.rest = Rest::Over;
    }
}

impl HttpBody for ReplyBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(frame) = this.early.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(gone) = &mut this.gone
            && !matches!(this.rest, Rest::Over)
            && gone.as_mut().poll(context).is_ready()
        {
            this.rest = Rest::Over;
            this.gone = None;
            return Poll::Ready(Some(Err(io::ErrorKind::BrokenPipe.into())));
        }
        this.poll_rest(context)
    }

    fn is_end_stream(&self) -> bool {
        self.early.is_empty() && self.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Rest::Open { conversation, .. } => conversation.size_hint(),
            Rest::Closing(_, last) => SizeHint::with_exact(last.iter().map(length).sum()),
            Rest::Over => SizeHint::with_exact(0),
        };
        let early = self.early.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + early);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + early);
        }
        hint
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}
