//! One attempt: a connection from the pool or a new one, the request, the
//! answer. The only place that talks to upstreams.
//!
//! A connection of HTTP/1.1 ([`http1`]) is driven inside the task of the request
//! that uses it, which saves a hand-over between tasks for every piece of a
//! body. Between requests nobody drives it; whether it is still good is looked
//! at when it is taken out again. Connections of HTTP/2 carry several requests
//! at once and have tasks of their own: [`http2`].

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::FastMap;
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError, Retry, Side};
use crate::health::Endpoint;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::state::ServiceState;
use crate::stream::Stream;

mod body;
pub mod http1;
mod http2;
mod identity;
mod room;
mod tls;

use body::Source;
pub use body::{BodyError, Held, Switched, UpstreamBody};
pub use http1::Connection;
pub use identity::{Identity, Trust};
use room::Room;
pub use tls::{ClientTls, Verify, trusted_certificates};

/// The most idle connections that a worker keeps to one endpoint.
const IDLE_MAX: usize = 256;

/// The connections of one worker: idle ones of HTTP/1.1, and all of HTTP/2.
pub struct Pool {
    #[expect(clippy::vec_box, reason = "a connection is large and moves between tasks")]
    idle: Mutex<FastMap<PoolKey, Vec<Box<Connection>>>>,
    shared: http2::Shared,
    queues: room::Queues,
    idle_ms: AtomicU64,
}

/// Connections with equal keys can stand in for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    service: u64,
    endpoint: SocketAddr,
    /// The server name, where the service does not fix it.
    server_name: Option<Box<str>>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Pool {
    /// An empty pool.
    pub fn new(idle_timeout: Duration) -> Arc<Self> {
        let idle_ms = AtomicU64::new(millis(idle_timeout));
        let (shared, queues) = (http2::Shared::default(), room::Queues::default());
        Arc::new(Self { idle: Mutex::default(), shared, queues, idle_ms })
    }

    fn take(&self, key: &PoolKey) -> Option<Box<Connection>> {
        let idle_timeout = Duration::from_millis(self.idle_ms.load(Ordering::Relaxed));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connections = idle.get_mut(key)?;
        while let Some(connection) = connections.pop() {
            if connection.idle_since.elapsed() < idle_timeout {
                return Some(connection);
            }
        }
        None
    }

    fn put(&self, mut connection: Box<Connection>) {
        if connection.place.load().is_short() && !self.queues.pass_on(&connection.key) {
            return;
        }
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

    /// Closes what has been idle for too long, from now on this long, and
    /// what takes the place of a connection that somebody waits for.
    pub fn sweep(&self, idle_timeout: Duration) {
        self.idle_ms.store(millis(idle_timeout), Ordering::Relaxed);
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, connections| {
            connections.retain(|connection| {
                connection.idle_since.elapsed() < idle_timeout
                    && !connection.place.load().is_short()
            });
            !connections.is_empty()
        });
        drop(idle);
        self.shared.sweep(idle_timeout);
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
pub enum Ready {
    /// One that carries nothing else.
    Http1 {
        /// The connection.
        connection: Box<Connection>,
        /// Whether it has carried a request before.
        is_reused: bool,
    },
    /// A stream of one that others use as well.
    Http2(http2::Share),
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
        endpoint: &Arc<Endpoint>,
        host: &str,
        may_reuse: bool,
    ) -> Result<Ready, GatewayError> {
        let is_tls = service.service.protocol.is_tls();
        let server_name = match (&service.service.sni, is_tls) {
            (None, true) => Some(host.into()),
            _ => None,
        };
        let key = PoolKey { service: service.kept.id, endpoint: endpoint.address, server_name };
        if service.service.protocol.is_http2() {
            return Box::pin(self.share(service, endpoint, host, key)).await.map(Ready::Http2);
        }
        while may_reuse && let Some(mut connection) = self.pool.take(&key) {
            if connection.is_alive().await {
                return Ok(Ready::Http1 { connection, is_reused: true });
            }
        }
        // Apart, so that requests on kept connections do not carry its state.
        let opening = async {
            let _pending = service.kept.load.wait()?;
            let place = match self.room(service, endpoint, &key, may_reuse).await? {
                Room::Place(place) => place,
                Room::Idle(connection) => return Ok(Ready::Http1 { connection, is_reused: true }),
            };
            let stream = self.open(service, endpoint.address, host).await?;
            let connection = Box::new(Connection::new(stream, key.clone(), place));
            Ok(Ready::Http1 { connection, is_reused: false })
        };
        Box::pin(opening).await
    }

    async fn open(
        &self,
        service: &ServiceState,
        endpoint: SocketAddr,
        host: &str,
    ) -> Result<Stream, GatewayError> {
        let is_tls = service.service.protocol.is_tls();
        let name = is_tls.then(|| PeerName::of(service, host)).transpose()?;
        let opened = self.dial(service, endpoint, name).await;
        match &opened {
            Ok(_) => self.metrics.upstream_connections.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.metrics.upstream_connect_failures.fetch_add(1, Ordering::Relaxed),
        };
        opened
    }

    async fn dial(
        &self,
        service: &ServiceState,
        endpoint: SocketAddr,
        name: Option<PeerName>,
    ) -> Result<Stream, GatewayError> {
        let failed = |cause: String| GatewayError::new(ErrorKind::ConnectFailed).because(cause);
        let connector = self
            .tls
            .connector(&service.service)
            .map_err(|cause| GatewayError::new(ErrorKind::TlsFailed).because(cause))?;
        let tcp = timeout(self.settings.connect_timeout, TcpStream::connect(endpoint))
            .await
            .map_err(|_| failed(format!("connect to {endpoint} timed out")))?
            .map_err(|error| {
                let failure = failed(format!("connect to {endpoint}: {error}"));
                match is_own(&error) {
                    // No endpoint is to blame for it.
                    true => GatewayError { side: Side::Gateway, ..failure },
                    false => failure,
                }
            })?;
        // Without it, small writes of a streamed request would wait for
        // acknowledgements. A socket that refuses the option still works.
        let _ = tcp.set_nodelay(true);
        let Some(name) = name else { return Ok(Stream::Plain(tcp)) };
        let stream = self.handshake(connector, tcp, name, endpoint).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    async fn handshake(
        &self,
        connector: &TlsConnector,
        tcp: TcpStream,
        name: PeerName,
        endpoint: SocketAddr,
    ) -> Result<TlsStream<TcpStream>, GatewayError> {
        let failed = |cause: String| GatewayError::new(ErrorKind::TlsFailed).because(cause);
        let PeerName { name, is_the_services } = name;
        let shown = name.to_str().into_owned();
        timeout(self.settings.tls_timeout, connector.connect(name, tcp))
            .await
            .map_err(|_| failed(format!("TLS handshake with {endpoint} timed out")))?
            .map_err(|error| {
                let failure = failed(format!("TLS handshake with {endpoint} as {shown}: {error}"));
                match !is_the_services && may_be_the_name(&error) {
                    // Whoever sends another name may fare better here.
                    true => GatewayError { side: Side::Client, ..failure },
                    false => failure,
                }
            })
    }
}

/// Who the peer of a handshake has to be.
struct PeerName {
    name: ServerName<'static>,
    /// Whether the service fixes it. Any other is the request's host, which
    /// clients choose.
    is_the_services: bool,
}

impl PeerName {
    fn of(service: &ServiceState, host: &str) -> Result<Self, GatewayError> {
        let own = service.service.sni.as_deref();
        let name = own.unwrap_or(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let Ok(server_name) = ServerName::try_from(bare.to_owned()) else {
            let cause = format!("`{name}` cannot be a server name");
            let failure = match own {
                None => GatewayError::new(ErrorKind::InvalidRequest),
                Some(_) => GatewayError {
                    side: Side::Gateway,
                    retry: Retry::No,
                    ..GatewayError::new(ErrorKind::TlsFailed)
                },
            };
            return Err(failure.because(cause));
        };
        Ok(Self { name: server_name, is_the_services: own.is_some() })
    }
}

/// Whether a handshake may have failed for the name that was asked for: it
/// chooses the certificate, and who does not serve it sends an alert or closes
/// the connection.
fn may_be_the_name(error: &std::io::Error) -> bool {
    use rustls::Error::{AlertReceived, InvalidCertificate};
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(AlertReceived(_) | InvalidCertificate(_)) | None => true,
        Some(_) => false,
    }
}

/// Whether the system has none left to give: file descriptors of the process
/// or of all (EMFILE, ENFILE), ports, memory.
pub(crate) fn is_own(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, OutOfMemory};
    matches!(error.raw_os_error(), Some(23 | 24))
        || matches!(error.kind(), AddrInUse | AddrNotAvailable | OutOfMemory)
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
        self,
        request: Request<OutgoingBody>,
        pool: &Arc<Pool>,
        limits: SendLimits,
    ) -> Result<Response<UpstreamBody>, SendFailure> {
        let response = match self {
            Self::Http1 { connection, is_reused } => {
                let sent = connection.send(request, is_reused, limits);
                sent.await?.map(|answering| Source::Http1(Box::new(answering)))
            }
            Self::Http2(share) => {
                let response = Box::pin(share.send(request, limits)).await?;
                response.map(|incoming| Source::Http2 { incoming, _share: share })
            }
        };
        Ok(response.map(|source| UpstreamBody {
            source,
            pool: pool.clone(),
            limits,
            deadline: None,
            last_progress: None,
            occupied: None,
        }))
    }
}

