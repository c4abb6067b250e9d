//! A connection of HTTP/1.1, one request at a time.
//!
//! It is driven by the task of the request that uses it, in plain polls: no
//! channel and no other task stands between the socket and the client's
//! answer. [`answer`] knows the bytes, [`writing`] the request's.

pub mod answer;
mod writing;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::header::UPGRADE;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use tokio::io::AsyncReadExt;

use self::answer::{Head, HeadReader};
use self::writing::{Failed, Writing};
use super::{BodyError, PoolKey, SendFailure, SendLimits, Sent};
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::framing::{Framing, Piece, Wrong};
use crate::load::Place;
use crate::stream::Stream;

/// What is read at once at first; it grows where answers are fast.
const READ_BYTES_MIN: usize = 4 << 10;
/// What is read at once at most.
const READ_BYTES_MAX: usize = 64 << 10;

/// A connection of HTTP/1.1.
pub struct Connection {
    stream: Stream,
    /// What was read and not taken.
    input: BytesMut,
    read_bytes: usize,
    writing: Writing,
    reader: HeadReader,
    pub(super) key: PoolKey,
    pub(super) idle_since: Instant,
    pub(super) place: Place,
}

/// A connection on which an answer has begun.
pub(super) struct Answering {
    connection: Box<Connection>,
    body: Framing,
    keeps_alive: bool,
}

impl Connection {
    pub(super) fn new(stream: Stream, key: PoolKey, place: Place) -> Self {
        Self {
            stream,
            input: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            writing: Writing::default(),
            reader: HeadReader::default(),
            key,
            idle_since: Instant::now(),
            place,
        }
    }

