//! `penstock-bench run`: puts up the stand, measures what is wanted, prints it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::cli::RunArguments;
use crate::contestant::{Contestant, Penstock, start_nginx};
use crate::figure::{self, Figure};
use crate::report::Report;
use crate::round::{self, Effort};
use crate::stand::Stand;

/// What `--only` may name.
const NAMES: &[&str] =
    &["w1", "w2", "w3", "w4b", "tls", "http2", "latency", "memory", "start", "reload"];

/// Runs `penstock-bench run`; says whether all figures are valid.
pub fn run(arguments: &RunArguments) -> anyhow::Result<bool> {
    let unknown = arguments.only.iter().find(|name| !NAMES.contains(&name.as_str()));
    ensure!(
        unknown.is_none(),
        "there is no {}; --only takes {}",
        unknown.map_or("", |n| n),
        NAMES.join(", ")
    );
    let is_wanted =
        |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|n| n == name);
    ensure!((0.1..1e6).contains(&arguments.seconds), "--seconds takes 0.1 and more");
    let stand = Stand::build()?;
    let builds = builds(&arguments.binary)?;
    let effort = Effort { rounds: arguments.rounds, seconds: arguments.seconds };
    let (workloads, mut figures) = {
        let contestants = start_all(&stand, &builds, &arguments.nginx)?;
        let workloads = round::measure(&stand, &contestants, effort, is_wanted)?;
        let figures = match is_wanted("latency") {
            true => figure::added_latency(&stand, &contestants, effort)?,
            false => Vec::new(),
        };
        (workloads, figures)
    };
    figures.extend(other_figures(&stand, &builds, arguments, is_wanted)?);
    let report = Report { workloads, figures };
    std::io::stdout().write_all(report.to_text().as_bytes())?;
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.is_valid())
}

/// What is measured of processes that are started anew.
fn other_figures(
    stand: &Stand,
    builds: &[Penstock],
    arguments: &RunArguments,
    is_wanted: impl Fn(&str) -> bool,
) -> anyhow::Result<Vec<Figure>> {
    // Starting takes every core, as it does for everybody.
    let start_nginx = || start_nginx(&arguments.nginx, stand.upstream, &stand.certificate, None);
    let has_nginx = is_installed(&arguments.nginx);
    let mut figures = Vec::new();
    if is_wanted("memory") {
        if has_nginx {
            figures.extend(figure::memory(stand, &start_nginx()?)?);
        }
        for build in builds {
            let manifests = stand.manifests("manifests-memory")?;
            figures.extend(figure::memory(stand, &build.start(&manifests, None)?)?);
        }
    }
    if is_wanted("start") {
        if has_nginx {
            figures.push(figure::start("nginx", start_nginx)?);
        }
        for build in builds {
            let manifests = stand.manifests("manifests-start")?;
            figures.push(figure::start(&build.label, || build.start(&manifests, None))?);
        }
    }
    if is_wanted("reload") {
        for build in builds {
            figures.extend(figure::reload(stand, build, arguments.seconds)?);
        }
    }
    Ok(figures)
}

/// The builds that the command line names.
fn builds(binaries: &[String]) -> anyhow::Result<Vec<Penstock>> {
    let build = |text: &String| {
        let (label, path) = match text.split_once('=') {
            Some((label, path)) => (format!("penstock {label}"), path),
            None if binaries.len() > 1 => (format!("penstock {text}"), text.as_str()),
            None => ("penstock".to_owned(), text.as_str()),
        };
        let binary = PathBuf::from(path);
        ensure!(binary.is_file(), "there is no {path}; cargo build --release makes it");
        let flags = vec!["--threads".to_owned(), "1".to_owned()];
        Ok(Penstock { label, binary, access_log: "off".to_owned(), flags })
    };
    binaries.iter().map(build).collect()
}

/// Starts everything that is compared. A single build takes part a second
/// time, with an access log.
fn start_all(stand: &Stand, builds: &[Penstock], nginx: &Path) -> anyhow::Result<Vec<Contestant>> {
    let mut contestants = Vec::new();
    if is_installed(nginx) {
        contestants.push(start_nginx(
            nginx,
            stand.upstream,
            &stand.certificate,
            stand.cores.proxy,
        )?);
    } else {
        eprintln!("{} is not installed: nothing to compare with", nginx.display());
    }
    let mut all = builds.to_vec();
    if let [only] = builds {
        all.push(Penstock {
            label: format!("{}, access log", only.label),
            access_log: stand.path("access.log").display().to_string(),
            ..only.clone()
        });
    }
    for (number, build) in all.iter().enumerate() {
        let manifests = stand.manifests(&format!("manifests-{number}"))?;
        contestants.push(build.start(&manifests, stand.cores.proxy)?);
    }
    Ok(contestants)
}

fn is_installed(nginx: &Path) -> bool {
    let mut command = Command::new(nginx);
    command.arg("-v").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
