//! `penstock-bench soak`: hours of mixed traffic with failing upstreams and
//! reloads, and whether memory, files and answers stayed as they were.

mod graph;
mod sample;
mod scenario;
mod traffic;
mod upstream;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::certificate::{self, Certificate};
use crate::cli::SoakArguments;
use crate::connection::Peer;
use crate::contestant::{Contestant, Penstock};
use crate::load::Protocol;
use crate::soak::sample::{Recording, Verdict};
use crate::soak::scenario::Scenario;
use crate::soak::traffic::Traffic;

/// How often is looked, and how often the configuration changes.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const CHANGE_EVERY: Duration = Duration::from_secs(10);
/// How long connections may linger after the traffic, in seconds: unused ones
/// to upstreams are kept for ten, requests to those that are gone take longer.
const LINGER_SECONDS: u64 = 60;

/// Runs `penstock-bench soak`; says whether everything stayed as it was.
pub fn run(arguments: &SoakArguments) -> anyhow::Result<bool> {
    ensure!(arguments.binary.is_file(), "there is no {}", arguments.binary.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (recording, verdict) = runtime.block_on(soak(arguments))?;
    std::io::stdout().write_all(verdict.to_text().as_bytes())?;
    fs::write(&arguments.graph, graph::draw(&recording))
        .with_context(|| format!("writing {}", arguments.graph.display()))?;
    println!("samples in {}, graph in {}", arguments.csv.display(), arguments.graph.display());
    Ok(verdict.is_good())
}

async fn soak(arguments: &SoakArguments) -> anyhow::Result<(Recording, Verdict)> {
    let directory = tempfile::tempdir()?;
    let certificate = Certificate::write(directory.path())?;
    let scenario = Scenario {
        directory: directory.path().join("manifests"),
        providers: upstream::start().await?,
    };
    scenario.write(&certificate)?;
    let penstock = Penstock {
        label: "penstock".to_owned(),
        binary: arguments.binary.clone(),
        // Lines are written, and take no room.
        access_log: "/dev/null".to_owned(),
        flags: Vec::new(),
    };
    let mut gateway = penstock.start(&scenario.directory, None)?;
    sleep(Duration::from_secs(1)).await;
    let files_before = gateway.process.open_files()?;
    let traffic = Arc::new(traffic(&gateway, &certificate)?);
    let clients = traffic.start(arguments.rate);
    let recording = record(arguments, &scenario, &mut gateway, &traffic).await?;
    drop(clients);
    let files_after = wait_for_files(&gateway, files_before).await?;
    let tally = traffic.tally();
    let verdict = Verdict::of(&recording, [files_before, files_after], tally);
    Ok((recording, verdict))
}

/// Traffic to the gateway's listeners.
fn traffic(gateway: &Contestant, certificate: &Certificate) -> anyhow::Result<Traffic> {
    let secure = |address: SocketAddr, protocol| -> anyhow::Result<Peer> {
        let tls = certificate::client(&certificate.certificate_path, protocol)?;
        Ok(Peer { address, tls: Some(tls) })
    };
    Ok(Traffic::new(
        Peer { address: gateway.http, tls: None },
        secure(gateway.https, Protocol::Https)?,
        secure(gateway.https, Protocol::Http2)?,
    ))
}

/// Takes samples and changes the configuration until the time is up.
async fn record(
    arguments: &SoakArguments,
    scenario: &Scenario,
    gateway: &mut Contestant,
    traffic: &Traffic,
) -> anyhow::Result<Recording> {
    let mut file = fs::File::create(&arguments.csv)
        .with_context(|| format!("writing {}", arguments.csv.display()))?;
    writeln!(file, "{}", sample::COLUMNS)?;
    let mut recording = Recording::begin(Duration::from_secs(arguments.warm_up));
    let began = Instant::now();
    let (mut samples, mut changes) = (interval(SAMPLE_EVERY), interval(CHANGE_EVERY));
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut version = 0;
    let mut reported = 0;
    while began.elapsed() < Duration::from_secs(arguments.seconds) {
        tokio::select! {
            _ = samples.tick() => {
                ensure!(gateway.process.is_alive(), "penstock ended after {:?}", began.elapsed());
                let tally = traffic.tally();
                let sample = recording.take(gateway, &tally)?;
                writeln!(file, "{}", sample.to_csv())?;
                if tally.unexpected > reported {
                    eprintln!("after {:.0} s: {:?}", sample.seconds, tally.failures);
                    reported = tally.unexpected;
                }
            }
            _ = changes.tick() => {
                version += 1;
                scenario.change(version)?;
            }
        }
    }
    Ok(recording)
}

/// Waits until no more files are open than before, or long enough; says how
/// many are.
async fn wait_for_files(gateway: &Contestant, before: usize) -> anyhow::Result<usize> {
    for _ in 0..LINGER_SECONDS {
        if gateway.process.open_files()? <= before {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    gateway.process.open_files()
}
