//! `penstock plan`: what apply would change.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::cli::change::ChangeArguments;
use crate::cli::target::{Output, TargetArguments, print, told};
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
        save(path, &format!("{saved}\n"))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(match arguments.detailed_exitcode && planned.has_changes {
        true => ExitCode::Changes,
        false => ExitCode::Success,
    })
}

/// Writes beside the file and renames over it, so that no file that others
/// may read ever holds the secrets.
fn save(path: &Path, text: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let opened =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary);
    let written = opened
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // What is left of a failed attempt may hold secrets.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}
