//! A scripted upstream: it answers each request as the test says, at the
//! moment the test says, and tells exactly what it received.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::client::PATIENCE;
use super::wire::{self, Stream};

/// What a whole answer of an LLM looks like, with the tokens it cost.
pub(crate) const COMPLETION: &str = r#"{"id":"cmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"aye"},"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}"#;

/// How one request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Scenario {
    /// `200` with [`COMPLETION`].
    Completion,
    /// A status with a JSON body.
    Status(u16, &'static str),
    /// `200` with the request as it was received for a body.
    Echo,
    /// These bytes, after which the connection may be used again.
    Bytes(Vec<u8>),
    /// These bytes, after which the connection is closed.
    BytesThenClose(Vec<u8>),
    /// The request is read and never answered.
    Silence,
    /// As the test says, step by step.
    Stepped(Arc<Mutex<Receiver<Step>>>),
}

impl Scenario {
    /// An answer with these headers and this body as it is.
    pub(crate) fn raw(head: &str, body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes())
    }

    /// The same, after which the connection is closed.
    pub(crate) fn raw_then_close(head: &str, body: &str) -> Self {
        Self::BytesThenClose(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}").into_bytes())
    }

    /// The connection is closed without an answer.
    pub(crate) fn close() -> Self {
        Self::BytesThenClose(Vec::new())
    }
}

/// One step of [`Scenario::Stepped`].
type Step = Box<dyn FnOnce(&mut dyn Stream, &TcpStream) + Send>;

/// The test's hand on a [`Scenario::Stepped`]. Each step is over when its
/// method returns; the answer is over when this is dropped.
pub(crate) struct Steps(Sender<Step>);

/// The head of an event stream.
pub(crate) const EVENT_STREAM: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

impl Steps {
    fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut dyn Stream, &TcpStream) -> T + Send + 'static,
    ) -> T {
        let (done, outcome) = channel();
        let step: Step = Box::new(move |stream, socket| {
            // A test that has given up does not listen any more.
            let _ = done.send(step(stream, socket));
        });
        self.0.send(step).unwrap();
        outcome.recv_timeout(PATIENCE).expect("the upstream is stuck, or was not asked")
    }

    /// Writes bytes; a client that has gone does not matter here.
    pub(crate) fn write(&self, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.run(move |stream, _| {
            let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
        });
    }

    /// Writes text as one chunk.
    pub(crate) fn chunk(&self, text: &str) {
        self.write(format!("{:x}\r\n{text}\r\n", text.len()));
    }

    /// Writes the terminating chunk; the connection may be used again.
    pub(crate) fn finish(self) {
        self.write("0\r\n\r\n");
    }

    pub(crate) fn close(self) {
        self.run(|_, socket| socket.shutdown(Shutdown::Both).unwrap());
    }

    /// Reads a part of the request's body as it stands on the wire.
    pub(crate) fn read(&self, count: usize) -> Vec<u8> {
        self.run(move |stream, _| {
            let mut bytes = vec![0; count];
            stream.read_exact(&mut bytes).unwrap();
            bytes
        })
    }

    /// Writes until nothing more is taken for a time, or the limit is
    /// reached; the bytes that were taken.
    pub(crate) fn flood(&self, limit: usize, patience: Duration) -> usize {
        self.run(move |stream, socket| {
            socket.set_write_timeout(Some(patience)).unwrap();
            wire::flood(stream, limit)
        })
    }

    /// Waits until the other side has closed the connection; what came
    /// before.
    pub(crate) fn await_close(&self) -> Vec<u8> {
        self.run(|stream, _| wire::await_close(stream))
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
    /// The server name of the TLS handshake.
    pub(crate) server_name: Option<String>,
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} came {} times", values.len());
        values.first().copied()
    }

    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        let named = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        self.headers.iter().filter(named).map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The target of the request line.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// What the threads of an upstream share.
struct Shared {
    always: Scenario,
    once: Mutex<VecDeque<Scenario>>,
    received: Mutex<Sender<Received>>,
    connections: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
    tls: Option<Arc<ServerConfig>>,
    is_over: AtomicBool,
}

/// An upstream on a port of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    received: Receiver<Received>,
}

