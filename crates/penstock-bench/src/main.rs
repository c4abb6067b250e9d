//! penstock-bench: what penstock costs next to nginx, and whether that stays
//! so for hours.

#![expect(unreachable_pub, reason = "a binary exports nothing; `pub` says what other modules use")]

mod answer;
mod certificate;
mod cli;
mod connection;
mod contestant;
mod figure;
mod histogram;
mod http2;
mod load;
mod manifests;
mod process;
mod report;
mod request;
mod round;
mod run;
mod soak;
mod stand;
mod upstream;
mod workload;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Verb};

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Soak(arguments) => soak::run(&arguments),
        Verb::Upstream => upstream::run().map(|()| true),
        Verb::Load { order } => {
            serde_json::from_str(&order).map_err(Into::into).and_then(load::run).map(|()| true)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
