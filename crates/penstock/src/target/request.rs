//! What a target is asked to change.

use std::collections::BTreeMap;

use penstock_manifest::intent::secret::Lookup;
use penstock_manifest::merge::Adopt;
use serde::{Deserialize, Serialize};

use super::{Failure, FailureKind};

use super::EditRequest;

/// A change, and how to make it. It may hold secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// What is to be changed.
    pub change: ChangeRequest,
    /// Whether what is penstock's and no longer desired is removed.
    #[serde(default)]
    pub prune: bool,
    /// What may be taken over that is not penstock's.
    #[serde(default)]
    pub adopt: AdoptRequest,
    /// How much may be deleted without the guard; default: ten things, or a
    /// fifth of what is there.
    #[serde(default)]
    pub allow_delete: Option<usize>,
    /// Whether fields that were edited by hand may be overwritten.
    #[serde(default)]
    pub overwrite: bool,
    /// Why, for the history.
    #[serde(default)]
    pub message: String,
    /// Who, for the history.
    #[serde(default)]
    pub author: String,
    /// The content that the target must still have.
    #[serde(default)]
    pub base: Option<String>,
    /// Expectations about requests, in the form of `penstock test`, that the
    /// changed configuration must meet.
    #[serde(default)]
    pub verify: Option<IntentText>,
    /// Whether the answer to a plan holds the plan as it can be saved, with
    /// secrets.
    #[serde(default)]
    pub save: bool,
    /// Whether the answer holds `plan`, the form for programs.
    #[serde(default = "yes")]
    pub details: bool,
}

fn yes() -> bool {
    true
}

/// The longest name of an author, in bytes.
const AUTHOR_BYTES_MAX: usize = 200;
/// The longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 4096;

impl Request {
    /// Refuses what would forge the history.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let invalid = |message| Err(Failure::new(FailureKind::Invalid, message));
        if self.author.len() > AUTHOR_BYTES_MAX || self.author.chars().any(char::is_control) {
            return invalid(format!("`author` is no line of up to {AUTHOR_BYTES_MAX} bytes"));
        }
        let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if self.message.len() > MESSAGE_BYTES_MAX || self.message.chars().any(is_odd) {
            return invalid(format!("`message` is no text of up to {MESSAGE_BYTES_MAX} bytes"));
        }
        Ok(())
    }

    /// A change with every option at its default.
    pub fn new(change: ChangeRequest) -> Self {
        Self {
            change,
            prune: false,
            adopt: AdoptRequest::default(),
            allow_delete: None,
            overwrite: false,
            message: String::new(),
            author: String::new(),
            base: None,
            verify: None,
            save: false,
            details: true,
        }
    }
}

/// What is to be changed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum ChangeRequest {
    /// Make it as an intent says.
    Intent {
        /// The files of the intent.
        files: Vec<IntentText>,
        /// The values of `${env:NAME}` and `${file:PATH}` by `env:NAME` and
        /// `file:PATH`. They are never looked up where the target is.
        #[serde(default)]
        secrets: BTreeMap<String, String>,
    },
    /// Change one thing of what is there.
    Edit(EditRequest),
    /// Do what a saved plan says.
    Plan(serde_json::Value),
    /// Take back every revision after this one; by default, the last one.
    Rollback {
        /// The revision whose state comes back; 0 for what was there before
        /// the first.
        #[serde(default)]
        to: Option<u64>,
    },
}

/// What the value of a reference is called in a request.
pub fn key_of(lookup: Lookup<'_>) -> String {
    match lookup {
        Lookup::Env(name) => format!("env:{name}"),
        Lookup::File(path) => format!("file:{path}"),
    }
}

/// A text with the name that findings give it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntentText {
    /// The name, such as the path of the file.
    pub name: String,
    /// The text.
    pub text: String,
}

/// What may be taken over that is not penstock's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdoptRequest {
    /// Nothing.
    #[default]
    Nothing,
    /// These, named as conflicts name them.
    Only(Vec<String>),
    /// Everything that the intent names.
    Everything,
}

impl From<&AdoptRequest> for Adopt {
    fn from(request: &AdoptRequest) -> Self {
        match request {
            AdoptRequest::Nothing => Self::Nothing,
            AdoptRequest::Only(names) => Self::Only(names.iter().cloned().collect()),
            AdoptRequest::Everything => Self::Everything,
        }
    }
}
