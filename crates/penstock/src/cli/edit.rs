//! What the verbs that change one thing have in common.

use clap::Args;
use penstock_manifest::edit::Edit;

use crate::cli::apply::{MakingArguments, Shown};
use crate::cli::change::GuardArguments;
use crate::exit_code::ExitCode;
use crate::target::{ChangeRequest, Request};

/// How one thing is changed.
#[derive(Args)]
pub struct EditArguments {
    #[command(flatten)]
    making: MakingArguments,
    #[command(flatten)]
    guards: GuardArguments,
}

impl EditArguments {
    /// Makes an edit on every target, one after another.
    pub fn make(&self, edit: Edit, shown: Shown) -> anyhow::Result<ExitCode> {
        let mut request = Request::new(ChangeRequest::Edit(edit.into()));
        self.guards.set(&mut request)?;
        self.making.make_and_show(request, shown)
    }
}
