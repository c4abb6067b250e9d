//! What has to change so that a store holds what is desired: decided here,
//! done elsewhere.
//!
//! A plan is a value: the changes for people, with secrets redacted, and the
//! new texts of the files for whoever writes them, each with the hash of what
//! it replaces. A document that does not change keeps its text; one that
//! changes is written anew in its place, beside its neighbours.
//!
//! Invariant: planning against what a plan leaves behind changes nothing.
//! Invariant: neither `Debug`, nor the text form, nor the JSON form of a plan
//! contains a secret. The files' texts do; [`Plan::files`] is for writing.

pub(crate) mod diff;
mod file;
mod saved;
mod show;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value as Json;

pub use saved::{SavedPlan, SavedPlanError, unhex};
pub use show::hex;

use crate::diagnostic::{self, Diagnostic, PLAN_COMMENTS_LOST, Severity};
use crate::ledger::Ledger;
use crate::merge::{self, After, Merged, Outcome, lists_of};
use crate::node::{Map, Node, Position, Value};
use crate::read::FilePath;
use crate::render;
use crate::resource::{Listing, Resource, ResourceKey, Revision};

/// A file of the store that is changed.
#[derive(Clone, Debug)]
pub struct TargetFile {
    /// Where it stands.
    pub path: FilePath,
    /// The SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// Its text.
    pub text: Arc<str>,
}

/// What a plan is made of.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What should be there.
    pub desired: &'a [Resource],
    /// What is there.
    pub actual: &'a Listing,
    /// The texts of what is there.
    pub files: &'a [TargetFile],
    /// What is penstock's.
    pub ledger: &'a Ledger,
}

/// What written resources are stamped with, which stays out of plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// `metadata.creationTimestamp` of what is created: RFC 3339.
    pub creation_timestamp: String,
    /// `metadata.resourceVersion` of what is created or changed, so that a
    /// stale save of a console loses.
    pub resource_version: String,
}

/// How to plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What may be taken over, and whether to prune.
    pub merge: merge::Options,
    /// What is written into changed resources.
    pub stamp: Option<Stamp>,
}

/// What happens to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It is new.
    Create,
    /// It is there and becomes another.
    Change,
    /// It goes.
    Delete,
    /// It is as it should be.
    Unchanged,
}

impl Action {
    /// `create`, `change`, `delete` or `unchanged`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
            Self::Unchanged => "unchanged",
        }
    }
}

/// One field that becomes another. Secrets are redacted.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    /// The key path; entries of shared lists by their name.
    pub path: String,
    /// The value before; none where the field is new.
    pub before: Option<Json>,
    /// The value after; none where the field goes.
    pub after: Option<Json>,
}

/// What happens to one resource.
#[derive(Clone)]
pub struct Change {
    /// Its name.
    pub key: ResourceKey,
    /// What happens.
    pub action: Action,
    /// Its file, below the root of the store.
    pub file: Arc<str>,
    /// The fields that become others, of a change.
    pub fields: Vec<FieldChange>,
    /// Whether comments of its document are lost.
    pub loses_comments: bool,
    /// The resource before.
    pub before: Option<Arc<Resource>>,
    /// The document that is written.
    pub after: Option<Node>,
}

/// Documents may hold keys, so only what is redacted is shown.
impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Change")
            .field("key", &self.key)
            .field("action", &self.action)
            .field("file", &self.file)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// A file that is written or removed.
#[derive(Clone, PartialEq, Eq)]
pub struct FileChange {
    /// The file, below the root of the store.
    pub path: Arc<str>,
    /// The SHA-256 of what is there now; none where there must be nothing.
    pub base: Option<[u8; 32]>,
    /// What is written; none where the file goes.
    pub text: Option<Arc<str>>,
}

/// A text may hold keys, so only its length is shown.
impl std::fmt::Debug for FileChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileChange")
            .field("path", &self.path)
            .field("bytes", &self.text.as_ref().map(|text| text.len()))
            .finish_non_exhaustive()
    }
}

/// How many resources each action takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// New ones.
    pub create: usize,
    /// Those that become others.
    pub change: usize,
    /// Those that go.
    pub delete: usize,
    /// Those that are as they should be.
    pub unchanged: usize,
}

