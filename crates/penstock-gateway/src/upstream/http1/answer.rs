//! The bytes of an HTTP/1 answer: its head, and where its body ends. No I/O.
//!
//! Invariant: an answer that could be read in two ways is [`Wrong`].

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, StatusCode};
use memchr::memchr;

use crate::framing::{chunk_size, is_in_line, is_trailer};

/// The largest head, and the largest trailer section.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most header lines, as of requests in Envoy.
const HEADERS_MAX: usize = 100;
/// The longest line with the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 128;
/// How many answers like `103 Early Hints` may come before the real one.
const INTERIM_MAX: u8 = 16;
/// Chunks from this size on are passed on as they are; smaller ones that came
/// together go on together.
const CHUNK_BYTES_MAX: usize = 4 << 10;

/// What came is not HTTP, or not in one way only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(&'static str);

/// The head of an answer.
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// The headers, all of them.
    pub headers: HeaderMap,
    /// Whether it is of HTTP/1.0, whose connections end by default.
    pub is_http_10: bool,
}

/// Finds the head at the beginning of what was read.
#[derive(Default)]
pub struct HeadReader {
    /// Up to where there are whole lines, all with CR and LF.
    lines_end: usize,
    /// Interim answers so far.
    skipped: u8,
}

impl HeadReader {
    /// Takes the head of the answer off the front of `input`, once it is
    /// whole. `may_switch`: whether 101 is an answer.
    ///
    /// # Errors
    /// It is no HTTP/1, or could be read in two ways.
    pub fn take(&mut self, input: &mut BytesMut, may_switch: bool) -> Result<Option<Head>, Wrong> {
        while let Some(length) = self.find_end(input)? {
            self.lines_end = 0;
            let head = parse(input.split_to(length).freeze())?;
            if !head.status.is_informational() {
                return Ok(Some(head));
            }
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return match may_switch {
                    true => Ok(Some(head)),
                    false => Err(Wrong("it switches protocols, which nobody asked for")),
                };
            }
            self.skipped += 1;
            if self.skipped > INTERIM_MAX {
                return Err(Wrong("too many interim answers"));
            }
        }
        Ok(None)
    }

    /// The length of the head, with the empty line. Lines are looked at as
    /// they come, so that what is no HTTP is not waited for.
    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Wrong> {
        const START: &[u8] = b"HTTP/1.";
        if input.iter().zip(START).any(|(byte, expected)| byte != expected) {
            return Err(Wrong("it does not begin as HTTP/1"));
        }
        loop {
            let rest = input.get(self.lines_end..).unwrap_or_default();
            let Some(length) = memchr(b'\n', rest) else { break };
            let text = rest.get(..length).and_then(|line| line.strip_suffix(b"\r"));
            let text = text.ok_or(Wrong("a line of its head ends without CR"))?;
            if !text.iter().fold(true, |so_far, byte| so_far & is_in_line(*byte)) {
                return Err(Wrong("its head has control characters"));
            }
            if text.first().is_some_and(|first| matches!(first, b' ' | b'\t')) {
                return Err(Wrong("its head has folded lines"));
            }
            self.lines_end += length + 1;
            if self.lines_end > HEAD_BYTES_MAX {
                break;
            }
            if text.is_empty() {
                return Ok(Some(self.lines_end));
            }
        }
        match input.len() > HEAD_BYTES_MAX {
            true => Err(Wrong("its head is too large")),
            false => Ok(None),
        }
    }
}

fn parse(bytes: Bytes) -> Result<Head, Wrong> {
    let mut slots = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        &bytes,
        &mut slots,
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Wrong("its head has too many lines")),
        _ => return Err(Wrong("its head is not valid")),
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    Ok(Head {
        status: status.ok_or(Wrong("its status is not valid"))?,
        is_http_10: answer.version == Some(0),
        headers: header_map(&bytes, answer.headers)?,
    })
}

fn header_map(bytes: &Bytes, lines: &[httparse::Header<'_>]) -> Result<HeaderMap, Wrong> {
    // The request's id comes in on the way.
    let mut headers = HeaderMap::with_capacity(lines.len() + 1);
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
        match (name, value) {
            (Ok(name), Ok(value)) => headers.append(name, value),
            _ => return Err(Wrong("a header of it is not valid")),
        };
    }
    Ok(headers)
}

