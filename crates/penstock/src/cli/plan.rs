//! `penstock plan`: what apply would change.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::cli::change::ChangeArguments;
use crate::cli::target::{Output, TargetArguments, print, told};
use crate::cli::whole_file;
use crate::exit_code::ExitCode;

/// The command line of `plan`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    change: ChangeArguments,
    #[command(flatten)]
    target: TargetArguments,
    /// How the plan is printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// The file to save the plan in, with its secrets, for `apply -f`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 2 where something would change
    #[arg(long)]
    detailed_exitcode: bool,
}

/// `penstock plan`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut request = arguments.change.request()?;
    request.save = arguments.out.is_some();
    request.details = arguments.output == Output::Json;
    let mut planned = arguments.target.open()?.plan(&request).map_err(told)?;
    let saved = planned.saved.take();
    print(arguments.output, &planned, &planned.text)?;
    if let Some(failure) = planned.failure() {
        return Err(told(failure));
    }
    eprint!("{}", planned.notes);
    if let (Some(path), Some(saved)) = (&arguments.out, saved) {
        whole_file::write(path, format!("{saved}\n"), 0o600)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(match arguments.detailed_exitcode && planned.has_changes {
        true => ExitCode::Changes,
        false => ExitCode::Success,
    })
}
