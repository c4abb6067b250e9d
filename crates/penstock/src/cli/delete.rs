//! `penstock delete`: one thing goes, with everything that is there only
//! because of it.

use clap::Args;
use penstock_manifest::edit::Edit;

use crate::cli::apply::Shown;
use crate::cli::edit::EditArguments;
use crate::cli::get::refuse;
use crate::cli::thing::Kind;
use crate::exit_code::ExitCode;

/// The command line of `delete`.
#[derive(Args)]
pub struct Arguments {
    /// What: domain, provider, consumer, ai-route or service-source
    #[arg(value_name = "KIND")]
    kind: String,
    /// The one of this name
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    edit: EditArguments,
}

/// `penstock delete`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match Kind::parse(&arguments.kind) {
        Ok(Kind::Thing(row)) => {
            let edit = Edit::Delete { kind: row.kind, name: arguments.name };
            arguments.edit.make(edit, Shown::Change)
        }
        Ok(kind @ Kind::Resource(_)) => {
            eprintln!(
                "error: resources such as {} are not deleted one by one: several of them are one \
                 thing, so delete that",
                kind.name()
            );
            Ok(ExitCode::Usage)
        }
        Err(error) => Ok(refuse(&error)),
    }
}
