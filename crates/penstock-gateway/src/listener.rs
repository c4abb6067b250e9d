//! Accepting connections: a thread and a runtime for each core, each with
//! its own listening socket and its own upstream connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Gateway;
use crate::proxy::{self, Worker};
use crate::tunnel::Tunnels;
use crate::upstream::{ClientTls, Pool};

/// The largest head of a request, and the most that is buffered for a client
/// that reads slowly.
const CONNECTION_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// How long to wait after `accept` failed, as it does when the process has no
/// file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
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

/// Starts a thread for each socket of the listener.
///
/// # Errors
/// A thread cannot be started.
pub fn start(
    gateway: &Arc<Gateway>,
    tls: &Arc<ClientTls>,
    listener: Listener,
    shutdown: &Shutdown,
) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (index, socket) in listener.sockets.into_iter().enumerate() {
        let worker = Arc::new(Worker {
            gateway: gateway.clone(),
            pool: Pool::new(gateway.settings.pool_idle_timeout),
            tls: tls.clone(),
            tunnels: Tunnels::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopping = shutdown.0.subscribe();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(run(worker, socket, stopping)))?;
        threads.push(thread);
    }
    Ok(threads)
}

async fn run(worker: Arc<Worker>, socket: std::net::TcpListener, stopping: watch::Receiver<bool>) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a worker cannot listen");
            return;
        }
    };
    let mut connections = tokio::task::JoinSet::new();
    let mut stop = stopping.clone();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(connection(worker.clone(), stream, client, stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.pool.sweep(),
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
    worker.tunnels.finish().await;
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could stop us otherwise.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Serves one client connection to its end.
async fn connection(
    worker: Arc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    mut stopping: watch::Receiver<bool>,
) {
    // Without it, the last part of each answer would wait for an
    // acknowledgement. A socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    worker.gateway.state.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(|request| {
        let worker = &worker;
        async move { Ok::<_, std::convert::Infallible>(proxy::serve(worker, client, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(worker.gateway.settings.head_timeout)
        .max_buf_size(CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = stopped(&mut stopping) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%client, %error, "a client connection ended early");
    }
    worker.gateway.state.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}