impl Upstream {
    pub(crate) fn start(always: Scenario) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self::serve(listener, always, None)
    }

    /// An upstream that wants TLS.
    pub(crate) fn start_tls(always: Scenario, tls: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        Self::serve(listener, always, Some(tls))
    }

    /// An upstream at a given address.
    pub(crate) fn start_at(address: SocketAddr, always: Scenario) -> io::Result<Self> {
        Ok(Self::serve(TcpListener::bind(address)?, always, None))
    }

    /// Upstreams on several addresses of this machine with one port.
    pub(crate) fn start_on<const N: usize>(
        addresses: [Ipv4Addr; N],
        always: &Scenario,
    ) -> [Self; N] {
        loop {
            let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = probe.local_addr().unwrap().port();
            drop(probe);
            let started: Result<Vec<Self>, _> = addresses
                .iter()
                .map(|ip| Self::start_at(SocketAddr::new(IpAddr::V4(*ip), port), always.clone()))
                .collect();
            // A port that is taken on one of them is tried on none.
            if let Ok(started) = started.map(|all| all.try_into().ok()) {
                return started.unwrap();
            }
        }
    }

    fn serve(listener: TcpListener, always: Scenario, tls: Option<Arc<ServerConfig>>) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let shared = Arc::new(Shared {
            always,
            once: Mutex::default(),
            received: Mutex::new(sender),
            connections: AtomicUsize::new(0),
            streams: Mutex::default(),
            tls,
            is_over: AtomicBool::new(false),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if accepting.is_over.load(Ordering::Acquire) {
                    return;
                }
                let number = accepting.connections.fetch_add(1, Ordering::AcqRel);
                accepting.streams.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = accepting.clone();
                thread::spawn(move || shared.connection(stream, number));
            }
        });
        Self { address, shared, received }
    }

    /// Answers one request, the next that is not spoken for, in its own way.
    pub(crate) fn once(&self, scenario: Scenario) {
        self.shared.once.lock().unwrap().push_back(scenario);
    }

    /// Answers one request step by step.
    pub(crate) fn stepped(&self) -> Steps {
        let (sender, steps) = channel();
        self.once(Scenario::Stepped(Arc::new(Mutex::new(steps))));
        Steps(sender)
    }

    /// The next request that arrived.
    pub(crate) fn received(&self) -> Received {
        self.received.recv_timeout(PATIENCE).expect("no request arrived")
    }

    /// The next request if it has arrived already.
    pub(crate) fn try_received(&self) -> Option<Received> {
        self.received.try_recv().ok()
    }

    /// Asserts that no request has arrived that was not asked for.
    #[track_caller]
    pub(crate) fn received_nothing(&self) {
        assert!(self.try_received().is_none(), "a request arrived");
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }

    /// Closes the connections that there are.
    pub(crate) fn close_connections(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            // One that the other side has closed is closed.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        self.close_connections();
    }
}

impl Shared {
    fn connection(&self, tcp: TcpStream, number: usize) {
        tcp.set_nodelay(true).unwrap();
        let socket = tcp.try_clone().unwrap();
        let mut server_name = None;
        let mut stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(tcp),
            Some(tls) => {
                let mut tls = ServerConnection::new(tls.clone()).unwrap();
                let mut tcp = tcp;
                if tls.complete_io(&mut tcp).is_err() {
                    return;
                }
                server_name = tls.server_name().map(str::to_owned);
                Box::new(StreamOwned::new(tls, tcp))
            }
        };
        while let Some((line, headers)) = wire::read_head(&mut *stream) {
            let received = Received {
                connection: number,
                server_name: server_name.clone(),
                line,
                headers,
                body: Vec::new(),
            };
            let scenario = self.once.lock().unwrap().pop_front();
            let scenario = scenario.unwrap_or_else(|| self.always.clone());
            if !self.answer(&mut *stream, &socket, received, &scenario) {
                break;
            }
        }
        // A clone in `streams` would keep the connection open.
        let _ = socket.shutdown(Shutdown::Both);
    }

    /// Answers a request; false where the connection is over then.
    fn answer(
        &self,
        stream: &mut dyn Stream,
        socket: &TcpStream,
        mut received: Received,
        scenario: &Scenario,
    ) -> bool {
        if let Scenario::Stepped(steps) = scenario {
            self.tell(received);
            while let Ok(step) = steps.lock().unwrap().recv() {
                step(stream, socket);
            }
            return true;
        }
        let Some(body) = wire::read_body(stream, &received.headers) else { return false };
        received.body = body;
        self.tell(received.clone());
        let answer = match scenario {
            Scenario::Completion => json(200, COMPLETION),
            Scenario::Status(status, body) => json(*status, body),
            Scenario::Echo => echo(&received),
            Scenario::Bytes(bytes) | Scenario::BytesThenClose(bytes) => bytes.clone(),
            Scenario::Silence | Scenario::Stepped(_) => {
                wire::await_close(stream);
                return false;
            }
        };
        stream.write_all(&answer).and_then(|()| stream.flush()).is_ok()
            && !matches!(scenario, Scenario::BytesThenClose(_))
    }

    fn tell(&self, received: Received) {
        // A test that is over does not listen any more.
        let _ = self.received.lock().unwrap().send(received);
    }
}

fn json(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn echo(received: &Received) -> Vec<u8> {
    let mut body = format!("{}\r\n", received.line).into_bytes();
    for (name, value) in &received.headers {
        body.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    body.extend(b"\r\n");
    body.extend(&received.body);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}
