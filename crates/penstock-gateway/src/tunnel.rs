//! Connections that were handed over: bytes both ways until both sides have
//! said that they are done.
//!
//! Nothing is read or kept here beyond a small buffer for each direction: a
//! side that does not take bytes stops the other from sending. A worker waits
//! for its tunnels when it ends, as it does for running answers.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes};
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::task::JoinSet;

use crate::body::Recorder;
use crate::listener::Admitted;
use crate::stream::Stream;
use crate::upstream::{Switched, UpstreamBody};

/// What is held of each direction, besides what the system buffers.
const BUFFER_BYTES: usize = 8 << 10;

/// Both sides of a connection that is about to be handed over.
pub struct Tunnel {
    /// Gives the client's side once it has got the head of the answer.
    pub client: Handover,
    /// The upstream's side.
    pub upstream: UpstreamBody,
    /// What is written when it is over.
    pub recorder: Recorder,
    /// How long nothing may pass, in either direction.
    pub idle_timeout: Duration,
}

/// What gives the client's side, if it is handed over.
pub struct Handover(Receiver<ClientSide>);

impl Handover {
    /// It, and what the client's side is given to.
    pub(crate) fn channel() -> (Sender<ClientSide>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

/// The client's side of a connection on which HTTP is over.
pub(crate) struct ClientSide {
    pub(crate) stream: Stream,
    /// What was read from it already.
    pub(crate) early: Bytes,
    /// It counts as a connection until it is closed.
    pub(crate) _admitted: Admitted,
}

/// The tunnels of one worker.
#[derive(Default)]
pub struct Tunnels(Mutex<JoinSet<()>>);

impl Tunnels {
    /// Runs a tunnel in a task of its own.
    pub fn start(&self, tunnel: Tunnel) {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(tunnel.run());
    }

    /// Waits for all of them.
    pub async fn finish(&self) {
        let mut running =
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        while running.join_next().await.is_some() {}
    }
}

impl Tunnel {
    async fn run(self) {
        let Self { client, upstream, mut recorder, idle_timeout } = self;
        let progress = Arc::new(Progress::new());
        let passing = async {
            let client = client.0.await.map_err(|_| End::Client)?;
            let Switched { stream: upstream, early, held: _held } =
                upstream.into_stream().ok_or(End::Upstream)?;
            let client = Watched { client, progress: progress.clone() };
            pass(client, upstream, early).await.map_err(|_| match progress.has_client_failed() {
                true => End::Client,
                false => End::Upstream,
            })
        };
        let outcome = tokio::select! {
            outcome = passing => outcome,
            () = progress.stops_for(idle_timeout) => Err(End::Idle),
        };
        recorder.error = outcome.err().map(|end| match end {
            End::Client => "client_left",
            End::Upstream => "upstream_broke_off",
            End::Idle => "tunnel_idle",
        });
        recorder.request_bytes = progress.received.load(Ordering::Relaxed);
        recorder.response_bytes = progress.sent.load(Ordering::Relaxed);
    }
}

/// How a tunnel ended, other than by both sides being done.
enum End {
    Client,
    Upstream,
    Idle,
}

async fn pass(mut client: Watched, mut upstream: Stream, early: Bytes) -> io::Result<()> {
    client.write_all(&early).await?;
    client.flush().await?;
    // A side that is done writing may still read: only its direction ends.
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}

/// What has passed, seen from the client's side.
struct Progress {
    began: Instant,
    received: AtomicU64,
    sent: AtomicU64,
    /// Milliseconds after `began`.
    last_ms: AtomicU64,
    has_client_failed: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            last_ms: AtomicU64::new(0),
            has_client_failed: AtomicBool::new(false),
        }
    }

    fn note(&self, counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    fn has_client_failed(&self) -> bool {
        self.has_client_failed.load(Ordering::Relaxed)
    }

    /// Ends when nothing has passed for this long.
    async fn stops_for(&self, time: Duration) {
        loop {
            let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
            let idle = self.began.elapsed().saturating_sub(last);
            if idle >= time {
                return;
            }
            tokio::time::sleep(time - idle).await;
        }
    }
}

/// The client's side, with what passes it.
struct Watched {
    client: ClientSide,
    progress: Arc<Progress>,
}

impl Watched {
    fn check<T>(&self, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(_)) = &outcome {
            self.progress.has_client_failed.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let early = &mut self.client.early;
        if !early.is_empty() {
            buf.put_slice(&early.split_to(early.len().min(buf.remaining())));
            self.progress.note(&self.progress.received, buf.filled().len() - before);
            return Poll::Ready(Ok(()));
        }
        let outcome = Pin::new(&mut self.client.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.progress.note(&self.progress.received, buf.filled().len() - before);
        }
        self.check(outcome)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.client.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(written)) = &outcome {
            self.progress.note(&self.progress.sent, *written);
        }
        self.check(outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.client.stream).poll_flush(cx);
        self.check(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.client.stream).poll_shutdown(cx);
        self.check(outcome)
    }
}
