//! Accepting connections: a thread and a runtime for each core, each with
//! its own listening socket and its own upstream connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::Gateway;
use crate::proxy::{self, Worker};
use crate::shutdown::{Phase, Progress, Shutdown};
use crate::socket::{Acceptor, Listener};
use crate::upstream::{ClientTls, Pool};

/// The largest head of a request, and the most that is buffered for a client
/// that reads slowly.
const CONNECTION_BUFFER_BYTES_MAX: usize = 64 << 10;
/// How long to wait after `accept` failed, as it does when the process has no
/// file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// Starts `count` threads that serve the listener.
///
/// # Errors
/// A thread cannot be started.
pub fn start(
    gateway: &Arc<Gateway>,
    tls: &Arc<ClientTls>,
    listener: Listener,
    count: usize,
    shutdown: &Shutdown,
) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (index, sockets) in listener.deal(count)?.into_iter().enumerate() {
        let worker = Arc::new(Worker {
            gateway: gateway.clone(),
            pool: Pool::new(gateway.settings.pool_idle_timeout),
            tls: tls.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopping = shutdown.watch();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(run(worker, sockets, stopping)))?;
        threads.push(thread);
    }
    Ok(threads)
}

async fn run(worker: Arc<Worker>, sockets: Vec<std::net::TcpListener>, mut stopping: Progress) {
    let mut acceptor = match Acceptor::new(sockets) {
        Ok(acceptor) => acceptor,
        Err(error) => {
            tracing::error!(%error, "a worker cannot listen");
            return;
        }
    };
    let progress = stopping.clone();
    let serve = |(stream, client)| connection(worker.clone(), stream, client, progress.clone());
    let mut connections = tokio::task::JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        tokio::select! {
            accepted = acceptor.accept() => match accepted {
                Ok(accepted) => {
                    connections.spawn(serve(accepted));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = sweep.tick() => worker.pool.sweep(),
            () = stopping.reaches(Phase::Closed) => break,
        }
    }
    for accepted in acceptor.close() {
        connections.spawn(serve(accepted));
    }
    while connections.join_next().await.is_some() {}
}

/// Serves one client connection to its end.
async fn connection(
    worker: Arc<Worker>,
    stream: TcpStream,
    client: SocketAddr,
    mut stopping: Progress,
) {
    // Without it, the last part of each answer would wait for an
    // acknowledgement. A socket that refuses the option still works.
    let _ = stream.set_nodelay(true);
    worker.gateway.state.metrics.connections.fetch_add(1, Ordering::Relaxed);
    let progress = stopping.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let (worker, progress) = (&worker, &progress);
        async move {
            let mut response = proxy::serve(worker, client, request).await;
            // A connection that becomes a tunnel has no next request.
            let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if progress.is_in(Phase::Leaving) && !is_tunnel {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(worker.gateway.settings.head_timeout)
        .max_buf_size(CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let outcome = tokio::select! {
        outcome = serving.as_mut() => outcome,
        () = stopping.reaches(Phase::Hurrying) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%client, %error, "a client connection ended early");
    }
    worker.gateway.state.metrics.connections.fetch_sub(1, Ordering::Relaxed);
}
