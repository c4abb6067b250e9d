//! Latencies, counted in buckets whose width grows with the value: within
//! 1.6 % of the truth, in constant memory, however many there are.

use std::time::Duration;

/// Buckets for each power of two; also the values below which every
/// microsecond has a bucket of its own.
const STEPS: u64 = 64;
/// The powers of two above `STEPS`: up to more than an hour.
const POWERS: usize = 27;

/// How often each latency occurred.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; STEPS as usize * (POWERS + 1)], total: 0 }
    }
}

impl Histogram {
    /// Counts one latency; one beyond the last bucket goes into that.
    pub fn record(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = bucket_of(micros).min(self.counts.len() - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.total += 1;
        }
    }

    /// The latency that `share` (0 to 1) of all do not exceed, in
    /// milliseconds; nothing where nothing was recorded.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(middle_of(bucket) / 1000.0)
    }
}

/// The bucket of a number of microseconds.
fn bucket_of(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let power = micros.ilog2() - STEPS.ilog2();
    let step = (micros >> power) - STEPS;
    (STEPS * (u64::from(power) + 1) + step) as usize
}

/// The middle of a bucket, in microseconds.
fn middle_of(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket as f64;
    }
    let power = bucket / STEPS - 1;
    let width = (1_u64 << power) as f64;
    (STEPS + bucket % STEPS) as f64 * width + (width - 1.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_within_its_bucket() {
        for micros in (0..100_000).chain([1 << 20, (1 << 30) + 12_345, 3_600_000_000]) {
            let middle = middle_of(bucket_of(micros));
            let off = (middle - micros as f64).abs();
            assert!(off <= micros as f64 * 0.016, "{micros} is taken for {middle}");
        }
    }

    #[test]
    fn buckets_follow_each_other() {
        let buckets: Vec<usize> = (0..10_000).map(bucket_of).collect();
        assert!(buckets.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.5), None);
        (1..=60).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        assert_eq!(histogram.quantile_ms(0.5), Some(0.030));
        assert_eq!(histogram.quantile_ms(0.99), Some(0.060));
        histogram.record(Duration::from_secs(1_000_000));
        assert!(histogram.quantile_ms(1.0).unwrap() > 3_600_000.0);
    }
}
