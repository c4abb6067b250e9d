//! What comes from a client: heads for the connection, and bodies, which are
//! read by whoever wants them, straight off the socket. That may be another
//! task, so the socket is shared.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::head::{Head, HeadLimits, HeadReader, Refused};
use crate::framing::{Framing, Piece};
use crate::incoming::{Incoming, IncomingError};
use crate::listener::activity::Activity;
use crate::listener::admission::Admitted;
use crate::stream::Stream;

/// What is read at once at first; most requests fit. It grows where clients
/// are fast.
pub(in crate::listener) const READ_BYTES_MIN: usize = 4 << 10;
/// What is read at once at most.
const READ_BYTES_MAX: usize = 64 << 10;
/// Less room than this is not worth a call to the system.
const ROOM_BYTES_MIN: usize = 1 << 10;
/// How much is read of what nobody wants yet, to see whether the client
/// leaves.
const AHEAD_BYTES_MAX: usize = 64 << 10;

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's socket, and what is known of the bytes from it.
pub(super) struct Socket {
    pub(super) stream: Stream,
    /// What was read and not taken.
    pub(super) input: BytesMut,
    read_bytes: usize,
    /// What is to come of the request's body.
    body: Framing,
    /// Whether nothing behind what was taken can be read as a request.
    has_failed: bool,
    /// Whether the client has ended the connection, or it broke, before it
    /// was asked to.
    has_ended: bool,
    /// Whether somebody may read the body.
    has_reader: bool,
    /// What is to be written before the body is waited for.
    pub(super) go_ahead: &'static [u8],
    /// The task that waits for the end of the body, or of its reader.
    waiting: Option<Waker>,
    /// The task that waits for more of the body.
    reading: Option<Waker>,
    activity: Arc<Activity>,
    /// The connection counts as long as its socket is open, which is longer
    /// than it is served where a reader keeps hold of it.
    pub(super) admitted: Admitted,
}

/// A socket that the body of a request is read from.
type Shared = Arc<Mutex<Socket>>;

/// The connection's hold on its socket. Without it nobody reads on.
pub(super) struct Owned(Shared);

