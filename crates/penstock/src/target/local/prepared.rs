//! A change with everything that is to be known before it is made.

use std::fmt::Write as _;
use std::io;

use penstock_gateway::compile::Options;
use penstock_gateway::explain::Explainer;
use penstock_manifest::diagnostic::INTENT_SECRET;
use penstock_manifest::edit::{self, Moment, There};
use penstock_manifest::intent::secret::resolve;
use penstock_manifest::intent::{self, IntentFile};
use penstock_manifest::plan::{self, Action, Inputs, Plan, SavedPlan, Stamp};
use penstock_manifest::render::{self, render};
use penstock_manifest::{Diagnostic, Resource, Revision, Severity, diagnostic, merge};
use serde_json::Value as Json;

use crate::cli::lint_output;
use crate::expectation::Tests;
use crate::store::Contents;
use crate::target::answer::Refusal;
use crate::target::candidate::Candidate;
use crate::target::unwind::Past;
use crate::target::{
    AdoptRequest, Applied, ChangeRequest, EditRequest, Failure, FailureKind, IntentText, Planned,
    Request, drift, key_of,
};

/// What an intent wants to be there.
#[derive(Default)]
pub(super) struct Desired {
    resources: Vec<Resource>,
    findings: Vec<Diagnostic>,
}

impl Desired {
    /// What a change that is an intent wants; nothing for any other.
    pub(super) fn of(change: &ChangeRequest) -> Result<Self, Failure> {
        let ChangeRequest::Intent { files, secrets } = change else { return Ok(Self::default()) };
        let files = files.iter().map(|file| IntentFile { name: &file.name, text: &file.text });
        let (intent, findings) = intent::parse(files);
        let mut findings = unusable(findings, "the intent cannot be used")?;
        let rendered = render(&intent, &render::Options::default());
        findings.extend(unusable(rendered.diagnostics, "the intent cannot be rendered")?);
        let (mut resources, unresolved) = resolve(&intent, |lookup| {
            secrets.get(&key_of(lookup)).cloned().ok_or_else(|| "was not given".to_owned())
        });
        findings.extend(unusable(unresolved, "the secrets of the intent cannot be used")?);
        resources.extend(rendered.resources);
        render::sort(&mut resources);
        Ok(Self { resources, findings })
    }

    /// The plan that it becomes. `unused` gets the names to adopt that nothing
    /// has.
    pub(super) fn plan(
        self,
        contents: &Contents,
        request: &Request,
        stamp: Option<Stamp>,
        unused: &mut Vec<String>,
    ) -> Plan {
        let inputs = Inputs {
            desired: &self.resources,
            actual: &contents.listing,
            files: &contents.texts,
            ledger: &contents.ledger,
        };
        let with = |adopt| plan::Options {
            merge: merge::Options { adopt, prune: request.prune },
            stamp: stamp.clone(),
        };
        let mut plan = plan::plan(&inputs, &with((&request.adopt).into()));
        if let AdoptRequest::Only(names) = &request.adopt {
            let conflicts = plan::plan(&inputs, &with(merge::Adopt::Nothing)).diagnostics;
            unused.extend(names.iter().filter(|name| !is_in_the_way(&conflicts, name)).cloned());
        }
        plan.diagnostics.extend(self.findings);
        diagnostic::sort(&mut plan.diagnostics);
        plan
    }
}

/// The plan that one edit of what is there becomes.
pub(super) fn from_edit(
    contents: &Contents,
    request: &EditRequest,
    moment: &Moment,
) -> Result<Plan, Failure> {
    let there =
        There { actual: &contents.listing, files: &contents.texts, ledger: &contents.ledger };
    Ok(edit::edit(&there, request.edit(), moment)?)
}

fn is_in_the_way(conflicts: &[Diagnostic], name: &str) -> bool {
    let named = format!("`{name}`");
    conflicts.iter().any(|found| found.hint.as_ref().is_some_and(|hint| hint.contains(&named)))
}

/// The findings, unless there is an error among them.
fn unusable(findings: Vec<Diagnostic>, message: &str) -> Result<Vec<Diagnostic>, Failure> {
    let is_error =
        |found: &Diagnostic| found.severity == Severity::Error || *found.code == INTENT_SECRET;
    match findings.iter().any(is_error) {
        true => {
            Err(Failure::new(FailureKind::Invalid, message)
                .with_notes(lint_output::text(&findings)))
        }
        false => Ok(findings),
    }
}

