//! Clients under which something changes: streams that are under way, and
//! requests that come again and again. Each comes in its own way.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use h2::RecvStream;
use rustls::version::TLS13;

use super::certificates::Authority;
use super::client::{Chunk, Connection, End, Request};
use super::frames::{Frames, Outcome};
use super::gateway::{Gateway, eventually};
use super::http2::Http2;
use super::upstream::{EVENT_STREAM, Steps, Upstream};

/// A number for a longer run, by a variable.
#[expect(clippy::disallowed_methods, reason = "a test has no flags")]
pub(crate) fn count(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().map_or(usual, |text| text.parse().unwrap())
}

/// How a client speaks to a gateway.
#[derive(Clone)]
pub(crate) struct Way {
    address: SocketAddr,
    is_http2: bool,
    /// Encrypted, for this server name.
    tls: Option<(rustls::ClientConfig, &'static str)>,
}

impl Way {
    pub(crate) fn plain(gateway: &Gateway) -> Self {
        Self { address: gateway.http, is_http2: false, tls: None }
    }

    /// Both versions, in the clear and encrypted.
    pub(crate) fn all(gateway: &Gateway, authority: &Authority, name: &'static str) -> [Self; 4] {
        let config = |protocol| authority.client(&[&TLS13], &[protocol]);
        let encrypted =
            |config, is_http2| Self { address: gateway.https, is_http2, tls: Some((config, name)) };
        let plain = Self::plain(gateway);
        [
            encrypted(config("http/1.1"), false),
            encrypted(config("h2"), true),
            Self { is_http2: true, ..plain.clone() },
            plain,
        ]
    }

    pub(crate) fn connect(&self) -> Connection {
        match &self.tls {
            None => Connection::open(self.address),
            Some((config, name)) => Connection::open_tls(self.address, config, name).unwrap(),
        }
    }

    fn connect_http2(&self) -> Http2 {
        match &self.tls {
            None => Http2::open(self.address),
            Some((config, name)) => Http2::open_tls(self.address, config.clone(), name),
        }
    }

    /// Sends a request, if need be over a new connection, and gives back what
    /// can be used again.
    fn ask(&self, kept: Option<Connection>, request: &Request) -> Option<Connection> {
        let mut connection = kept.unwrap_or_else(|| self.connect());
        if self.is_http2 {
            let mut frames = Frames::begin(connection);
            frames.send(1, request);
            assert_eq!(frames.outcome(1), Outcome::Answered(200));
            return None;
        }
        connection.send(request);
        let answer = connection.answer();
        assert_eq!((answer.status(), answer.end), (200, End::Complete));
        (answer.header("connection") != Some("close")).then_some(connection)
    }
}

/// A stream that is under way, and the hand that writes it.
pub(crate) struct Live {
    steps: Steps,
    client: Client,
}

enum Client {
    Http1(Connection),
    Http2(Rc<RefCell<Http2>>, RecvStream),
}

impl Live {
    /// One over a connection of its own.
    pub(crate) fn start(way: &Way, upstream: &Upstream, request: &Request) -> Self {
        Self::start_all(1, way, upstream, request).pop().unwrap()
    }

    /// Several, which share connections where that is possible.
    pub(crate) fn start_all(
        count: usize,
        way: &Way,
        upstream: &Upstream,
        request: &Request,
    ) -> Vec<Self> {
        /// As many as a gateway allows.
        const SHARING: usize = 100;
        let mut shared = None;
        let mut start = |number: usize| {
            let steps = upstream.stepped();
            if !way.is_http2 {
                let mut connection = way.connect();
                connection.send(request);
                steps.write(EVENT_STREAM);
                assert_eq!(connection.head().status, 200);
                return Self { steps, client: Client::Http1(connection) };
            }
            if number.is_multiple_of(SHARING) {
                shared = Some(Rc::new(RefCell::new(way.connect_http2())));
            }
            let client = shared.clone().unwrap();
            let answer = client.borrow_mut().begin_request(request);
            steps.write(EVENT_STREAM);
            let answer = client.borrow().wait(answer).unwrap();
            assert_eq!(answer.status(), 200);
            Self { steps, client: Client::Http2(client, answer.into_body()) }
        };
        (0..count).map(&mut start).collect()
    }

    #[track_caller]
    pub(crate) fn goes_on(&mut self) {
        self.steps.chunk("data: a\n\n");
        assert_eq!(self.client.next().as_deref(), Some("data: a\n\n"));
    }

    #[track_caller]
    pub(crate) fn ends_well(mut self) {
        self.goes_on();
        self.steps.finish();
        assert_eq!(self.client.next(), None);
    }

    /// Waits for the end, which comes too early.
    #[track_caller]
    pub(crate) fn breaks_off(self) {
        let Client::Http1(mut connection) = self.client else { panic!("a stream of HTTP/2") };
        assert_eq!(connection.chunk(), Chunk::Broken);
    }
}

impl Client {
    /// The next part; none at the end.
    #[track_caller]
    fn next(&mut self) -> Option<String> {
        match self {
            Self::Http1(connection) => match connection.chunk() {
                Chunk::Data(data) => Some(String::from_utf8(data).unwrap()),
                Chunk::Last => None,
                Chunk::Broken => panic!("the stream was cut"),
            },
            Self::Http2(client, body) => client.borrow().data(body),
        }
    }
}

/// Clients that ask again and again until told to stop.
pub(crate) struct Asking {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Asking {
    /// So many, who take the ways in turn.
    pub(crate) fn start(count: usize, ways: &[Way], request: &Request) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicUsize::new(0));
        let client = |number: usize| {
            let (is_over, answered) = (is_over.clone(), answered.clone());
            let (way, request) = (ways[number % ways.len()].clone(), request.clone());
            // Of those who come one way, every other keeps its connection.
            let keeps = (number / ways.len()).is_multiple_of(2);
            thread::spawn(move || {
                let mut kept = None;
                while !is_over.load(Ordering::Acquire) {
                    kept = way.ask(kept.take(), &request).filter(|_| keeps);
                    answered.fetch_add(1, Ordering::AcqRel);
                }
            })
        };
        let clients = (0..count).map(client).collect();
        Self { is_over, answered, clients }
    }

    /// Waits until there were more answers, so many.
    pub(crate) fn await_more(&self, more: usize) {
        let before = self.answered.load(Ordering::Acquire);
        eventually("more answers", || {
            (self.answered.load(Ordering::Acquire) >= before + more).then_some(())
        });
    }

    /// Ends it; how many answers there were.
    #[track_caller]
    pub(crate) fn stop(self) -> usize {
        self.is_over.store(true, Ordering::Release);
        for client in self.clients {
            client.join().expect("a request failed");
        }
        self.answered.load(Ordering::Acquire)
    }
}
