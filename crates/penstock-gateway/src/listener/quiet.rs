//! A future that is only polled when it was woken itself, not whenever its
//! task is: what waits for rare things costs next to nothing in a task that
//! is woken for each piece of a body.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

pub(super) struct Quiet<F> {
    future: F,
    bell: Arc<Bell>,
    /// What `future` is polled with: rings the bell.
    ringer: Waker,
}

/// Whether the future has something to say, and whom to tell.
struct Bell {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future + Unpin> Quiet<F> {
    pub(super) fn new(future: F) -> Self {
        let bell = Arc::new(Bell { has_rung: AtomicBool::new(true), task: Mutex::default() });
        Self { future, ringer: bell.clone().into(), bell }
    }
}

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the bell is looked at: who rings later finds the task.
        this.bell.belongs_to(cx.waker());
        if !this.bell.has_rung.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.ringer))
    }
}

impl Bell {
    fn belongs_to(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_when_it_was_woken_and_not_otherwise() {
        let (notify, polls) = (Notify::new(), AtomicUsize::new(0));
        let mut notified = Box::pin(notify.notified());
        let counted = std::future::poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            notified.as_mut().poll(cx)
        });
        let mut quiet = Quiet::new(counted);
        for _ in 0..5 {
            let is_ready =
                std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut quiet).poll(cx).is_ready()));
            assert!(!is_ready.await);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let (woken, ()) = tokio::join!(quiet, async { notify.notify_one() });
        assert_eq!(woken, ());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn another_task_can_take_it_over() {
        let notify = Arc::new(Notify::new());
        let notified = notify.clone();
        let mut quiet = Quiet::new(Box::pin(async move { notified.notified().await }));
        let here = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut quiet).poll(cx).is_ready()));
        assert!(!here.await);
        let there = tokio::spawn(quiet);
        tokio::task::yield_now().await;
        notify.notify_one();
        there.await.unwrap();
    }
}
