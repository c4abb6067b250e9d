//! `penstock fmt`: intents and manifests in the one form that there is for
//! them.
//!
//! Invariant: a file is replaced as a whole or stays as it was.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use penstock_manifest::format::{Formatted, format};

use crate::cli::{intent, lint_output, whole_file};
use crate::exit_code::ExitCode;

/// The command line of `fmt`.
#[derive(Args)]
pub struct Arguments {
    /// Files and directories to format, or `-`: standard input to standard
    /// output
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; print the files that differ, and exit with 1 if any do
    #[arg(long)]
    check: bool,
}

/// `penstock fmt`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut files = Vec::new();
    for path in &arguments.paths {
        files.extend(intent::find(path)?);
    }
    let mut code = ExitCode::Success;
    for file in &files {
        // One that cannot be formatted does not keep the others from it.
        let is_done = format_file(file, arguments.check).unwrap_or_else(|error| {
            eprintln!("error: {error:#}");
            false
        });
        if !is_done {
            code = ExitCode::Failure;
        }
    }
    Ok(code)
}

/// Whether a file has its form now.
fn format_file(path: &Path, is_check: bool) -> anyhow::Result<bool> {
    let is_stdin = path == Path::new("-");
    let shown = if is_stdin { "<stdin>".to_owned() } else { path.display().to_string() };
    let text = read(path, is_stdin).with_context(|| format!("cannot read `{shown}`"))?;
    let formatted = match format(&shown, &text) {
        Ok(Formatted::Text(formatted)) => formatted,
        Ok(Formatted::Kept { at, reason }) => {
            eprintln!("{shown}:{}:{}: left as it is: {reason}", at.line, at.column);
            text.clone()
        }
        Err(findings) => {
            eprint!("{}", lint_output::text(&findings));
            return Ok(false);
        }
    };
    let has_form = formatted == text;
    if is_check {
        if !has_form {
            writeln!(io::stdout(), "{shown}").context("writing the names")?;
        }
        return Ok(has_form);
    }
    if is_stdin {
        io::stdout().write_all(formatted.as_bytes()).context("writing the text")?;
    } else if !has_form {
        replace(path, &formatted).with_context(|| format!("cannot write `{shown}`"))?;
        eprintln!("{shown}");
    }
    Ok(true)
}

fn read(path: &Path, is_stdin: bool) -> io::Result<String> {
    if !is_stdin {
        return fs::read_to_string(path);
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file anew, with the mode and the owner of the old one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link stays one: what it leads to is replaced.
    let path = path.canonicalize()?;
    // A rename asks the directory alone, also where the file is read-only.
    let old = fs::OpenOptions::new().write(true).open(&path)?.metadata()?;
    whole_file::replace(&path, 0o600, |file| fill(file, text, &old))
}

/// Writes a new file that belongs to whom the old one did.
fn fill(mut file: File, text: &str, old: &Metadata) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(old.permissions())?;
    file.sync_all()
}
