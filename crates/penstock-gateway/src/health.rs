//! Which endpoints are fit to take requests: those that failed too often in a
//! row are left for a time, and so are those that a check finds down.
//!
//! What is known of an endpoint is atomics that all workers share, and that
//! outlive every change of configuration under which the endpoint stays. A
//! request that does not fail reads one of them.
//!
//! Invariant: an ejection ends by itself; nobody has to run for it.
//! Invariant: no more endpoints are ejected than may be, and never all.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::StatusCode;

use crate::balance::EndpointSet;
use crate::error::{ErrorKind, GatewayError, Side};
use crate::settings::Outliers;

/// It failed too often in a row and is left for a time.
const EJECTED: u8 = 1;
/// The checks find it down.
const DOWN: u8 = 2;
/// It is new or back, and its share grows.
const WARMING: u8 = 4;
/// What of these keeps requests away.
const UNFIT: u8 = EJECTED | DOWN;

/// The least share of an endpoint that is warming up (Envoy: slow start's
/// `min_weight_percent`).
const SHARE_MIN: f64 = 0.1;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds on the clock that health is told by.
pub(crate) fn now_ms() -> u64 {
    millis(START.elapsed())
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What came of a request to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer 100 to 199, such as a WebSocket.
    Informational,
    /// An answer 200 to 299.
    Success,
    /// An answer 300 to 399.
    Redirection,
    /// An answer 400 to 499.
    ClientError,
    /// An answer of 500 or above that says nothing about the endpoint.
    ServerError,
    /// An answer 502, 503 or 504, as proxies in front of it give.
    GatewayError,
    /// No connection.
    ConnectFailed,
    /// No TLS.
    TlsFailed,
    /// It closed the connection before it answered.
    Closed,
    /// It answered something that is not HTTP.
    Invalid,
    /// It took too long.
    Timeout,
}

/// The outcomes and their stable names, by discriminant.
pub(crate) const OUTCOMES: [&str; 11] = [
    "1xx",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "gateway_error",
    "connect_failed",
    "tls_failed",
    "upstream_closed",
    "upstream_invalid",
    "upstream_timeout",
];

impl Outcome {
    /// What an answer means.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            502..=504 => Self::GatewayError,
            ..=199 => Self::Informational,
            200..=299 => Self::Success,
            300..=399 => Self::Redirection,
            400..=499 => Self::ClientError,
            _ => Self::ServerError,
        }
    }

    /// What an error says about the endpoint; `None` where it is the client's
    /// or the gateway's own.
    pub fn of_error(error: &GatewayError) -> Option<Self> {
        if error.side != Side::Upstream {
            return None;
        }
        Some(match error.kind {
            ErrorKind::ConnectFailed => Self::ConnectFailed,
            ErrorKind::TlsFailed => Self::TlsFailed,
            ErrorKind::UpstreamInvalid => Self::Invalid,
            ErrorKind::UpstreamTimeout => Self::Timeout,
            _ => Self::Closed,
        })
    }

    /// Whether it speaks against the endpoint. Not 429, which says that the
    /// caller asks too much, nor other errors, which may be the request's
    /// (Envoy: `consecutive_gateway_failure`, with failures on this side
    /// counted among them).
    pub fn is_failure(self) -> bool {
        self as u8 >= Self::GatewayError as u8
    }
}

/// One endpoint of a service, and what is known of it.
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// What there is against it; mostly nothing.
    flags: AtomicU8,
    /// Failures in a row.
    failures: AtomicU32,
    last_failure: AtomicU8,
    /// Ejections that still count for how long the next one is.
    ejections: AtomicU32,
    ejected_until_ms: AtomicU64,
    /// When it was last fit again.
    returned_ms: AtomicU64,
    ejections_total: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// The requests that it has now.
    pub(crate) requests: AtomicUsize,
    /// The connections to it that are open.
    pub(crate) connections: AtomicUsize,
    /// What the checks found.
    pub(crate) checked: Checked,
}

/// What the checks of an endpoint found.
#[derive(Default)]
pub(crate) struct Checked {
    /// When the next one is due.
    pub(crate) next_ms: AtomicU64,
    passed: AtomicU64,
    failed: AtomicU64,
    /// How many in a row passed, or failed.
    streak: AtomicU32,
    /// 1 where the last one passed, 2 where it failed.
    last: AtomicU8,
}

/// How an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes its share.
    Fit,
    /// It takes a share that grows.
    Warming,
    /// It is left for a time.
    Ejected,
    /// The checks find it down.
    Down,
}

impl Standing {
    /// The stable name, for `/status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fit => "fit",
            Self::Warming => "warming",
            Self::Ejected => "ejected",
            Self::Down => "down",
        }
    }
}

