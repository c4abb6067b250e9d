//! Interleaved rounds: every workload against every contestant in turn, so
//! that what the machine does besides falls on all of them alike.

use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::contestant::Contestant;
use crate::stand::Stand;
use crate::workload::{Target, WORKLOADS, Workload};

/// How long the machine rests before a round.
const REST: Duration = Duration::from_millis(300);

/// What one contestant needed for one workload: medians of the rounds.
#[derive(Debug, Serialize)]
pub struct Row {
    pub workload: &'static str,
    pub contestant: String,
    /// CPU time of the proxy for each answer.
    pub cpu_us: f64,
    /// The same of every round.
    pub rounds: Vec<f64>,
    /// The same as a multiple of nginx': the median of what each round says,
    /// so that a slow minute of the machine falls on both sides.
    pub ratio: Option<f64>,
    pub target: Option<Target>,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Answers each second.
    pub rate: f64,
    pub memory_mb: f64,
    /// What went wrong, which makes the figures invalid.
    pub failure: Option<String>,
}

/// One round.
struct Round {
    cpu_us: f64,
    p50_ms: f64,
    p99_ms: f64,
    rate: f64,
    memory_mb: f64,
    failure: Option<String>,
}

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: u32,
    pub seconds: f64,
}

/// Measures the workloads that are wanted. nginx, where it takes part, is the
/// first of the contestants.
pub fn measure(
    stand: &Stand,
    contestants: &[Contestant],
    effort: Effort,
    is_wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for workload in WORKLOADS.iter().filter(|workload| is_wanted(workload.name)) {
        let mut rounds: Vec<Vec<Round>> = contestants.iter().map(|_| Vec::new()).collect();
        for number in 0..effort.rounds {
            eprintln!("{}: round {} of {}", workload.name, number + 1, effort.rounds);
            for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
                rounds.push(measure_round(stand, contestant, workload, effort.seconds)?);
            }
        }
        let first = rows.len();
        for (contestant, rounds) in contestants.iter().zip(rounds) {
            rows.push(summarise(workload, contestant, &rounds));
        }
        compare(rows.get_mut(first..).unwrap_or_default(), workload.target);
    }
    Ok(rows)
}

fn measure_round(
    stand: &Stand,
    contestant: &Contestant,
    workload: &Workload,
    seconds: f64,
) -> anyhow::Result<Round> {
    thread::sleep(REST);
    let order = workload.order(contestant, stand.certificate.certificate_path.clone(), seconds);
    let (before, outcome) = stand.run_load(&order, || contestant.process.cpu())?;
    let used = contestant.process.cpu()?.micros_since(&before);
    // Of streams every event counts, also of those that have not ended.
    let answers = match order.shape().events_seen() {
        0 => outcome.answers as f64,
        events => outcome.events as f64 / events as f64,
    };
    let rate = answers / outcome.seconds;
    let failure = match outcome.errors {
        0 if answers == 0.0 => Some("nothing was answered".to_owned()),
        0 => workload.lag(rate),
        errors => Some(format!("{errors} errors, first: {}", outcome.error.unwrap_or_default())),
    };
    Ok(Round {
        cpu_us: used / answers,
        p50_ms: outcome.p50_ms.unwrap_or(f64::NAN),
        p99_ms: outcome.p99_ms.unwrap_or(f64::NAN),
        rate,
        memory_mb: contestant.process.memory_kb()? as f64 / 1024.0,
        failure,
    })
}

fn summarise(workload: &Workload, contestant: &Contestant, rounds: &[Round]) -> Row {
    let median_of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    Row {
        workload: workload.name,
        contestant: contestant.label.clone(),
        cpu_us: median_of(|round| round.cpu_us),
        rounds: rounds.iter().map(|round| round.cpu_us).collect(),
        ratio: None,
        target: None,
        p50_ms: median_of(|round| round.p50_ms),
        p99_ms: median_of(|round| round.p99_ms),
        rate: median_of(|round| round.rate),
        memory_mb: median_of(|round| round.memory_mb),
        failure: rounds.iter().find_map(|round| round.failure.clone()),
    }
}

/// Puts the rows of a workload next to the first of them, if that is nginx.
fn compare(rows: &mut [Row], target: Option<Target>) {
    let Some((nginx, others)) = rows.split_first_mut() else { return };
    if nginx.contestant != "nginx" {
        return;
    }
    nginx.ratio = Some(1.0);
    for row in others {
        let ratios = row.rounds.iter().zip(&nginx.rounds).map(|(own, nginx)| own / nginx);
        row.ratio = Some(median(ratios.collect()));
        row.target = target;
    }
}

/// The middle of some values; the mean of the two that are, for an even
/// number.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied();
    let middle = values.len() / 2;
    let lower = if values.len().is_multiple_of(2) { middle.checked_sub(1) } else { Some(middle) };
    match (lower.and_then(at), at(middle)) {
        (Some(lower), Some(upper)) => f64::midpoint(lower, upper),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
