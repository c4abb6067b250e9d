//! One attempt: a connection from the pool or a new one, the request, the
//! answer. The only place that talks to upstreams.
//!
//! A connection is driven inside the task of the request that uses it, which
//! saves a hand-over between tasks for every piece of a body. Between
//! requests nobody drives it; whether it is still good is looked at when it
//! is taken out again.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, timeout};
use tokio_rustls::client::TlsStream;

use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::framing::{Guard, Turn, is_bad_framing};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::state::ServiceState;

mod tls;

pub use tls::{ClientTls, Verify, trusted_certificates};

/// The largest response head, and the most that is read ahead of a slow
/// client.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;
/// The most idle connections that a worker keeps to one endpoint.
const IDLE_MAX: usize = 256;

/// The idle connections of one worker.
pub struct Pool {
    #[expect(clippy::vec_box, reason = "a connection is large and moves between tasks")]
    idle: Mutex<HashMap<PoolKey, Vec<Box<Connection>>>>,
    idle_timeout: Duration,
}

/// Connections with equal keys can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    service: u64,
    endpoint: SocketAddr,
    /// The server name, where the service does not fix it.
    server_name: Option<Box<str>>,
}

struct Connection {
    sender: SendRequest<OutgoingBody>,
    driver: http1::Connection<TokioIo<Guard<Stream>>, OutgoingBody>,
    /// Says that an answer is expected.
    turn: Turn,
    key: PoolKey,
    idle_since: Instant,
}

/// A connection in the clear or encrypted.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Pool {
    /// An empty pool.
    pub fn new(idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), idle_timeout })
    }

    fn take(&self, key: &PoolKey) -> Option<Box<Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(key)?;
        while let Some(connection) = connections.pop() {
            if connection.idle_since.elapsed() < self.idle_timeout && connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, mut connection: Box<Connection>) {
        connection.idle_since = Instant::now();
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = match idle.get_mut(&connection.key) {
            Some(connections) => connections,
            None => idle.entry(connection.key.clone()).or_default(),
        };
        if connections.len() < IDLE_MAX {
            connections.push(connection);
        }
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|c| c.idle_since.elapsed() < self.idle_timeout);
            !connections.is_empty()
        });
    }
}

/// What an attempt needs besides the request.
pub struct Dialer<'a> {
    /// The worker's pool.
    pub pool: &'a Arc<Pool>,
    /// How upstream certificates are checked.
    pub tls: &'a ClientTls,
    /// The timeouts.
    pub settings: &'a Settings,
    /// Where connections are counted.
    pub metrics: &'a Metrics,
}

/// A connection that is ready for a request.
pub struct Ready {
    connection: Box<Connection>,
    is_reused: bool,
}

impl Dialer<'_> {
    /// A connection to an endpoint of a service. `host` gives the server name
    /// where the service does not fix it.
    ///
    /// # Errors
    /// No connection could be made; nothing was sent, so another endpoint may
    /// be tried.
    pub async fn connect(
        &self,
        service: &ServiceState,
        endpoint: SocketAddr,
        host: &str,
        may_reuse: bool,
    ) -> Result<Ready, GatewayError> {
        let is_tls = service.service.protocol.is_tls();
        let server_name = match (&service.service.sni, is_tls) {
            (None, true) => Some(host.into()),
            _ => None,
        };
        let key = PoolKey { service: service.id, endpoint, server_name };
        while may_reuse && let Some(mut connection) = self.pool.take(&key) {
            if connection.is_alive().await {
                return Ok(Ready { connection, is_reused: true });
            }
        }
        let opened = self.open(service, endpoint, host, key).await;
        match &opened {
            Ok(_) => self.metrics.upstream_connections.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.metrics.upstream_connect_failures.fetch_add(1, Ordering::Relaxed),
        };
        opened.map(|connection| Ready { connection, is_reused: false })
    }

    async fn open(
        &self,
        service: &ServiceState,
        endpoint: SocketAddr,
        host: &str,
        key: PoolKey,
    ) -> Result<Box<Connection>, GatewayError> {
        let failed = |cause: String| GatewayError::new(ErrorKind::ConnectFailed).because(cause);
        let tcp = timeout(self.settings.connect_timeout, TcpStream::connect(endpoint))
            .await
            .map_err(|_| failed(format!("connect to {endpoint} timed out")))?
            .map_err(|error| failed(format!("connect to {endpoint}: {error}")))?;
        // Without it, small writes of a streamed request would wait for
        // acknowledgements. A socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        let stream = if service.service.protocol.is_tls() {
            let name = service.service.sni.as_deref().unwrap_or(host);
            Stream::Tls(Box::new(self.handshake(tcp, name, endpoint).await?))
        } else {
            Stream::Plain(tcp)
        };
        let (stream, turn) = Guard::of_upstream(stream);
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Box::new(Connection { sender, driver, turn, key, idle_since: Instant::now() }))
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        name: &str,
        endpoint: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, GatewayError> {
        let failed = |cause: String| GatewayError::new(ErrorKind::TlsFailed).because(cause);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let server_name = ServerName::try_from(bare.to_owned())
            .map_err(|_| failed(format!("`{name}` cannot be a server name")))?;
        timeout(self.settings.tls_timeout, self.tls.connector().connect(server_name, tcp))
            .await
            .map_err(|_| failed(format!("TLS handshake with {endpoint} timed out")))?
            .map_err(|error| failed(format!("TLS handshake with {endpoint} as {name}: {error}")))
    }
}

impl Connection {
    /// Looks whether the peer has closed an idle connection, or sent what
    /// nobody asked for.
    async fn is_alive(&mut self) -> bool {
        let is_over =
            std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut self.driver).poll(cx).is_ready()));
        !is_over.await && self.sender.is_ready()
    }
}

