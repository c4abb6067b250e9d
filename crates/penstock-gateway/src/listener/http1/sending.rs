//! An answer on its way to a client: its head, put together with what is
//! small of its body, and the rest as the client takes it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, HeaderName, HeaderValue, TRAILER,
    TRANSFER_ENCODING,
};
use http::response::Parts;
use http::{Method, StatusCode};
use tokio::io::AsyncWrite;

use super::date;
use super::head::Wishes;
use crate::framing::{lists, write_decimal, write_hexadecimal};
use crate::listener::activity::Activity;
use crate::request::strip_trailers;
use crate::stream::Stream;

/// A piece up to this size is put behind what stands before it: one copy is
/// cheaper than a second buffer for the system.
const JOINED_PIECE_BYTES_MAX: usize = 4 << 10;
/// How much is put together before it is written.
const JOINED_BYTES_MAX: usize = 16 << 10;
/// What a connection keeps for its next answer: room for a head and a piece.
const KEPT_BYTES_MAX: usize = 6 << 10;
/// Room for a typical head.
const HEAD_BYTES: usize = 1 << 10;

/// What waits to be written.
#[derive(Default)]
pub(super) struct Output {
    /// Heads, sizes of chunks and small pieces.
    joined: Vec<u8>,
    /// How much of it was written.
    written: usize,
    /// A large piece behind it.
    piece: Bytes,
    /// What ends the piece.
    end: &'static [u8],
}

/// How the body of an answer ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// With a chunk of nothing.
    Chunks {
        /// What may come behind it, where the client takes that.
        trailers: Vec<HeaderName>,
    },
    /// With the connection.
    Close,
}

/// What the head of an answer depends on, besides the answer.
pub(super) struct Occasion<'a> {
    pub(super) method: &'a Method,
    pub(super) wishes: Wishes,
    /// How long the body is; `None` where nobody knows.
    pub(super) length: Option<u64>,
    /// Whether no other request may follow.
    pub(super) is_last: bool,
}

impl Occasion<'_> {
    fn end(&self, status: StatusCode) -> BodyEnd {
        let is_bare = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match self.length {
            _ if is_bare || *self.method == Method::HEAD => BodyEnd::None,
            Some(length) => BodyEnd::Length(length),
            None if self.wishes.is_http_10 => BodyEnd::Close,
            None => BodyEnd::Chunks { trailers: Vec::new() },
        }
    }
}

/// Writes the head of an answer: how its body ends, and whether no other
/// request may follow.
pub(super) fn write_head(
    parts: &Parts,
    occasion: &Occasion<'_>,
    output: &mut Output,
) -> (BodyEnd, bool) {
    let status = parts.status;
    let mut end = occasion.end(status);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;
    let mut is_last = occasion.is_last || end == BodyEnd::Close;
    let mut has_date = false;
    let to = &mut output.joined;
    to.reserve(HEAD_BYTES);
    write_status(status, occasion.wishes.is_http_10, to);
    for (name, value) in &parts.headers {
        match *name {
            // The body says how long it is, where it has one.
            CONTENT_LENGTH if !is_stated_for_nobody(occasion, status) => continue,
            TRANSFER_ENCODING => continue,
            CONNECTION if !is_switch => {
                is_last |= lists(value, "close");
                continue;
            }
            TRAILER => match &mut end {
                BodyEnd::Chunks { trailers } if occasion.wishes.takes_trailers => {
                    trailers.extend(names(value));
                }
                BodyEnd::Chunks { .. } => {}
                _ => continue,
            },
            DATE => has_date = true,
            _ => {}
        }
        write_line(name.as_str(), value.as_bytes(), to);
    }
    match (&end, occasion.length) {
        (BodyEnd::Length(length), _) => write_length(*length, to),
        (BodyEnd::Chunks { .. }, _) => write_line("transfer-encoding", b"chunked", to),
        // What the same request with GET would get.
        (BodyEnd::None, Some(length @ 1..)) if *occasion.method == Method::HEAD => {
            if !parts.headers.contains_key(CONTENT_LENGTH) {
                write_length(length, to);
            }
        }
        (BodyEnd::None | BodyEnd::Close, _) => {}
    }
    match occasion.wishes.is_http_10 {
        _ if is_switch => {}
        _ if is_last => to.extend_from_slice(b"connection: close\r\n"),
        true => to.extend_from_slice(b"connection: keep-alive\r\n"),
        false => {}
    }
    if !has_date {
        to.extend_from_slice(b"date: ");
        date::write(to);
        to.extend_from_slice(b"\r\n");
    }
    to.extend_from_slice(b"\r\n");
    (end, is_last)
}

