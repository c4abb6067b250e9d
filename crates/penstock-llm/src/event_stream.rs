//! Frames of `application/vnd.amazon.eventstream`, decoded incrementally.
//!
//! A frame is a prelude (its length, that of its headers, a CRC of both),
//! headers, a payload, and a CRC of everything before. Chunks may be cut at
//! any byte.
//!
//! Invariant: the messages do not depend on where the chunks were cut.
//! Invariant: nothing is said of a frame whose CRC is wrong, and nothing of
//! what follows it.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::LlmError;

/// The size of a frame that is accepted unless another one is set.
pub const FRAME_BYTES_MAX: usize = 16 << 20;
/// The size of a frame's headers that is accepted, which is AWS' own limit.
pub const HEADER_BYTES_MAX: usize = 128 << 10;

/// Two lengths and their CRC.
const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;

/// What a frame carries. The parts are slices of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `:message-type`.
    pub kind: Kind,
    /// The payload; of an error, what `:error-message` says.
    pub payload: Bytes,
    name: Bytes,
}

impl Message {
    /// `:event-type`, `:exception-type` or `:error-code`, by its kind; empty
    /// where that is absent.
    pub fn name(&self) -> &str {
        // It was looked at when it was decoded.
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

/// The kinds of [`Message`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that the API describes.
    Event,
    /// A failure that the API describes.
    Exception,
    /// A failure of the service itself.
    Error,
    /// Something that is not known.
    Other,
}

/// Cuts a stream into its messages.
#[derive(Debug)]
pub struct EventStreamDecoder {
    /// The beginning of a frame whose end has not come yet.
    pending: BytesMut,
    frame_bytes_max: usize,
    has_failed: bool,
}

impl Default for EventStreamDecoder {
    fn default() -> Self {
        Self::with_frame_bytes_max(FRAME_BYTES_MAX)
    }
}

impl EventStreamDecoder {
    /// A decoder at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// A decoder that fails on a frame of more than `frame_bytes_max` bytes.
    pub fn with_frame_bytes_max(frame_bytes_max: usize) -> Self {
        Self { pending: BytesMut::new(), frame_bytes_max, has_failed: false }
    }