/// Why a request got no answer.
pub struct SendFailure {
    /// What happened.
    pub error: GatewayError,
    /// The request, if not a byte of it was sent: another connection may take
    /// it without any risk of doing something twice.
    pub unsent: Option<Box<Request<OutgoingBody>>>,
}

impl Ready {
    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    /// See [`SendFailure`].
    pub async fn send(
        mut self,
        request: Request<OutgoingBody>,
        pool: &Arc<Pool>,
        settings: &Settings,
        first_byte_timeout: Duration,
    ) -> Result<Response<UpstreamBody>, SendFailure> {
        let answer = timeout(first_byte_timeout, self.connection.exchange(request)).await;
        match answer {
            Ok(Ok(response)) if response.status().is_informational() => Err(SendFailure {
                error: GatewayError::new(ErrorKind::UpstreamInvalid)
                    .because("it switches protocols, which nobody asked for"),
                unsent: None,
            }),
            Ok(Ok(response)) if is_ambiguous(response.headers()) => Err(SendFailure {
                error: GatewayError::new(ErrorKind::UpstreamInvalid)
                    .because("its answer has more than one framing"),
                unsent: None,
            }),
            Ok(Ok(response)) => Ok(response.map(|incoming| UpstreamBody {
                incoming,
                connection: Some(self.connection),
                pool: pool.clone(),
                idle_timeout: settings.idle_timeout,
                deadline: None,
                last_progress: Instant::now(),
            })),
            Ok(Err(mut failure)) => {
                let error = failure.error();
                let mut kind = ErrorKind::UpstreamClosed;
                if error.is_parse() || error.is_parse_too_large() {
                    kind = ErrorKind::UpstreamInvalid;
                } else if error.is_user() {
                    kind = match is_bad_framing(error) {
                        true => ErrorKind::InvalidRequest,
                        false => ErrorKind::ClientClosed,
                    };
                }
                let error = GatewayError::new(kind).because(describe(error));
                let unsent = failure.take_message().filter(|_| self.is_reused).map(Box::new);
                Err(SendFailure { error, unsent })
            }
            Err(_) => Err(SendFailure {
                error: GatewayError::new(ErrorKind::UpstreamTimeout),
                unsent: None,
            }),
        }
    }
}

/// Whether an answer says in two ways where it ends, or in one that nobody
/// can undo.
fn is_ambiguous(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(TRANSFER_ENCODING);
    let is_chunked = codings.iter().next().is_some();
    let is_coded = codings.iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let is_list = headers.get(CONTENT_LENGTH).is_some_and(|value| value.as_bytes().contains(&b','));
    is_coded || is_list || codings.iter().count() > 1 || lengths + usize::from(is_chunked) > 1
}

/// An error of hyper with its causes.
fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl Connection {
    async fn exchange(
        &mut self,
        request: Request<OutgoingBody>,
    ) -> Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<OutgoingBody>>> {
        self.turn.take();
        let answer = self.sender.try_send_request(request);
        let mut answer = std::pin::pin!(answer);
        let driver = &mut self.driver;
        let mut is_over = false;
        std::future::poll_fn(|cx| {
            if !is_over && Pin::new(&mut *driver).poll(cx).is_ready() {
                // The outcome reaches `answer`.
                is_over = true;
            }
            answer.as_mut().poll(cx)
        })
        .await
    }
}

/// The body of an upstream's answer. Returns its connection to the pool when
/// it has been read to the end, and closes it when it is dropped before.
pub struct UpstreamBody {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
    idle_timeout: Duration,
    deadline: Option<Pin<Box<Sleep>>>,
    last_progress: Instant,
}

impl UpstreamBody {
    /// Drives the connection; an error reaches the body itself.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(&mut connection.driver).poll(cx).is_ready()
        {
            self.connection = None;
        }
    }

    fn release(&mut self, cx: Option<&mut Context<'_>>) {
        if let Some(cx) = cx {
            self.drive(cx);
        }
        if let Some(connection) = self.connection.take()
            && connection.sender.is_ready()
        {
            self.pool.put(connection);
        }
    }

    /// Whether nothing has come for too long. The timer is only set again
    /// when it fires, not at every piece.
    fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let idle_timeout = self.idle_timeout;
        let deadline =
            self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        while deadline.as_mut().poll(cx).is_ready() {
            let idle = self.last_progress.elapsed();
            if idle >= idle_timeout {
                return true;
            }
            let next = tokio::time::Instant::now() + (idle_timeout - idle);
            deadline.as_mut().reset(next);
        }
        false
    }
}

/// How an answer broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream closed the connection or broke the framing.
    #[error("the upstream broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// The upstream sent nothing for too long.
    #[error("the upstream stalled")]
    Stalled,
    /// A stage could not go on.
    #[error("{0}")]
    Stage(#[from] penstock_llm::LlmError),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        // What is there already goes out before more is read.
        let mut polled = Pin::new(&mut this.incoming).poll_frame(cx);
        if polled.is_pending() && this.connection.is_some() {
            this.drive(cx);
            polled = Pin::new(&mut this.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Pending if this.is_stalled(cx) => {
                this.connection = None;
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => {
                if this.deadline.is_some() {
                    this.last_progress = Instant::now();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.connection = None;
                Poll::Ready(Some(Err(BodyError::Broken(error))))
            }
            Poll::Ready(None) => {
                this.release(Some(cx));
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        if self.incoming.is_end_stream() {
            self.release(None);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(tcp) => tcp.is_write_vectored(),
            Self::Tls(tls) => tls.is_write_vectored(),
        }
    }
}
