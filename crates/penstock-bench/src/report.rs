//! What was measured, as tables and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figure::Figure;
use crate::round::Row;
use crate::workload::{Target, WORKLOADS};

/// Everything that was measured.
#[derive(Serialize)]
pub struct Report {
    pub workloads: Vec<Row>,
    pub figures: Vec<Figure>,
}

impl Report {
    /// The tables.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let width =
            self.workloads.iter().map(|row| row.contestant.len()).max().unwrap_or(0).max(24);
        for workload in WORKLOADS {
            let mut rows =
                self.workloads.iter().filter(|row| row.workload == workload.name).peekable();
            if rows.peek().is_none() {
                continue;
            }
            writeln!(text, "{}: {}", workload.name.to_uppercase(), workload.title)?;
            writeln!(
                text,
                "  {:width$} {:>8} {:>15} {:>8} {:>6} {:>6} {:>9} {:>9} {:>10} {:>7}",
                "",
                "CPU us",
                "from-to",
                "x nginx",
                "must",
                "aim",
                "p50 ms",
                "p99 ms",
                "answers/s",
                "RSS MB"
            )?;
            for row in rows {
                writeln!(
                    text,
                    "  {:width$} {:>8.1} {:>15} {:>8} {:>13} {:>9.2} {:>9.2} {:>10.0} {:>7.1}{}",
                    row.contestant,
                    row.cpu_us,
                    spread(&row.rounds),
                    row.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default(),
                    bounds(row.target),
                    row.p50_ms,
                    row.p99_ms,
                    row.rate,
                    row.memory_mb,
                    verdict(row.ratio, row.target, row.failure.is_some()),
                )?;
                if let Some(failure) = &row.failure {
                    writeln!(text, "  {:width$} INVALID: {failure}", "")?;
                }
            }
            writeln!(text)?;
        }
        if !self.figures.is_empty() {
            self.write_figures(text)?;
        }
        Ok(())
    }

    fn write_figures(&self, text: &mut String) -> std::fmt::Result {
        let width = self.figures.iter().map(|figure| figure.what.len()).max().unwrap_or(0);
        let names = self.figures.iter().map(|figure| figure.contestant.len());
        let name_width = names.max().unwrap_or(0);
        writeln!(
            text,
            "{:width$} {:name_width$} {:>10} {:5} {:>6} {:>6}",
            "Other figures", "", "", "", "must", "aim"
        )?;
        for figure in &self.figures {
            writeln!(
                text,
                "{:width$} {:name_width$} {:>10.2} {:5} {:>13}{}",
                figure.what,
                figure.contestant,
                figure.value,
                figure.unit,
                bounds(figure.target),
                verdict(Some(figure.value), figure.target, figure.failure.is_some()),
            )?;
            if let Some(failure) = &figure.failure {
                writeln!(text, "{:width$} INVALID: {failure}", "")?;
            }
        }
        Ok(())
    }

    /// Whether something went wrong that makes a figure invalid.
    pub fn is_valid(&self) -> bool {
        self.workloads.iter().all(|row| row.failure.is_none())
            && self.figures.iter().all(|figure| figure.failure.is_none())
    }
}

/// The lowest and the highest of some values.
fn spread(values: &[f64]) -> String {
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(0.0, f64::max);
    format!("{lowest:.1}-{highest:.1}")
}

fn bounds(target: Option<Target>) -> String {
    target.map(|Target { must, aim }| format!("{must:>6} {aim:>6}")).unwrap_or_default()
}

fn verdict(value: Option<f64>, target: Option<Target>, is_invalid: bool) -> &'static str {
    match (value, target) {
        _ if is_invalid => "",
        (Some(value), Some(target)) if value > target.must => "  MISSED",
        (Some(value), Some(target)) if value <= target.aim => "  aim reached",
        (Some(_), Some(_)) => "  kept",
        _ => "",
    }
}
