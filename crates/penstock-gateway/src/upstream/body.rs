//! The body of an upstream's answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::{Pool, SendLimits, http1, http2};
use crate::balance::Occupied;
use crate::load::Place;
use crate::stream::Stream;

/// The body of an upstream's answer. Returns its connection to the pool when
/// it has been read to the end, and closes it when it is dropped before.
pub struct UpstreamBody {
    pub(super) source: Source,
    pub(super) pool: Arc<Pool>,
    pub(super) limits: SendLimits,
    pub(super) deadline: Option<Pin<Box<Sleep>>>,
    /// When something came last, since the deadline was set.
    pub(super) last_progress: Option<Instant>,
    /// The endpoint counts as busy as long.
    pub(super) occupied: Option<Occupied>,
}

/// What is left of an answer that switched protocols.
pub struct Switched {
    /// The transport.
    pub stream: Stream,
    /// What was read from it behind the head.
    pub early: Bytes,
    /// What the connection counts for, until it is dropped.
    pub held: Held,
}

/// What a connection that was handed over counts for.
pub struct Held {
    _place: Place,
    _occupied: Option<Occupied>,
}

/// Where a body comes from.
pub(super) enum Source {
    /// Nowhere: it is over, and its connection went back to the pool.
    Over,
    /// Something else was put in its place.
    Whole(Bytes),
    Http1(Box<http1::Answering>),
    Http2 {
        incoming: Incoming,
        _share: http2::Share,
    },
}

impl UpstreamBody {
    /// The transport and what was read ahead from it, where the upstream has
    /// switched protocols.
    pub fn into_stream(mut self) -> Option<Switched> {
        match std::mem::replace(&mut self.source, Source::Over) {
            Source::Http1(answering) => {
                let (stream, early, place) = answering.into_stream();
                let held = Held { _place: place, _occupied: self.occupied.take() };
                Some(Switched { stream, early, held })
            }
            Source::Http2 { .. } | Source::Over | Source::Whole(_) => None,
        }
    }

    /// Puts something else in place of a body that was read to its end.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        self.release();
        self.source = Source::Whole(bytes);
    }

    /// Keeps the endpoint counted as busy until the body is over.
    pub(crate) fn hold(&mut self, occupied: Occupied) {
        self.occupied = Some(occupied);
    }

    fn release(&mut self) {
        self.occupied = None;
        if let Source::Http1(answering) = std::mem::replace(&mut self.source, Source::Over)
            && let Some(connection) = answering.into_reusable()
        {
            self.pool.put(connection);
        }
    }

    fn poll_source(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Over => Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Over;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Source::Http1(answering) => answering.poll_frame(cx),
            Source::Http2 { incoming, .. } => Pin::new(incoming)
                .poll_frame(cx)
                .map_err(|error| BodyError::Broken(Box::new(error))),
        }
    }

    /// Whether nothing has come for too long, or the time for the whole
    /// request is over. The timer is only set again when it fires, not at
    /// every piece.
    fn is_late(&mut self, cx: &mut Context<'_>) -> Option<BodyError> {
        let SendLimits { idle_timeout, ends_at, .. } = self.limits;
        let sooner = |at: Instant| ends_at.map_or(at, |ends_at| at.min(ends_at)).into();
        let deadline = self.deadline.get_or_insert_with(|| {
            Box::pin(tokio::time::sleep_until(sooner(Instant::now() + idle_timeout)))
        });
        while deadline.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if ends_at.is_some_and(|ends_at| ends_at <= now) {
                return Some(BodyError::OutOfTime);
            }
            match self.last_progress.take().map(|at| at + idle_timeout) {
                Some(stalls_at) if stalls_at > now => deadline.as_mut().reset(sooner(stalls_at)),
                _ => return Some(BodyError::Stalled),
            }
        }
        None
    }
}

/// How an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed the connection or broke the framing.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The upstream sent nothing for too long.
    #[error("the upstream stalled")]
    Stalled,
    /// The time for the whole request was over.
    #[error("the request took too long")]
    OutOfTime,
    /// A stage could not go on.
    #[error("{0}")]
    Stage(#[from] penstock_llm::LlmError),
    /// It could not be compressed.
    #[error("the answer cannot be compressed")]
    NotCompressed,
}

impl BodyError {
    /// The stable name, for the log.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Broken(_) => "upstream_broke_off",
            Self::Stalled => "upstream_stalled",
            Self::OutOfTime => "request_timeout",
            Self::Stage(_) | Self::NotCompressed => "answer_invalid",
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = this.poll_source(cx);
        match &polled {
            Poll::Pending => {
                let Some(error) = this.is_late(cx) else { return Poll::Pending };
                this.source = Source::Over;
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Ready(Some(Ok(_))) if this.deadline.is_some() => {
                this.last_progress = Some(Instant::now());
            }
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(_))) => this.source = Source::Over,
            Poll::Ready(None) => this.release(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Over => true,
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Http1(answering) => answering.is_over(),
            Source::Http2 { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Over => SizeHint::with_exact(0),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Http1(answering) => {
                answering.known_length().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Source::Http2 { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if self.is_end_stream() {
            self.release();
        }
    }
}
