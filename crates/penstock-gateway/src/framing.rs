//! Where messages begin and end on an HTTP/1 connection, read more strictly
//! than the parser behind does.
//!
//! hyper takes a bare LF for the end of a line, several lengths, a length
//! beside chunks, and whatever stands behind the size of a chunk. Another
//! proxy on the way may read the same bytes differently, and what one of them
//! takes for a body is a request to the other. [`Guard`] looks at the bytes
//! on their way from the socket to the parser, line by line and without
//! copying; bodies are skipped. It does not parse requests: a head that it
//! lets pass is judged by hyper, name by name.
//!
//! Invariant: what it lets pass ends where hyper thinks it ends.
//! Invariant: it says the same wherever the bytes are cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(test)]
mod tests;

/// How much of a line is remembered when it arrives in pieces, and the
/// longest line about framing.
const LINE_BYTES_MAX: usize = 128;

/// A stream whose peer speaks HTTP/1, and is held to it.
pub struct Guard<S> {
    stream: S,
    /// What was read from it already.
    first: Bytes,
    framing: Framing,
    turn: Turn,
    is_broken: bool,
}

/// Tells a [`Guard`] that no HTTP follows any more, which its bytes do not say.
#[derive(Clone, Default)]
pub struct Turn(Arc<AtomicBool>);

impl Turn {
    /// No HTTP follows any more.
    pub fn take(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl<S> Guard<S> {
    /// Holds a client to the framing of requests; `first` was read already.
    pub fn of_client(stream: S, first: Bytes) -> (Self, Turn) {
        let (framing, turn) = (Framing::default(), Turn::default());
        (Self { stream, first, framing, turn: turn.clone(), is_broken: false }, turn)
    }

    /// Looks at the bytes of `buf` behind `before`.
    fn check(&mut self, buf: &mut ReadBuf<'_>, before: usize) -> io::Result<()> {
        let read = buf.filled_mut().get_mut(before..).unwrap_or_default();
        let Err(refused) = self.framing.check(read) else { return Ok(()) };
        if refused.is_in_head {
            // No parser takes this byte in a head, so that whoever is behind
            // refuses the message in its own words, after the answers to the
            // messages before it.
            if let Some(byte) = read.get_mut(refused.at) {
                *byte = 0;
            }
            return Ok(());
        }
        self.is_broken = true;
        if refused.at == 0 {
            return Err(bad_framing());
        }
        buf.set_filled(before + refused.at);
        Ok(())
    }
}

fn bad_framing() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the framing of the body is not valid")
}

/// Whether a body ended with an error in its framing, rather than with its
/// connection.
pub fn is_bad_framing(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            return matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            );
        }
        source = cause.source();
    }
    false
}

/// What is known of a stream of requests after the bytes so far.
#[derive(Default)]
pub struct Framing {
    state: State,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    is_line_cut: bool,
    /// The last byte so far was a CR.
    has_cr: bool,
    /// `Content-Length`.
    length: Option<u64>,
    is_chunked: bool,
    /// Whether the client asks for another protocol. What is behind such a
    /// head may be of that one, so it is not checked; whoever answers in HTTP
    /// closes the connection behind the answer.
    offers_upgrade: bool,
    /// Empty lines before a request.
    skipped: u8,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    StartLine,
    Headers,
    Content(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    Unchecked,
}

/// The first byte with which a message cannot be read in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place among the bytes that were looked at last.
    pub at: usize,
    /// Whether it is in a head.
    pub is_in_head: bool,
}

/// A line is wrong.
struct Wrong;

impl Framing {
    /// No HTTP follows any more.
    pub fn stop(&mut self) {
        self.state = State::Unchecked;
    }

