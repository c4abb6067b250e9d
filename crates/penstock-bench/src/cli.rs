//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures penstock next to nginx, and over hours.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done.
#[derive(Subcommand)]
pub enum Verb {
    /// Measure CPU time, latency, memory, start and reload
    Run(RunArguments),
    /// Run mixed traffic with failing upstreams and reloads for a long time
    Soak(SoakArguments),
    /// The scripted upstream
    #[command(hide = true)]
    Upstream,
    /// The load generator
    #[command(hide = true)]
    Load { order: String },
}

/// The command line of `run`.
#[derive(Args)]
pub struct RunArguments {
    /// A build of penstock; twice or more to compare builds
    #[arg(long, value_name = "[LABEL=]FILE", default_value = "target/release/penstock")]
    pub binary: Vec<String>,
    /// The nginx to compare with; left out where it is not installed
    #[arg(long, value_name = "FILE", default_value = "nginx")]
    pub nginx: PathBuf,
    /// Only these: w1, w2, w3, w4b, tls, http2, latency, memory, start, reload
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
    /// How often each workload is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How long each time
    #[arg(long, value_name = "SECONDS", default_value_t = 4.0)]
    pub seconds: f64,
    /// Where to write all figures as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// The command line of `soak`.
#[derive(Args)]
pub struct SoakArguments {
    /// The build of penstock
    #[arg(long, value_name = "FILE", default_value = "target/release/penstock")]
    pub binary: PathBuf,
    /// How long
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub seconds: u64,
    /// How long the beginning does not count
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub warm_up: u64,
    /// Requests each second; a hundred slow streams come on top
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Where to write all samples
    #[arg(long, value_name = "FILE", default_value = "target/soak.csv")]
    pub csv: PathBuf,
    /// Where to draw them
    #[arg(long, value_name = "FILE", default_value = "docs/soak.svg")]
    pub graph: PathBuf,
}
