//! Connections of HTTP/2: each carries many requests at once, for one worker.
//!
//! A connection has tasks of its own, because no single request could drive
//! it. It takes requests until the peer says that it goes away, or an
//! exchange on it fails in a way that speaks against the connection; streams
//! that it carries then come to their end.
//!
//! Invariant: a request goes to a second connection only where the peer
//! cannot have processed it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{timeout, timeout_at};

use super::{PoolKey, SendFailure, SendLimits, Sent, describe};
use crate::body::OutgoingBody;
use crate::error::{ErrorKind, GatewayError};
use crate::load::{Load, Place};
use crate::stream::Stream;

/// The most requests at once on one connection; the peer may allow fewer.
const STREAMS_MAX: usize = 100;
/// The same until the peer has said what it allows.
const UNSETTLED_STREAMS_MAX: usize = 1;
/// The longest pause between two looks at whether the peer has said it.
const SETTLE_PAUSE_MAX: Duration = Duration::from_millis(512);
/// The most that is read ahead of a slow client, for each stream.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;
/// Room for all streams at once, so that slow ones never hold up the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// The most of a request's body that waits for the peer, for each stream.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// The largest head of an answer.
const HEAD_BYTES_MAX: u32 = 64 << 10;

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Shared(Mutex<HashMap<PoolKey, Endpoint>>);

#[derive(Default)]
struct Endpoint {
    connections: Vec<Arc<Connection>>,
    /// The last time that somebody opened a connection.
    opening: Option<Arc<Attempt>>,
    /// Tells those who wait for it that there may be room.
    freed: Arc<Notify>,
}

/// A connection, as requests see it.
struct Connection {
    sender: SendRequest<OutgoingBody>,
    streams: AtomicUsize,
    streams_max: Arc<AtomicUsize>,
    /// Whether it takes no more requests.
    is_retired: AtomicBool,
    idle_since: Mutex<Instant>,
    load: Arc<Load>,
    /// That of its [`Endpoint`].
    freed: Arc<Notify>,
}

/// One stream's place on a connection, until it is dropped.
pub struct Share(Arc<Connection>);

/// What a request for a connection comes to.
pub(super) enum Taken {
    /// One has room.
    Share(Share),
    /// Somebody else is opening one.
    Wait(Opened),
    /// The caller opens one.
    Open(Opening),
}

/// Says that a connection is being opened and settled, until it is dropped.
pub(super) struct Opening(Arc<Attempt>);

/// Waits for the end of an [`Opening`].
pub(super) struct Opened(Arc<Attempt>);

struct Attempt {
    /// Has no permits; it is closed when the attempt is over.
    end: Semaphore,
    has_succeeded: AtomicBool,
}

impl Opened {
    /// Whether there is a new connection.
    pub(super) async fn wait(&self) -> bool {
        // Closing is all that ends this.
        let _ = self.0.end.acquire().await;
        self.0.has_succeeded.load(Ordering::Acquire)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.end.close();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PoolKey, Endpoint>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream on a connection, or what to do instead.
    pub(super) fn take(&self, key: &PoolKey) -> Taken {
        let mut endpoints = self.lock();
        let endpoint = endpoints.entry(key.clone()).or_default();
        if let Some(share) = endpoint.share() {
            return Taken::Share(share);
        }
        match &endpoint.opening {
            Some(opening) if !opening.end.is_closed() => Taken::Wait(Opened(opening.clone())),
            _ => {
                let end = Semaphore::new(0);
                let opening = Arc::new(Attempt { end, has_succeeded: AtomicBool::new(false) });
                endpoint.opening = Some(opening.clone());
                Taken::Open(Opening(opening))
            }
        }
    }

    /// Lets others use the connection of a new share.
    pub(super) fn put(&self, key: PoolKey, share: &Share) {
        self.lock().entry(key).or_default().connections.push(share.0.clone());
    }

    /// A stream on a connection that has room.
    pub(super) fn share(&self, key: &PoolKey) -> Option<Share> {
        self.lock().get_mut(key)?.share()
    }

    /// What tells that there may be room on a connection to an endpoint.
    pub(super) fn freed(&self, key: &PoolKey) -> Arc<Notify> {
        self.lock().entry(key.clone()).or_default().freed.clone()
    }

    /// Closes an idle connection of a service, where there is one.
    pub(super) fn make_room(&self, service: u64) {
        let mut endpoints = self.lock();
        for (_, endpoint) in endpoints.iter_mut().filter(|(key, _)| key.service == service) {
            let is_idle = |connection: &Arc<Connection>| connection.is_idle_for(Duration::ZERO);
            if let Some(at) = endpoint.connections.iter().position(is_idle) {
                endpoint.connections.swap_remove(at);
                return;
            }
        }
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        self.lock().retain(|_, endpoint| {
            endpoint.connections.retain(|connection| {
                let timeout =
                    if connection.load.is_short() { Duration::ZERO } else { idle_timeout };
                connection.takes_requests() && !connection.is_idle_for(timeout)
            });
            let is_opening =
                endpoint.opening.as_ref().is_some_and(|opening| !opening.end.is_closed());
            is_opening || !endpoint.connections.is_empty()
        });
    }
}

impl Endpoint {
    fn share(&mut self) -> Option<Share> {
        self.connections.retain(|connection| connection.takes_requests());
        let with_room = self.connections.iter().find(|connection| connection.has_room())?;
        Some(Share::of(with_room.clone()))
    }
}

impl Connection {
    fn takes_requests(&self) -> bool {
        !self.is_retired.load(Ordering::Relaxed) && !self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < self.streams_max.load(Ordering::Relaxed)
    }

