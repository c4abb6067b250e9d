//! HTTP/2 frame by frame and field by field (RFC 9113, RFC 7541): a client
//! that can send what a library would refuse to send.

use std::net::SocketAddr;

use super::client::{Connection, Request};

/// What a client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The names of frames in the order of their types.
pub(crate) const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The setting by which a client limits what a stream may send unasked.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
/// The setting by which a server offers extended CONNECT (RFC 8441).
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A frame as it stands on the wire.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: &'static str,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The values of a SETTINGS frame.
    pub(crate) fn settings(&self) -> Vec<(u16, u32)> {
        let setting = |bytes: &[u8]| {
            let (name, value) = bytes.split_at(2);
            (u16::from_be_bytes(name.try_into().unwrap()), u32_of(value))
        };
        self.payload.chunks(6).map(setting).collect()
    }

    fn ends_stream(&self) -> bool {
        matches!(self.kind, "HEADERS" | "DATA") && self.flags & END_STREAM != 0
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: &str, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let kind = KINDS.iter().position(|known| *known == kind).expect(kind);
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([u8::try_from(kind).unwrap(), flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A SETTINGS frame with one value.
pub(crate) fn setting(name: u16, value: u32) -> Vec<u8> {
    frame("SETTINGS", 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A field as it is, neither compressed nor remembered (RFC 7541, 6.2.2).
pub(crate) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    [&[0][..], &length(name.len()), name, &length(value.len()), value].concat()
}

/// A length with a prefix of seven bits (RFC 7541, 5.1).
fn length(value: usize) -> Vec<u8> {
    let Some(mut rest) = value.checked_sub(127) else { return vec![u8::try_from(value).unwrap()] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128 + 128).unwrap());
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With an answer of this status.
    Answered(u16),
    /// The gateway took the stream back.
    Reset,
    /// The gateway ended the connection.
    Ended,
}

/// A connection over which frames pass as the test says.
pub(crate) struct Frames(pub(crate) Connection);

impl Frames {
    /// With prior knowledge, behind the preface and empty settings.
    pub(crate) fn open(to: SocketAddr) -> Self {
        Self::begin(Connection::open(to))
    }

    /// The same on a connection that is there.
    pub(crate) fn begin(connection: Connection) -> Self {
        let mut frames = Self(connection);
        frames.write(&[PREFACE, &frame("SETTINGS", 0, 0, b"")].concat());
        frames
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Sends a request on a stream.
    pub(crate) fn send(&mut self, stream: u32, request: &Request) {
        let fields = request.fields();
        let fields = fields.iter().map(|(name, value)| field(name.as_bytes(), value.as_bytes()));
        let head = fields.collect::<Vec<_>>().concat();
        let head = frame("HEADERS", END_HEADERS, stream, &head);
        self.write(&[head, frame("DATA", END_STREAM, stream, request.body_bytes())].concat());
    }

    /// The next frame; none at the end of the connection. Pings are answered.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head = self.0.try_read(9)?;
        let length = u32_of(&[&[0][..], &head[..3]].concat());
        let payload = self.0.try_read(usize::try_from(length).unwrap())?;
        let kind = KINDS[usize::from(head[3])];
        let next = Frame { kind, flags: head[4], stream: u32_of(&head[5..]), payload };
        if kind == "PING" && next.flags & ACK == 0 {
            self.write(&frame("PING", ACK, 0, &next.payload));
        }
        Some(next)
    }

    /// The next frame of a kind; those before it are passed over.
    #[track_caller]
    pub(crate) fn await_frame(&mut self, kind: &str) -> Frame {
        loop {
            let next = self.next().unwrap_or_else(|| panic!("the end before a {kind}"));
            if next.kind == kind {
                return next;
            }
        }
    }

    /// How a stream ends.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        let mut status = None;
        while let Some(next) = self.next() {
            if next.kind == "GOAWAY" && next.payload[4..8] != [0; 4] {
                return Outcome::Ended;
            }
            if next.stream != stream {
                continue;
            }
            if next.kind == "HEADERS" && status.is_none() {
                status = Some(status_of(&next.payload));
            }
            match (status, next.kind) {
                (Some(status), _) if next.ends_stream() => return Outcome::Answered(status),
                (_, "RST_STREAM") => return Outcome::Reset,
                _ => {}
            }
        }
        Outcome::Ended
    }
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

/// The status at the beginning of a block of fields: one of the static table
/// (RFC 7541, A), or three digits in the code of B.
fn status_of(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)],
        [name, length, digits @ ..] if name & 0x0f == 8 && *length >= 0x80 => {
            let count = usize::from(length & 0x7f);
            let bits = digits[..count].iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
            status_of_bits(bits, 8 * u32::try_from(count).unwrap())
        }
        _ => panic!("no status in {block:x?}"),
    }
}

/// 0 to 2 have five bits, the other digits six.
fn status_of_bits(bits: u32, mut left: u32) -> u16 {
    let mut status = 0;
    for _ in 0..3 {
        let five = bits >> (left - 5) & 0x1f;
        let digit = if five <= 2 { five } else { (bits >> (left - 6) & 0x3f) - 0x19 + 3 };
        left -= if five <= 2 { 5 } else { 6 };
        status = status * 10 + u16::try_from(digit).unwrap();
    }
    status
}
