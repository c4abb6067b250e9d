//! `penstock completion`: what a shell needs to complete the command line.

use std::io::Write as _;

use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::exit_code::ExitCode;

/// The command line of `completion`.
#[derive(Args)]
pub struct Arguments {
    /// The shell that shall complete
    #[arg(value_enum)]
    shell: Shell,
}

/// `penstock completion`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    generate(arguments.shell, &mut Cli::command(), "penstock", &mut script);
    std::io::stdout().write_all(&script).context("writing the script")?;
    Ok(ExitCode::Success)
}
