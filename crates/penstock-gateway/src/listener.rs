//! Accepting connections: a thread and a runtime for each core, each with
//! its own listening sockets and its own upstream connections.
//!
//! `connection` serves one, plain or encrypted, [`http1`] or HTTP/2; `activity`
//! says when it has to end, `admission` how many there may be.

mod activity;
mod admission;
mod connection;
pub mod http1;
mod patience;
mod quiet;
mod stream;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::admission::Admission;
pub(crate) use self::admission::Admitted;
use self::connection::Accepted;
use self::tls::Handshakes;
use crate::Gateway;
use crate::proxy::{MIRRORS_MAX, Worker};
use crate::shutdown::{Phase, Progress, Shutdown};
use crate::socket::{Acceptor, Listener};
use crate::tunnel::Tunnels;
use crate::upstream::{ClientTls, Pool};

/// How long to wait after `accept` failed, as it does when the process has no
/// file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The time between two warnings about that.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// What a gateway listens on.
pub struct Listeners {
    /// For HTTP.
    pub http: Listener,
    /// For HTTPS.
    pub https: Listener,
    /// How many workers share them.
    pub workers: usize,
}

/// Starts the workers.
///
/// # Errors
/// A thread cannot be started, or the system has no randomness to give.
pub fn start(
    gateway: &Arc<Gateway>,
    tls: &Arc<ClientTls>,
    listeners: Listeners,
    shutdown: &Shutdown,
) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let handshakes = Arc::new(Handshakes::new(gateway).map_err(io::Error::other)?);
    let mut threads = Vec::new();
    let http = listeners.http.deal(listeners.workers)?;
    let https = listeners.https.deal(listeners.workers)?;
    for (index, sockets) in http.into_iter().zip(https).enumerate() {
        let worker = Arc::new(Worker {
            gateway: gateway.clone(),
            pool: Pool::new(gateway.settings.pool_idle_timeout),
            tls: tls.clone(),
            tunnels: Tunnels::default(),
            mirrors: Arc::new(Semaphore::new(MIRRORS_MAX)),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopping = shutdown.watch();
        let handshakes = handshakes.clone();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(run(worker, sockets, handshakes, stopping)))?;
        threads.push(thread);
    }
    Ok(threads)
}

async fn run(
    worker: Arc<Worker>,
    (http, https): (Vec<std::net::TcpListener>, Vec<std::net::TcpListener>),
    tls: Arc<Handshakes>,
    mut stopping: Progress,
) {
    let open = |sockets| Incoming::open(sockets, worker.gateway.clone());
    let (mut http, mut https) = match (open(http), open(https)) {
        (Ok(http), Ok(https)) => (http, https),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "a worker cannot listen");
            return;
        }
    };
    let progress = stopping.clone();
    let accepted = |client, admitted| Accepted {
        worker: worker.clone(),
        client,
        admitted,
        stopping: progress.clone(),
    };
    let mut connections = tokio::task::JoinSet::new();
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
            _ = sweep.tick() => worker.pool.sweep(worker.gateway.pool_idle_timeout()),
            () = stopping.reaches(Phase::Closed) => break,
        }
    }
    for (stream, client, admitted) in http.close() {
        connections.spawn(accepted(client, admitted).serve_plain(stream));
    }
    for (stream, client, admitted) in https.close() {
        connections.spawn(accepted(client, admitted).serve_tls(stream, tls.clone()));
    }
    while connections.join_next().await.is_some() {}
    worker.tunnels.finish().await;
}

/// The connections that come in on a worker's sockets of one kind.
struct Incoming {
    acceptor: Acceptor,
    gateway: Arc<Gateway>,
    warned_at: Option<Instant>,
    /// When to try again, after a failure.
    resume_at: Option<Instant>,
}

impl Incoming {
    fn open(sockets: Vec<std::net::TcpListener>, gateway: Arc<Gateway>) -> io::Result<Self> {
        let acceptor = Acceptor::new(sockets)?;
        Ok(Self { acceptor, gateway, warned_at: None, resume_at: None })
    }

    /// The next connection that may be served. Nothing is lost where it is
    /// not waited for to the end.
    async fn next(&mut self) -> (TcpStream, SocketAddr, Admitted) {
        loop {
            if let Some(at) = self.resume_at {
                tokio::time::sleep_until(at).await;
                self.resume_at = None;
            }
            match self.acceptor.accept().await {
                Ok((stream, client)) => {
                    if let Some(admitted) = admit(&self.gateway, stream, client) {
                        return admitted;
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

    /// Stops listening; those that have been waiting and may be served.
    fn close(self) -> Vec<(TcpStream, SocketAddr, Admitted)> {
        let Self { acceptor, gateway, .. } = self;
        let waiting = acceptor.close().into_iter();
        waiting.filter_map(|(stream, client)| admit(&gateway, stream, client)).collect()
    }
}

fn admit(
    gateway: &Arc<Gateway>,
    stream: TcpStream,
    client: SocketAddr,
) -> Option<(TcpStream, SocketAddr, Admitted)> {
    match Admitted::new(gateway, client.ip()) {
        Ok(admitted) => {
            // Without it, the last part of each answer would wait for an
            // acknowledgement. A socket that refuses the option still works.
            let _ = stream.set_nodelay(true);
            Some((stream, client, admitted))
        }
        Err(ending) => {
            gateway.state.metrics.ended(ending);
            None
        }
    }
}
