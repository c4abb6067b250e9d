//! What the bytes of HTTP/1 mean, read in one way only: header lines, and
//! where a body ends. Clients and upstreams are held to the same reading. No
//! I/O.
//!
//! Another proxy on the way may read the same bytes differently, and what one
//! of them takes for a body is a message to the other. So a bare LF ends no
//! line, chunks have one spelling, and nothing is corrected.
//!
//! Invariant: what could be read in two ways is [`Wrong`].
//! Invariant: it says the same wherever the bytes are cut.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, TRANSFER_ENCODING,
};
use memchr::{memchr, memchr_iter};

#[cfg(test)]
mod tests;

/// The largest trailer section.
const TRAILER_BYTES_MAX: usize = 16 << 10;
/// The most lines of it.
const TRAILERS_MAX: usize = 100;
/// The longest line with the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 128;
/// Chunks from this size on are passed on as they are; smaller ones that came
/// together go on together.
const CHUNK_BYTES_MAX: usize = 4 << 10;

/// What came is not HTTP, or not in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(pub(crate) &'static str);

/// What is still to come of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// What comes next of a body in chunks.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunked {
    /// The line with a size.
    Size,
    /// So many bytes.
    Data(u64),
    /// The end of a line behind them.
    DataEnd,
    /// Lines up to an empty one, with what is known of them once some were
    /// looked at.
    Trailers(Option<Box<Lines>>),
    /// Nothing.
    Over,
}

/// A piece of a body.
#[derive(Debug)]
pub enum Piece {
    /// Bytes of it.
    Data(Bytes),
    /// What came behind it.
    Trailers(HeaderMap),
}

impl Framing {
    /// Nothing is to come.
    pub const OVER: Self = Self::Length(0);

    /// Whether nothing is to come any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Chunked(Chunked::Over))
    }

    /// The bytes that are still to come, where that is known.
    pub fn known_length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(Chunked::Over) => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next piece off the front of `input`; `None` if more bytes are
    /// needed, or the body is over.
    ///
    /// # Errors
    /// It is not valid.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Wrong> {
        let data = match self {
            Self::Length(left) => {
                let count =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= count as u64;
                input.split_to(count)
            }
            Self::UntilClose => input.split(),
            Self::Chunked(state) => return state.take(input),
        };
        Ok((!data.is_empty()).then(|| Piece::Data(data.freeze())))
    }
}

impl Chunked {
    fn take(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Wrong> {
        // The data so far is at the front, what follows is at `at`.
        let (mut data, mut at) = (0, 0);
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match self {
                Self::Size => {
                    let Some((size, length)) = size_line(rest)? else { break };
                    at += length;
                    *self = if size > 0 { Self::Data(size) } else { Self::Trailers(None) };
                }
                Self::Data(left) => {
                    let left = *left;
                    let count =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    if count == 0 || (data > 0 && count > CHUNK_BYTES_MAX) {
                        break;
                    }
                    if data == 0 {
                        input.advance(at);
                        at = 0;
                    } else {
                        input.copy_within(at..at + count, data);
                    }
                    (data, at) = (data + count, at + count);
                    let left = left - count as u64;
                    *self = if left > 0 { Self::Data(left) } else { Self::DataEnd };
                }
                Self::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        *self = Self::Size;
                    }
                    [] | [b'\r'] => break,
                    _ => return Err(Wrong("a chunk of it is longer than its size")),
                },
                Self::Trailers(_) if data > 0 => break,
                Self::Trailers(lines) => {
                    input.advance(at);
                    let lines = lines.take().map(|lines| *lines).unwrap_or_default();
                    return self.take_trailers(lines, input);
                }
                Self::Over => break,
            }
        }
        let piece = input.split_to(data).freeze();
        input.advance(at - data);
        Ok((data > 0).then_some(Piece::Data(piece)))
    }

    /// Takes the section at the beginning of `input`, of which `lines` are
    /// known.
    fn take_trailers(
        &mut self,
        mut lines: Lines,
        input: &mut BytesMut,
    ) -> Result<Option<Piece>, Wrong> {
        let found = lines.find_end(input)?;
        if found.unwrap_or(input.len()) > TRAILER_BYTES_MAX || lines.count() > TRAILERS_MAX {
            return Err(Wrong("its trailers are too large"));
        }
        let Some(length) = found else {
            // Kept, so that no byte is looked at again for each that comes.
            *self = Self::Trailers(Some(Box::new(lines)));
            return Ok(None);
        };
        let section = input.split_to(length).freeze();
        *self = Self::Over;
        if lines.count() == 0 {
            return Ok(None);
        }
        let mut trailers = HeaderMap::with_capacity(lines.count());
        for line in lines.ranges() {
            let (name, value) = header_of(&section, line)?;
            // What describes the message comes too late (RFC 9110, 6.5.1).
            if [CONTENT_LENGTH, TRANSFER_ENCODING, HOST].contains(&name) {
                return Err(Wrong("its trailers say what only a head may say"));
            }
            trailers.append(name, value);
        }
        Ok(Some(Piece::Trailers(trailers)))
    }
}

