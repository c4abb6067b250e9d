//! Figures beside CPU time: added latency, memory, start, a large
//! configuration and its reload.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Serialize;

use crate::contestant::{self, Contestant, Penstock};
use crate::load::Outcome;
use crate::manifests;
use crate::request::host;
use crate::round::{Effort, median};
use crate::stand::Stand;
use crate::workload::{SLOW_STREAMS, Target, at_rate};

/// Requests each second where latency is looked at.
const RATE: u32 = 200;
/// How often a start is measured.
const STARTS: usize = 7;
/// How long a process rests before its memory is looked at.
const REST: Duration = Duration::from_millis(500);
/// The large configuration.
const LARGE_ROUTES: usize = 5000;
const LARGE_CONSUMERS: usize = 10_000;
/// How long a reload may take until the measurement gives up.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// One figure of one contestant.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub what: &'static str,
    pub contestant: String,
    pub value: f64,
    pub unit: &'static str,
    pub target: Option<Target>,
    /// What went wrong, which makes the figure invalid.
    pub failure: Option<String>,
}

impl Figure {
    fn new(what: &'static str, contestant: &str, value: f64, unit: &'static str) -> Self {
        let contestant = contestant.to_owned();
        Self { what, contestant, value, unit, target: None, failure: None }
    }

    /// Sets what is asked of it, unless it is a figure of nginx.
    fn asked(mut self, must: f64, aim: f64) -> Self {
        self.target = (self.contestant != "nginx").then_some(Target { must, aim });
        self
    }

    /// Makes it invalid if a load that it comes from had errors.
    fn unless_failed<'a>(mut self, outcomes: impl IntoIterator<Item = &'a Outcome>) -> Self {
        self.failure = outcomes.into_iter().find_map(|outcome| outcome.error.clone());
        self
    }
}

/// What a proxy adds to the latency of requests at a moderate rate.
pub fn added_latency(
    stand: &Stand,
    contestants: &[Contestant],
    effort: Effort,
) -> anyhow::Result<Vec<Figure>> {
    let targets = [stand.upstream].into_iter().chain(contestants.iter().map(|c| c.http));
    let targets: Vec<SocketAddr> = targets.collect();
    let mut outcomes: Vec<Vec<Outcome>> = targets.iter().map(|_| Vec::new()).collect();
    for number in 0..effort.rounds {
        eprintln!("latency: round {} of {}", number + 1, effort.rounds);
        for (target, outcomes) in targets.iter().zip(&mut outcomes) {
            let order = at_rate(*target, RATE, effort.seconds);
            outcomes.push(stand.run_load(&order, || Ok(()))?.1);
        }
    }
    let quantile = |outcomes: &[Outcome], of: fn(&Outcome) -> Option<f64>| {
        median(outcomes.iter().map(|outcome| of(outcome).unwrap_or(f64::NAN)).collect())
    };
    let Some((direct, proxied)) = outcomes.split_first() else { return Ok(Vec::new()) };
    let (direct_p50, direct_p99) = (quantile(direct, |o| o.p50_ms), quantile(direct, |o| o.p99_ms));
    let mut figures = Vec::new();
    for (contestant, outcomes) in contestants.iter().zip(proxied) {
        let (p50, p99) = (quantile(outcomes, |o| o.p50_ms), quantile(outcomes, |o| o.p99_ms));
        let label = &contestant.label;
        figures.push(
            Figure::new("added latency at 200/s, p50", label, p50 - direct_p50, "ms")
                .asked(0.4, 0.25)
                .unless_failed(outcomes),
        );
        figures.push(
            Figure::new("added latency at 200/s, p99", label, p99 - direct_p99, "ms")
                .asked(1.0, 0.5)
                .unless_failed(outcomes),
        );
    }
    Ok(figures)
}

/// The memory of a proxy that was just started, and what a slow stream adds.
pub fn memory(stand: &Stand, contestant: &Contestant) -> anyhow::Result<Vec<Figure>> {
    eprintln!("memory of {}", contestant.label);
    thread::sleep(REST);
    let idle = contestant.process.memory_kb()? as f64;
    let order = SLOW_STREAMS.order(contestant, stand.certificate.certificate_path.clone(), 0.5);
    let (busy, outcome) = stand.run_load(&order, || contestant.process.memory_kb())?;
    let per_stream = (busy as f64 - idle) / SLOW_STREAMS.connections as f64;
    Ok(vec![
        Figure::new("idle memory after start", &contestant.label, idle / 1024.0, "MB")
            .asked(15.0, 8.0),
        Figure::new("memory of a slow stream", &contestant.label, per_stream, "KB")
            .asked(45.0, 20.0)
            .unless_failed([&outcome]),
    ])
}

