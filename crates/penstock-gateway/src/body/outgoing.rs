//! A request's body on its way to the upstream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::health::millis;
use crate::incoming::{Incoming, IncomingError};
use crate::request::strip_trailers;
use crate::state::BufferShare;

/// A request's body on its way to the upstream.
pub struct OutgoingBody {
    content: Content,
    /// Held until the body has been written.
    share: Option<Arc<BufferShare>>,
}

enum Content {
    Parts(VecDeque<Bytes>),
    Streaming { incoming: Incoming, keeps_trailers: bool, progress: Option<Arc<Progress>> },
}

/// How a body gets on that somebody else reads. It stands between the client
/// and that reader: what comes is known also where the reader does not look.
pub struct Progress {
    began: Instant,
    /// When a piece came last, in milliseconds since then.
    last_ms: AtomicU64,
    is_waiting: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.is_waiting.store(false, Ordering::Relaxed);
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            reader: Mutex::default(),
        })
    }

    fn poll(
        self: &Arc<Self>,
        incoming: &mut Incoming,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        let reader = Some(cx.waker().clone());
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = reader;
        self.is_waiting.store(true, Ordering::Relaxed);
        let waker = Waker::from(self.clone());
        let polled = Pin::new(incoming).poll_frame(&mut Context::from_waker(&waker));
        if polled.is_ready() {
            self.is_waiting.store(false, Ordering::Relaxed);
            self.last_ms.store(millis(self.began.elapsed()), Ordering::Relaxed);
        }
        polled
    }

    /// When a piece came last.
    pub fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Whether the client has to send more before anything can go on.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Relaxed)
    }
}

impl OutgoingBody {
    /// No body.
    pub fn empty() -> Self {
        Self { content: Content::Parts(VecDeque::new()), share: None }
    }

    /// A body in memory, in parts.
    pub fn parts(parts: Vec<Bytes>, share: Option<BufferShare>) -> Self {
        Self { content: Content::Parts(parts.into()), share: share.map(Arc::new) }
    }

    /// The whole body, where it is in memory.
    pub fn in_memory(&self) -> Option<Vec<u8>> {
        match &self.content {
            Content::Parts(parts) => Some(parts.iter().flat_map(|part| part.to_vec()).collect()),
            Content::Streaming { .. } => None,
        }
    }

    /// The same body once more, where it is in memory.
    pub fn copy(&self) -> Option<Self> {
        match &self.content {
            Content::Parts(parts) => {
                let content = Content::Parts(parts.clone());
                Some(Self { content, share: self.share.clone() })
            }
            Content::Streaming { .. } => None,
        }
    }

    /// Takes what there is in memory out of the body.
    pub fn take_parts(&mut self) -> Option<VecDeque<Bytes>> {
        match &mut self.content {
            Content::Parts(parts) => Some(std::mem::take(parts)),
            Content::Streaming { .. } => None,
        }
    }

    /// Puts parts that were taken out back to the front; whether this is a
    /// body in memory.
    pub fn put_back(&mut self, taken: VecDeque<Bytes>) -> bool {
        let Content::Parts(parts) = &mut self.content else { return false };
        let rest = std::mem::replace(parts, taken);
        parts.extend(rest);
        true
    }

    /// Lets trailers through, towards an upstream that keeps them apart from
    /// headers: no plugin has seen what they say.
    pub fn keep_trailers(&mut self) {
        if let Content::Streaming { keeps_trailers, .. } = &mut self.content {
            *keeps_trailers = true;
        }
    }

    /// Tells from now on how it gets on; `None` where all of it is in memory.
    pub fn watch(&mut self) -> Option<Arc<Progress>> {
        let Content::Streaming { progress, .. } = &mut self.content else { return None };
        *progress = Some(Progress::new());
        progress.clone()
    }

    /// The client's body as it comes.
    pub fn streaming(incoming: Incoming) -> Self {
        if let Incoming::Whole(bytes) = incoming {
            return Self::parts(vec![bytes], None);
        }
        let content = Content::Streaming { incoming, keeps_trailers: false, progress: None };
        Self { content, share: None }
    }
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = IncomingError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, IncomingError>>> {
        match &mut self.content {
            Content::Parts(parts) => {
                Poll::Ready(parts.pop_front().map(|part| Ok(Frame::data(part))))
            }
            Content::Streaming { incoming, keeps_trailers, progress } => loop {
                let frame = ready!(match progress {
                    Some(progress) => progress.poll(incoming, cx),
                    None => Pin::new(&mut *incoming).poll_frame(cx),
                });
                let trailers = match frame {
                    Some(Ok(frame)) if frame.is_trailers() => frame.into_trailers(),
                    frame => return Poll::Ready(frame),
                };
                if let Ok(mut trailers) = trailers
                    && *keeps_trailers
                {
                    strip_trailers(&mut trailers);
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Parts(parts) => parts.is_empty(),
            Content::Streaming { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Parts(parts) => {
                SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum())
            }
            Content::Streaming { incoming, .. } => incoming.size_hint(),
        }
    }
}
