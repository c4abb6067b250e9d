//! What a client connection is at, and for how long: waiting, receiving a
//! head, serving, or stuck in writing.
//!
//! A request costs two looks at the clock, and a connection has one timer,
//! which is not set anew for each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::Settings;
use crate::metrics::Ending;

/// What a connection is at. Only its own tasks touch it, all on one thread.
pub(super) struct Activity {
    began: Instant,
    /// Whether what is read between two requests is the head of the next:
    /// so it is in HTTP/1.
    has_heads: bool,
    /// Requests whose answers are not over.
    requests: AtomicUsize,
    is_receiving_head: AtomicBool,
    /// When the last answer was over, or the head began, in milliseconds.
    since: AtomicU64,
    /// When writing got stuck; [`NEVER`] while it is not.
    stuck_since: AtomicU64,
    resets: Resets,
}

const NEVER: u64 = u64::MAX;
const SECOND: u64 = 1000;

/// Requests that the client cancelled in the present second.
#[derive(Default)]
struct Resets {
    since: AtomicU64,
    count: AtomicU32,
    max: u32,
    exceeded: Notify,
}

impl Activity {
    pub(super) fn new(has_heads: bool, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            has_heads,
            requests: AtomicUsize::new(0),
            is_receiving_head: AtomicBool::new(false),
            since: AtomicU64::new(0),
            stuck_since: AtomicU64::new(NEVER),
            resets: Resets { max: settings.resets_max, ..Resets::default() },
        })
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }

    /// Bytes came, but not yet a whole head.
    pub(super) fn received(&self) {
        if self.has_heads
            && self.requests.load(Ordering::Relaxed) == 0
            && !self.is_receiving_head.load(Ordering::Relaxed)
        {
            self.is_receiving_head.store(true, Ordering::Relaxed);
            self.since.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Bytes could be written, or could not.
    pub(super) fn wrote(&self, is_stuck: bool) {
        let was_stuck = self.stuck_since.load(Ordering::Relaxed) != NEVER;
        if is_stuck != was_stuck {
            let since = if is_stuck { self.now() } else { NEVER };
            self.stuck_since.store(since, Ordering::Relaxed);
        }
    }

    /// A request came.
    pub(super) fn begin(self: &Arc<Self>) -> RequestUnderWay {
        self.requests.fetch_add(1, Ordering::Relaxed);
        RequestUnderWay { activity: self.clone(), is_done: false }
    }

    fn end(&self, is_done: bool) {
        let now = self.now();
        if self.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.is_receiving_head.store(false, Ordering::Relaxed);
            self.since.store(now, Ordering::Relaxed);
        }
        if !is_done && !self.has_heads {
            self.resets.add(now);
        }
    }

    /// Waits until the connection has to be ended. `idle` is how long it is
    /// kept without a request.
    pub(super) async fn must_end(&self, settings: &Settings, idle: Duration) -> Ending {
        loop {
            let next = match self.look(settings, idle) {
                Ok(next) => next,
                Err(ending) => return ending,
            };
            tokio::select! {
                () = tokio::time::sleep_until((self.began + next).into()) => {}
                () = self.resets.exceeded.notified() => return Ending::Resets,
            }
        }
    }

    /// When to look again, as time since the beginning. Whatever begins until
    /// then has at least the shortest of the times, so nothing is missed.
    fn look(&self, settings: &Settings, idle: Duration) -> Result<Duration, Ending> {
        let now = self.now();
        let head_ms = millis(settings.head_timeout);
        let idle_ms = millis(idle);
        let stall_ms = millis(settings.client_stall_timeout);
        let mut next = now.saturating_add(head_ms.min(idle_ms).min(stall_ms));
        let mut check = |since: u64, limit_ms: u64, ending: Ending| {
            let deadline = since.saturating_add(limit_ms);
            next = next.min(deadline);
            if deadline <= now { Err(ending) } else { Ok(()) }
        };
        check(self.stuck_since.load(Ordering::Relaxed), stall_ms, Ending::Stalled)?;
        if self.requests.load(Ordering::Relaxed) == 0 {
            let since = self.since.load(Ordering::Relaxed);
            match self.is_receiving_head.load(Ordering::Relaxed) {
                true => check(since, head_ms, Ending::HeadTimeout)?,
                false => check(since, idle_ms, Ending::Idle)?,
            }
        }
        Ok(Duration::from_millis(next))
    }
}

impl Resets {
    fn add(&self, now: u64) {
        if now - self.since.load(Ordering::Relaxed) >= SECOND {
            self.since.store(now, Ordering::Relaxed);
            self.count.store(0, Ordering::Relaxed);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max {
            self.exceeded.notify_one();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A request whose answer is not over.
pub(super) struct RequestUnderWay {
    activity: Arc<Activity>,
    /// Whether the client got all of the answer, as far as we know. Else it
    /// has cancelled the request.
    pub(super) is_done: bool,
}

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.activity.end(self.is_done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            head_timeout: Duration::from_secs(3600),
            client_idle_timeout: Duration::from_secs(7200),
            client_stall_timeout: Duration::from_secs(10_800),
            resets_max: 2,
            ..Settings::default()
        }
    }

    fn check(settings: &Settings, acts: impl FnOnce(&Arc<Activity>), expected: Option<Ending>) {
        let activity = Activity::new(true, settings);
        acts(&activity);
        assert_eq!(activity.look(settings, settings.client_idle_timeout).err(), expected);
    }

    #[test]
    fn each_phase_has_its_own_time() {
        let slow = settings();
        check(&slow, |_| {}, None);
        let idle = Settings { client_idle_timeout: Duration::ZERO, ..settings() };
        check(&idle, |_| {}, Some(Ending::Idle));
        check(&idle, |activity| activity.received(), None);
        let head = Settings { head_timeout: Duration::ZERO, ..settings() };
        check(&head, |_| {}, None);
        check(&head, |activity| activity.received(), Some(Ending::HeadTimeout));
        check(
            &head,
            |activity| {
                activity.received();
                drop(activity.begin());
            },
            None,
        );
        let stall = Settings { client_stall_timeout: Duration::ZERO, ..settings() };
        check(&stall, |activity| activity.wrote(false), None);
        check(&stall, |activity| activity.wrote(true), Some(Ending::Stalled));
    }

    #[test]
    fn nothing_ends_while_a_request_is_served() {
        let none = Settings {
            head_timeout: Duration::ZERO,
            client_idle_timeout: Duration::ZERO,
            ..settings()
        };
        let activity = Activity::new(true, &none);
        let request = activity.begin();
        activity.received();
        assert_eq!(activity.look(&none, none.client_idle_timeout).err(), None);
        drop(request);
        assert_eq!(activity.look(&none, none.client_idle_timeout).err(), Some(Ending::Idle));
    }
}