/// How long it takes from the start of a process until it is ready.
pub fn start(
    label: &str,
    mut start: impl FnMut() -> anyhow::Result<Contestant>,
) -> anyhow::Result<Figure> {
    eprintln!("start of {label}");
    let mut times = Vec::new();
    for _ in 0..STARTS {
        times.push(start()?.ready_after.as_secs_f64() * 1000.0);
    }
    Ok(Figure::new("start to ready", label, median(times), "ms").asked(50.0, 15.0))
}

/// Load and reload of a large configuration, and what requests see of it.
pub fn reload(stand: &Stand, build: &Penstock, seconds: f64) -> anyhow::Result<Vec<Figure>> {
    eprintln!("load and reload of {}", build.label);
    let directory = stand.large_manifests("large", LARGE_ROUTES, LARGE_CONSUMERS)?;
    let gateway = build.start(&directory, None)?;
    let admin = gateway.admin.context("no admin listener")?;
    let figure = |what, value, unit| Figure::new(what, &build.label, value, unit);
    let mut figures = vec![
        figure("5,000 routes, 10,000 consumers: start to ready", millis(gateway.ready_after), "ms"),
        figure("  first load", contestant::configuration_number(admin, "took_ms")? as f64, "ms")
            .asked(500.0, 150.0),
        figure("  memory", gateway.process.memory_kb()? as f64 / 1024.0, "MB"),
    ];
    let order = at_rate(gateway.http, RATE, seconds * 2.0);
    let ((), calm) = stand.run_load(&order, || Ok(()))?;
    let until = Duration::from_secs_f64(seconds * 2.0);
    let (reloads, busy) = stand.run_load(&order, || reload_until(&gateway, &directory, until))?;
    let median_of = |of: fn(&Reload) -> f64| median(reloads.iter().map(of).collect());
    let p99 = |outcome: &Outcome| outcome.p99_ms.unwrap_or(f64::NAN);
    figures.extend([
        figure("  reload", median_of(|reload| reload.took_ms), "ms").asked(300.0, 100.0),
        figure("  reload, from the write until in force", median_of(|r| r.in_force_ms), "ms"),
        figure("  memory after reloads", gateway.process.memory_kb()? as f64 / 1024.0, "MB"),
        figure("  p99 at 200/s without reloads", p99(&calm), "ms").unless_failed([&calm]),
        figure("  p99 at 200/s during reloads", p99(&busy), "ms").unless_failed([&busy]),
    ]);
    fs::remove_dir_all(&directory)?;
    Ok(figures)
}

/// One reload.
struct Reload {
    took_ms: f64,
    in_force_ms: f64,
}

/// Changes one Ingress after the other until the time is up, and waits each
/// time until the change is in force and the reload at its end.
fn reload_until(
    gateway: &Contestant,
    directory: &Path,
    until: Duration,
) -> anyhow::Result<Vec<Reload>> {
    let admin = gateway.admin.context("no admin listener")?;
    let began = Instant::now();
    let mut reloads = Vec::new();
    // The last routes are those that the load does not use.
    for route in (0..LARGE_ROUTES).rev() {
        if began.elapsed() + Duration::from_millis(700) > until {
            break;
        }
        let before = contestant::configuration_number(admin, "reloads")?;
        let name = format!("new-{}", host(route));
        let path = directory.join(format!("ingresses/ai-route-r{route}.internal.yaml"));
        fs::write(path, manifests::ingress(route, &name, false, "embedded"))?;
        let wrote = Instant::now();
        wait("a change does not come into force", || Ok(status_of(gateway.http, &name)? == 401))?;
        let in_force_ms = millis(wrote.elapsed());
        let is_over = || Ok(contestant::configuration_number(admin, "reloads")? != before);
        wait("a reload does not end", is_over)?;
        let took_ms = contestant::configuration_number(admin, "took_ms")? as f64;
        reloads.push(Reload { took_ms, in_force_ms });
    }
    Ok(reloads)
}

fn wait(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !is_so()? {
        if began.elapsed() > RELOAD_TIMEOUT {
            bail!("{what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// What a host answers to a request without a key: 401 where it has a route.
fn status_of(http: SocketAddr, host: &str) -> anyhow::Result<u16> {
    let answer = contestant::get(http, host, "/v1/models")?;
    let status = answer.get(9..12).and_then(|digits| digits.parse().ok());
    status.context("no status")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
