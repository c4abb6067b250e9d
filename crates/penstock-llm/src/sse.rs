//! Server-sent events, decoded incrementally.
//!
//! One decoder for all: chunks may be cut at any byte, lines may end in LF,
//! CRLF or CR. Every piece keeps the bytes that it was made of.
//!
//! Invariant: the pieces do not depend on where the chunks were cut.
//! Invariant: the raw bytes of all pieces, put together, are the input.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::LlmError;
use crate::stage::Piece;

/// The size of one event that is accepted unless another one is set.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// One event of a stream. The parts are slices of its raw bytes where that
/// is possible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The last `event` field.
    pub event: Option<Bytes>,
    /// The `data` fields, joined by LF.
    pub data: Bytes,
    /// The last `id` field.
    pub id: Option<Bytes>,
    /// Whether the blank line that ends an event was there; it can only be
    /// missing in the last event of a stream.
    pub is_terminated: bool,
}

/// Cuts a stream into its events.
///
/// What lies between two blank lines and has no `data` field (a comment that
/// keeps the connection alive, say) is a piece without an event.
#[derive(Debug)]
pub struct SseDecoder {
    /// The beginning of an event whose end has not come yet.
    pending: BytesMut,
    lines: Lines,
    event_bytes_max: usize,
    /// The byte order mark may stand only before the first piece.
    is_first: bool,
    has_failed: bool,
}

/// Where in a line the next byte stands.
#[derive(Debug)]
struct Lines {
    is_line_start: bool,
    /// The last line that was not blank ended in CR alone.
    ended_in_cr: bool,
    last: Last,
}

/// What the last byte was, as far as it decides about the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    Other,
    /// CR behind a line; a LF still belongs to it.
    CrOfLine,
    /// CR of the blank line that ends an event; a LF still belongs to it.
    CrOfEvent,
    /// CR that has ended an event already; a LF still belongs to it.
    CrDone,
}

impl Default for SseDecoder {
    fn default() -> Self {
        Self::with_event_bytes_max(EVENT_BYTES_MAX)
    }
}

impl SseDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that fails on an event of more than `event_bytes_max` bytes.
    pub fn with_event_bytes_max(event_bytes_max: usize) -> Self {
        Self {
            pending: BytesMut::new(),
            lines: Lines { is_line_start: true, ended_in_cr: false, last: Last::Other },
            event_bytes_max,
            is_first: true,
            has_failed: false,
        }
    }

    /// Takes a chunk and appends the pieces that it completes.
    ///
    /// # Errors
    /// An event is too large. The decoder is of no use then; the pieces
    /// before that event have been appended.
    pub fn push(&mut self, mut chunk: Bytes, pieces: &mut Vec<Piece>) -> Result<(), LlmError> {
        while !self.has_failed {
            let Some(end) = self.lines.find_end(&chunk) else {
                self.check_size(chunk.len())?;
                self.pending.extend_from_slice(&chunk);
                return Ok(());
            };
            self.check_size(end)?;
            let raw = if self.pending.is_empty() {
                chunk.split_to(end)
            } else {
                self.pending.extend_from_slice(&chunk[..end]);
                chunk.advance(end);
                self.pending.split().freeze()
            };
            pieces.push(self.piece(raw, true));
        }
        Err(LlmError::InvalidResponse)
    }

    /// The stream has ended: what was left without the blank line that ends
    /// an event.
    pub fn finish(&mut self) -> Option<Piece> {
        if self.pending.is_empty() || self.has_failed {
            return None;
        }
        let raw = self.pending.split().freeze();
        let is_terminated = self.lines.last == Last::CrOfEvent;
        Some(self.piece(raw, is_terminated))
    }

    /// Whether an event could begin with the next byte, whatever it is.
    pub fn is_between_events(&self) -> bool {
        self.pending.is_empty()
            && self.lines.is_line_start
            && !self.lines.ended_in_cr
            && self.lines.last == Last::Other
    }

    fn check_size(&mut self, more: usize) -> Result<(), LlmError> {
        self.has_failed = self.pending.len() + more > self.event_bytes_max;
        if self.has_failed { Err(LlmError::InvalidResponse) } else { Ok(()) }
    }

    fn piece(&mut self, raw: Bytes, is_terminated: bool) -> Piece {
        let mark = if self.is_first && raw.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.is_first = false;
        Piece { event: parse(&raw.slice(mark..), is_terminated), raw }
    }
}

impl Lines {
    /// The length of what belongs to the current event, if it ends in
    /// `bytes`; else `bytes` is part of it as a whole.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.last != Last::Other {
                let is_crlf = *bytes.get(at)? == b'\n';
                at += usize::from(is_crlf);
                match std::mem::replace(&mut self.last, Last::Other) {
                    Last::CrOfEvent => return Some(at),
                    Last::CrOfLine => self.ended_in_cr = !is_crlf,
                    Last::CrDone | Last::Other => {}
                }
            }
            let next = memchr::memchr2(b'\n', b'\r', bytes.get(at..)?);
            let Some(skipped) = next else {
                self.is_line_start &= at == bytes.len();
                return None;
            };
            let is_blank = self.is_line_start && skipped == 0;
            at += skipped + 1;
            self.is_line_start = true;
            match (bytes[at - 1], is_blank) {
                (b'\n', true) => return Some(at),
                (b'\n', false) => self.ended_in_cr = false,
                // On a stream of lone CRs waiting for a LF would hold every
                // event back until the next one; it never comes.
                (_, true) if self.ended_in_cr => {
                    self.last = Last::CrDone;
                    return Some(at);
                }
                (_, true) => self.last = Last::CrOfEvent,
                (_, false) => self.last = Last::CrOfLine,
            }
        }
    }
}

/// The event that a block of lines encodes, if it has `data`.
fn parse(block: &Bytes, is_terminated: bool) -> Option<SseEvent> {
    let mut event = SseEvent { event: None, data: Bytes::new(), id: None, is_terminated };
    let mut data: Option<Bytes> = None;
    let mut joined: Option<BytesMut> = None;
    let mut start = 0;
    while start < block.len() {
        let length = memchr::memchr2(b'\n', b'\r', &block[start..]).unwrap_or(block.len() - start);
        let end = start + length;
        if let Some((name, value)) = field(block, start, end) {
            match name {
                b"data" => match (&data, &mut joined) {
                    (None, _) => data = Some(value),
                    (Some(first), None) => {
                        let mut text = BytesMut::from(&first[..]);
                        text.extend_from_slice(b"\n");
                        text.extend_from_slice(&value);
                        joined = Some(text);
                    }
                    (_, Some(text)) => {
                        text.extend_from_slice(b"\n");
                        text.extend_from_slice(&value);
                    }
                },
                b"event" => event.event = Some(value),
                b"id" if !value.contains(&0) => event.id = Some(value),
                _ => {}
            }
        }
        start = end + 1;
    }
    event.data = joined.map(BytesMut::freeze).or(data)?;
    Some(event)
}

/// Name and value of the line `start..end`; none for a comment or a blank
/// line.
fn field(block: &Bytes, start: usize, end: usize) -> Option<(&[u8], Bytes)> {
    let line = &block[start..end];
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    if colon == 0 {
        return None;
    }
    let after = (colon + 1).min(line.len());
    let value = after + usize::from(line.get(after) == Some(&b' '));
    Some((&line[..colon], block.slice(start + value..end)))
}

#[cfg(test)]
mod tests;