/// A plan that was saved, if it was made for this target as it is.
pub(super) fn from_saved(
    contents: &Contents,
    saved: &Json,
    identity: &str,
) -> Result<Plan, Failure> {
    let invalid = |error: String| Failure::new(FailureKind::Invalid, error);
    let saved = SavedPlan::from_json(saved).map_err(|error| invalid(error.to_string()))?;
    if *saved.target != *identity {
        return Err(invalid(format!("the plan was made for `{}`, not `{identity}`", saved.target)));
    }
    if saved.base != contents.listing.revision || *saved.base_ledger != *contents.ledger.hash() {
        let message = "conflict: the target changed since the plan was made; plan again";
        return Err(Failure::new(FailureKind::Conflict, message));
    }
    Ok(Plan {
        changes_ledger: saved.ledger != contents.ledger,
        ledger: saved.ledger,
        deletion: saved.deletion,
        ..of_files(contents, saved.files)
    })
}

/// The plan that brings a state back.
pub(super) fn from_past(contents: &Contents, past: Past) -> Plan {
    Plan {
        changes_ledger: past.ledger != contents.ledger,
        ledger: past.ledger,
        ..of_files(contents, past.files)
    }
}

fn of_files(contents: &Contents, files: Vec<plan::FileChange>) -> Plan {
    let after = contents.with(&files);
    let paths: Vec<_> = files.iter().map(|file| contents.path_of(&file.path)).collect();
    let mut plan = Plan {
        changes: plan::compare(&contents.listing, &after, &paths),
        base: contents.listing.revision.clone(),
        files,
        ..Plan::default()
    };
    plan.count();
    plan.order_files();
    plan
}

/// What there is to say about a change beside its plan.
#[derive(Default)]
pub(super) struct Remarks {
    /// What is in its way.
    pub(super) conflicts: Vec<String>,
    /// The files that were edited by hand between revisions, an edit that does
    /// not come back.
    pub(super) edited: Vec<String>,
    /// The files that are written again because nobody can read them.
    pub(super) again: Vec<String>,
    /// The names to adopt that nothing has.
    pub(super) unused: Vec<String>,
}

/// A change with everything that is to be known before it is made.
pub(super) struct Prepared {
    pub(super) plan: Plan,
    /// None where nothing changes.
    candidate: Option<Candidate>,
    /// The files that were edited by hand.
    drift: Vec<String>,
    refusals: Vec<Refusal>,
    /// Whether to tell programs.
    has_details: bool,
    /// What a failed verification says.
    verification: String,
    remarks: Remarks,
}

impl Prepared {
    /// Compiles what the plan leads to and asks every guard.
    pub(super) fn of(
        contents: &Contents,
        (plan, remarks): (Plan, Remarks),
        request: &Request,
        options: &Options,
    ) -> Result<Self, Failure> {
        let drift = drift::drifted(contents).into_iter().map(str::to_owned).collect();
        let (refusals, verification) = (Vec::new(), String::new());
        let has_details = request.details;
        let mut prepared =
            Self { plan, candidate: None, drift, refusals, has_details, verification, remarks };
        for conflict in std::mem::take(&mut prepared.remarks.conflicts) {
            prepared.refuse(FailureKind::Conflict, conflict);
        }
        if prepared.plan.is_refused() {
            prepared.refuse(FailureKind::Conflict, "the target holds what is in the way".into());
        }
        let deletion = prepared.plan.deletion;
        let is_rollback = matches!(request.change, ChangeRequest::Rollback { .. });
        if !is_rollback && deletion.exceeds(request.allow_delete) {
            let message = format!(
                "{} of {} things would be deleted; --allow-delete {} allows it",
                deletion.count, deletion.total, deletion.count
            );
            prepared.refuse(FailureKind::Refused, message);
        }
        if !prepared.plan.is_empty() || request.verify.is_some() {
            let after = contents.with(&prepared.plan.files);
            let (candidate, snapshot) = Candidate::of(&contents.listing, &after, options);
            prepared.judge(&candidate);
            if let Some(verify) = &request.verify {
                prepared.verify(verify, &Explainer::new(snapshot))?;
            }
            prepared.candidate = Some(candidate);
        }
        Ok(prepared)
    }

    fn judge(&mut self, candidate: &Candidate) {
        let errors = candidate.errors();
        if errors > 0 {
            let what = if errors == 1 { "error" } else { "errors" };
            self.refuse(FailureKind::Refused, format!("{errors} new {what} in the configuration"));
        }
    }