/// The lines of a head, as its bytes come.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Where the text of each line ends, before its CR and LF.
    ends: Vec<usize>,
    /// Up to where there are whole lines.
    whole: usize,
    /// Up to where bytes of an unfinished head have been looked at.
    checked: usize,
}

impl Lines {
    /// The length of the head at the beginning of `input`, with the empty
    /// line at its end, once it is whole. It does not say that its lines are
    /// right, but what can never become right is not waited for.
    ///
    /// # Errors
    /// See above.
    pub(crate) fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Wrong> {
        loop {
            let rest = input.get(self.whole..).unwrap_or_default();
            let Some(length) = memchr(b'\n', rest) else { break };
            let text = rest.get(..length).and_then(|line| line.strip_suffix(b"\r"));
            let text = text.ok_or(Wrong("a line of it ends without CR"))?;
            let end = self.whole + text.len();
            self.whole = end + 2;
            if text.is_empty() {
                return Ok(Some(self.whole));
            }
            self.ends.push(end);
        }
        self.check(input).map(|()| None)
    }

    fn check(&mut self, input: &[u8]) -> Result<(), Wrong> {
        let new = input.get(self.checked..).unwrap_or_default();
        let is_text =
            |so_far, byte: &u8| so_far & (is_in_line(*byte) | matches!(byte, b'\r' | b'\n'));
        let is_bare = |at: usize| new.get(at + 1).is_some_and(|next| *next != b'\n');
        if !new.iter().fold(true, is_text) || memchr_iter(b'\r', new).any(is_bare) {
            return Err(Wrong("a line of it has control characters"));
        }
        // Behind a CR at the end anything could come.
        self.checked = input.len() - usize::from(new.last() == Some(&b'\r'));
        Ok(())
    }

    /// How many there are, up to the empty one.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Where they are, without their ends.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 2));
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }

    /// Makes ready for another head.
    pub(crate) fn clear(&mut self) {
        self.ends.clear();
        (self.whole, self.checked) = (0, 0);
    }
}

/// Name and value of a header line: the part of `bytes` up to its CR and LF.
/// A continued line has no name.
///
/// # Errors
/// It is no header line.
pub(crate) fn header_of(
    bytes: &Bytes,
    line: Range<usize>,
) -> Result<(HeaderName, HeaderValue), Wrong> {
    const WRONG: Wrong = Wrong("a header of it is not valid");
    let text = bytes.get(line.clone()).unwrap_or_default();
    let colon = memchr(b':', text).ok_or(WRONG)?;
    let (name, value) = text.split_at_checked(colon).unwrap_or_default();
    let value = value.get(1..).unwrap_or_default();
    let is_padding = |byte: &u8| matches!(byte, b' ' | b'\t');
    let before = value.iter().take_while(|byte| is_padding(byte)).count();
    let behind = value.iter().rev().take_while(|byte| is_padding(byte)).count();
    let start = line.start + colon + 1 + before;
    let range = start..(line.end - behind).max(start);
    // Both look at every byte of theirs.
    match (HeaderName::from_bytes(name), value_of(bytes, range)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(WRONG),
    }
}

