//! Reading and writing HTTP/1.1 as an upstream, byte by byte.

use std::io::{ErrorKind, Read, Write};

/// A connection in the clear or encrypted.
pub(crate) trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// The request line and the headers; none at the end of the connection.
pub(crate) fn read_head(stream: &mut dyn Stream) -> Option<(String, Vec<(String, String)>)> {
    let line = read_line(stream)?;
    let mut headers = Vec::new();
    loop {
        let header = read_line(stream)?;
        if header.is_empty() {
            return Some((line, headers));
        }
        let (name, value) = header.split_once(": ")?;
        headers.push((name.to_owned(), value.to_owned()));
    }
}

fn read_line(stream: &mut dyn Stream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        stream.read_exact(&mut byte).ok()?;
        line.push(byte[0]);
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}

/// The body that belongs to the headers, without its framing; none where it
/// breaks off.
pub(crate) fn read_body(stream: &mut dyn Stream, headers: &[(String, String)]) -> Option<Vec<u8>> {
    let header = |name: &str| {
        headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    };
    let mut body = Vec::new();
    if let Some(length) = header("content-length") {
        body.resize(length.parse().ok()?, 0);
        stream.read_exact(&mut body).ok()?;
    } else if header("transfer-encoding").is_some() {
        loop {
            let size = usize::from_str_radix(&read_line(stream)?, 16).ok()?;
            let start = body.len();
            body.resize(start + size, 0);
            stream.read_exact(&mut body[start..]).ok()?;
            read_line(stream)?;
            if size == 0 {
                break;
            }
        }
    }
    Some(body)
}

/// Writes until a write times out or the limit is reached; the bytes that
/// were taken.
pub(crate) fn flood(stream: &mut dyn Stream, limit: usize) -> usize {
    let piece = [b'x'; 64 << 10];
    let mut written = 0;
    while written < limit {
        match stream.write(&piece[..piece.len().min(limit - written)]) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    written
}

/// Reads to the end of the connection; what came before.
pub(crate) fn await_close(stream: &mut dyn Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is a close, too.
    let _ = stream.read_to_end(&mut bytes);
    bytes
}
