//! `penstock lint`: all findings in one run, with the server's own code.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use penstock_gateway::compile::{self, Options};
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_bytes};
use penstock_manifest::{Diagnostic, Listing, Severity, diagnostic, lint};

use crate::cli::lint_output;
use crate::exit_code::ExitCode;
use crate::reload::seconds_since_1970;
use crate::store::Directory;

/// The command line of `lint`.
#[derive(Args)]
pub struct Arguments {
    /// Directories and files to check
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How findings are printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The least severity that makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Error)]
    fail_on: FailOn,
    /// Also say what a Higress console would write differently
    #[arg(long)]
    console: bool,
    /// Only Ingresses of this class count
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Text,
    Json,
    Sarif,
    Github,
}

#[derive(Clone, Copy, ValueEnum)]
enum FailOn {
    Error,
    Warning,
    Info,
}

impl FailOn {
    fn severity(self) -> Severity {
        match self {
            Self::Error => Severity::Error,
            Self::Warning => Severity::Warning,
            Self::Info => Severity::Info,
        }
    }
}

/// `penstock lint`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let listing = list(&arguments.paths)?;
    let options = Options { ingress_class: arguments.ingress_class.clone() };
    let findings = check(listing, &options, arguments.console);
    let text = match arguments.output {
        Output::Text => lint_output::text(&findings),
        Output::Json => lint_output::json(&findings),
        Output::Sarif => lint_output::sarif(&findings),
        Output::Github => lint_output::github(&findings),
    };
    std::io::stdout().write_all(text.as_bytes()).context("writing the findings")?;
    if matches!(arguments.output, Output::Text) {
        eprintln!("{}", summary(&findings));
    }
    let fails = findings.iter().any(|f| f.severity >= arguments.fail_on.severity());
    Ok(if fails { ExitCode::Failure } else { ExitCode::Success })
}

/// All findings about a listing, sorted.
pub fn check(listing: Listing, options: &Options, console: bool) -> Vec<Diagnostic> {
    let compiled = compile::compile(&listing, &[], options);
    let mut findings = compiled.snapshot.certificates.expired(seconds_since_1970());
    findings.extend(compiled.diagnostics);
    findings.extend(lint::lint_listing(&listing, &lint::Options { console }));
    findings.extend(listing.diagnostics);
    diagnostic::sort(&mut findings);
    findings
}

/// Reads all paths into one listing.
fn list(paths: &[PathBuf]) -> anyhow::Result<Listing> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(Directory::open(path.as_path())?.files()?);
        } else {
            let shown = path.display().to_string();
            let bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
            files.push(Arc::new(read_bytes(&file_path(path, &shown), &bytes)));
        }
    }
    Ok(assemble(files.iter().map(|file| &**file)))
}

/// A file that stands alone keeps the folder above it, which may name its
/// kind.
fn file_path(path: &Path, shown: &str) -> FilePath {
    let full = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    FilePath::new(shown, full.to_string_lossy().trim_start_matches('/'))
}

fn summary(findings: &[Diagnostic]) -> String {
    let count = |severity| findings.iter().filter(|f| f.severity == severity).count();
    format!(
        "{} errors, {} warnings, {} notes",
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Info)
    )
}
