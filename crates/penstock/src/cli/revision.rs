//! `penstock history`, `show`, `diff`, `status` and `rollback`: what was
//! changed, and how to take it back.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use crate::cli::apply::MakingArguments;
use crate::cli::change::GuardArguments;
use crate::cli::lint_output::printable;
use crate::cli::target::{Output, TargetArguments, print, told};
use crate::exit_code::ExitCode;
use crate::store::revision::Record;
use crate::target::{ChangeRequest, Request, Standing};

/// The command line of `history` and `status`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    target: TargetArguments,
    /// How the answer is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The command line of `show`.
#[derive(Args)]
pub struct ShowArguments {
    /// The revision
    #[arg(value_name = "REVISION")]
    revision: u64,
    #[command(flatten)]
    rest: Arguments,
}

/// The command line of `diff`.
#[derive(Args)]
pub struct DiffArguments {
    /// The revision to compare from; without it, what was edited by hand since the last one
    #[arg(value_name = "FROM")]
    from: Option<u64>,
    /// The revision to compare to; default: what is there now
    #[arg(value_name = "TO", id = "until")]
    until: Option<u64>,
    #[command(flatten)]
    rest: Arguments,
}

/// The command line of `rollback`.
#[derive(Args)]
pub struct RollbackArguments {
    /// The revision whose state comes back, 0 for what was there before the first; default: the
    /// one before the last
    #[arg(value_name = "REVISION")]
    revision: Option<u64>,
    #[command(flatten)]
    making: MakingArguments,
    #[command(flatten)]
    guards: GuardArguments,
}

/// `penstock history`.
pub fn history(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let revisions = arguments.target.open()?.history().map_err(told)?;
    let text = revisions.iter().rev().fold(String::new(), |mut text, record| {
        line(&mut text, record);
        text
    });
    print(arguments.output, &json!({"revisions": revisions}), &text)?;
    Ok(ExitCode::Success)
}

fn line(text: &mut String, record: &Record) {
    let Record { id, time, author, summary, message, .. } = record;
    let (author, message) = (printable(author), printable(message));
    // Writing to a String cannot fail.
    let _ = write!(text, "{id:>4}  {time}  {author}  {summary}");
    if !message.is_empty() {
        let _ = write!(text, "  {message}");
    }
    text.push('\n');
}

/// `penstock show`.
pub fn show(arguments: &ShowArguments) -> anyhow::Result<ExitCode> {
    let shown = arguments.rest.target.open()?.show(arguments.revision).map_err(told)?;
    let Record { id, time, author, message, base, revision, .. } = &shown.revision;
    let (author, message) = (printable(author), printable(message));
    let mut text = format!("revision {id}\ntime     {time}\nauthor   {author}\n");
    if !message.is_empty() {
        let _ = writeln!(text, "message  {message}");
    }
    let _ =
        writeln!(text, "content  {revision} (was {base})\n\n{}", shown.difference.text.trim_end());
    print(arguments.rest.output, &shown, &text)?;
    Ok(ExitCode::Success)
}

/// `penstock diff`.
pub fn diff(arguments: &DiffArguments) -> anyhow::Result<ExitCode> {
    let target = arguments.rest.target.open()?;
    let difference = target.diff(arguments.from, arguments.until).map_err(told)?;
    print(arguments.rest.output, &difference, &difference.text)?;
    Ok(ExitCode::Success)
}

/// `penstock status`.
pub fn status(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let standing = arguments.target.open()?.standing().map_err(told)?;
    print(arguments.output, &standing, &standing_text(&standing))?;
    Ok(ExitCode::Success)
}

fn standing_text(standing: &Standing) -> String {
    let Standing { content, resources, owned, last, drift, in_force } = standing;
    let mut text = format!("content    {content}\nresources  {resources}\nowned      {owned}\n");
    match last {
        Some(record) => {
            text.push_str("revision");
            line(&mut text, record);
        }
        None => text.push_str("revision   none\n"),
    }
    if let Some(in_force) = in_force {
        let error = in_force.error.as_deref().map(|error| format!(" ({error})"));
        let _ = writeln!(text, "in force   {}{}", in_force.revision, error.unwrap_or_default());
        text.push_str(&in_force.notes);
    }
    for path in drift {
        let _ = writeln!(text, "by hand    {path}");
    }
    text
}

/// `penstock rollback`.
pub fn rollback(arguments: &RollbackArguments) -> anyhow::Result<ExitCode> {
    let mut request = Request::new(ChangeRequest::Rollback { to: arguments.revision });
    arguments.guards.set(&mut request)?;
    arguments.making.make(request)
}
