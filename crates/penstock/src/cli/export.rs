//! `penstock export`: the intent that manifests came from.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use clap::{Args, ValueEnum};
use penstock_manifest::intent::export;
use penstock_manifest::{Diagnostic, Listing, Severity, diagnostic, yaml};

use crate::cli::target::{GatewayArguments, told};
use crate::cli::{lint_output, whole_file};
use crate::exit_code::ExitCode;
use crate::store;
use crate::target::Exported;

/// The command line of `export`.
#[derive(Args)]
pub struct Arguments {
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
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
    /// The values; only from a directory
    Inline,
    /// Hashes: to be looked at, not to be rendered
    Redact,
}

/// `penstock export`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Some(exported) = exported(arguments)? else {
        eprintln!(
            "error: a gateway does not give its secrets away: name the directory it serves, or \
             use --secrets ref or redact"
        );
        return Ok(ExitCode::Usage);
    };
    eprint!("{}", exported.notes);
    let text = exported.intent.as_bytes();
    match arguments.output.as_str() {
        "-" => std::io::stdout().write_all(text).context("writing the intent")?,
        file => {
            let mode = if arguments.secrets == Secrets::Inline { 0o600 } else { 0o644 };
            whole_file::write(Path::new(file), text, mode)
                .with_context(|| format!("cannot write `{file}`"))?;
        }
    }
    if !exported.variables.is_empty() {
        eprintln!("set these variables where the intent is rendered:");
        for variable in &exported.variables {
            eprintln!("  {variable}");
        }
    }
    Ok(if exported.is_whole { ExitCode::Success } else { ExitCode::Failure })
}

/// What a source's manifests came from; none where a gateway would have to
/// tell its secrets.
fn exported(arguments: &Arguments) -> anyhow::Result<Option<Exported>> {
    let name = if arguments.output == "-" { "<stdout>" } else { &arguments.output };
    let (secrets, word) = match arguments.secrets {
        Secrets::Ref => (export::Secrets::Ref, Some("ref")),
        Secrets::Inline => (export::Secrets::Inline, None),
        Secrets::Redact => (export::Secrets::Redact, Some("redact")),
    };
    Ok(match (arguments.gateway.open(&arguments.config)?, word) {
        (Some(_), None) => None,
        (Some(gateway), Some(word)) => Some(gateway.export(word, name).map_err(told)?),
        (None, _) => Some(export(&store::open(&arguments.config)?.list()?, secrets, name)),
    })
}

/// The intent that a listing came from, and everything that it does not say;
/// `name` stands for the file that it goes to.
pub fn export(listing: &Listing, secrets: export::Secrets, name: &str) -> Exported {
    let exported = export::from_resources(listing, secrets);
    let errors = listing.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let mut findings: Vec<Diagnostic> = errors.cloned().collect();
    findings.extend_from_slice(&exported.diagnostics);
    findings.extend(export::check(listing, secrets, name));
    diagnostic::sort(&mut findings);
    Exported {
        intent: yaml::render(&exported.document),
        variables: exported.variables,
        is_whole: findings.iter().all(|found| found.severity < Severity::Error),
        notes: lint_output::text(&findings),
    }
}