    fn is_idle_for(&self, time: Duration) -> bool {
        let since = self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        self.streams.load(Ordering::Relaxed) == 0 && since.elapsed() >= time
    }
}

/// Begins HTTP/2 on a new transport. Others may use the connection once it is
/// known how much the peer allows.
pub(super) async fn start(
    stream: Stream,
    opening: Option<Opening>,
    place: Place,
    freed: Arc<Notify>,
) -> hyper::Result<Share> {
    let (sender, driver) = Builder::new(TokioExecutor::new())
        .initial_max_send_streams(UNSETTLED_STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await?;
    let streams_max = Arc::new(AtomicUsize::new(UNSETTLED_STREAMS_MAX));
    let (load, settled) = (place.load().clone(), freed.clone());
    let mut driver = Driver { driver, streams_max: streams_max.clone(), _place: place };
    tokio::spawn(async move {
        if driver.settle().await {
            return;
        }
        if let Some(opening) = opening {
            opening.0.has_succeeded.store(true, Ordering::Release);
        }
        settled.notify_waiters();
        std::future::poll_fn(|cx| driver.poll(cx)).await;
    });
    Ok(Share::of(Arc::new(Connection {
        sender,
        streams: AtomicUsize::new(0),
        streams_max,
        is_retired: AtomicBool::new(false),
        idle_since: Mutex::new(Instant::now()),
        load,
        freed,
    })))
}

/// What a connection's own task does.
struct Driver {
    driver: http2::Connection<TokioIo<Stream>, OutgoingBody, TokioExecutor>,
    streams_max: Arc<AtomicUsize>,
    /// As long as the connection is there.
    _place: Place,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let polled = Pin::new(&mut self.driver).poll(cx);
        // What the peer allows may change at any time. One that allows
        // nothing is asked one thing at a time, and can wait.
        let allowed = self.driver.current_max_send_streams().clamp(1, STREAMS_MAX);
        self.streams_max.store(allowed, Ordering::Relaxed);
        polled.map(|ended| {
            if let Err(error) = ended {
                tracing::debug!(error = describe(&error), "an upstream connection ended");
            }
        })
    }

    /// Waits until it is known how much the peer allows, or for about a
    /// second; whether the connection is over. hyper does not say when the
    /// peer's settings come, so that they have to be looked for.
    async fn settle(&mut self) -> bool {
        let mut pause = Duration::from_millis(1);
        while pause < SETTLE_PAUSE_MAX {
            let settled = std::future::poll_fn(|cx| match self.poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending
                    if self.streams_max.load(Ordering::Relaxed) > UNSETTLED_STREAMS_MAX =>
                {
                    Poll::Ready(false)
                }
                Poll::Pending => Poll::Pending,
            });
            match timeout(pause, settled).await {
                Ok(is_over) => return is_over,
                Err(_) => pause *= 2,
            }
        }
        false
    }
}

impl Share {
    fn of(connection: Arc<Connection>) -> Self {
        connection.streams.fetch_add(1, Ordering::Relaxed);
        Self(connection)
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &self,
        mut request: Request<OutgoingBody>,
        limits: SendLimits,
    ) -> Result<Response<Incoming>, SendFailure> {
        let spare = copy(&request);
        let mut sender = self.0.sender.clone();
        let began = Instant::now();
        let progress = request.body_mut().watch();
        let mut sending = pin!(sender.try_send_request(request));
        let mut written_at = began;
        let mut failure = loop {
            match timeout_at(limits.due(written_at).into(), sending.as_mut()).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(failure)) => break failure,
                Err(_) => {}
            }
            let last = progress.as_ref().map_or(began, |progress| progress.last());
            if last > written_at {
                written_at = last;
                continue;
            }
            let lacks_body = progress.is_some_and(|progress| progress.is_waiting());
            // A connection that has gone silent would cost every request that
            // is put on it the same time. A client that has says nothing
            // about it.
            if !lacks_body {
                self.0.is_retired.store(true, Ordering::Relaxed);
            }
            let error = limits.blame(&Sent { began, written_at, lacks_body });
            return Err(SendFailure { error, unsent: None });
        };
        let error = failure.error();
        let fate = Fate::of(error);
        if fate.is_the_connections {
            self.0.is_retired.store(true, Ordering::Relaxed);
        }
        let kind = match fate.is_the_clients {
            true => ErrorKind::ClientClosed,
            false => ErrorKind::UpstreamClosed,
        };
        let error = GatewayError::new(kind).because(describe(error));
        let unsent = match failure.take_message() {
            Some(request) => Some(request),
            None => spare.filter(|_| fate.was_not_processed),
        };
        Err(SendFailure { error, unsent: unsent.map(Box::new) })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.0.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        if self.0.load.is_short() {
            self.0.freed.notify_one();
        }
    }
}

/// The same request once more, where its body is in memory.
fn copy(request: &Request<OutgoingBody>) -> Option<Request<OutgoingBody>> {
    let mut copy = Request::new(request.body().copy()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// What an error means for the request and for its connection.
struct Fate {
    /// Whether it is certain that the peer did nothing: it refused the
    /// stream, or went away before it (RFC 9113, 8.7).
    was_not_processed: bool,
    /// Whether other requests would fare no better on this connection.
    is_the_connections: bool,
    /// Whether the request's body broke off.
    is_the_clients: bool,
}

impl Fate {
    fn of(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
        let Some(cause): Option<&h2::Error> = cause else {
            return Self {
                was_not_processed: false,
                is_the_connections: !error.is_user(),
                is_the_clients: error.is_user(),
            };
        };
        let was_refused = cause.reason() == Some(h2::Reason::REFUSED_STREAM);
        Self {
            was_not_processed: cause.is_remote() && (cause.is_go_away() || was_refused),
            is_the_connections: !cause.is_reset(),
            is_the_clients: cause.is_reset() && !cause.is_remote() && !cause.is_library(),
        }
    }
}
