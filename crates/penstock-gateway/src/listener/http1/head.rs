//! The head of a request of HTTP/1: what it asks for, how its body ends, and
//! what it says about the connection. No I/O.
//!
//! Invariant: a head that could be read in two ways is refused.

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use crate::framing::{
    Chunked, ConnectionLines, Framing, Lines, Wrong, header_of, length_of, lists,
};

/// The longest line about framing.
const FRAMING_LINE_BYTES_MAX: usize = 128;
/// The longest target; `Uri` holds no more.
const TARGET_BYTES_MAX: usize = 65_534;

/// How large a head may be.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// All of it.
    pub bytes_max: usize,
    /// Its header lines.
    pub headers_max: usize,
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target as it was sent.
    pub uri: Uri,
    /// The headers, all of them.
    pub headers: HeaderMap,
    /// How the body ends.
    pub framing: Framing,
    /// What it says about the connection and the answer.
    pub wishes: Wishes,
}

/// What a head says about the connection and the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// HTTP/1.0, whose peers do not know chunks.
    pub is_http_10: bool,
    /// Whether another request may follow.
    pub keeps_alive: bool,
    /// Whether the client waits for a word before it sends the body.
    pub expects_continue: bool,
    /// Whether the client offers another protocol. What follows may be of
    /// that one.
    pub offers_upgrade: bool,
    /// Whether the client takes trailers.
    pub takes_trailers: bool,
}

/// A head that gets no answer but this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub StatusCode);

impl From<Wrong> for Refused {
    fn from(_: Wrong) -> Self {
        Self(StatusCode::BAD_REQUEST)
    }
}

const BAD_REQUEST: Refused = Refused(StatusCode::BAD_REQUEST);
const TOO_LARGE: Refused = Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);

/// Finds heads at the beginning of what was read.
#[derive(Default)]
pub struct HeadReader {
    lines: Lines,
    /// Whether an empty line stood before the request.
    has_skipped: bool,
    is_start_line_checked: bool,
}

impl HeadReader {
    /// Takes the head of a request off the front of `input`, once it is
    /// whole. `spare` is an empty map to be filled.
    ///
    /// # Errors
    /// It could be read in two ways, or is too large.
    pub fn take(
        &mut self,
        input: &mut BytesMut,
        limits: HeadLimits,
        spare: &mut HeaderMap,
    ) -> Result<Option<Head>, Refused> {
        // RFC 9112, 2.2: one empty line is an old client's habit.
        if !self.has_skipped && input.starts_with(b"\r\n") {
            let _ = input.split_to(2);
            self.has_skipped = true;
        }
        let found = self.lines.find_end(input)?;
        if found.unwrap_or(input.len()) > limits.bytes_max
            || self.lines.count() > limits.headers_max.saturating_add(1)
        {
            return Err(TOO_LARGE);
        }
        let Some(length) = found else {
            self.check_start_line(input)?;
            return Ok(None);
        };
        let head = parse(&input.split_to(length).freeze(), &self.lines, std::mem::take(spare))?;
        self.lines.clear();
        (self.has_skipped, self.is_start_line_checked) = (false, false);
        Ok(Some(head))
    }

    /// Looks at the first line of a head that is not whole, so that nobody
    /// waits for the rest of what is no request.
    fn check_start_line(&mut self, input: &[u8]) -> Result<(), Refused> {
        if let Some(line) = self.lines.ranges().next()
            && !self.is_start_line_checked
        {
            start_line(input.get(line).unwrap_or_default())?;
            self.is_start_line_checked = true;
        }
        Ok(())
    }
}

/// Method, target, and whether the version is 1.0.
fn start_line(line: &[u8]) -> Result<(&[u8], &[u8], bool), Refused> {
    let space = line.iter().position(|byte| *byte == b' ').ok_or(BAD_REQUEST)?;
    let (method, rest) = line.split_at_checked(space).ok_or(BAD_REQUEST)?;
    let is_http_10 = rest.ends_with(b" HTTP/1.0");
    let target = match is_http_10 {
        true => rest.strip_suffix(b" HTTP/1.0"),
        false => rest.strip_suffix(b" HTTP/1.1"),
    };
    let target = target.and_then(|target| target.strip_prefix(b" ")).ok_or(BAD_REQUEST)?;
    // A fragment never leaves the client that has it.
    let is_of_target = |byte: u8| (b'!'..0x7f).contains(&byte) & (byte != b'#');
    let is_right = target.iter().fold(true, |so_far, byte| so_far & is_of_target(*byte));
    match is_right && !method.is_empty() && !target.is_empty() {
        true => Ok((method, target, is_http_10)),
        false => Err(BAD_REQUEST),
    }
}

fn parse(bytes: &Bytes, lines: &Lines, headers: HeaderMap) -> Result<Head, Refused> {
    let mut ranges = lines.ranges();
    let line = ranges.next().and_then(|line| bytes.get(line)).ok_or(BAD_REQUEST)?;
    let (method, target, is_http_10) = start_line(line)?;
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refused(StatusCode::URI_TOO_LONG));
    }
    let method = Method::from_bytes(method).map_err(|_| BAD_REQUEST)?;
    let uri = Uri::from_maybe_shared(bytes.slice_ref(target)).map_err(|_| BAD_REQUEST)?;
    let wishes = Wishes { is_http_10, ..Wishes::default() };
    let mut head = Head { method, uri, headers, framing: Framing::OVER, wishes };
    head.headers.try_reserve(lines.count()).map_err(|_| TOO_LARGE)?;
    let mut connection = ConnectionLines::default();
    let mut has_framing = false;
    for line in ranges {
        let line_bytes = line.len();
        let (name, value) = header_of(bytes, line)?;
        match name {
            CONTENT_LENGTH | TRANSFER_ENCODING => {
                // Nobody states it twice, nor behind half a line of blanks.
                if has_framing || line_bytes > FRAMING_LINE_BYTES_MAX {
                    return Err(BAD_REQUEST);
                }
                has_framing = true;
                head.framing = framing_of(&name, &value, is_http_10)?;
            }
            CONNECTION => connection.see(&value),
            EXPECT => {
                let is_known = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
                head.wishes.expects_continue = is_known && !is_http_10;
            }
            UPGRADE => head.wishes.offers_upgrade = true,
            TE => head.wishes.takes_trailers |= lists(&value, "trailers"),
            _ => {}
        }
        head.headers.try_append(name, value).map_err(|_| TOO_LARGE)?;
    }
    head.wishes.keeps_alive = connection.keeps_alive(is_http_10);
    Ok(head)
}

fn framing_of(
    name: &HeaderName,
    value: &HeaderValue,
    is_http_10: bool,
) -> Result<Framing, Refused> {
    if *name == CONTENT_LENGTH {
        return length_of(value).map(Framing::Length).ok_or(BAD_REQUEST);
    }
    // RFC 9112, 6.1: who speaks 1.0 does not know chunks.
    match value.as_bytes().eq_ignore_ascii_case(b"chunked") && !is_http_10 {
        true => Ok(Framing::Chunked(Chunked::Size)),
        false => Err(BAD_REQUEST),
    }
}

impl Wishes {
    /// The version that the client speaks.
    pub fn version(&self) -> Version {
        if self.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 }
    }
}

#[cfg(test)]
mod tests;