    /// Looks at the next bytes. After a refusal nothing is checked any more:
    /// whoever is behind goes no further.
    ///
    /// # Errors
    /// They can be read in two ways.
    pub fn check(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.state {
                State::Unchecked => return Ok(()),
                State::Content(left) => {
                    let (behind, left) = skip(rest, left);
                    rest = behind;
                    self.state = if left > 0 { State::Content(left) } else { State::StartLine };
                }
                State::Chunk(left) => {
                    let (behind, left) = skip(rest, left);
                    rest = behind;
                    self.state = if left > 0 { State::Chunk(left) } else { State::ChunkEnd };
                }
                _ => {
                    let end = memchr(b'\n', rest);
                    let (piece, behind) =
                        rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or_default();
                    rest = behind.get(1..).unwrap_or_default();
                    let at = bytes.len() - rest.len() - 1;
                    let is_in_head = matches!(self.state, State::StartLine | State::Headers);
                    if self.piece(piece, end.is_some()).is_err() {
                        self.state = State::Unchecked;
                        return Err(Refused { at, is_in_head });
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes a piece of a line without its LF.
    fn piece(&mut self, piece: &[u8], is_end: bool) -> Result<(), Wrong> {
        let text = match piece.split_last() {
            _ if self.has_cr && !piece.is_empty() => return Err(Wrong),
            Some((b'\r', text)) => {
                self.has_cr = true;
                text
            }
            _ => piece,
        };
        let is_right = match self.state {
            State::StartLine => all(text, is_in_request_line),
            _ => all(text, is_in_line),
        };
        if !is_right {
            return Err(Wrong);
        }
        if is_end && !self.has_cr {
            return Err(Wrong);
        }
        if is_end && self.line.is_empty() {
            self.has_cr = false;
            self.is_line_cut = text.len() > LINE_BYTES_MAX;
            return self.whole(text);
        }
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        self.is_line_cut = text.len() > room || (self.is_line_cut && !self.line.is_empty());
        self.line.extend_from_slice(text.get(..room).unwrap_or(text));
        if !is_end {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.has_cr = false;
        self.whole(&line)
    }

    /// Takes a line.
    fn whole(&mut self, line: &[u8]) -> Result<(), Wrong> {
        match self.state {
            State::StartLine => return self.start_line(line),
            State::Headers if line.is_empty() => self.end_head(),
            State::Headers => return self.header(line),
            State::ChunkSize => {
                let size = chunk_size(line).filter(|_| !self.is_line_cut).ok_or(Wrong)?;
                self.state = if size > 0 { State::Chunk(size) } else { State::Trailers };
            }
            State::ChunkEnd if line.is_empty() => self.state = State::ChunkSize,
            State::ChunkEnd => return Err(Wrong),
            State::Trailers if line.is_empty() => self.begin(),
            State::Trailers if is_trailer(line) => {}
            State::Trailers => return Err(Wrong),
            State::Content(_) | State::Chunk(_) | State::Unchecked => {}
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.state = State::StartLine;
        self.length = None;
        self.is_chunked = false;
        self.offers_upgrade = false;
    }

    fn start_line(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if !line.is_empty() {
            self.state = State::Headers;
            return Ok(());
        }
        // RFC 9112, 2.2: one empty line is an old client's habit.
        self.skipped += 1;
        if self.skipped > 1 { Err(Wrong) } else { Ok(()) }
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Wrong> {
        if is_folded(line) {
            return Err(Wrong);
        }
        // Nearly all lines are about something else.
        if !matches!(line.first(), Some(b'c' | b'C' | b't' | b'T' | b'u' | b'U')) {
            return Ok(());
        }
        if let Some(value) = value_of(line, b"content-length") {
            let is_first = self.length.is_none() && !self.is_chunked && !self.is_line_cut;
            self.length = Some(length_of(value).filter(|_| is_first).ok_or(Wrong)?);
        } else if let Some(value) = value_of(line, b"transfer-encoding") {
            let is_first = self.length.is_none() && !self.is_chunked && !self.is_line_cut;
            if !is_first || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Wrong);
            }
            self.is_chunked = true;
        } else if value_of(line, b"upgrade").is_some() {
            self.offers_upgrade = true;
        }
        Ok(())
    }

    fn end_head(&mut self) {
        let state = match (self.is_chunked, self.length) {
            (true, _) => State::ChunkSize,
            (false, Some(length)) if length > 0 => State::Content(length),
            (false, _) if self.offers_upgrade => State::Unchecked,
            (false, _) => State::StartLine,
        };
        self.begin();
        self.skipped = 0;
        self.state = state;
    }
}

/// Skips what belongs to a body; what is behind it, and what is still to come.
fn skip(bytes: &[u8], left: u64) -> (&[u8], u64) {
    let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (bytes.get(count..).unwrap_or_default(), left - count as u64)
}

/// RFC 9112, 5.2: whether a line continues the one before.
fn is_folded(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// Whether a line may stand in a trailer section; what describes the message
/// comes too late there (RFC 9110, 6.5.1).
pub(crate) fn is_trailer(line: &[u8]) -> bool {
    const TOO_LATE: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
    !is_folded(line) && TOO_LATE.iter().all(|name| value_of(line, name).is_none())
}

/// The value of a header line, if it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| start.eq_ignore_ascii_case(name))?;
    Some(value.trim_ascii())
}

fn length_of(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok()?;
    // `parse` takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The size of a chunk; an extension means nothing (RFC 9112, 7.1.1).
pub(crate) fn chunk_size(line: &[u8]) -> Option<u64> {
    let count = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at_checked(count)?;
    let is_extension = extension.trim_ascii_start().starts_with(b";");
    if !extension.is_empty() && !is_extension {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    let size = u64::from_str_radix(digits, 16).ok()?;
    i64::try_from(size).is_ok().then_some(size)
}

/// Without a branch for each byte, which makes it several bytes at a time.
fn all(text: &[u8], is_right: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |so_far, byte| so_far & is_right(*byte))
}

/// Anything but controls.
pub(crate) fn is_in_line(byte: u8) -> bool {
    ((byte >= b' ') | (byte == b'\t')) & (byte != 0x7f)
}

/// A fragment never leaves the client that has it.
fn is_in_request_line(byte: u8) -> bool {
    (b' '..0x7f).contains(&byte) & (byte != b'#')
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_broken {
            return Poll::Ready(Err(bad_framing()));
        }
        let before = buf.filled().len();
        if this.first.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            let count = this.first.len().min(buf.remaining());
            buf.put_slice(&this.first.split_to(count));
        }
        if this.turn.0.load(Ordering::Acquire) {
            this.turn.0.store(false, Ordering::Release);
            this.framing.stop();
        }
        Poll::Ready(this.check(buf, before))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
