//! The graph of a soak as SVG: memory, requests and open files over time, one
//! below the other, readable on light and on dark ground.

use std::fmt::Write as _;

use crate::soak::sample::{Recording, Sample};

const WIDTH: f64 = 880.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 860.0;
const TOP: f64 = 30.0;
const PANEL: f64 = 120.0;
const GAP: f64 = 40.0;
/// The most points of a line; more samples are thinned out.
const POINTS_MAX: usize = 720;

const STYLE: &str = "<style>\n\
    text { font: 12px system-ui, sans-serif; fill: #444 }\n\
    .title { font-weight: 600; fill: #222 }\n\
    .grid { stroke: #ccc; stroke-width: 1 }\n\
    .line { fill: none; stroke: #0b62a8; stroke-width: 1.5; stroke-linejoin: round }\n\
    .warm { fill: #8884 }\n\
    @media (prefers-color-scheme: dark) {\n\
    text { fill: #bbb } .title { fill: #eee } .grid { stroke: #444 } .line { stroke: #6db3f2 }\n\
    }\n</style>\n";

/// One of the panels: its title and what of a sample it shows.
type Panel = (&'static str, fn(&Sample) -> f64);

const PANELS: [Panel; 3] = [
    ("Resident memory, MB", |sample| sample.memory_kb as f64 / 1024.0),
    ("Requests each second", |sample| sample.rate),
    ("Open files and sockets", |sample| sample.open_files as f64),
];

/// Draws a recording.
pub fn draw(recording: &Recording) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, recording);
    text
}

fn write(text: &mut String, recording: &Recording) -> std::fmt::Result {
    let height = TOP + PANELS.len() as f64 * (PANEL + GAP) + 10.0;
    // The first sample has no rate yet.
    let samples = recording.samples.get(1..).unwrap_or_default();
    let end = samples.last().map_or(1.0, |sample| sample.seconds);
    let x = |seconds: f64| LEFT + seconds / end * (RIGHT - LEFT);
    writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Memory, requests and open files of penstock over {:.0} minutes</title>\n{STYLE}",
        end / 60.0
    )?;
    for (number, (title, value)) in PANELS.iter().enumerate() {
        let top = TOP + number as f64 * (PANEL + GAP);
        let highest = samples.iter().map(value).fold(0.0, f64::max);
        let scale = round_up(highest * 1.1);
        let y = |value: f64| top + PANEL - value / scale * PANEL;
        writeln!(text, "<text class=\"title\" x=\"{LEFT}\" y=\"{}\">{title}</text>", top - 8.0)?;
        let warm_up = x(recording.warm_up.as_secs_f64().min(end)) - LEFT;
        writeln!(
            text,
            "<rect class=\"warm\" x=\"{LEFT}\" y=\"{top}\" width=\"{warm_up:.1}\" \
             height=\"{PANEL}\"/>"
        )?;
        for part in [0.0, 0.5, 1.0] {
            let (at, label) = (y(scale * part), scale * part);
            writeln!(
                text,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{RIGHT}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            )?;
        }
        write!(text, "<polyline class=\"line\" points=\"")?;
        for sample in samples.iter().step_by(samples.len().div_ceil(POINTS_MAX).max(1)) {
            write!(text, "{:.1},{:.1} ", x(sample.seconds), y(value(sample)))?;
        }
        writeln!(text, "\"/>")?;
    }
    let minutes = end / 60.0;
    let step = round_up(minutes / 8.0);
    for number in 0..=(minutes / step) as u32 {
        let at = f64::from(number) * step;
        let (x, y) = (x(at * 60.0), height - GAP + 8.0);
        writeln!(text, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{at} min</text>")?;
    }
    writeln!(text, "</svg>")
}

/// The next number upwards that is easy to read on an axis.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, expected) in [(37.0, 40.0), (0.5, 0.5), (341.0, 400.0), (7.5, 10.0)] {
            assert_eq!(round_up(value), expected);
        }
    }

    #[test]
    fn a_recording_is_drawn() {
        let mut recording = Recording::begin(std::time::Duration::from_secs(60));
        recording.samples = (0..3000)
            .map(|number| Sample {
                seconds: f64::from(number) * 5.0,
                memory_kb: 20_480,
                ..Sample::default()
            })
            .collect();
        let svg = draw(&recording);
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
