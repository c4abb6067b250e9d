//! The command line: one file per verb.

pub mod completion;
pub mod explain;
pub mod fmt;
pub mod intent;
pub mod lint;
pub mod lint_output;
pub mod quickstart;
pub mod render;
pub mod serve;
pub mod test;

use std::io::Write;

use clap::{Parser, Subcommand};

use crate::exit_code::ExitCode;

/// An AI gateway that runs from Higress manifests, and the tool that checks
/// them.
#[derive(Parser)]
#[command(name = "penstock", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Run the gateway from a directory of manifests.
    Serve(serve::Arguments),
    /// Say what is wrong with manifests.
    Lint(lint::Arguments),
    /// Bring intents and manifests into one form, comments kept.
    Fmt(fmt::Arguments),
    /// Say what a request would meet, without sending it.
    Explain(explain::Arguments),
    /// Write the manifests of an intent.
    Render(render::Arguments),
    /// Print the JSON Schema of an intent file.
    Schema,
    /// Run a small scenario with an LLM upstream of its own.
    Quickstart(quickstart::Arguments),
    /// Check what requests would meet against expectations.
    Test(test::Arguments),
    /// Print what a shell needs to complete this command line.
    Completion(completion::Arguments),
    /// Print the version.
    Version,
}

/// `penstock schema`.
pub fn schema() -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "{:#}", penstock_manifest::intent::json_schema())?;
    Ok(ExitCode::Success)
}

/// `penstock version`.
pub fn version() -> anyhow::Result<ExitCode> {
    writeln!(std::io::stdout(), "penstock {}", env!("CARGO_PKG_VERSION"))?;
    Ok(ExitCode::Success)
}
