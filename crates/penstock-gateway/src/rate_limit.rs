//! Local rate limits: a bucket of tokens for each route, filled once in each
//! interval, of one process (Envoy: local_ratelimit).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::policy::RateLimit;

/// The tokens of one route.
pub struct Bucket {
    limit: RateLimit,
    began: Instant,
    /// The interval in which it was filled last, in the upper half, and the
    /// tokens that are left.
    state: AtomicU64,
}

impl Bucket {
    /// A full bucket.
    pub fn new(limit: RateLimit) -> Self {
        Self { limit, began: Instant::now(), state: AtomicU64::new(limit.burst.into()) }
    }

    /// Takes a token, where one is left.
    pub fn take(&self) -> bool {
        self.take_after(self.began.elapsed())
    }

    fn take_after(&self, elapsed: Duration) -> bool {
        let interval = elapsed.as_nanos() / self.limit.interval.as_nanos().max(1);
        // Beyond 136 years of seconds it is no longer filled.
        let now = u32::try_from(interval).unwrap_or(u32::MAX);
        let spend = |state: u64| {
            let (filled, left) = split(state);
            let fills = now.saturating_sub(filled);
            let added = self.limit.per_interval.saturating_mul(fills);
            let left = left.saturating_add(added).min(self.limit.burst).checked_sub(1)?;
            Some(u64::from(now.max(filled)) << 32 | u64::from(left))
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }
}

fn split(state: u64) -> (u32, u32) {
    let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(u32::MAX);
    (half(state >> 32), half(state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_full_at_first_and_filled_in_each_interval() {
        let limit = RateLimit { per_interval: 2, interval: Duration::from_secs(1), burst: 5 };
        let bucket = Bucket::new(limit);
        let takes = |millis: u64, expected: &[bool]| {
            for expected in expected {
                assert_eq!(bucket.take_after(Duration::from_millis(millis)), *expected, "{millis}");
            }
        };
        takes(0, &[true, true, true, true, true, false]);
        takes(999, &[false]);
        takes(1000, &[true, true, false]);
        takes(2500, &[true, true, false]);
        takes(100_000, &[true, true, true, true, true, false]);
        // A thread that looked at the clock a little earlier.
        takes(99_000, &[false]);
        takes(u64::MAX, &[true]);
    }

    #[test]
    fn many_threads_get_no_more_than_there_is() {
        let limit =
            RateLimit { per_interval: 1000, interval: Duration::from_secs(3600), burst: 1000 };
        let bucket = Bucket::new(limit);
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|_| bucket.take()).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
