//! penstock: an AI gateway that runs from Higress manifests, and the tool
//! that checks them.

#![expect(unreachable_pub, reason = "a binary exports nothing; `pub` says what other modules use")]

mod admin;
mod cli;
mod exit_code;
mod expectation;
mod last_good;
mod process;
mod reload;
mod store;
mod target;
mod telemetry;

use std::process::ExitCode as ProcessExitCode;

use clap::Parser;

use crate::cli::{Cli, Verb};
use crate::exit_code::ExitCode;

/// Half the time and two thirds of the memory of glibc's where many small
/// values live long, as a large configuration does.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ProcessExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is misuse.
            let code = match error.use_stderr() {
                true => ExitCode::Usage,
                false => ExitCode::Success,
            };
            // A closed terminal is no reason to fail differently.
            let _ = error.print();
            return code.into();
        }
    };
    let outcome = match cli.verb {
        Verb::Serve(arguments) => cli::serve::run(&arguments),
        Verb::Lint(arguments) => cli::lint::run(&arguments),
        Verb::Fmt(arguments) => cli::fmt::run(&arguments),
        Verb::Explain(arguments) => cli::explain::run(arguments),
        Verb::Export(arguments) => cli::export::run(&arguments),
        Verb::Get(arguments) => cli::get::run(&arguments),
        Verb::Describe(arguments) => cli::describe::run(&arguments),
        Verb::Render(arguments) => cli::render::run(&arguments),
        Verb::Plan(arguments) => cli::plan::run(&arguments),
        Verb::Apply(arguments) => cli::apply::run(&arguments),
        Verb::Delete(arguments) => cli::delete::run(arguments),
        Verb::Consumer(arguments) => cli::consumer::run(arguments),
        Verb::Provider(arguments) => cli::provider::run(arguments),
        Verb::History(arguments) => cli::revision::history(&arguments),
        Verb::Show(arguments) => cli::revision::show(&arguments),
        Verb::Diff(arguments) => cli::revision::diff(&arguments),
        Verb::Status(arguments) => cli::revision::status(&arguments),
        Verb::Rollback(arguments) => cli::revision::rollback(&arguments),
        Verb::Schema => cli::schema(),
        Verb::Quickstart(arguments) => cli::quickstart::run(arguments),
        Verb::Test(arguments) => cli::test::run(&arguments),
        Verb::Completion(arguments) => cli::completion::run(&arguments),
        Verb::Version => cli::version(),
    };
    match outcome {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::Failure.into()
        }
    }
}