/// What a plan takes away, for the guard against an empty intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Resources and entries of shared resources that go.
    pub count: usize,
    /// Resources and entries that are there.
    pub total: usize,
}

impl Deletion {
    /// The part of what is there that goes, from 0 to 1.
    pub fn share(self) -> f64 {
        if self.total == 0 { 0.0 } else { self.count as f64 / self.total as f64 }
    }

    /// Whether it needs to be allowed: more than ten and more than a fifth,
    /// or more than what was allowed.
    pub fn exceeds(self, allowed: Option<usize>) -> bool {
        match allowed {
            Some(allowed) => self.count > allowed,
            None => self.count > 10 && self.count.saturating_mul(5) > self.total,
        }
    }
}

/// What has to change.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What happens to each resource, in the order of writing.
    pub changes: Vec<Change>,
    /// How many of each.
    pub counts: Counts,
    /// The files that are written or removed, in the order of writing.
    pub files: Vec<FileChange>,
    /// What is taken away.
    pub deletion: Deletion,
    /// What is penstock's once the plan is applied.
    pub ledger: Ledger,
    /// Whether the ledger becomes another.
    pub changes_ledger: bool,
    /// What is penstock's, no longer desired, and stays without pruning.
    pub stale: Vec<String>,
    /// The content that the plan was made against.
    pub base: Revision,
    /// What is wrong. With an error the plan must not be applied.
    pub diagnostics: Vec<Diagnostic>,
}

impl Plan {
    /// Counts the changes by their actions.
    pub fn count(&mut self) {
        self.counts = Counts::default();
        for change in &self.changes {
            *match change.action {
                Action::Create => &mut self.counts.create,
                Action::Change => &mut self.counts.change,
                Action::Delete => &mut self.counts.delete,
                Action::Unchanged => &mut self.counts.unchanged,
            } += 1;
        }
    }

    /// Puts the files into the order of writing: that of the first change in
    /// each, then those that no change is in.
    pub fn order_files(&mut self) {
        let order = file::by_file(&self.changes);
        let places: HashMap<&str, usize> =
            order.iter().enumerate().map(|(place, (path, _))| (&**path, place)).collect();
        self.files.sort_by_key(|file| places.get(&*file.path).copied().unwrap_or(usize::MAX));
    }

    /// Whether nothing has to change.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether it must not be applied.
    pub fn is_refused(&self) -> bool {
        self.diagnostics.iter().any(|found| found.severity == Severity::Error)
    }

    /// What files hold once the plan is applied; `files` is by path below the
    /// root of the store.
    pub fn apply_to(&self, files: &mut BTreeMap<Arc<str>, Arc<str>>) {
        for change in &self.files {
            match &change.text {
                Some(text) => files.insert(change.path.clone(), text.clone()),
                None => files.remove(&change.path),
            };
        }
    }
}

/// Plans what has to change.
pub fn plan(inputs: &Inputs<'_>, options: &Options) -> Plan {
    let merged = merge::merge(inputs.desired, inputs.actual, inputs.ledger, &options.merge);
    of_merged(merged, inputs, options.stamp.as_ref())
}

/// The plan that leads to what came of a merge.
pub(crate) fn of_merged(merged: Merged, inputs: &Inputs<'_>, stamp: Option<&Stamp>) -> Plan {
    let mut plan = Plan {
        changes_ledger: merged.ledger != *inputs.ledger,
        ledger: merged.ledger,
        stale: merged.stale,
        base: inputs.actual.revision.clone(),
        diagnostics: merged.diagnostics,
        ..Plan::default()
    };
    let relative: HashMap<&str, &Arc<str>> =
        inputs.files.iter().map(|file| (&*file.path.display, &file.path.relative)).collect();
    for outcome in merged.outcomes {
        plan.changes.push(change(outcome, &relative, stamp));
    }
    plan.count();
    plan.deletion = Deletion {
        count: plan.counts.delete + merged.removed_entries,
        total: total(inputs.actual),
    };
    file::write(&mut plan, inputs.files);
    report_lost_comments(&mut plan);
    diagnostic::sort(&mut plan.diagnostics);
    plan
}