    /// Takes a chunk and appends the messages that it completes.
    ///
    /// # Errors
    /// A frame is too large or not valid. The decoder is of no use then; the
    /// messages before that frame have been appended.
    pub fn push(&mut self, chunk: Bytes, messages: &mut Vec<Message>) -> Result<(), LlmError> {
        if self.has_failed {
            return Err(LlmError::InvalidResponse);
        }
        let result = self.take(chunk, messages).ok_or(LlmError::InvalidResponse);
        self.has_failed = result.is_err();
        result
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// It ended within a frame, or had failed.
    pub fn finish(&self) -> Result<(), LlmError> {
        match self.has_failed || !self.pending.is_empty() {
            true => Err(LlmError::InvalidResponse),
            false => Ok(()),
        }
    }

    fn take(&mut self, mut chunk: Bytes, messages: &mut Vec<Message>) -> Option<()> {
        while !chunk.is_empty() {
            if self.pending.is_empty() {
                // A frame that is there as a whole is not copied.
                let length = self.length_of(&chunk)?;
                if let Some(length) = length.filter(|length| *length <= chunk.len()) {
                    messages.push(parse(&chunk.split_to(length))?);
                    continue;
                }
            }
            // The length is looked at before anything is kept for it.
            let known = self.length_of(&self.pending)?;
            let wanted = known.unwrap_or(PRELUDE_BYTES).saturating_sub(self.pending.len());
            let more = chunk.split_to(wanted.min(chunk.len()));
            self.pending.extend_from_slice(&more);
            if known.is_some_and(|length| length == self.pending.len()) {
                messages.push(parse(&self.pending.split().freeze())?);
            }
        }
        // A prelude that is wrong does not have to wait for what follows.
        self.length_of(&self.pending).map(|_| ())
    }

    /// The length of the frame that begins here. `Some(None)` if that is not
    /// there yet, `None` if it is not valid.
    fn length_of(&self, bytes: &[u8]) -> Option<Option<usize>> {
        let Some(mut prelude) = bytes.get(..PRELUDE_BYTES) else { return Some(None) };
        let crc = crc32(bytes.get(..PRELUDE_BYTES - CRC_BYTES)?);
        let length = usize::try_from(prelude.get_u32()).ok()?;
        let headers = usize::try_from(prelude.get_u32()).ok()?;
        let room = length.checked_sub(PRELUDE_BYTES + CRC_BYTES)?;
        let is_valid = prelude.get_u32() == crc
            && length <= self.frame_bytes_max
            && headers <= room.min(HEADER_BYTES_MAX);
        is_valid.then_some(Some(length))
    }
}

/// The message of a frame whose prelude is valid; `None` if the rest is not.
fn parse(frame: &Bytes) -> Option<Message> {
    let end = frame.len().checked_sub(CRC_BYTES)?;
    let (body, mut crc) = frame.split_at_checked(end)?;
    if crc.try_get_u32().ok()? != crc32(body) {
        return None;
    }
    let headers_bytes = usize::try_from(body.get(4..)?.try_get_u32().ok()?).ok()?;
    let headers_end = PRELUDE_BYTES.checked_add(headers_bytes).filter(|at| *at <= end)?;
    let mut headers = frame.slice(PRELUDE_BYTES..headers_end);
    let mut found = Headers::default();
    while !headers.is_empty() {
        found.take(&mut headers)?;
    }
    Some(found.message(frame.slice(headers_end..end)))
}

/// The headers that somebody asks for.
#[derive(Default)]
struct Headers {
    message_type: Bytes,
    event_type: Bytes,
    exception_type: Bytes,
    error_code: Bytes,
    error_message: Bytes,
}

impl Headers {
    /// Takes the header that stands first; `None` if it is not valid.
    fn take(&mut self, rest: &mut Bytes) -> Option<()> {
        let length = usize::from(rest.try_get_u8().ok()?);
        let name = split(rest, length).filter(|name| !name.is_empty())?;
        let value = match rest.try_get_u8().ok()? {
            // True and false have nothing behind them.
            0 | 1 => None,
            2 => split(rest, 1).map(|_| None)?,
            3 => split(rest, 2).map(|_| None)?,
            4 => split(rest, 4).map(|_| None)?,
            5 | 8 => split(rest, 8).map(|_| None)?,
            9 => split(rest, 16).map(|_| None)?,
            6 => {
                let length = usize::from(rest.try_get_u16().ok()?);
                split(rest, length).map(|_| None)?
            }
            7 => {
                let length = usize::from(rest.try_get_u16().ok()?);
                let text = split(rest, length)?;
                std::str::from_utf8(&text).ok()?;
                Some(text)
            }
            _ => return None,
        };
        let place = match &name[..] {
            b":message-type" => &mut self.message_type,
            b":event-type" => &mut self.event_type,
            b":exception-type" => &mut self.exception_type,
            b":error-code" => &mut self.error_code,
            b":error-message" => &mut self.error_message,
            _ => return Some(()),
        };
        // These are texts; another type is not what it says it is.
        *place = value?;
        Some(())
    }

    fn message(self, payload: Bytes) -> Message {
        let (kind, name, payload) = match &self.message_type[..] {
            b"event" => (Kind::Event, self.event_type, payload),
            b"exception" => (Kind::Exception, self.exception_type, payload),
            b"error" => (Kind::Error, self.error_code, self.error_message),
            _ => (Kind::Other, Bytes::new(), payload),
        };
        Message { kind, payload, name }
    }
}

fn split(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

const CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let [low, ..] = crc.to_le_bytes();
        CRC_TABLE[usize::from(low ^ byte)] ^ (crc >> 8)
    })
}

/// Frames for tests.
#[cfg(test)]
pub(crate) mod frame {
    use super::crc32;

    /// A frame of these headers, which are encoded already, and this payload.
    pub(crate) fn of(headers: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let length = u32::try_from(headers.len() + payload.len() + 16).unwrap();
        frame.extend(length.to_be_bytes());
        frame.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        frame.extend([headers, payload].concat());
        frame.extend(crc32(&frame).to_be_bytes());
        frame
    }

    /// A header whose value is text.
    pub(crate) fn text(name: &str, value: &str) -> Vec<u8> {
        let mut header = vec![u8::try_from(name.len()).unwrap()];
        header.extend(name.as_bytes());
        header.push(7);
        header.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        header.extend(value.as_bytes());
        header
    }

    /// A frame as AWS sends it: an exception if that is what its name says.
    pub(crate) fn event(name: &str, payload: &str) -> Vec<u8> {
        let kind = if name.ends_with("Exception") { "exception" } else { "event" };
        let headers = [
            text(&format!(":{kind}-type"), name),
            text(":content-type", "application/json"),
            text(":message-type", kind),
        ];
        of(&headers.concat(), payload.as_bytes())
    }
}

#[cfg(test)]
mod tests;
