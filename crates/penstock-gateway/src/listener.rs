//! Accepting connections: a thread and a runtime for each core, each with
//! its own listening sockets and its own upstream connections.
//!
//! `connection` serves one, plain or encrypted, HTTP/1.1 or HTTP/2; `activity`
//! says when it has to end, `admission` how many there may be.

mod activity;
mod admission;
mod connection;
mod stream;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

pub use self::admission::Admission;
use self::admission::Admitted;
use self::connection::Accepted;
use crate::Gateway;
use crate::proxy::Worker;
use crate::upstream::{ClientTls, Pool};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to wait after `accept` failed, as it does when the process has no
/// file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The time between two warnings about that.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Sockets on one address, one for each worker.
pub struct Listener {
    sockets: Vec<std::net::TcpListener>,
    /// The address with the port that was given.
    pub address: SocketAddr,
}

impl Listener {
    /// Binds `count` sockets to one address.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(address: SocketAddr, count: usize) -> io::Result<Self> {
        // Only sockets of this process share the port: an address that
        // another one listens on is an error, although both would ask to
        // share it.
        let probe = open(address, false)?;
        let address = probe.local_addr()?.as_socket().unwrap_or(address);
        drop(probe);
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let socket = open(address, true)?;
            socket.listen(BACKLOG)?;
            sockets.push(socket.into());
        }
        Ok(Self { sockets, address })
    }
}

fn open(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Tells workers to stop.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// Stops accepting; connections finish the request they are at.
    pub fn begin(&self) {
        self.0.send_replace(true);
    }
}

/// What a gateway listens on.
pub struct Listeners {
    /// For HTTP.
    pub http: Listener,
    /// For HTTPS.
    pub https: Listener,
}

/// Starts a thread for each socket of the listeners.
///
/// # Errors
/// A thread cannot be started, or the system has no randomness to give.
pub fn start(
    gateway: &Arc<Gateway>,
    tls: &Arc<ClientTls>,
    listeners: Listeners,
    shutdown: &Shutdown,
) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let acceptor = tls::acceptor(gateway).map_err(io::Error::other)?;
    let mut threads = Vec::new();
    let sockets = listeners.http.sockets.into_iter().zip(listeners.https.sockets);
    for (index, sockets) in sockets.enumerate() {
        let worker = Arc::new(Worker {
            gateway: gateway.clone(),
            pool: Pool::new(gateway.settings.pool_idle_timeout),
            tls: tls.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopping = shutdown.0.subscribe();
        let acceptor = acceptor.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(run(worker, sockets, acceptor, stopping)))?;
        threads.push(thread);
    }
    Ok(threads)
}

async fn run(
    worker: Arc<Worker>,
    (http, https): (std::net::TcpListener, std::net::TcpListener),
    tls: TlsAcceptor,
    stopping: watch::Receiver<bool>,
) {
    let open = |socket| Incoming::open(socket, worker.gateway.clone());
    let (mut http, mut https) = match (open(http), open(https)) {
        (Ok(http), Ok(https)) => (http, https),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "a worker cannot listen");
            return;
        }
    };
    let accepted = |client, admitted| Accepted {
        worker: worker.clone(),
        client,
        admitted,
        stopping: stopping.clone(),
    };
    let mut connections = tokio::task::JoinSet::new();
    let mut stop = stopping.clone();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            (stream, client, admitted) = http.next() => {
                connections.spawn(accepted(client, admitted).serve_plain(stream));
            }
            (stream, client, admitted) = https.next() => {
                connections.spawn(accepted(client, admitted).serve_tls(stream, tls.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.pool.sweep(),
            () = stopped(&mut stop) => break,
        }
    }
    drop((http, https));
    while connections.join_next().await.is_some() {}
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could stop us otherwise.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The connections that come in on a socket.
struct Incoming {
    listener: TcpListener,
    gateway: Arc<Gateway>,
    warned_at: Option<Instant>,
    /// When to try again, after a failure.
    resume_at: Option<Instant>,
}

impl Incoming {
    fn open(socket: std::net::TcpListener, gateway: Arc<Gateway>) -> io::Result<Self> {
        let listener = TcpListener::from_std(socket)?;
        Ok(Self { listener, gateway, warned_at: None, resume_at: None })
    }

    /// The next connection that may be served. Nothing is lost where it is
    /// not waited for to the end.
    async fn next(&mut self) -> (TcpStream, SocketAddr, Admitted) {
        loop {
            if let Some(at) = self.resume_at {
                tokio::time::sleep_until(at).await;
                self.resume_at = None;
            }
            match self.listener.accept().await {
                Ok((stream, client)) => {
                    match Admitted::new(&self.gateway, client.ip()) {
                        Ok(admitted) => {
                            // Without it, the last part of each answer would
                            // wait for an acknowledgement. A socket that
                            // refuses the option still works.
                            let _ = stream.set_nodelay(true);
                            return (stream, client, admitted);
                        }
                        Err(ending) => self.gateway.state.metrics.ended(ending),
                    }
                }
                // The client has gone before it was its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => self.failed(&error),
            }
        }
    }

    /// The clients wait in the socket's backlog meanwhile.
    fn failed(&mut self, error: &io::Error) {
        self.gateway.state.metrics.accept_failures.fetch_add(1, Ordering::Relaxed);
        self.resume_at = Some(Instant::now() + ACCEPT_PAUSE);
        if self.warned_at.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
            tracing::warn!(%error, "connections cannot be accepted for now");
            self.warned_at = Some(Instant::now());
        }
    }
}
