//! `penstock render`: the manifests of an intent.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use penstock_manifest::Resource;
use penstock_manifest::redact::holds_secret;
use penstock_manifest::render::{Options, file_path, file_text, render};

use crate::cli::{intent, whole_file};
use crate::exit_code::ExitCode;

/// The command line of `render`.
#[derive(Args)]
pub struct Arguments {
    /// The intent: a file, a directory, or `-`; may be repeated
    #[arg(short, long, required = true, value_name = "INTENT")]
    file: Vec<String>,
    /// The directory to write to, or `-` for standard output
    #[arg(short, long, value_name = "DIR|-", default_value = "-")]
    output: String,
    /// Write what a Higress console would, also where that is unsafe
    #[arg(long)]
    console_exact: bool,
}

/// `penstock render`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let meant = intent::read(&arguments.file)?;
    let rendered = render(&meant, &Options { console_exact: arguments.console_exact });
    intent::report(&rendered.diagnostics, "the intent cannot be rendered")?;
    let mut resources = intent::secrets(&meant)?;
    resources.extend(rendered.resources);
    match arguments.output.as_str() {
        "-" => print(&resources)?,
        directory => write(Path::new(directory), &resources)?,
    }
    Ok(ExitCode::Success)
}

fn print(resources: &[Resource]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for resource in resources {
        write!(out, "---\n# {}\n{}", file_path(resource), file_text(resource))
            .context("writing the manifests")?;
    }
    Ok(())
}

/// Writes each resource to its file. What holds secrets is for its owner only.
fn write(directory: &Path, resources: &[Resource]) -> anyhow::Result<()> {
    for resource in resources {
        let path = directory.join(file_path(resource));
        let shown = path.display().to_string();
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot create `{}`", parent.display()))?;
        }
        let is_secret = holds_secret(&resource.key.kind, &resource.root);
        let mode = if is_secret { 0o600 } else { 0o644 };
        let written = whole_file::write(&path, file_text(resource), mode);
        written.with_context(|| format!("cannot write `{shown}`"))?;
        eprintln!("{shown}");
    }
    Ok(())
}
