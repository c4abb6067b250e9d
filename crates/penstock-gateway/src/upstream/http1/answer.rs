//! The bytes of an HTTP/1 answer: its head, and how its body ends. No I/O.
//!
//! Invariant: an answer that could be read in two ways is [`Wrong`].

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::{Method, StatusCode};

use crate::framing::{
    Chunked, ConnectionLines, Framing, Lines, Wrong, header_of, is_in_line, length_of,
};

/// The largest head.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most header lines, as of requests in Envoy.
const HEADERS_MAX: usize = 100;
/// How many answers like `103 Early Hints` may come before the real one.
const INTERIM_MAX: u8 = 16;

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
    lines: Lines,
    /// Interim answers so far.
    skipped: u8,
}

impl HeadReader {
    /// Takes the head of the answer off the front of `input`, once it is
    /// whole. `may_switch`: whether 101 is an answer. `spare` is a map to be
    /// filled, whose room is taken over.
    ///
    /// # Errors
    /// It is no HTTP/1, or could be read in two ways.
    pub fn take(
        &mut self,
        input: &mut BytesMut,
        may_switch: bool,
        spare: &mut HeaderMap,
    ) -> Result<Option<Head>, Wrong> {
        if input.is_empty() {
            return Ok(None);
        }
        while let Some(length) = self.find_end(input)? {
            let head = parse(input.split_to(length).freeze(), &self.lines, std::mem::take(spare))?;
            self.lines.clear();
            if !head.status.is_informational() {
                self.skipped = 0;
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

    /// The length of the head, with the empty line.
    fn find_end(&mut self, input: &[u8]) -> Result<Option<usize>, Wrong> {
        const START: &[u8] = b"HTTP/1.";
        if input.iter().zip(START).any(|(byte, expected)| byte != expected) {
            return Err(Wrong("it does not begin as HTTP/1"));
        }
        let found = self.lines.find_end(input)?;
        if found.unwrap_or(input.len()) > HEAD_BYTES_MAX {
            return Err(Wrong("its head is too large"));
        }
        Ok(found)
    }
}

fn parse(bytes: Bytes, lines: &Lines, mut headers: HeaderMap) -> Result<Head, Wrong> {
    if lines.count() > HEADERS_MAX + 1 {
        return Err(Wrong("its head has too many lines"));
    }
    let mut ranges = lines.ranges();
    let start = ranges.next().and_then(|line| bytes.get(line)).unwrap_or_default();
    let (is_http_10, status) = status_of(start)?;
    // The request's id comes in on the way.
    headers.clear();
    headers.reserve(lines.count());
    for line in ranges {
        let (name, value) = header_of(&bytes, line)?;
        headers.append(name, value);
    }
    Ok(Head { status, headers, is_http_10 })
}

/// Whether a status line is of HTTP/1.0, and the status. The reason is nobody's affair.
fn status_of(line: &[u8]) -> Result<(bool, StatusCode), Wrong> {
    let (version, rest) = line.split_at_checked(b"HTTP/1.1 ".len()).unwrap_or((line, b""));
    let is_http_10 = match version {
        b"HTTP/1.0 " => true,
        b"HTTP/1.1 " => false,
        _ => return Err(Wrong("its version is not valid")),
    };
    let (status, reason) = rest.split_at_checked(3).unwrap_or_default();
    let is_right = reason.first().is_none_or(|byte| *byte == b' ')
        && reason.iter().all(|byte| is_in_line(*byte));
    match StatusCode::from_bytes(status) {
        Ok(status) if is_right => Ok((is_http_10, status)),
        _ => Err(Wrong("its status is not valid")),
    }
}

impl Head {
    /// Whether the connection is good for another request afterwards, as far
    /// as the head says.
    pub fn keeps_alive(&self) -> bool {
        if self.status == StatusCode::SWITCHING_PROTOCOLS {
            return false;
        }
        let mut connection = ConnectionLines::default();
        for (_, value) in self.headers.iter().filter(|(name, _)| **name == CONNECTION) {
            connection.see(value);
        }
        connection.keeps_alive(self.is_http_10)
    }

    /// How its body ends (RFC 9112, 6.3).
    ///
    /// # Errors
    /// It says so in two ways.
    pub fn body(&self, method: &Method) -> Result<Framing, Wrong> {
        let (mut coding, mut length, mut is_repeated) = (None, None, false);
        // Two look-ups would cost more than one pass.
        for (name, value) in &self.headers {
            match *name {
                TRANSFER_ENCODING => is_repeated |= coding.replace(value).is_some(),
                CONTENT_LENGTH => is_repeated |= length.replace(value).is_some(),
                _ => {}
            }
        }
        let framing = match (coding, length) {
            (None, None) => Framing::UntilClose,
            // RFC 9112, 6.1: who speaks 1.0 does not know chunks.
            (Some(_), _) if self.is_http_10 => {
                return Err(Wrong("its answer of HTTP/1.0 has a coding"));
            }
            (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                Framing::Chunked(Chunked::Size)
            }
            (None, Some(length)) => {
                Framing::Length(length_of(length).ok_or(Wrong("its length is no number"))?)
            }
            _ => return Err(Wrong("its answer has more than one framing")),
        };
        if is_repeated {
            return Err(Wrong("its answer has more than one framing"));
        }
        let has_none = *method == Method::HEAD
            || self.status.is_informational()
            || matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if has_none { Framing::Length(0) } else { framing })
    }
}

#[cfg(test)]
mod tests;
