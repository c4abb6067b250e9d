//! `penstock export`: the intent that manifests came from.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use clap::{Args, ValueEnum};
use penstock_manifest::intent::export::{self, Export};
use penstock_manifest::{Diagnostic, Listing, Severity, diagnostic, yaml};

use crate::cli::lint_output;
use crate::exit_code::ExitCode;
use crate::store;

/// The command line of `export`.
#[derive(Args)]
pub struct Arguments {
    /// The directory with the manifests
    #[arg(long, value_name = "SOURCE")]
    config: String,
    /// What is written for tokens and keys
    #[arg(long, value_enum, default_value_t = Secrets::Ref)]
    secrets: Secrets,
    /// The file to write to, or `-` for standard output
    #[arg(short, long, value_name = "FILE|-", default_value = "-")]
    output: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Secrets {
    /// `${env:NAME}`: safe to commit
    Ref,
    /// The values
    Inline,
    /// Hashes: to be looked at, not to be rendered
    Redact,
}

/// `penstock export`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let listing = store::open(&arguments.config)?.list()?;
    let name = if arguments.output == "-" { "<stdout>" } else { &arguments.output };
    let secrets = match arguments.secrets {
        Secrets::Ref => export::Secrets::Ref,
        Secrets::Inline => export::Secrets::Inline,
        Secrets::Redact => export::Secrets::Redact,
    };
    let (exported, findings) = export(&listing, secrets, name);
    eprint!("{}", lint_output::text(&findings));
    let text = yaml::render(&exported.document);
    match arguments.output.as_str() {
        "-" => std::io::stdout().write_all(text.as_bytes()).context("writing the intent")?,
        file => {
            let mode = if arguments.secrets == Secrets::Inline { 0o600 } else { 0o644 };
            write(Path::new(file), &text, mode)
                .with_context(|| format!("cannot write `{file}`"))?;
        }
    }
    if !exported.variables.is_empty() {
        eprintln!("set these variables where the intent is rendered:");
        for variable in &exported.variables {
            eprintln!("  {variable}");
        }
    }
    let is_whole = findings.iter().all(|found| found.severity < Severity::Error);
    Ok(if is_whole { ExitCode::Success } else { ExitCode::Failure })
}

/// What was exported, and everything that it does not say; `name` stands for
/// the file that it goes to.
pub fn export(
    listing: &Listing,
    secrets: export::Secrets,
    name: &str,
) -> (Export, Vec<Diagnostic>) {
    let exported = export::from_resources(listing, secrets);
    let errors = listing.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let mut findings: Vec<Diagnostic> = errors.cloned().collect();
    findings.extend_from_slice(&exported.diagnostics);
    findings.extend(export::check(listing, secrets, name));
    diagnostic::sort(&mut findings);
    (exported, findings)
}

/// Writes beside the file and renames over it, so that a file that others may
/// read never holds a secret. A device or a pipe is written to as it is.
fn write(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, text);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What is left of a failed attempt may hold secrets.
        let _ = fs::remove_file(&temporary);
    }
    written
}