impl Head {
    /// Whether the connection is good for another request afterwards, as far
    /// as the head says.
    pub fn keeps_alive(&self) -> bool {
        let says = |word: &str| {
            let values = self.headers.get_all(CONNECTION).iter();
            let mut words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
            words.any(|known| known.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
        };
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        if !self.headers.contains_key(CONNECTION) {
            return !self.is_http_10;
        }
        !says("close") && (!self.is_http_10 || says("keep-alive"))
    }

    /// How its body ends (RFC 9112, 6.3).
    ///
    /// # Errors
    /// It says so in two ways.
    pub fn body(&self, method: &Method) -> Result<AnswerBody, Wrong> {
        let mut codings = self.headers.get_all(TRANSFER_ENCODING).iter();
        let mut lengths = self.headers.get_all(CONTENT_LENGTH).iter();
        let framing = match (codings.next(), lengths.next()) {
            (None, None) => AnswerBody::UntilClose,
            // RFC 9112, 6.1: who speaks 1.0 does not know chunks.
            (Some(_), _) if self.is_http_10 => {
                return Err(Wrong("its answer of HTTP/1.0 has a coding"));
            }
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                AnswerBody::Chunked(Chunked::Size)
            }
            (None, Some(length)) => {
                let digits = std::str::from_utf8(length.as_bytes()).unwrap_or_default();
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                let length = digits.parse().ok().filter(|_| is_number);
                AnswerBody::Length(length.ok_or(Wrong("its length is no number"))?)
            }
            _ => return Err(Wrong("its answer has more than one framing")),
        };
        if codings.next().is_some() || lengths.next().is_some() {
            return Err(Wrong("its answer has more than one framing"));
        }
        let has_none = *method == Method::HEAD
            || self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if has_none { AnswerBody::Length(0) } else { framing })
    }
}

/// What is still to come of a body.
#[derive(Debug)]
pub enum AnswerBody {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked(Chunked),
    /// Whatever comes until the connection ends.
    UntilClose,
}

/// What comes next of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunked {
    /// The line with a size.
    Size,
    /// So many bytes.
    Data(u64),
    /// The end of a line behind them.
    DataEnd,
    /// Lines up to an empty one.
    Trailers,
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

impl AnswerBody {
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
    /// Its framing is not valid.
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
            match *self {
                Self::Size => {
                    let Some((size, length)) = size_line(rest)? else { break };
                    at += length;
                    *self = if size > 0 { Self::Data(size) } else { Self::Trailers };
                }
                Self::Data(left) => {
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
                Self::Trailers if data > 0 => break,
                Self::Trailers => {
                    input.advance(at);
                    return self.take_trailers(input);
                }
                Self::Over => break,
            }
        }
        let piece = input.split_to(data).freeze();
        input.advance(at - data);
        Ok((data > 0).then_some(Piece::Data(piece)))
    }

    fn take_trailers(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Wrong> {
        let mut end = 0;
        loop {
            let rest = input.get(end..).unwrap_or_default();
            let found = memchr(b'\n', rest);
            if end + found.unwrap_or(rest.len()) >= HEAD_BYTES_MAX {
                return Err(Wrong("its trailers are too large"));
            }
            let Some(length) = found else { return Ok(None) };
            let line = rest.get(..length).and_then(|line| line.strip_suffix(b"\r"));
            let line = line.ok_or(Wrong("a line of its trailers ends without CR"))?;
            end += length + 1;
            if line.is_empty() {
                break;
            }
            if !is_trailer(line) {
                return Err(Wrong("its trailers are not valid"));
            }
        }
        let section = input.split_to(end).freeze();
        *self = Self::Over;
        if end <= 2 {
            return Ok(None);
        }
        let mut slots = [httparse::EMPTY_HEADER; HEADERS_MAX];
        match httparse::parse_headers(&section, &mut slots) {
            Ok(httparse::Status::Complete((_, lines))) => {
                Ok(Some(Piece::Trailers(header_map(&section, lines)?)))
            }
            _ => Err(Wrong("its trailers are not valid")),
        }
    }
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

#[cfg(test)]
mod tests;