    /// Looks whether the peer has closed an idle connection, or sent what
    /// nobody asked for.
    pub(super) async fn is_alive(&mut self) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(self.poll_read(cx).is_pending())).await
    }

    /// Reads once; how many bytes came, none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(self.read_bytes);
        let room = self.input.capacity() - self.input.len();
        let count = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(cx))?;
        if count == room {
            self.read_bytes = (self.read_bytes * 2).min(READ_BYTES_MAX);
        }
        Poll::Ready(Ok(count))
    }

    /// Sends a request and waits for the head of the answer, no longer than
    /// it may take after something of the request could be written.
    pub(super) async fn send(
        mut self: Box<Self>,
        request: Request<OutgoingBody>,
        is_reused: bool,
        limits: SendLimits,
    ) -> Result<Response<Answering>, SendFailure> {
        let (mut parts, body) = request.into_parts();
        let may_switch = parts.headers.contains_key(UPGRADE);
        self.writing = Writing::new(&parts, body);
        let mut reader = std::mem::take(&mut self.reader);
        let began = Instant::now();
        let mut written_at = began;
        let mut is_first = true;
        let mut late = pin!(tokio::time::sleep_until(limits.due(began).into()));
        let outcome = std::future::poll_fn(|cx| {
            let polled = self.poll_exchange(cx, (&mut reader, &mut parts.headers), may_switch);
            if polled.is_ready() {
                return polled;
            }
            // What is written at once was written when it began.
            let is_later = !std::mem::take(&mut is_first);
            if std::mem::take(&mut self.writing.has_moved) && is_later {
                written_at = Instant::now();
            }
            while late.as_mut().poll(cx).is_ready() {
                if limits.due(written_at) <= Instant::now() {
                    let lacks_body = self.writing.lacks_body;
                    let sent = Sent { began, written_at, lacks_body };
                    return Poll::Ready(Err(Failed::TooLate(Box::new(limits.blame(&sent)))));
                }
                late.as_mut().reset(limits.due(written_at).into());
            }
            Poll::Pending
        });
        let head = match outcome.await {
            Ok(head) => head,
            Err(failed) => {
                let unsent = self.writing.take_unsent().filter(|_| is_reused);
                let unsent = unsent.map(|body| Box::new(Request::from_parts(parts, body)));
                return Err(SendFailure { error: failed.into(), unsent });
            }
        };
        let body = head
            .body(&parts.method)
            .map_err(|wrong| SendFailure { error: Failed::Wrong(wrong).into(), unsent: None })?;
        let keeps_alive = head.keeps_alive();
        // It has room for the lines of the next head.
        self.reader = reader;
        let mut response = Response::new(Answering { connection: self, body, keeps_alive });
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        Ok(response)
    }

    /// Writes what can be written, and reads the head of the answer, into the
    /// map of the request's headers once nobody needs those any more.
    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        (reader, headers): (&mut HeadReader, &mut HeaderMap),
        may_switch: bool,
    ) -> Poll<Result<Head, Failed>> {
        let written = match self.writing.poll(&mut self.stream, cx) {
            Poll::Ready(Err(Failed::Io(error))) => Err(error),
            Poll::Ready(Err(failed)) => return Poll::Ready(Err(failed)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        };
        let mut new = HeaderMap::new();
        let spare = if self.writing.is_unsent() { &mut new } else { headers };
        loop {
            if let Some(head) = reader.take(&mut self.input, may_switch, spare)? {
                return Poll::Ready(Ok(head));
            }
            // Whoever refuses a body may answer before it closes.
            match (self.poll_read(cx), written.is_err()) {
                (Poll::Ready(Ok(count)), _) if count > 0 => {}
                (Poll::Ready(Ok(_)), false) => return Poll::Ready(Err(Failed::Closed)),
                (Poll::Ready(Err(error)), false) => return Poll::Ready(Err(Failed::Io(error))),
                (Poll::Pending, false) => return Poll::Pending,
                (_, true) => {
                    return Poll::Ready(
                        written
                            .map_or_else(|error| Err(Failed::Io(error)), |()| Err(Failed::Closed)),
                    );
                }
            }
        }
    }
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<Failed> for GatewayError {
    fn from(failed: Failed) -> Self {
        let (kind, cause) = match failed {
            Failed::Io(error) => (ErrorKind::UpstreamClosed, error.to_string()),
            Failed::Closed => {
                (ErrorKind::UpstreamClosed, "it closed the connection before it answered".into())
            }
            Failed::Wrong(wrong) => (ErrorKind::UpstreamInvalid, wrong.to_string()),
            Failed::Body(error) if error.is_bad_framing() => {
                (ErrorKind::InvalidRequest, error.to_string())
            }
            Failed::Body(error) => (ErrorKind::ClientClosed, error.to_string()),
            Failed::TooLate(error) => return *error,
        };
        Self::new(kind).because(cause)
    }
}

impl Answering {
    /// The next piece of the body.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let connection = &mut *self.connection;
        // The answer may have begun before the request was over.
        if !connection.writing.is_over()
            && let Poll::Ready(Err(_)) = connection.writing.poll(&mut connection.stream, cx)
        {
            self.keeps_alive = false;
        }
        loop {
            match self.body.take(&mut connection.input) {
                Ok(Some(Piece::Data(data))) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Some(Piece::Trailers(headers))) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(headers))));
                }
                Ok(None) if self.body.is_over() => return Poll::Ready(None),
                Ok(None) => {}
                Err(wrong) => return broken(wrong),
            }
            match ready!(connection.poll_read(cx)) {
                Ok(0) if matches!(self.body, Framing::UntilClose) => {
                    self.body = Framing::Length(0);
                    self.keeps_alive = false;
                }
                Ok(0) => return broken(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Ok(_) => {}
                Err(error) => return broken(error),
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.body.is_over()
    }

    pub(super) fn known_length(&self) -> Option<u64> {
        self.body.known_length()
    }

    /// The connection, where it may take another request.
    pub(super) fn into_reusable(self) -> Option<Box<Connection>> {
        let mut connection = self.connection;
        let is_clean = connection.writing.is_over() && connection.input.is_empty();
        if !(self.keeps_alive && self.body.is_over() && is_clean) {
            return None;
        }
        if connection.read_bytes > READ_BYTES_MIN {
            // An idle connection holds no large buffer.
            connection.read_bytes = READ_BYTES_MIN;
            connection.input = BytesMut::new();
        }
        Some(connection)
    }

    /// What is left of it once HTTP is over: the transport, and what was read
    /// from it behind the head of the answer.
    pub(super) fn into_stream(self) -> (Stream, Bytes, Place) {
        let Connection { stream, input, place, .. } = *self.connection;
        (stream, input.freeze(), place)
    }
}

fn broken(
    error: impl std::error::Error + Send + Sync + 'static,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Err(BodyError::Broken(Box::new(error)))))
}
