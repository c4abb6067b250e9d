//! The command line: one file per verb.

pub mod apply;
pub mod change;
pub mod completion;
pub mod consumer;
pub mod delete;
pub mod describe;
pub mod edit;
pub mod explain;
pub mod export;
pub mod fmt;
pub mod get;
pub mod health;
pub mod intent;
pub mod key;
pub mod limits;
pub mod lint;
pub mod lint_output;
pub mod part;
pub mod plan;
pub mod provider;
pub mod quickstart;
pub mod render;
pub mod revision;
pub mod serve;
pub mod target;
pub mod test;
pub mod thing;
pub mod whole_file;

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
    Serve(Box<serve::Arguments>),
    /// Say what is wrong with manifests.
    Lint(lint::Arguments),
    /// Bring intents and manifests into one form, comments kept.
    Fmt(fmt::Arguments),
    /// Say what a request would meet, without sending it.
    Explain(explain::Arguments),
    /// Print the intent that manifests came from.
    Export(export::Arguments),
    /// List what manifests hold.
    Get(get::Arguments),
    /// Show everything about one thing.
    Describe(describe::Arguments),
    /// Write the manifests of an intent.
    Render(render::Arguments),
    /// Say what apply would change.
    Plan(plan::Arguments),
    /// Make a target as an intent says, whole or not at all.
    Apply(apply::Arguments),
    /// Delete one thing, with everything that is there only because of it.
    Delete(delete::Arguments),
    /// Add consumers, change their keys, end their access.
    Consumer(consumer::Arguments),
    /// Change the tokens of a provider.
    Provider(provider::Arguments),
    /// List what was applied.
    History(revision::Arguments),
    /// Show what a revision changed.
    Show(revision::ShowArguments),
    /// Show what differs between revisions, or was edited by hand.
    Diff(revision::DiffArguments),
    /// Say how a target stands.
    Status(revision::Arguments),
    /// Take revisions back.
    Rollback(revision::RollbackArguments),
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