impl Owned {
    pub(super) fn new(socket: Socket) -> Self {
        Self(Arc::new(Mutex::new(socket)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Socket> {
        lock(&self.0)
    }

    /// The socket, unless somebody is still about to read from it.
    pub(super) fn into_inner(self) -> Option<Socket> {
        let shared = self.0.clone();
        drop(self);
        Some(Arc::into_inner(shared)?.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let mut socket = self.lock();
        if socket.has_reader {
            // It may keep hold of the socket for long, as an HTTP/2 upstream
            // does that takes nothing. The client need not wait for that.
            socket.stream.cut();
        }
        socket.take_back();
    }
}

/// Keeps a task in mind.
fn note(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn lock(socket: &Mutex<Socket>) -> MutexGuard<'_, Socket> {
    socket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why there is no head.
pub(super) enum NoHead {
    /// What came is none.
    Refused(Refused),
    /// The client broke off.
    Broken(io::Error),
    /// The client has nothing to ask any more, or shall not ask.
    Over,
}

impl Socket {
    pub(super) fn new(
        stream: Stream,
        input: BytesMut,
        activity: Arc<Activity>,
        admitted: Admitted,
    ) -> Self {
        Self {
            stream,
            input,
            read_bytes: READ_BYTES_MIN,
            body: Framing::OVER,
            has_failed: false,
            has_ended: false,
            has_reader: false,
            go_ahead: b"",
            waiting: None,
            reading: None,
            activity,
            admitted,
        }
    }

    /// Reads once; how many bytes came, none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.make_room();
        self.poll_fill(cx)
    }

    fn make_room(&mut self) {
        let room = self.input.capacity() - self.input.len();
        let is_large = self.read_bytes > READ_BYTES_MIN;
        if room < ROOM_BYTES_MIN || (is_large && room < self.read_bytes / 2) {
            self.input.reserve(self.read_bytes);
        }
    }

    /// Reads into the room that there is.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        if count == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// The next head. With `takes_none` it is waited for only where it has
    /// begun.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        (reader, limits): (&mut HeadReader, HeadLimits),
        spare: &mut HeaderMap,
        takes_none: bool,
    ) -> Poll<Result<Head, NoHead>> {
        loop {
            if !self.input.is_empty() {
                match reader.take(&mut self.input, limits, spare) {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(refused) => return Poll::Ready(Err(NoHead::Refused(refused))),
                }
            }
            let is_idle = self.input.is_empty();
            if !is_idle {
                // It has begun, and has its time from here on.
                self.activity.received();
            } else if takes_none {
                return Poll::Ready(Err(NoHead::Over));
            }
            match ready!(self.poll_read(cx)) {
                Ok(0) if is_idle => return Poll::Ready(Err(NoHead::Over)),
                Ok(0) => return broken(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => return broken(error),
            }
        }
    }

    /// Makes ready for another request.
    pub(super) fn begin_waiting(&mut self) {
        if !self.input.is_empty() {
            return;
        }
        if self.read_bytes > READ_BYTES_MIN {
            // An idle connection holds no large buffer.
            self.read_bytes = READ_BYTES_MIN;
            self.input = BytesMut::new();
        }
        // Nobody holds a part of it any more, so all of it is to be had.
        self.input.reserve(self.read_bytes);
    }

    /// Looks whether the client has gone. What it sends meanwhile waits; only
    /// a little of it is read, because its end stands behind it.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_ended {
            return Poll::Ready(());
        }
        if self.has_reader {
            self.wake_at_end(cx);
            return Poll::Pending;
        }
        while self.input.len() < AHEAD_BYTES_MAX {
            match ready!(self.poll_read(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => {
                    self.has_ended = true;
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }

    /// Whether another request can follow this one's body. Little that is
    /// left of it, and that nobody wants, is skipped.
    pub(super) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.body.is_over() || self.has_failed {
            return Poll::Ready(!self.has_failed);
        }
        if self.has_reader {
            self.wake_at_end(cx);
            return Poll::Pending;
        }
        if !self.skip() && matches!(self.poll_read(cx), Poll::Ready(Ok(1..))) {
            self.skip();
        }
        Poll::Ready(self.body.is_over() && !self.has_failed)
    }

    /// Whether the body cannot be followed by another request: nobody wants
    /// it, and it does not come to its end.
    pub(super) fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        !self.has_reader && self.poll_settled(cx) == Poll::Ready(false)
    }

    /// Takes what comes for nothing that could be read.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
    }

    /// Lets nobody else read on.
    pub(super) fn take_back(&mut self) {
        if self.has_reader {
            self.has_failed = true;
        }
        if let Some(waker) = self.reading.take() {
            waker.wake();
        }
    }

    /// Whether the client has been listened to: it cannot be about to send
    /// more of what it began.
    pub(super) fn is_heard_out(&self) -> bool {
        self.body.is_over() && self.input.is_empty() && !self.has_failed
    }

    /// Reads until the client has said that it is done, or `left` bytes came,
    /// for nobody.
    pub(super) fn poll_discard(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        while *left > 0 {
            self.input.clear();
            match ready!(self.poll_read(cx)) {
                Ok(count @ 1..) => *left = left.saturating_sub(count),
                Ok(0) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }

    /// Skips what has come of the body; whether that is all of it.
    fn skip(&mut self) -> bool {
        while !self.body.is_over() {
            match self.body.take(&mut self.input) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    self.has_failed = true;
                    break;
                }
            }
        }
        self.body.is_over()
    }

    fn wake_at_end(&mut self, cx: &Context<'_>) {
        note(&mut self.waiting, cx);
    }

    /// Wakes the connection's task, which reads on.
    fn end_waiting(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        if self.has_failed {
            return Poll::Ready(Some(Err(aborted())));
        }
        self.write_go_ahead(cx);
        loop {
            match self.body.take(&mut self.input) {
                Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Piece::Trailers(trailers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(None) if self.body.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(wrong) => {
                    self.has_failed = true;
                    return Poll::Ready(Some(Err(IncomingError::Framing(wrong))));
                }
            }
            self.make_room();
            if let Err(error) = ready!(self.poll_more(cx)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Reads until more than `count` bytes of a body of known length are
    /// there, or all of it is; how many there are. They stay in one piece.
    fn poll_gathered(
        &mut self,
        cx: &mut Context<'_>,
        count: usize,
    ) -> Poll<Result<usize, IncomingError>> {
        if self.has_failed {
            return Poll::Ready(Err(aborted()));
        }
        self.write_go_ahead(cx);
        let all = self.body.known_length().and_then(|left| usize::try_from(left).ok());
        let all = all.unwrap_or(usize::MAX);
        while self.input.len() <= count && self.input.len() < all {
            self.input.reserve(all - self.input.len());
            ready!(self.poll_more(cx))?;
        }
        Poll::Ready(Ok(self.input.len().min(all)))
    }

    /// Reads what comes next of a body, for whoever polls.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), IncomingError>> {
        let error = match self.poll_fill(cx) {
            Poll::Ready(Ok(1..)) => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
            Poll::Ready(Err(error)) => error,
            Poll::Pending => {
                note(&mut self.reading, cx);
                return Poll::Pending;
            }
        };
        (self.has_failed, self.has_ended) = (true, true);
        Poll::Ready(Err(IncomingError::Connection(error)))
    }

    /// Tells a client that waits to be asked to go on. A client that does not
    /// take these few bytes gets the rest before the answer.
    fn write_go_ahead(&mut self, cx: &mut Context<'_>) {
        while !self.go_ahead.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, self.go_ahead) {
                Poll::Ready(Ok(count @ 1..)) => {
                    self.go_ahead = self.go_ahead.get(count..).unwrap_or_default();
                }
                _ => return,
            }
            if self.go_ahead.is_empty() {
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
            }
        }
    }

    /// What is left to write of a word to go on that was begun.
    pub(super) fn take_go_ahead(&mut self) -> &'static [u8] {
        let rest = std::mem::take(&mut self.go_ahead);
        if rest.len() < CONTINUE.len() { rest } else { b"" }
    }
}

/// A frame of a body, or why there is none.
type BodyFrame = Result<Frame<Bytes>, IncomingError>;

/// What a body that failed before says once more.
fn aborted() -> IncomingError {
    IncomingError::Connection(io::ErrorKind::ConnectionAborted.into())
}

fn broken<T>(error: io::Error) -> Poll<Result<T, NoHead>> {
    Poll::Ready(Err(NoHead::Broken(error)))
}

/// The body behind a head.
pub(super) fn body_of(owned: &Owned, framing: Framing, expects_continue: bool) -> Incoming {
    let mut socket = owned.lock();
    socket.body = framing;
    if let Framing::Length(length) = socket.body
        && let Ok(length) = usize::try_from(length)
        && length <= socket.input.len()
        && (!expects_continue || length == 0)
    {
        socket.body = Framing::OVER;
        return Incoming::Whole(socket.input.split_to(length).freeze());
    }
    socket.has_reader = true;
    if let Some(length) = socket.body.known_length() {
        // What is to come is known, and need not be found out call by call.
        let left = length.saturating_sub(socket.input.len() as u64);
        let left = usize::try_from(left).unwrap_or(READ_BYTES_MAX);
        socket.read_bytes = left.clamp(READ_BYTES_MIN, READ_BYTES_MAX);
    }
    if expects_continue {
        socket.go_ahead = CONTINUE;
    }
    Incoming::Http1(Receiving(Some(owned.0.clone())))
}

/// The body of a request, read off the client's connection. It has nothing to
/// do with that any more once it is over, when another request may follow.
pub struct Receiving(Option<Shared>);

impl Receiving {
    /// The next piece of it.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        let Some(shared) = &self.0 else { return Poll::Ready(None) };
        let mut socket = lock(shared);
        let polled = socket.poll_body(cx);
        let is_over = socket.body.is_over();
        socket.has_reader = !is_over && !socket.has_failed;
        if !socket.has_reader {
            socket.end_waiting();
        }
        drop(socket);
        if is_over {
            self.0 = None;
        }
        polled
    }

    /// Reads until more than `count` bytes of a body whose length is known
    /// are there, or all of it is; how many there are. The next frame has all
    /// of them in one piece, without a copy.
    pub(crate) fn poll_gathered(
        &mut self,
        cx: &mut Context<'_>,
        count: usize,
    ) -> Poll<Result<usize, IncomingError>> {
        let Some(shared) = &self.0 else { return Poll::Ready(Ok(0)) };
        let mut socket = lock(shared);
        let polled = socket.poll_gathered(cx, count);
        if socket.has_failed {
            socket.has_reader = false;
            socket.end_waiting();
        }
        polled
    }

    /// The bytes that are still to come, where that is known.
    pub(crate) fn known_length(&self) -> Option<u64> {
        self.0.as_deref().map_or(Some(0), |socket| lock(socket).body.known_length())
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            let mut socket = lock(shared);
            socket.has_reader = false;
            socket.end_waiting();
        }
    }
}

#[cfg(test)]
mod tests;
