//! A request on its way into a connection.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;
use http_body::Body;
use tokio::io::AsyncWrite;

use crate::body::OutgoingBody;
use crate::error::GatewayError;
use crate::framing::{Wrong, write_decimal, write_hexadecimal};
use crate::incoming::IncomingError;
use crate::stream::Stream;

/// A body up to this size goes out in one piece with the head: one copy is
/// cheaper than a second buffer for the system.
const JOINED_BYTES_MAX: u64 = 4 << 10;
/// How much of a body is gathered before it is written.
const GATHERED_BYTES_MAX: usize = 64 << 10;
/// The most buffers that the system gets at once.
const SLICES_MAX: usize = 16;
/// Room for the line with the size of a chunk.
const CHUNK_SIZE_BYTES: usize = 18;
/// Room for what a typical head needs besides its path and headers.
const HEAD_BYTES: usize = 64;

/// Why there is no answer.
pub(in crate::upstream) enum Failed {
    Io(io::Error),
    /// The peer closed the connection.
    Closed,
    /// The answer cannot be understood.
    Wrong(Wrong),
    /// The request's body broke off.
    Body(IncomingError),
    /// Nobody waits longer for it.
    TooLate(Box<GatewayError>),
}

/// A request that is being written.
#[derive(Default)]
pub(super) struct Writing {
    queue: VecDeque<Bytes>,
    /// The bytes in `queue`.
    queued: usize,
    /// What is still to come.
    body: Option<OutgoingBody>,
    is_chunked: bool,
    /// How long the head is while nothing was written.
    unsent_head: Option<usize>,
    /// Whether something was written lately; whoever looks sets it back.
    pub(super) has_moved: bool,
    /// Whether all was written that there is, and more has to come.
    pub(super) lacks_body: bool,
    is_flushed: bool,
    has_failed: bool,
}

impl Writing {
    pub(super) fn new(parts: &Parts, mut body: OutgoingBody) -> Self {
        let mut head = Vec::with_capacity(head_bytes(parts) + JOINED_BYTES_MAX as usize / 2);
        write_head(parts, &mut head);
        let is_empty = body.is_end_stream();
        let length = body.size_hint().exact();
        let is_chunked = !is_empty && length.is_none();
        match length {
            _ if is_empty => head.extend_from_slice(b"\r\n"),
            Some(length) => {
                head.extend_from_slice(b"content-length: ");
                write_decimal(length, &mut head);
                head.extend_from_slice(b"\r\n\r\n");
            }
            None => head.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n"),
        }
        let unsent_head = (!is_chunked).then_some(head.len());
        if length.is_some_and(|length| length <= JOINED_BYTES_MAX)
            && let Some(parts) = body.take_parts()
        {
            parts.iter().for_each(|part| head.extend_from_slice(part));
        }
        let queued = head.len();
        Self {
            queue: VecDeque::from([Bytes::from(head)]),
            queued,
            // What is left of it holds its share of the memory for buffers.
            body: Some(body),
            is_chunked,
            unsent_head,
            has_moved: false,
            lacks_body: false,
            is_flushed: false,
            has_failed: false,
        }
    }

    /// Whether all of it was written.
    pub(super) fn is_over(&self) -> bool {
        self.is_flushed && !self.has_failed
    }

    /// Whether the request may go out over another connection.
    pub(super) fn is_unsent(&self) -> bool {
        self.unsent_head.is_some()
    }

    /// The body, where not a byte of the request was written, and none was
    /// taken from the client.
    pub(super) fn take_unsent(&mut self) -> Option<OutgoingBody> {
        let head = self.unsent_head.take()?;
        let mut body = self.body.take()?;
        if let Some(first) = self.queue.front_mut() {
            first.advance(head.min(first.len()));
        }
        let parts = self.queue.drain(..).filter(|part| !part.is_empty());
        body.put_back(parts.collect()).then_some(body)
    }

    /// Writes as much as can be written.
    pub(super) fn poll(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        if self.is_flushed || self.has_failed {
            return Poll::Ready(Ok(()));
        }
        let polled = self.poll_write(stream, cx);
        self.has_failed = matches!(polled, Poll::Ready(Err(_)));
        polled
    }

    fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        self.lacks_body = false;
        loop {
            let is_all = self.gather(cx)?;
            if self.queue.is_empty() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(Failed::Io)?;
                if !is_all {
                    self.lacks_body = true;
                    return Poll::Pending;
                }
                self.is_flushed = true;
                self.body = None;
                return Poll::Ready(Ok(()));
            }
            let count = ready!(self.write_some(stream, cx)).map_err(Failed::Io)?;
            if count == 0 {
                return Poll::Ready(Err(Failed::Io(io::ErrorKind::WriteZero.into())));
            }
            self.unsent_head = None;
            self.has_moved = true;
            self.advance(count);
        }
    }

    /// Takes what is there of the body; whether that is all.
    fn gather(&mut self, cx: &mut Context<'_>) -> Result<bool, Failed> {
        let Some(body) = &mut self.body else { return Ok(true) };
        while self.queued < GATHERED_BYTES_MAX {
            let data = match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Some(Err(error))) => return Err(Failed::Body(error)),
                Poll::Ready(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Poll::Ready(None) => {
                    if std::mem::take(&mut self.is_chunked) {
                        self.queue.push_back(Bytes::from_static(b"0\r\n\r\n"));
                        self.queued += 5;
                    }
                    return Ok(true);
                }
            };
            if data.is_empty() {
                continue;
            }
            if self.is_chunked {
                let mut size = Vec::with_capacity(CHUNK_SIZE_BYTES);
                write_hexadecimal(data.len() as u64, &mut size);
                size.extend_from_slice(b"\r\n");
                let size = Bytes::from(size);
                self.queued += size.len() + 2;
                self.queue.push_back(size);
            }
            self.queued += data.len();
            self.queue.push_back(data);
            if self.is_chunked {
                self.queue.push_back(Bytes::from_static(b"\r\n"));
            }
        }
        Ok(false)
    }

    fn write_some(&self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(stream);
        match self.queue.front() {
            Some(only) if self.queue.len() == 1 => stream.poll_write(cx, only),
            _ => {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let mut count = 0;
                for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                    *slice = IoSlice::new(bytes);
                    count += 1;
                }
                stream.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
            }
        }
    }

    fn advance(&mut self, mut count: usize) {
        self.queued = self.queued.saturating_sub(count);
        while let Some(first) = self.queue.front_mut() {
            let taken = count.min(first.len());
            first.advance(taken);
            count -= taken;
            if !first.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
    }
}

fn head_bytes(parts: &Parts) -> usize {
    let path = parts.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    headers.sum::<usize>() + path + HEAD_BYTES
}

fn write_head(parts: &Parts, head: &mut Vec<u8>) {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    for piece in [parts.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in &parts.headers {
        // The body says how it is framed. Of one that is empty the client's
        // own zero stays.
        if name == TRANSFER_ENCODING || (name == CONTENT_LENGTH && value != "0") {
            continue;
        }
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
}