    fn verify(&mut self, table: &IntentText, explainer: &Explainer) -> Result<(), Failure> {
        let tests = Tests::parse(&table.name, &table.text).map_err(|findings| {
            let message = format!("`{}` cannot be used", table.name);
            Failure::new(FailureKind::Invalid, message).with_notes(lint_output::text(&findings))
        })?;
        let unavailable =
            |error: io::Error| Failure::new(FailureKind::Unavailable, error.to_string());
        let outcomes = tests.run(explainer).map_err(unavailable)?;
        if !outcomes.is_ok() {
            self.verification = outcomes.text();
            self.refuse(FailureKind::Refused, "the verification failed".to_owned());
        }
        Ok(())
    }

    /// Why the change is not made, where it is not.
    pub(super) fn failure(&self) -> Option<Failure> {
        Failure::of(&self.refusals, || self.notes())
    }

    fn refuse(&mut self, kind: FailureKind, message: String) {
        self.refusals.push(Refusal { kind, message });
    }

    /// The content that the change leads to.
    pub(super) fn revision(&self) -> &Revision {
        self.candidate.as_ref().map_or(&self.plan.base, |candidate| &candidate.revision)
    }

    /// Why the change is made, where nobody said it.
    pub(super) fn message(&self, request: &Request) -> String {
        match (&*request.message, &request.change) {
            ("", ChangeRequest::Rollback { to: Some(to) }) => format!("rollback to {to}"),
            ("", ChangeRequest::Rollback { to: None }) => "rollback".to_owned(),
            ("", ChangeRequest::Edit(edit)) => edit.message(),
            (message, _) => message.to_owned(),
        }
    }

    /// The findings of the plan, then those that are new in the configuration.
    fn notes(&self) -> String {
        let mut notes = lint_output::digest(&self.plan.diagnostics);
        if let Some(candidate) = &self.candidate {
            notes.push_str(&lint_output::digest(&candidate.findings));
        }
        notes.push_str(&self.verification);
        notes
    }

    fn json(&self) -> Json {
        if !self.has_details {
            return Json::Null;
        }
        let mut json = self.plan.to_json();
        if let Some(candidate) = &self.candidate {
            json["traffic"] = candidate.traffic.to_json();
            json["findings"] = candidate.findings.iter().map(Diagnostic::to_json).collect();
        }
        json["drift"] = self.drift.clone().into();
        json["lostEdits"] = self.remarks.edited.clone().into();
        json["unusedAdoptions"] = self.remarks.unused.clone().into();
        json["writtenAgain"] = self.remarks.again.clone().into();
        json
    }

    /// What the change would do.
    pub(super) fn planned(&self) -> Planned {
        Planned {
            plan: self.json(),
            text: self.text(),
            notes: self.notes(),
            has_changes: !self.plan.is_empty() || self.plan.changes_ledger,
            base: self.plan.base.to_string(),
            refusals: self.refusals.clone(),
            saved: None,
        }
    }

    fn text(&self) -> String {
        let mut text = self.plan.to_text();
        if self.plan.is_empty() && self.plan.changes_ledger {
            text.push_str("no file changes, but what belongs to penstock does\n");
        }
        let traffic = self.candidate.as_ref().filter(|candidate| !candidate.traffic.is_empty());
        if let Some(candidate) = traffic {
            text.push_str("\ntraffic\n");
            text.push_str(&candidate.traffic.to_text());
        }
        let lists = [
            ("edited by hand", &self.drift),
            ("edited by hand between revisions; that does not come back", &self.remarks.edited),
            ("written again, because nobody can read them", &self.remarks.again),
            ("nothing that could be adopted has the name", &self.remarks.unused),
        ];
        for (title, paths) in lists.into_iter().filter(|(_, paths)| !paths.is_empty()) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n{title}\n  {}", paths.join("\n  "));
        }
        text
    }

    /// What the change did, once it is made.
    pub(super) fn applied(&self, request: &Request) -> Applied {
        let text = match request.change {
            ChangeRequest::Rollback { .. } => self.text(),
            _ => self.lines(),
        };
        Applied {
            plan: self.json(),
            text,
            notes: self.notes(),
            revision: None,
            content: self.revision().to_string(),
            in_force: None,
        }
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for change in &self.plan.changes {
            let what = match change.action {
                Action::Create => "created",
                Action::Change => "configured",
                Action::Delete => "deleted",
                Action::Unchanged => "unchanged",
            };
            let _ = writeln!(text, "{} {what}", change.key);
        }
        text
    }

    /// What the change did, counted.
    pub(super) fn summary(&self) -> String {
        let counts = &self.plan.counts;
        let summary =
            [(counts.create, "created"), (counts.change, "changed"), (counts.delete, "deleted")];
        let parts: Vec<String> = summary
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if parts.is_empty() { "nothing but ownership".to_owned() } else { parts.join(", ") }
    }
}