/// Whether the length is that of a body which only GET would get.
fn is_stated_for_nobody(occasion: &Occasion<'_>, status: StatusCode) -> bool {
    *occasion.method == Method::HEAD
        && !status.is_informational()
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn write_status(status: StatusCode, is_http_10: bool, to: &mut Vec<u8>) {
    if status == StatusCode::OK && !is_http_10 {
        to.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    to.extend_from_slice(if is_http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(status.canonical_reason().unwrap_or("<none>").as_bytes());
    to.extend_from_slice(b"\r\n");
}

fn write_line(name: &str, value: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(name.as_bytes());
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(b"content-length: ");
    write_decimal(length, to);
    to.extend_from_slice(b"\r\n");
}

fn names(value: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let words = value.as_bytes().split(|byte| *byte == b',');
    words.filter_map(|word| HeaderName::from_bytes(word.trim_ascii()).ok())
}

impl Output {
    /// Whether more may be put behind what waits.
    pub(super) fn has_room(&self) -> bool {
        self.piece.is_empty() && self.end.is_empty() && self.joined.len() < JOINED_BYTES_MAX
    }

    /// Puts a few bytes behind what waits.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.joined.extend_from_slice(bytes);
    }

    /// Puts a piece of a body behind what waits, for which there is room.
    pub(super) fn push(&mut self, data: Bytes, is_chunk: bool) {
        let end: &'static [u8] = if is_chunk { b"\r\n" } else { b"" };
        if is_chunk {
            write_hexadecimal(data.len() as u64, &mut self.joined);
            self.joined.extend_from_slice(b"\r\n");
        }
        if data.len() <= JOINED_PIECE_BYTES_MAX {
            self.joined.extend_from_slice(&data);
            self.joined.extend_from_slice(end);
        } else {
            (self.piece, self.end) = (data, end);
        }
    }

    /// Puts the end of chunks behind what waits, with those trailers that
    /// were announced.
    pub(super) fn end_chunks(&mut self, trailers: Option<HeaderMap>, announced: &[HeaderName]) {
        if !self.piece.is_empty() {
            // The only thing that can stand behind a piece.
            self.end = b"\r\n0\r\n\r\n";
            return;
        }
        self.joined.extend_from_slice(b"0\r\n");
        if let Some(mut trailers) = trailers
            && !announced.is_empty()
        {
            strip_trailers(&mut trailers);
            for (name, value) in trailers.iter().filter(|(name, _)| announced.contains(name)) {
                write_line(name.as_str(), value.as_bytes(), &mut self.joined);
            }
        }
        self.joined.extend_from_slice(b"\r\n");
    }

    /// Writes all that waits.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Stream,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut has_moved = false;
        let polled = self.poll_write_all(stream, &mut has_moved, cx);
        if has_moved && polled.is_pending() {
            // The client took something, however much is left.
            activity.wrote(false);
        }
        activity.wrote(polled.is_pending());
        polled
    }

    fn poll_write_all(
        &mut self,
        stream: &mut Stream,
        has_moved: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let stream = Pin::new(&mut *stream);
            let joined = self.joined.get(self.written..).unwrap_or_default();
            let count = match self.piece.is_empty() && self.end.is_empty() {
                true if joined.is_empty() => break,
                true => ready!(stream.poll_write(cx, joined))?,
                false => {
                    let slices = [joined, &self.piece, self.end].map(IoSlice::new);
                    ready!(stream.poll_write_vectored(cx, &slices))?
                }
            };
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(count);
            *has_moved = true;
        }
        self.joined.clear();
        self.written = 0;
        if self.joined.capacity() > KEPT_BYTES_MAX {
            self.joined = Vec::new();
        }
        Pin::new(stream).poll_flush(cx)
    }

    fn advance(&mut self, mut count: usize) {
        let of_joined = count.min(self.joined.len() - self.written);
        self.written += of_joined;
        count -= of_joined;
        let of_piece = count.min(self.piece.len());
        self.piece.advance(of_piece);
        count -= of_piece;
        self.end = self.end.get(count..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
