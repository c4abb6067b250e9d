//! A change as the command line gives it: an intent or a saved plan, and how
//! to make it.

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use penstock_manifest::plan::SavedPlan;

use crate::cli::{intent, target};
use crate::target::{AdoptRequest, ChangeRequest, IntentText, Request};

/// What is to be changed.
#[derive(Args)]
pub struct ChangeArguments {
    /// The intent: a file, a directory, or `-`; may be repeated. Or a saved plan
    #[arg(short, long, required = true, value_name = "INTENT|PLAN")]
    file: Vec<String>,
    /// Remove what was applied before and is no longer in the intent
    #[arg(long)]
    prune: bool,
    /// Take over what is there and not penstock's: everything, or what NAME says; may be repeated
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true)]
    adopt: Option<Vec<String>>,
    #[command(flatten)]
    guards: GuardArguments,
}

/// What a change may do, and what it must keep.
#[derive(Args)]
pub struct GuardArguments {
    /// How many things may be deleted; default: ten, or a fifth of what is there
    #[arg(long, value_name = "N")]
    allow_delete: Option<usize>,
    /// Overwrite what was edited by hand
    #[arg(long)]
    overwrite: bool,
    /// Tests, as for `penstock test`, that the changed configuration must pass
    #[arg(long, value_name = "FILE")]
    verify: Option<PathBuf>,
}

impl ChangeArguments {
    /// The change as a request.
    pub fn request(&self) -> anyhow::Result<Request> {
        let files = intent::sources(&self.file)?;
        let change = match saved_plan(&files)? {
            Some(_) if self.prune || self.adopt.is_some() || self.guards.overwrite => {
                bail!(
                    "a saved plan is applied as it is: --prune, --adopt, --overwrite go to `plan`"
                );
            }
            Some(plan) => ChangeRequest::Plan(plan),
            None => {
                let secrets = intent::secret_values(&files)?;
                let text = |(name, text)| IntentText { name, text };
                ChangeRequest::Intent { files: files.into_iter().map(text).collect(), secrets }
            }
        };
        let mut request = Request::new(change);
        request.prune = self.prune;
        request.adopt = match &self.adopt {
            None => AdoptRequest::Nothing,
            Some(names) if names.is_empty() => AdoptRequest::Everything,
            Some(names) => AdoptRequest::Only(names.clone()),
        };
        self.guards.set(&mut request)?;
        Ok(request)
    }
}

impl GuardArguments {
    /// Sets the guards of a request, and who asks.
    pub fn set(&self, request: &mut Request) -> anyhow::Result<()> {
        request.allow_delete = self.allow_delete;
        request.overwrite = self.overwrite;
        request.author = target::author();
        if let Some(path) = &self.verify {
            let name = path.display().to_string();
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read `{name}`"))?;
            request.verify = Some(IntentText { name, text });
        }
        Ok(())
    }
}

/// The saved plan, where the only file is one.
fn saved_plan(files: &[(String, String)]) -> anyhow::Result<Option<serde_json::Value>> {
    let plan_of = |text: &str| {
        let json: serde_json::Value = serde_json::from_str(text).ok()?;
        SavedPlan::is_one(&json).then_some(json)
    };
    for (name, text) in files {
        let Some(plan) = plan_of(text) else { continue };
        if files.len() > 1 {
            bail!("`{name}` is a saved plan and must be the only file");
        }
        return Ok(Some(plan));
    }
    Ok(None)
}
