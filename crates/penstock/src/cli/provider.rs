//! `penstock provider`: the tokens of LLM providers.

use clap::{Args, Subcommand};
use penstock_manifest::edit::Edit;

use crate::cli::apply::Shown;
use crate::cli::edit::EditArguments;
use crate::cli::key;
use crate::exit_code::ExitCode;

/// The command line of `provider`.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

/// What happens to a provider.
#[derive(Subcommand)]
enum Action {
    /// Replace the tokens of a provider
    SetToken(SetTokenArguments),
}

#[derive(Args)]
struct SetTokenArguments {
    /// The provider
    #[arg(value_name = "NAME")]
    name: String,
    /// The file with the tokens, one in each line, or `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    tokens_from: String,
    #[command(flatten)]
    edit: EditArguments,
}

/// `penstock provider`.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Action::SetToken(arguments) = arguments.action;
    let tokens = key::read_tokens(&arguments.tokens_from)?;
    let edit = Edit::SetProviderTokens { name: arguments.name, tokens };
    arguments.edit.make(edit, Shown::Change)
}
