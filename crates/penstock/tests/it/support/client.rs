//! A client that shows what is on the wire: exact bytes, the border of every
//! chunk, and whether a body ended or broke off.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use serde_json::Value;

/// The longest that a test waits for anything to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a flood is made of.
pub(crate) const WATER: &[u8] = &[b'x'; 64 << 10];

/// A request as it goes over the wire.
#[derive(Clone)]
pub(crate) struct Request {
    head: String,
    body: Vec<u8>,
    has_length: bool,
}

impl Request {
    pub(crate) fn new(method: &str, host: &str, target: &str) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        Self { head, body: Vec::new(), has_length: false }
    }

    pub(crate) fn get(host: &str, target: &str) -> Self {
        Self::new("GET", host, target)
    }

    /// A POST with a JSON body.
    pub(crate) fn post(host: &str, target: &str, json: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", host, target).header("Content-Type", "application/json").body(json)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// The header that carries a key.
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.has_length = true;
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        if self.has_length {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// The same in HTTP/2: its fields, pseudo-headers first.
    pub(crate) fn fields(&self) -> Vec<(String, String)> {
        let mut lines = self.head.lines();
        let mut words = lines.next().unwrap().split(' ');
        let mut word = || words.next().unwrap().to_owned();
        let (method, path) = (word(), word());
        let mut fields = vec![
            (":method".to_owned(), method),
            (":scheme".to_owned(), "http".to_owned()),
            (":path".to_owned(), path),
        ];
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name = if name == "Host" { ":authority" } else { name };
            fields.push((name.to_lowercase(), value.to_owned()));
        }
        fields
    }

    pub(crate) fn body_bytes(&self) -> &[u8] {
        &self.body
    }

    /// Sends it over a connection of its own.
    #[track_caller]
    pub(crate) fn send(&self, to: SocketAddr) -> Answer {
        let mut connection = Connection::open(to);
        connection.send(self);
        connection.answer()
    }
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|value| value.ends_with("chunked"))
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length").map(|value| value.parse().unwrap())
    }
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As its framing announced.
    Complete,
    /// With the connection.
    Broken,
}

/// A part of a chunked body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    Data(Vec<u8>),
    /// The terminating chunk.
    Last,
    /// The connection ended before it.
    Broken,
}

impl Chunk {
    pub(crate) fn data(text: &str) -> Self {
        Self::Data(text.as_bytes().to_vec())
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) end: End,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.status
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body {:?}", self.text()))
    }
}

/// A connection to the gateway.
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    unread: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, tls: None, unread: Vec::new() }
    }

    /// An encrypted connection, after its handshake.
    ///
    /// # Errors
    /// The handshake failed.
    pub(crate) fn open_tls(to: SocketAddr, config: &ClientConfig, name: &str) -> io::Result<Self> {
        let mut connection = Self::open(to);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut connection.stream)?;
        }
        connection.tls = Some(Box::new(tls));
        Ok(connection)
    }

    /// What was agreed upon in the handshake.
    pub(crate) fn session(&self) -> &ClientConnection {
        self.tls.as_ref().expect("a plain connection")
    }

    /// Writes bytes; a peer that has closed already does not matter here.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let outcome = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).write_all(bytes),
            None => self.stream.write_all(bytes),
        };
        match outcome {
            Ok(()) => {}
            Err(error) if is_disconnect(error.kind()) || self.is_alerted(&error) => {}
            Err(error) => panic!("cannot write: {error}"),
        }
    }

    pub(crate) fn send(&mut self, request: &Request) {
        self.write(&request.to_bytes());
    }

    /// A chunk of a chunked request body.
    pub(crate) fn write_chunk(&mut self, data: &[u8]) {
        self.write(&[format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat());
    }

    /// Writes a piece again and again until nothing more is taken for a time;
    /// the bytes that were taken.
    pub(crate) fn flood(&mut self, piece: &[u8], limit: usize, patience: Duration) -> usize {
        self.stream.set_write_timeout(Some(patience)).unwrap();
        let mut written = 0;
        while written < limit {
            // A write may have taken a part of the piece.
            let rest = &piece[written % piece.len()..];
            match self.stream.write(&rest[..rest.len().min(limit - written)]) {
                Ok(count) => written += count,
                Err(_) => break,
            }
        }
        written
    }

    /// Closes the sending side.
    pub(crate) fn finish_writing(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        self.try_head().expect("the connection ended before a head")
    }

    /// The next head; none where the connection ends before it.
    pub(crate) fn try_head(&mut self) -> Option<Head> {
        let head = self.read_until(b"\r\n\r\n")?;
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Some(Head { status: status.expect(status_line), headers })
    }

    /// The next chunk of a chunked body.
    pub(crate) fn chunk(&mut self) -> Chunk {
        let Some(line) = self.read_until(b"\r\n") else { return Chunk::Broken };
        let size = String::from_utf8(line).unwrap();
        let size = usize::from_str_radix(size.trim_end(), 16).unwrap();
        let Some(data) = self.try_read(size + 2) else { return Chunk::Broken };
        assert!(data.ends_with(b"\r\n"));
        match size {
            0 => Chunk::Last,
            _ => Chunk::Data(data[..size].to_vec()),
        }
    }

    /// A whole answer to anything but HEAD.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        self.body_of(head)
    }

    /// The body that belongs to a head.
    pub(crate) fn body_of(&mut self, head: Head) -> Answer {
        let mut body = Vec::new();
        let is_bodiless = matches!(head.status, 100..=199 | 204 | 304);
        let end = if is_bodiless {
            End::Complete
        } else if head.is_chunked() {
            loop {
                match self.chunk() {
                    Chunk::Data(data) => body.extend(data),
                    Chunk::Last => break End::Complete,
                    Chunk::Broken => break End::Broken,
                }
            }
        } else {
            let length = head.length().unwrap_or(usize::MAX);
            while self.unread.len() < length && self.fill() {}
            let length = length.min(self.unread.len());
            body = self.unread.drain(..length).collect();
            let is_short = head.length().is_some_and(|length| body.len() < length);
            if is_short { End::Broken } else { End::Complete }
        };
        Answer { head, body, end }
    }

    /// Waits until the gateway closes the connection; whatever comes before
    /// is returned.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.unread)
    }

    /// Bytes as they stand on the wire.
    #[track_caller]
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        self.try_read(count).expect("the connection ended")
    }

    fn read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Some(self.unread.drain(..at + end.len()).collect());
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// The same; none where the connection ends before.
    pub(crate) fn try_read(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// Whether the other side has ended the connection with an alert.
    fn is_alerted(&self, error: &io::Error) -> bool {
        self.tls.is_some() && error.kind() == ErrorKind::InvalidData
    }

    /// Reads more; false at the end of the connection.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        let outcome = match &mut self.tls {
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.stream).read(&mut buffer),
            None => self.stream.read(&mut buffer),
        };
        match outcome {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend(&buffer[..count]);
                true
            }
            Err(error) if is_disconnect(error.kind()) || self.is_alerted(&error) => false,
            Err(error) => panic!("nothing more came: {error}; so far {:?}", self.unread),
        }
    }
}

fn is_disconnect(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::UnexpectedEof
    )
}
