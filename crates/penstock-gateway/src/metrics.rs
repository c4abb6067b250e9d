//! Counters and histograms, in the text format of Prometheus.
//!
//! A request adds to atomics that it finds through a table of its own worker,
//! so no lock is taken where a series exists already. The number of series is
//! bounded: what comes beyond it is counted under the label `other`, and what
//! the configuration does not name any more is forgotten.

mod ending;
mod endpoint;
mod statistics;
mod token;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::FastMap;
use crate::access_log::AccessRecord;
use crate::snapshot::{PluginInstance, Snapshot};

pub use ending::Ending;
pub use endpoint::render as render_endpoints;
pub use statistics::Statistics;
pub use token::render as render_tokens;

/// The most (route, provider) pairs with series of their own.
const ROUTES_MAX: usize = 10_000;
/// The most consumers with series of their own.
const CONSUMERS_MAX: usize = 10_000;
/// What is counted together once a family is full.
const OTHER: &str = "other";
/// What stands for an absent route, provider or consumer.
const NONE: &str = "";

/// Upper bounds of the duration histograms, in milliseconds.
const BOUNDS_MS: [u64; 14] =
    [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 30_000, 120_000];

/// The statuses with a counter of their own; others are counted by class.
const STATUSES: [u16; 36] = [
    200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409,
    410, 412, 413, 415, 416, 421, 422, 429, 431, 499, 500, 501, 502, 503, 504, 520, 529,
];
const CLASSES: [&str; 6] = ["0", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// All metrics of the process.
#[derive(Default)]
pub struct Metrics {
    /// How often series were forgotten.
    generation: AtomicUsize,
    routes: Family<RouteSeries>,
    consumers: Family<Statuses>,
    statistics: statistics::Series,
    /// Client connections that are open.
    pub connections: AtomicI64,
    endings: ending::Series,
    /// TLS handshakes with clients that were completed.
    pub handshakes: AtomicU64,
    /// Failures to accept a connection.
    pub accept_failures: AtomicU64,
    /// Requests that are being served.
    pub requests_active: AtomicI64,
    /// Upstream connections that were made.
    pub upstream_connections: AtomicU64,
    /// Upstream connections that could not be made.
    pub upstream_connect_failures: AtomicU64,
}

/// The series of one route and provider.
#[derive(Default)]
struct RouteSeries {
    statuses: Statuses,
    duration: Histogram,
    upstream: Histogram,
    first_byte: Histogram,
    gateway: Histogram,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
}

struct Statuses([AtomicU64; STATUSES.len() + CLASSES.len()]);

impl Default for Statuses {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Statuses {
    fn add(&self, status: u16) {
        let index = STATUSES
            .iter()
            .position(|known| *known == status)
            .unwrap_or(STATUSES.len() + usize::from(status / 100).min(CLASSES.len() - 1));
        if let Some(counter) = self.0.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters that are not zero, with their label.
    fn counts(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let labels = STATUSES
            .iter()
            .map(u16::to_string)
            .chain(CLASSES.iter().map(|class| (*class).to_owned()));
        labels
            .zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

/// One family of histograms.
struct HistogramRow {
    name: &'static str,
    help: &'static str,
    of: fn(&RouteSeries) -> &Histogram,
}

const HISTOGRAMS: &[HistogramRow] = &[
    HistogramRow {
        name: "penstock_request_duration_seconds",
        help: "From the request's head to the last byte of the answer.",
        of: |series| &series.duration,
    },
    HistogramRow {
        name: "penstock_upstream_head_seconds",
        help: "From handing the request to the upstream to the head of its answer.",
        of: |series| &series.upstream,
    },
    HistogramRow {
        name: "penstock_gateway_seconds",
        help: "From the request's head to handing the request to the upstream.",
        of: |series| &series.gateway,
    },
    HistogramRow {
        name: "penstock_time_to_first_token_seconds",
        help: "From the request's head to the first byte of a streamed answer.",
        of: |series| &series.first_byte,
    },
];

/// A histogram of durations.
#[derive(Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    fn add(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let index = BOUNDS_MS.partition_point(|bound| bound * 1000 < micros);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// The values of the two labels of a series.
type Labels = (Arc<str>, Arc<str>);

/// A bounded set of series by a pair of labels.
struct Family<T> {
    series: Mutex<HashMap<Labels, Arc<T>>>,
}

impl<T> Default for Family<T> {
    fn default() -> Self {
        Self { series: Mutex::default() }
    }
}

impl<T: Default> Family<T> {
    fn get(&self, key: (&str, &str), series_max: usize) -> Arc<T> {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let owned = (Arc::from(key.0), Arc::from(key.1));
        if let Some(found) = series.get(&owned) {
            return found.clone();
        }
        let owned = match series.len() < series_max {
            true => owned,
            false => (Arc::from(OTHER), Arc::from(OTHER)),
        };
        series.entry(owned).or_default().clone()
    }

    /// Keeps some; whether others are gone.
    fn retain(&self, is_kept: impl Fn(&Labels) -> bool) -> bool {
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let before = series.len();
        series.retain(|labels, _| is_kept(labels));
        series.len() < before
    }

    /// The series in the order of their labels.
    fn sorted(&self) -> Vec<(Labels, Arc<T>)> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> =
            series.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

/// A route's series with one provider.
struct ProviderSeries {
    provider: Box<str>,
    series: Arc<RouteSeries>,
}

/// What a worker thread remembers of the families, so that the common case
/// takes no lock. Tied to one generation of one `Metrics` by its address.
#[derive(Default)]
struct Remembered {
    of: (usize, usize),
    routes: FastMap<Arc<str>, Vec<ProviderSeries>>,
    /// The series in `routes`.
    known_count: usize,
    consumers: FastMap<Arc<str>, Arc<Statuses>>,
}

thread_local! {
    static REMEMBERED: RefCell<Remembered> = RefCell::default();
}

impl Metrics {
    /// Counts a request that is over.
    pub fn add(&self, record: &AccessRecord) {
        if let Some(statistics) = &record.statistics {
            self.statistics.add(statistics);
        }
        let status = record.status.map_or(499, |status| status.as_u16());
        REMEMBERED.with_borrow_mut(|remembered| {
            let generation = self.generation.load(Ordering::Acquire);
            let of = (std::ptr::from_ref(self).addr(), generation);
            if remembered.of != of {
                *remembered = Remembered { of, ..Remembered::default() };
            }
            let series = remembered.route(self, record);
            series.add(record, status);
            if let Some(consumer) = &record.consumer {
                remembered.consumer(self, consumer).add(status);
            }
        });
    }

    /// Forgets the series of routes and providers that a configuration does
    /// not name any more, so that many changes do not add up. Requests of the
    /// one before may bring a series back, until the next change.
    pub fn forget_unnamed(&self, snapshot: &Snapshot) {
        let routes: HashSet<&str> = snapshot.routes.iter().map(|route| &*route.name).collect();
        let mut seen: HashSet<*const PluginInstance> = HashSet::new();
        let once = snapshot.instances().filter(|instance| seen.insert(Arc::as_ptr(instance)));
        let destinations = once.filter_map(|instance| instance.plugin.destination());
        let providers: HashSet<Box<str>> =
            destinations.filter_map(|destination| Some(destination.provider?.0)).collect();
        let is_common = |label: &str| [NONE, OTHER].contains(&label);
        let has_forgotten = self.routes.retain(|(route, provider)| {
            (is_common(route) || routes.contains(&**route))
                && (is_common(provider) || providers.contains(provider as &str))
        });
        if has_forgotten {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Counts a client connection that the gateway ended, or refused.
    pub fn ended(&self, ending: Ending) {
        self.endings.add(ending);
    }

    /// The text that `/metrics` answers.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let routes = self.routes.sorted();
        header(
            &mut text,
            "penstock_requests_total",
            "counter",
            "Requests by route, provider and status.",
        );
        for ((route, provider), series) in &routes {
            for (status, count) in series.statuses.counts() {
                line(
                    &mut text,
                    "penstock_requests_total",
                    &[("route", route), ("provider", provider), ("status", &status)],
                    count,
                );
            }
        }
        header(
            &mut text,
            "penstock_consumer_requests_total",
            "counter",
            "Requests by consumer and status.",
        );
        for ((consumer, _), statuses) in self.consumers.sorted() {
            for (status, count) in statuses.counts() {
                line(
                    &mut text,
                    "penstock_consumer_requests_total",
                    &[("consumer", &consumer), ("status", &status)],
                    count,
                );
            }
        }
        for histogram in HISTOGRAMS {
            header(&mut text, histogram.name, "histogram", histogram.help);
            for ((route, provider), series) in &routes {
                (histogram.of)(series).render(&mut text, histogram.name, route, provider);
            }
        }
        header(
            &mut text,
            "penstock_tokens_total",
            "counter",
            "Tokens that answers reported, by direction.",
        );
        for ((route, provider), series) in &routes {
            for (direction, counter) in
                [("input", &series.input_tokens), ("output", &series.output_tokens)]
            {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    line(
                        &mut text,
                        "penstock_tokens_total",
                        &[("route", route), ("provider", provider), ("direction", direction)],
                        count,
                    );
                }
            }
        }
        self.statistics.render(&mut text);
        self.endings.render("penstock_connections_ended_total", &mut text);
        self.render_gauges(&mut text);
        text
    }

    fn render_gauges(&self, text: &mut String) {
        for (name, help, value) in [
            (
                "penstock_connections",
                "Client connections that are open.",
                self.connections.load(Ordering::Relaxed),
            ),
            (
                "penstock_requests_active",
                "Requests that are being served.",
                self.requests_active.load(Ordering::Relaxed),
            ),
        ] {
            header(text, name, "gauge", help);
            line(text, name, &[], value);
        }
        for (name, help, value) in [
            (
                "penstock_tls_handshakes_total",
                "TLS handshakes with clients that were completed.",
                &self.handshakes,
            ),
            (
                "penstock_accept_failures_total",
                "Failures to accept a connection, as without file descriptors.",
                &self.accept_failures,
            ),
            (
                "penstock_upstream_connections_total",
                "Upstream connections that were made.",
                &self.upstream_connections,
            ),
            (
                "penstock_upstream_connect_failures_total",
                "Upstream connections that could not be made.",
                &self.upstream_connect_failures,
            ),
        ] {
            header(text, name, "counter", help);
            line(text, name, &[], value.load(Ordering::Relaxed));
        }
    }
}

impl Remembered {
    fn route(&mut self, metrics: &Metrics, record: &AccessRecord) -> Arc<RouteSeries> {
        let route = record.route.as_deref().unwrap_or(NONE);
        let provider = record.provider.as_deref().unwrap_or(NONE);
        if let Some(known) = self.routes.get(route)
            && let Some(known) = known.iter().find(|known| *known.provider == *provider)
        {
            return known.series.clone();
        }
        let series = metrics.routes.get((route, provider), ROUTES_MAX);
        if self.known_count < ROUTES_MAX {
            self.known_count += 1;
            let known = ProviderSeries { provider: provider.into(), series: series.clone() };
            self.routes.entry(route.into()).or_default().push(known);
        }
        series
    }

    fn consumer(&mut self, metrics: &Metrics, consumer: &Arc<str>) -> Arc<Statuses> {
        if let Some(statuses) = self.consumers.get(consumer) {
            return statuses.clone();
        }
        let statuses = metrics.consumers.get((consumer, NONE), CONSUMERS_MAX);
        if self.consumers.len() < CONSUMERS_MAX {
            self.consumers.insert(consumer.clone(), statuses.clone());
        }
        statuses
    }
}

impl RouteSeries {
    fn add(&self, record: &AccessRecord, status: u16) {
        self.statuses.add(status);
        self.duration.add(record.duration);
        if let Some(began) = record.upstream_began {
            self.gateway.add(began);
            if let Some(head) = record.upstream_head {
                self.upstream.add(head.saturating_sub(began));
            }
        }
        if let Some(first_byte) = record.first_byte.filter(|_| record.is_stream) {
            self.first_byte.add(first_byte);
        }
        if let Some(usage) = &record.usage {
            self.input_tokens.fetch_add(usage.prompt_tokens.unwrap_or(0), Ordering::Relaxed);
            self.output_tokens.fetch_add(usage.completion_tokens.unwrap_or(0), Ordering::Relaxed);
        }
    }
}

impl Histogram {
    fn render(&self, text: &mut String, name: &str, route: &str, provider: &str) {
        let counts: Vec<u64> =
            self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        if total == 0 {
            return;
        }
        let bucket_name = format!("{name}_bucket");
        let mut sum = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(&counts) {
            sum += count;
            let le = format!("{}", *bound as f64 / 1000.0);
            line(text, &bucket_name, &[("route", route), ("provider", provider), ("le", &le)], sum);
        }
        line(
            text,
            &bucket_name,
            &[("route", route), ("provider", provider), ("le", "+Inf")],
            total,
        );
        let labels = [("route", route), ("provider", provider)];
        let seconds = self.sum_micros.load(Ordering::Relaxed) as f64 / 1_000_000.0;
        line(text, &format!("{name}_sum"), &labels, seconds);
        line(text, &format!("{name}_count"), &labels, total);
    }
}

/// Writes the two comment lines of a family.
pub fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes one sample.
pub fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    text.push_str(name);
    for (index, (label, content)) in labels.iter().enumerate() {
        text.push(if index == 0 { '{' } else { ',' });
        text.push_str(label);
        text.push_str("=\"");
        for character in content.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if !labels.is_empty() {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}
