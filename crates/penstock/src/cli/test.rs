//! `penstock test`: requests with expectations, a unit test for
//! configuration. Nothing is sent.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::explain::explainer;
use crate::cli::lint_output;
use crate::cli::target::{GatewayArguments, told};
use crate::exit_code::ExitCode;
use crate::expectation::Tests;
use crate::target::IntentText;

/// The command line of `test`.
#[derive(Args)]
pub struct Arguments {
    /// The file with the tests
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory with the manifests, or the URL of a gateway's admin listener
    #[arg(long, value_name = "SOURCE")]
    config: String,
    #[command(flatten)]
    gateway: GatewayArguments,
    /// Only Ingresses of this class count, in a directory; a gateway has its own
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
}

/// `penstock test`.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let shown = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file)
        .with_context(|| format!("cannot read `{shown}`"))?;
    if let Some(gateway) = arguments.gateway.open(&arguments.config)? {
        let tested = gateway.test(&IntentText { name: shown, text }).map_err(told)?;
        return print(&tested.text, tested.passed);
    }
    let tests = match Tests::parse(&shown, &text) {
        Ok(tests) => tests,
        Err(findings) => {
            eprint!("{}", lint_output::text(&findings));
            bail!("`{shown}` cannot be used");
        }
    };
    let explainer = explainer(&arguments.config, arguments.ingress_class.clone())?;
    let outcomes = tests.run(&explainer)?;
    print(&outcomes.text(), outcomes.is_ok())
}

fn print(text: &str, passed: bool) -> anyhow::Result<ExitCode> {
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if passed { ExitCode::Success } else { ExitCode::Failure })
}
