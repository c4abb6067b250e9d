//! How long an answer waits for an HTTP/2 client to take more of it.
//!
//! A client that opens no window stops nothing on its socket, so that nothing
//! there shows it, and its other streams may go on. hyper does not ask a body
//! for more until there is room, so a body that has given something and is
//! not asked again waits for its client. The stream of one that waits for too
//! long is dropped, which resets it.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use tokio::time::timeout;

tokio::task_local! {
    static APPETITE: Arc<Appetite>;
}

/// What is known of how a client takes an answer.
#[derive(Default)]
pub(super) struct Appetite {
    /// How often it was asked for more, twice; odd while it waits for the
    /// client. Only one task touches it.
    turns: AtomicUsize,
}

impl Appetite {
    /// That of the stream that is served by this task.
    pub(super) fn of_task() -> Arc<Self> {
        APPETITE.try_with(Arc::clone).unwrap_or_default()
    }

    /// The client had room for more, and got something or has to wait.
    pub(super) fn asked(&self, got_something: bool) {
        let turns = self.turns.load(Ordering::Relaxed).wrapping_add(2) & !1;
        self.turns.store(turns | usize::from(got_something), Ordering::Relaxed);
    }

    /// A number for the present wait for the client, if there is one.
    fn wait(&self) -> Option<usize> {
        Some(self.turns.load(Ordering::Relaxed)).filter(|turns| turns % 2 == 1)
    }
}

/// Runs the streams of connections, each as long as its client takes part.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) stall_timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        tokio::spawn(run(stream, self.stall_timeout));
    }
}

async fn run(stream: impl Future<Output = ()>, stall_timeout: Duration) {
    let appetite = Arc::<Appetite>::default();
    let mut stream = pin!(APPETITE.scope(appetite.clone(), stream));
    let mut known = None;
    loop {
        // Until the stream is over, or begins or ends to wait for its client.
        let turn = poll_fn(|cx| match stream.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending if appetite.wait() == known => Poll::Pending,
            Poll::Pending => Poll::Ready(Some(appetite.wait())),
        });
        // Without a wait there is no timer.
        let turn = match known {
            None => Ok(turn.await),
            Some(_) => timeout(stall_timeout, turn).await,
        };
        match turn {
            Ok(Some(wait)) => known = wait,
            Ok(None) | Err(_) => return,
        }
    }
}