/// What became of each resource between two listings: what a rollback or a
/// hand edit changes. `files` names the files of both.
pub fn compare(before: &Listing, after: &Listing, files: &[FilePath]) -> Vec<Change> {
    let relative: HashMap<&str, &Arc<str>> =
        files.iter().map(|path| (&*path.display, &path.relative)).collect();
    let by_key = |listing: &Listing| -> BTreeMap<ResourceKey, Arc<Resource>> {
        listing.resources.iter().map(|one| (one.key.clone(), one.clone())).collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    let keys: BTreeSet<&ResourceKey> = old.keys().chain(new.keys()).collect();
    let outcomes = keys.into_iter().filter_map(|key| {
        let (before, after) = (old.get(key), new.get(key));
        let after = match (before, after) {
            (Some(before), Some(after)) if before.root == after.root => return None,
            (_, Some(after)) => After::Written(after.root.clone()),
            (_, None) => After::Gone,
        };
        Some(Outcome { key: key.clone(), before: before.cloned(), after })
    });
    let mut outcomes: Vec<Outcome> = outcomes.collect();
    merge::sort(&mut outcomes);
    let place = |change: &Change| {
        let after = new.get(&change.key).filter(|_| change.action == Action::Create)?;
        relative.get(&*after.source.file).map(|path| (*path).clone())
    };
    let mut changes = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let change = change(outcome, &relative, None);
        let file = place(&change).unwrap_or_else(|| change.file.clone());
        changes.push(Change { file, ..change });
    }
    changes
}

fn change(outcome: Outcome, relative: &HashMap<&str, &Arc<str>>, stamp: Option<&Stamp>) -> Change {
    let Outcome { key, before, after } = outcome;
    let action = match (&before, &after) {
        (_, After::Gone) => Action::Delete,
        (_, After::Same) => Action::Unchanged,
        (None, After::Written(_)) => Action::Create,
        (Some(_), After::Written(_)) => Action::Change,
    };
    let fields = match (&before, &after) {
        (Some(before), After::Written(after)) => diff::diff(&key.kind, &before.root, after),
        _ => Vec::new(),
    };
    let file = match &before {
        Some(before) => relative
            .get(&*before.source.file)
            .map_or_else(|| before.source.file.clone(), |path| (*path).clone()),
        None => render::path_of(&key).into(),
    };
    let after = match after {
        After::Written(node) => Some(stamped(node, action, stamp)),
        After::Same | After::Gone => None,
    };
    Change { key, action, file, fields, loses_comments: false, before, after }
}

fn stamped(mut root: Node, action: Action, stamp: Option<&Stamp>) -> Node {
    let (Some(stamp), Value::Map(map)) = (stamp, &mut root.value) else { return root };
    let metadata = map.entries.iter_mut().find(|entry| &*entry.key == "metadata");
    if let Some(Value::Map(metadata)) = metadata.map(|entry| &mut entry.node.value) {
        let mut set = |key: &str, text: &str| {
            Map::set(metadata, key, Node::synthetic(Value::String(text.into())));
        };
        if action == Action::Create {
            set("creationTimestamp", &stamp.creation_timestamp);
        }
        set("resourceVersion", &stamp.resource_version);
    }
    root
}

/// Resources and entries that are there.
fn total(actual: &Listing) -> usize {
    let entries = |resource: &Resource| -> usize {
        lists_of(&resource.key.kind)
            .map(|row| {
                let list = row.path.iter().try_fold(&resource.root, |node, key| node.get(key));
                list.and_then(Node::as_list).map_or(0, <[Node]>::len)
            })
            .sum()
    };
    actual.resources.iter().map(|resource| 1 + entries(resource)).sum()
}

fn report_lost_comments(plan: &mut Plan) {
    for change in plan.changes.iter().filter(|change| change.loses_comments) {
        let place = change.before.as_ref().map(|before| before.source.clone());
        let Some(source) = place else { continue };
        let message = format!("the comments of {} will be lost", change.key);
        let at = if source.at == Position::default() { Position::new(1, 1) } else { source.at };
        plan.diagnostics.push(Diagnostic::at(&PLAN_COMMENTS_LOST, &source, at, message));
    }
}
