//! What a target answers.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Failure, FailureKind};
use crate::store::revision::Record;

/// What a change would do.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// For programs; null where it was not asked for.
    pub plan: Json,
    /// For people.
    pub text: String,
    /// Findings, as lines.
    pub notes: String,
    /// Whether anything would change.
    pub has_changes: bool,
    /// The content that it was planned against.
    pub base: String,
    /// Why it would not be applied; empty where it would.
    pub refusals: Vec<Refusal>,
    /// The plan with its values, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved: Option<Json>,
}

/// One reason why a change is not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason.
    pub kind: FailureKind,
    /// One sentence without a full stop.
    pub message: String,
}

impl Planned {
    /// The refusals as a failure, where there are any.
    pub fn failure(&self) -> Option<Failure> {
        Failure::of(&self.refusals, || self.notes.clone())
    }
}

impl Failure {
    /// The failure of a change that is refused for these reasons, if any.
    pub(super) fn of(refusals: &[Refusal], notes: impl FnOnce() -> String) -> Option<Self> {
        let first = refusals.first()?;
        let messages: Vec<&str> = refusals.iter().map(|one| &*one.message).collect();
        Some(Self::new(first.kind, messages.join("; ")).with_notes(notes()))
    }
}

/// What a change did.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// For programs: the plan that was applied; null where it was not asked
    /// for.
    pub plan: Json,
    /// For people: a line for each resource.
    pub text: String,
    /// Findings, as lines.
    pub notes: String,
    /// The revision; none where nothing had to change.
    pub revision: Option<Record>,
    /// The content of the target now.
    pub content: String,
    /// What the gateway made of it, where the target is one.
    #[serde(default)]
    pub in_force: Option<InForce>,
}

/// What a gateway made of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InForce {
    /// The content in force.
    pub revision: String,
    /// Why it is not the one that was seen last.
    pub error: Option<String>,
    /// The errors that it found, as lines.
    pub notes: String,
}

/// A revision with its changes.
#[derive(Clone, Serialize, Deserialize)]
pub struct Shown {
    /// Who, when and why.
    pub revision: Record,
    /// What it changed.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What differs between two states.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// For programs.
    pub changes: Json,
    /// For people.
    pub text: String,
    /// Whether anything differs.
    pub has_changes: bool,
}

/// How a target stands.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The content.
    pub content: String,
    /// How many resources it holds.
    pub resources: usize,
    /// How many of them, or entries in them, are penstock's.
    pub owned: usize,
    /// The last revision.
    pub last: Option<Record>,
    /// The files that were edited or removed by hand since.
    pub drift: Vec<String>,
    /// What the gateway has in force, where the target is one.
    #[serde(default)]
    pub in_force: Option<InForce>,
}

/// What a gateway's own status says about its configuration.
#[derive(Clone, Debug)]
pub struct GatewayStatus {
    /// The content in force.
    pub revision: String,
    /// The content that was seen last, in force or not.
    pub seen: String,
    /// Why the one is not the other.
    pub error: Option<String>,
    /// The errors that it found, as lines.
    pub notes: String,
}

/// What a verb that looks prints.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Printed {
    /// For programs.
    pub json: Json,
    /// For people.
    pub text: String,
    /// What is told besides, as lines.
    pub notes: String,
}

/// The intent that manifests came from.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    /// The intent, as YAML.
    pub intent: String,
    /// The variables that it refers to, in its order.
    pub variables: Vec<String>,
    /// Whether no finding is an error.
    pub is_whole: bool,
    /// What it does not say, as lines.
    pub notes: String,
}

/// How expectations fared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tested {
    /// Whether all were met.
    pub passed: bool,
    /// The lines of a test runner.
    pub text: String,
}
