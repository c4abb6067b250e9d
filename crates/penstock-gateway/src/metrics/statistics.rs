//! The counters of ai-statistics, under the names that dashboards of Higress
//! look for.
//!
//! Invariant: whatever models and consumers requests and answers name, the
//! number of series is bounded; what comes beyond it is counted as `other`.

use std::collections::HashSet;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{Equivalent, HashMap};

use super::{OTHER, header, line};

/// The most series of labels.
const SERIES_MAX: usize = 10_000;
/// The most models with series of their own: upstreams and clients name
/// them.
const MODELS_MAX: usize = 500;
/// The most consumers with series of their own.
const CONSUMERS_MAX: usize = 2_000;
/// The longest label; longer ones are counted as `other`.
const LABEL_BYTES_MAX: usize = 128;

/// The counters: name, help.
const COUNTERS: [(&str, &str); 8] = [
    ("input_token", "Tokens of prompts."),
    ("output_token", "Tokens of answers."),
    ("total_token", "Tokens in total."),
    ("llm_first_token_duration", "Milliseconds to the first byte of streamed answers."),
    ("llm_stream_duration_count", "Streamed answers."),
    ("llm_service_duration", "Milliseconds to the end of answers."),
    ("llm_duration_count", "Answers."),
    ("llm_failure_count", "Answers that say they failed."),
];
/// The prefix of their names (Higress: helm/core, the proxy's stat tags).
const PREFIX: &str = "route_upstream_model_consumer_metric_";

/// What one request adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// `ai_route`
    pub route: Box<str>,
    /// `ai_cluster`
    pub cluster: Box<str>,
    /// `ai_model`
    pub model: Box<str>,
    /// `ai_consumer`
    pub consumer: Box<str>,
    /// Tokens of the prompt.
    pub input_tokens: u64,
    /// Tokens of the answer.
    pub output_tokens: u64,
    /// Tokens in total.
    pub total_tokens: u64,
    /// Milliseconds to the first byte; 0 where nothing was streamed.
    pub first_token_ms: u64,
    /// Whether a stream is counted.
    pub is_stream: bool,
    /// Milliseconds to the end.
    pub service_ms: u64,
    /// Whether an answer is counted.
    pub is_counted: bool,
    /// Whether it failed.
    pub has_failed: bool,
}

impl Statistics {
    /// In the order of [`COUNTERS`].
    fn values(&self) -> [u64; COUNTERS.len()] {
        [
            self.input_tokens,
            self.output_tokens,
            self.total_tokens,
            self.first_token_ms,
            self.is_stream.into(),
            self.service_ms,
            self.is_counted.into(),
            self.has_failed.into(),
        ]
    }
}

/// Route, cluster, model, consumer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Labels([Arc<str>; 4]);

#[derive(Hash)]
struct LabelsRef<'a>([&'a str; 4]);

impl Equivalent<Labels> for LabelsRef<'_> {
    fn equivalent(&self, key: &Labels) -> bool {
        self.0.iter().zip(&key.0).all(|(a, b)| **a == **b)
    }
}

/// The counters of one series, in the order of [`COUNTERS`].
type Counters = [AtomicU64; COUNTERS.len()];

/// All series. A counted request takes their lock once, at its end.
#[derive(Default)]
pub(super) struct Series {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    series: HashMap<Labels, Arc<Counters>, RandomState>,
    models: HashSet<Box<str>>,
    consumers: HashSet<Box<str>>,
}

impl Series {
    pub(super) fn add(&self, statistics: &Statistics) {
        let counters = {
            let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.counters(statistics)
        };
        for (counter, value) in counters.iter().zip(statistics.values()) {
            counter.fetch_add(value, Ordering::Relaxed);
        }
    }

    pub(super) fn render(&self, text: &mut String) {
        let mut all: Vec<_> = {
            let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
            table.series.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
        };
        if all.is_empty() {
            return;
        }
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (index, (counter, help)) in COUNTERS.iter().enumerate() {
            let name = format!("{PREFIX}{counter}");
            header(text, &name, "counter", help);
            for (Labels([route, cluster, model, consumer]), counters) in &all {
                let value = counters.get(index).map_or(0, |value| value.load(Ordering::Relaxed));
                if value > 0 {
                    let labels = [
                        ("ai_route", &**route),
                        ("ai_cluster", cluster),
                        ("ai_model", model),
                        ("ai_consumer", consumer),
                    ];
                    line(text, &name, &labels, value);
                }
            }
        }
    }
}

impl Table {
    fn counters(&mut self, statistics: &Statistics) -> Arc<Counters> {
        let model = bounded(&mut self.models, &statistics.model, MODELS_MAX);
        let consumer = bounded(&mut self.consumers, &statistics.consumer, CONSUMERS_MAX);
        let full = [&*statistics.route, &*statistics.cluster, model, consumer];
        if let Some(known) = self.series.get(&LabelsRef(full)) {
            return known.clone();
        }
        let labels = if self.series.len() < SERIES_MAX { full } else { [OTHER; 4] };
        self.series.entry(Labels(labels.map(Arc::from))).or_default().clone()
    }
}

/// The label, or `other` where there are too many or it is too long.
fn bounded<'a>(known: &mut HashSet<Box<str>>, label: &'a str, count_max: usize) -> &'a str {
    if label.len() > LABEL_BYTES_MAX {
        return OTHER;
    }
    if known.contains(label) {
        return label;
    }
    if known.len() >= count_max {
        return OTHER;
    }
    known.insert(label.into());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_as_higress_does() {
        let series = Series::default();
        let statistics = Statistics {
            route: "chat".into(),
            cluster: "outbound|443||llm-acme.internal.dns".into(),
            model: "gpt-4o".into(),
            consumer: "team-a".into(),
            input_tokens: 12,
            is_counted: true,
            ..Statistics::default()
        };
        series.add(&statistics);
        series.add(&statistics);
        let mut text = String::new();
        series.render(&mut text);
        let labels = "{ai_route=\"chat\",ai_cluster=\"outbound|443||llm-acme.internal.dns\",ai_model=\"gpt-4o\",ai_consumer=\"team-a\"}";
        assert!(text.contains(&format!("{PREFIX}input_token{labels} 24\n")), "{text}");
        assert!(text.contains(&format!("{PREFIX}llm_duration_count{labels} 2\n")), "{text}");
        assert!(!text.contains("output_token{"), "{text}");
    }

    #[test]
    fn labels_are_bounded() {
        let series = Series::default();
        for index in 0..2 * MODELS_MAX {
            let model = format!("m{index}").into();
            series.add(&Statistics { model, is_counted: true, ..Statistics::default() });
        }
        let long = "m".repeat(LABEL_BYTES_MAX + 1).into();
        series.add(&Statistics { model: long, is_counted: true, ..Statistics::default() });
        let mut text = String::new();
        series.render(&mut text);
        let counted = text.lines().filter(|line| line.contains("llm_duration_count{"));
        assert_eq!(counted.count(), MODELS_MAX + 1);
        let other = format!("ai_model=\"other\",ai_consumer=\"\"}} {}\n", MODELS_MAX + 1);
        assert!(text.contains(&other), "{text}");
    }
}