/// How long an exchange may take.
#[derive(Clone, Copy)]
pub struct SendLimits {
    /// Until the head of the answer.
    pub first_byte_timeout: Duration,
    /// Between two pieces of the answer.
    pub idle_timeout: Duration,
    /// When all of it has to be over.
    pub ends_at: Option<Instant>,
}

impl SendLimits {
    /// When the head of an answer is too late to a request of which something
    /// was written at this time.
    fn due(&self, written_at: Instant) -> Instant {
        let due = written_at + self.first_byte_timeout;
        self.ends_at.map_or(due, |ends_at| ends_at.min(due))
    }

    /// Who is to blame for an answer that is too late: the client where the
    /// rest of its body is what is missing, or where it left the upstream less
    /// of the time than it took for itself.
    fn blame(&self, sent: &Sent) -> GatewayError {
        let error = match sent.lacks_body {
            true => GatewayError::new(ErrorKind::BodyTimeout),
            false => GatewayError::new(ErrorKind::UpstreamTimeout),
        };
        let error = match self.ends_at.is_some_and(|ends_at| ends_at <= Instant::now()) {
            true => error.because("the request took too long"),
            false => error,
        };
        match sent.written_at.duration_since(sent.began) > sent.written_at.elapsed() {
            true => GatewayError { side: Side::Client, ..error },
            false => error,
        }
    }
}

/// How far a request has got that is not answered.
struct Sent {
    began: Instant,
    /// When something of it was written last.
    written_at: Instant,
    /// Whether all was written that the client has sent, and more has to come.
    lacks_body: bool,
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

#[cfg(test)]
mod tests;