impl Endpoint {
    /// One of which nothing is known.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            flags: AtomicU8::new(0),
            failures: AtomicU32::new(0),
            last_failure: AtomicU8::new(0),
            ejections: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
            returned_ms: AtomicU64::new(0),
            ejections_total: AtomicU64::new(0),
            outcomes: Default::default(),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            checked: Checked::default(),
        }
    }

    /// The requests that it has now.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// The connections to it that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// How often it was ejected.
    pub fn ejections(&self) -> u64 {
        self.ejections_total.load(Ordering::Relaxed)
    }

    /// The checks that passed and that failed.
    pub fn checks(&self) -> (u64, u64) {
        let Checked { passed, failed, .. } = &self.checked;
        (passed.load(Ordering::Relaxed), failed.load(Ordering::Relaxed))
    }

    /// How many requests came to what.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        OUTCOMES.into_iter().zip(counts)
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        let flags = self.flags.load(Ordering::Relaxed);
        let is_over = self.ejected_until_ms.load(Ordering::Relaxed) <= now_ms();
        match flags {
            _ if flags & DOWN != 0 => Standing::Down,
            _ if flags & EJECTED != 0 && !is_over => Standing::Ejected,
            _ if flags & WARMING != 0 => Standing::Warming,
            _ => Standing::Fit,
        }
    }

    /// Why requests are kept away from it, where they are.
    pub fn reason(&self) -> Option<String> {
        let in_a_row = |count: u32| if count == 1 { "" } else { " in a row" };
        match self.standing() {
            Standing::Fit | Standing::Warming => None,
            Standing::Down => {
                let count = self.checked.streak.load(Ordering::Relaxed);
                let last = self.checked.last.load(Ordering::Relaxed);
                Some(match last {
                    FAILED => format!("{count} checks{} failed", in_a_row(count)),
                    _ => format!("{count} checks{} passed, more have to", in_a_row(count)),
                })
            }
            Standing::Ejected => {
                let last = usize::from(self.last_failure.load(Ordering::Relaxed));
                let last = OUTCOMES.get(last).copied().unwrap_or_default();
                let until_ms = self.ejected_until_ms.load(Ordering::Relaxed);
                let left_s = until_ms.saturating_sub(now_ms()).div_ceil(1000);
                Some(format!("it failed too often in a row, last {last}; left for {left_s} s more"))
            }
        }
    }

    pub(crate) fn is_fit(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNFIT == 0
    }

    /// Whether there is anything against it.
    pub(crate) fn is_flagged(&self) -> bool {
        self.flags.load(Ordering::SeqCst) != 0
    }

    /// Lets its share grow from now on.
    pub(crate) fn warm_up(&self, now_ms: u64) {
        self.returned_ms.store(now_ms, Ordering::Relaxed);
        self.flags.fetch_or(WARMING, Ordering::SeqCst);
    }

    /// Its share of what it would get otherwise, from [`SHARE_MIN`] to 1.
    pub(crate) fn share(&self, window: Duration, now_ms: u64) -> f64 {
        if self.flags.load(Ordering::Relaxed) & WARMING == 0 {
            return 1.0;
        }
        let since_ms = now_ms.saturating_sub(self.returned_ms.load(Ordering::Relaxed));
        let window_ms = millis(window).max(1);
        (since_ms as f64 / window_ms as f64).clamp(SHARE_MIN, 1.0)
    }

    /// Takes back what is over: an ejection, warming up.
    pub(crate) fn refresh(&self, outliers: &Outliers, warm_up: Duration, now_ms: u64) {
        let flags = self.flags.load(Ordering::Relaxed);
        if flags & EJECTED != 0 && self.ejected_until_ms.load(Ordering::Acquire) <= now_ms {
            // One more failure, and it is left again; one answer clears it of
            // all.
            self.failures.store(outliers.failures.saturating_sub(1), Ordering::Relaxed);
            self.readmit(EJECTED, warm_up, now_ms);
        }
        if flags & WARMING != 0 && self.share(warm_up, now_ms) >= 1.0 {
            self.flags.fetch_and(!WARMING, Ordering::SeqCst);
        }
    }

    /// Takes a flag away. The endpoint is never without any in between, or
    /// nobody would look after its share.
    fn readmit(&self, flag: u8, warm_up: Duration, now_ms: u64) {
        self.returned_ms.store(now_ms, Ordering::Relaxed);
        if !warm_up.is_zero() {
            self.warm_up(now_ms);
        }
        self.flags.fetch_and(!flag, Ordering::SeqCst);
    }

    /// How long it is left for once more: longer each time in a row, and
    /// shorter again for every such time that passed without.
    fn ejection_ms(&self, outliers: &Outliers, now_ms: u64) -> (u32, u64) {
        let base_ms = millis(outliers.time).max(1);
        let calm_ms = now_ms.saturating_sub(self.returned_ms.load(Ordering::Relaxed));
        let forgiven = u32::try_from(calm_ms / base_ms).unwrap_or(u32::MAX);
        let times = self.ejections.load(Ordering::Relaxed).saturating_sub(forgiven) + 1;
        (times, base_ms.saturating_mul(times.into()).min(millis(outliers.time_max).max(base_ms)))
    }
}