/// Values that most messages have. They are valid, and hold no part of what
/// was read.
static USUAL_VALUES: [HeaderValue; 3] = [
    HeaderValue::from_static("application/json"),
    HeaderValue::from_static("keep-alive"),
    HeaderValue::from_static("text/event-stream"),
];

fn value_of(bytes: &Bytes, range: Range<usize>) -> Result<HeaderValue, InvalidHeaderValue> {
    let value = bytes.get(range.clone()).unwrap_or_default();
    match USUAL_VALUES.iter().find(|usual| usual.as_bytes() == value) {
        Some(usual) => Ok(usual.clone()),
        None => HeaderValue::from_maybe_shared(bytes.slice(range)),
    }
}

/// What the lines about the connection come to.
#[derive(Default)]
pub(crate) struct ConnectionLines {
    closes: bool,
    is_kept: bool,
}

impl ConnectionLines {
    /// Takes the value of another line.
    pub(crate) fn see(&mut self, value: &HeaderValue) {
        // As nearly everybody says it.
        if value.as_bytes() == b"keep-alive" {
            self.is_kept = true;
            return;
        }
        self.closes |= lists(value, "close");
        self.is_kept |= lists(value, "keep-alive");
    }

    /// Whether another message may follow. Any wish to close counts.
    pub(crate) fn keeps_alive(&self, is_http_10: bool) -> bool {
        !self.closes && (self.is_kept || !is_http_10)
    }
}

/// Whether a header line lists a word, in any case.
pub(crate) fn lists(value: &HeaderValue, word: &str) -> bool {
    let mut words = value.as_bytes().split(|byte| *byte == b',');
    words.any(|known| known.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

/// The length that a `Content-Length` states.
pub(crate) fn length_of(value: &HeaderValue) -> Option<u64> {
    let digits = value.as_bytes();
    // `parse` takes a sign.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| is_number)?;
    i64::try_from(length).is_ok().then_some(length)
}

/// The size of a chunk and the length of its line.
fn size_line(rest: &[u8]) -> Result<Option<(u64, usize)>, Wrong> {
    let wrong = Wrong("the size of a chunk is not valid");
    // What is no size is not waited for to the end of its line.
    let digits = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let is_size = match rest.get(digits) {
        Some(next) => digits > 0 && matches!(next, b';' | b' ' | b'\t' | b'\r'),
        None => true,
    };
    if !is_size {
        return Err(wrong);
    }
    let Some(length) = memchr(b'\n', rest) else {
        // The CR may be there.
        return if rest.len() > CHUNK_LINE_BYTES_MAX + 1 { Err(wrong) } else { Ok(None) };
    };
    let line = rest.get(..length).and_then(|line| line.strip_suffix(b"\r")).ok_or(wrong)?;
    if line.len() > CHUNK_LINE_BYTES_MAX || !line.iter().all(|byte| is_in_line(*byte)) {
        return Err(wrong);
    }
    Ok(Some((chunk_size(line).ok_or(wrong)?, length + 1)))
}

/// The size of a chunk; an extension means nothing (RFC 9112, 7.1.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
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

/// Anything but controls.
pub(crate) fn is_in_line(byte: u8) -> bool {
    ((byte >= b' ') | (byte == b'\t')) & (byte != 0x7f)
}

/// Writes a number in decimal.
pub(crate) fn write_decimal(number: u64, to: &mut Vec<u8>) {
    write_digits::<10>(number, to);
}

/// Writes a number in hexadecimal.
pub(crate) fn write_hexadecimal(number: u64, to: &mut Vec<u8>) {
    write_digits::<16>(number, to);
}

fn write_digits<const BASE: u64>(mut number: u64, to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut digits = [b'0'; 20];
    let mut count = 0;
    for place in digits.iter_mut().rev() {
        if let Some(digit) = DIGITS.get((number % BASE) as usize) {
            *place = *digit;
        }
        count += 1;
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    to.extend_from_slice(digits.get(digits.len() - count..).unwrap_or_default());
}
