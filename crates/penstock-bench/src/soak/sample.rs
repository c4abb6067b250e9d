//! What is looked at every few seconds of a soak, and what follows from it.

use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::contestant::{self, Contestant};
use crate::process::CpuTime;
use crate::round::median;
use crate::soak::traffic::Tally;

/// The first line of the file with all samples.
pub const COLUMNS: &str = "seconds,memory_kb,open_files,client_connections,active_requests,\
    upstream_connections,reloads,requests_per_second,unexpected,cpu_percent,own_memory_kb";
/// How much memory may grow.
const GROWTH_MAX: f64 = 0.10;
/// The longest time at the beginning and at the end that is compared.
const WINDOW: f64 = 60.0;

/// One look.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub seconds: f64,
    pub memory_kb: u64,
    pub open_files: usize,
    pub client_connections: f64,
    pub active_requests: f64,
    /// All that were ever made.
    pub upstream_connections: f64,
    pub reloads: f64,
    pub rate: f64,
    pub unexpected: u64,
    pub cpu_percent: f64,
    /// The memory of this program, which must not be what grows.
    pub own_memory_kb: u64,
}

impl Sample {
    /// The line of this sample, below `COLUMNS`.
    pub fn to_csv(&self) -> String {
        format!(
            "{:.1},{},{},{},{},{},{},{:.1},{},{:.1},{}",
            self.seconds,
            self.memory_kb,
            self.open_files,
            self.client_connections,
            self.active_requests,
            self.upstream_connections,
            self.reloads,
            self.rate,
            self.unexpected,
            self.cpu_percent,
            self.own_memory_kb
        )
    }
}

/// All looks of a soak.
pub struct Recording {
    pub samples: Vec<Sample>,
    /// How long the first of them do not count.
    pub warm_up: Duration,
    began: Instant,
    last: Option<(Instant, u64, CpuTime)>,
}

impl Recording {
    /// Begins a recording.
    pub fn begin(warm_up: Duration) -> Self {
        Self { samples: Vec::new(), warm_up, began: Instant::now(), last: None }
    }

    /// Looks at a gateway.
    pub fn take(&mut self, gateway: &Contestant, tally: &Tally) -> anyhow::Result<Sample> {
        let admin = gateway.admin.context("no admin listener")?;
        let metrics = contestant::get(admin, "admin", "/metrics")?;
        let number = |name: &str| {
            let rest = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
            metrics.lines().find_map(rest).unwrap_or(f64::NAN)
        };
        let (now, cpu) = (Instant::now(), gateway.process.cpu()?);
        let mut sample = Sample {
            seconds: self.began.elapsed().as_secs_f64(),
            memory_kb: gateway.process.memory_kb()?,
            open_files: gateway.process.open_files()?,
            client_connections: number("penstock_connections"),
            active_requests: number("penstock_requests_active"),
            upstream_connections: number("penstock_upstream_connections_total"),
            reloads: number("penstock_config_reloads_total"),
            unexpected: tally.unexpected,
            own_memory_kb: own_memory_kb().unwrap_or_default(),
            ..Sample::default()
        };
        if let Some((last, requests, last_cpu)) = &self.last {
            let seconds = now.duration_since(*last).as_secs_f64();
            sample.rate = (tally.requests - requests) as f64 / seconds;
            sample.cpu_percent = cpu.micros_since(last_cpu) / seconds / 10_000.0;
        }
        self.last = Some((now, tally.requests, cpu));
        self.samples.push(sample.clone());
        Ok(sample)
    }

    /// The median of the memory within a time, in MB.
    fn memory_mb(&self, from: f64, to: f64) -> f64 {
        let within = self.samples.iter().filter(|s| s.seconds >= from && s.seconds <= to);
        median(within.map(|sample| sample.memory_kb as f64 / 1024.0).collect())
    }
}

/// The resident pages of this process, which are of 4 KB where this runs.
fn own_memory_kb() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    Some(text.split(' ').nth(1)?.parse::<u64>().ok()? * 4)
}

/// What a soak showed.
pub struct Verdict {
    seconds: f64,
    warm_up: f64,
    window: f64,
    memory_mb: [f64; 2],
    files: [usize; 2],
    tally: Tally,
}

impl Verdict {
    /// The verdict on a recording, with the files that were open before the
    /// traffic and after it.
    pub fn of(recording: &Recording, files: [usize; 2], tally: Tally) -> Self {
        let warm_up = recording.warm_up.as_secs_f64();
        let seconds = recording.samples.last().map_or(0.0, |sample| sample.seconds);
        // In a short run the two must not overlap.
        let window = ((seconds - warm_up) / 2.0).clamp(0.0, WINDOW);
        let first = recording.memory_mb(warm_up, warm_up + window);
        let last = recording.memory_mb(seconds - window, seconds);
        Self { seconds, warm_up, window, memory_mb: [first, last], files, tally }
    }

    fn growth(&self) -> f64 {
        let [first, last] = self.memory_mb;
        last / first - 1.0
    }

    fn memory_is_good(&self) -> bool {
        // What is no number is not good either.
        self.growth() <= GROWTH_MAX
    }

    fn files_are_good(&self) -> bool {
        let [before, after] = self.files;
        after <= before
    }

    /// Whether everything stayed as it was.
    pub fn is_good(&self) -> bool {
        self.memory_is_good() && self.files_are_good() && self.tally.unexpected == 0
    }

    /// The verdict in words.
    pub fn to_text(&self) -> String {
        let say = |is_good: bool| if is_good { "good" } else { "BAD " };
        let ([first, last], [before, after]) = (self.memory_mb, self.files);
        let mut text = format!(
            "{} requests in {:.0} s\n{}  memory: {first:.1} MB in the first {:.0} s after a \
             warm-up of {:.0} s, {last:.1} MB in the last, {:+.1} %\n{}  open files: {before} \
             before the traffic, {after} after it\n{}  unexpected outcomes: {}\n",
            self.tally.requests,
            self.seconds,
            say(self.memory_is_good()),
            self.window,
            self.warm_up,
            self.growth() * 100.0,
            say(self.files_are_good()),
            say(self.tally.unexpected == 0),
            self.tally.unexpected
        );
        for (failure, count) in &self.tally.failures {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "      {count} x {failure}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verdict on memory that grows by some KB each second.
    fn verdict(growth_kb: u64, seconds: u64) -> Verdict {
        let mut recording = Recording::begin(Duration::from_secs(60));
        recording.samples = (0..=seconds / 5)
            .map(|number| Sample {
                seconds: number as f64 * 5.0,
                memory_kb: 20_000 + growth_kb * number * 5,
                ..Sample::default()
            })
            .collect();
        Verdict::of(&recording, [20, 20], Tally::default())
    }

    #[test]
    fn memory_that_grows_is_bad() {
        assert!(verdict(0, 3600).is_good());
        assert!(!verdict(1, 3600).is_good());
        assert!(verdict(1, 300).is_good());
        assert!(!verdict(0, 30).is_good(), "nothing was compared");
    }
}