const PASSED: u8 = 1;
const FAILED: u8 = 2;

impl EndpointSet {
    /// Takes in what came of a request to an endpoint.
    pub fn note(&self, endpoint: &Endpoint, outcome: Outcome) {
        if let Some(count) = endpoint.outcomes.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if outcome.is_failure() {
            self.fail(endpoint, outcome, now_ms());
        } else if endpoint.failures.load(Ordering::Relaxed) != 0 {
            endpoint.failures.store(0, Ordering::Relaxed);
        }
    }

    #[cold]
    fn fail(&self, endpoint: &Endpoint, outcome: Outcome, now_ms: u64) {
        let outliers = &self.kept.outliers;
        endpoint.last_failure.store(outcome as u8, Ordering::Relaxed);
        let failures = endpoint.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if outliers.failures == 0 || failures < outliers.failures {
            return;
        }
        if endpoint.flags.load(Ordering::Relaxed) & EJECTED != 0 {
            return;
        }
        let (times, time_ms) = endpoint.ejection_ms(outliers, now_ms);
        endpoint.ejected_until_ms.store(now_ms.saturating_add(time_ms), Ordering::Release);
        if endpoint.flags.fetch_or(EJECTED, Ordering::SeqCst) & EJECTED != 0 {
            return;
        }
        // Those who eject at the same time see each other here: there may be
        // fewer then, and never more.
        if self.count(EJECTED) > self.ejected_max() {
            endpoint.flags.fetch_and(!EJECTED, Ordering::SeqCst);
            return;
        }
        self.kept.troubles.fetch_add(1, Ordering::SeqCst);
        endpoint.ejections.store(times, Ordering::Relaxed);
        endpoint.ejections_total.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            service = %self.kept.name, endpoint = %endpoint.address, seconds = time_ms / 1000,
            last = OUTCOMES.get(outcome as usize), "an endpoint fails and is left for a time"
        );
    }

    fn count(&self, flag: u8) -> usize {
        let flags = self.endpoints.iter().map(|one| one.flags.load(Ordering::SeqCst));
        flags.filter(|flags| flags & flag != 0).count()
    }

    /// How many may be ejected: one at least, and never all.
    fn ejected_max(&self) -> usize {
        let all = self.endpoints.len();
        let share = all * usize::from(self.kept.outliers.percent_max) / 100;
        share.max(1).min(all.saturating_sub(1))
    }

    /// Takes in what a check found. `failures` in a row keep requests away,
    /// `successes` in a row bring them back.
    pub(crate) fn note_check(
        &self,
        endpoint: &Endpoint,
        has_passed: bool,
        (failures, successes): (u32, u32),
    ) {
        let Checked { passed, failed, streak, last, .. } = &endpoint.checked;
        let (count, now) = if has_passed { (passed, PASSED) } else { (failed, FAILED) };
        count.fetch_add(1, Ordering::Relaxed);
        let length = match last.swap(now, Ordering::Relaxed) == now {
            true => streak.fetch_add(1, Ordering::Relaxed).saturating_add(1),
            false => {
                streak.store(1, Ordering::Relaxed);
                1
            }
        };
        let is_down = endpoint.flags.load(Ordering::Relaxed) & DOWN != 0;
        if has_passed && is_down && length >= successes {
            endpoint.readmit(DOWN, self.kept.warm_up, now_ms());
            tracing::info!(
                service = %self.kept.name, endpoint = %endpoint.address, "an endpoint is up again"
            );
        } else if !has_passed && !is_down && length >= failures {
            endpoint.flags.fetch_or(DOWN, Ordering::SeqCst);
            self.kept.troubles.fetch_add(1, Ordering::SeqCst);
            tracing::warn!(
                service = %self.kept.name, endpoint = %endpoint.address, "an endpoint is down"
            );
        }
    }

    /// Takes back what is over, and says how many endpoints there are that
    /// nothing speaks against.
    pub fn refresh(&self) -> usize {
        let now_ms = now_ms();
        let fit = self.endpoints.iter().filter(|endpoint| {
            endpoint.refresh(&self.kept.outliers, self.kept.warm_up, now_ms);
            endpoint.is_fit()
        });
        fit.count()
    }
}

#[cfg(test)]
mod tests;
