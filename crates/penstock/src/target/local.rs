//! A directory as a target, and the directory of a gateway in its own
//! process.

mod prepared;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use penstock_gateway::access_log::timestamp;
use penstock_gateway::compile::Options;
use penstock_manifest::Listing;
use penstock_manifest::edit::Moment;
use penstock_manifest::listing::assemble;
use penstock_manifest::plan::{self, FileChange, Plan, Stamp};

use super::candidate::both;
use super::drift;
use super::unwind::unwind;
use super::{
    Applied, ChangeRequest, Difference, Failure, FailureKind, InForce, Planned, Request, Shown,
    Standing,
};
use crate::cli::lint_output;
use crate::reload::Reloader;
use crate::store::revision::{Commit, Record};
use crate::store::{self, CommitError, Contents, Lock, Store};
use prepared::{Desired, Prepared, Remarks};

/// A directory as a target.
pub struct Local {
    name: String,
    /// None where there is no directory yet.
    store: Option<Arc<dyn Store>>,
    options: Options,
    /// Who serves it in this process.
    reloader: Option<Arc<Reloader>>,
}

impl Local {
    /// Opens what `--to` names. A directory that is not there is an empty one,
    /// if the one above it is there.
    pub fn open(name: &str, options: Options) -> Result<Self, Failure> {
        let path = PathBuf::from(name);
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let is_new = fs::symlink_metadata(&path)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
            && !name.starts_with("k8s:")
            && !name.contains("://")
            && path.file_name().is_some()
            && parent.is_none_or(std::path::Path::is_dir);
        let store = if is_new { None } else { Some(store::open(name)?) };
        Ok(Self { name: name.to_owned(), store, options, reloader: None })
    }

    /// The store of the gateway that runs in this process.
    pub fn served(name: String, store: Arc<dyn Store>, reloader: Arc<Reloader>) -> Self {
        let options = reloader.options().clone();
        Self { name, store: Some(store), options, reloader: Some(reloader) }
    }

    /// What a change would do; nothing is written.
    pub fn plan(&self, request: &Request) -> Result<Planned, Failure> {
        let (contents, prepared) = self.prepare(request)?;
        let saved = || prepared.plan.to_saved(&self.identity(), &contents.ledger);
        let saved = request.save.then(saved);
        Ok(Planned { saved, ..prepared.planned() })
    }

    /// Makes a change, whole or not at all.
    pub fn apply(&self, request: &Request) -> Result<Applied, Failure> {
        let Some(store) = &self.store else {
            // Whatever is refused leaves nothing behind, not even a directory.
            let (contents, prepared) = self.prepare(request)?;
            refuse(&prepared)?;
            let store = self.create()?;
            let lock = store.lock()?;
            return self.commit((&*store, lock), &contents, &prepared, request);
        };
        let lock = store.lock()?;
        let (contents, prepared) = self.prepare(request)?;
        refuse(&prepared)?;
        self.commit((&**store, lock), &contents, &prepared, request)
    }

    fn commit(
        &self,
        (store, lock): (&dyn Store, Lock),
        contents: &Contents,
        prepared: &Prepared,
        request: &Request,
    ) -> Result<Applied, Failure> {
        let plan = &prepared.plan;
        let mut applied = prepared.applied(request);
        if !plan.is_empty() || plan.changes_ledger {
            let record = store.commit(
                &lock,
                &Commit {
                    base: &contents.listing.revision,
                    revision: prepared.revision(),
                    files: &plan.files,
                    ledger: &plan.ledger,
                    author: request.author.clone(),
                    message: prepared.message(request),
                    summary: prepared.summary(),
                },
            )?;
            applied.revision = Some(record);
        }
        drop(lock);
        applied.in_force = self.reload();
        Ok(applied)
    }

    /// The revisions that are kept, ascending.
    pub fn history(&self) -> Result<Vec<Record>, Failure> {
        Ok(self.there()?.history()?)
    }

    fn there(&self) -> Result<&Arc<dyn Store>, Failure> {
        let missing = || {
            Failure::new(FailureKind::NotFound, format!("there is no directory `{}`", self.name))
        };
        self.store.as_ref().ok_or_else(missing)
    }

    /// A revision with its changes.
    pub fn show(&self, id: u64) -> Result<Shown, Failure> {
        let missing = || Failure::new(FailureKind::NotFound, format!("there is no revision {id}"));
        let store = self.there()?;
        let revised = store.revision(id)?.ok_or_else(missing)?;
        let contents = Contents { root: self.contents()?.root, ..Contents::default() };
        let side = |text: fn(&store::revision::RevisedFile) -> Option<&String>| {
            let files = revised.files.iter().map(|file| FileChange {
                path: file.path.as_str().into(),
                base: None,
                text: text(file).map(|text| text.as_str().into()),
            });
            contents.with(&files.collect::<Vec<_>>())
        };
        let (before, after) = (side(|file| file.before.as_ref()), side(|file| file.after.as_ref()));
        let paths = revised.files.iter().map(|file| file.path.as_str());
        let difference = difference(&contents, &before, &after, paths);
        Ok(Shown { revision: revised.record, difference })
    }

    /// What differs between two revisions, a revision and now, or, without
    /// any, what was edited by hand since the last one.
    pub fn diff(&self, from: Option<u64>, to: Option<u64>) -> Result<Difference, Failure> {
        let store = self.there()?;
        let contents = store.contents()?;
        let past = |id: u64| unwind(&**store, &contents, Some(id)).map(|past| past.files);
        let (before, after) = match (from, to) {
            (Some(from), Some(to)) => (past(from)?, past(to)?),
            (Some(from), None) => (past(from)?, Vec::new()),
            (None, _) => (written(&**store, &contents)?, Vec::new()),
        };
        let paths = before.iter().chain(&after).map(|file| &*file.path).collect::<Vec<_>>();
        Ok(difference(&contents, &contents.with(&before), &contents.with(&after), paths))
    }

    /// How the target stands.
    pub fn standing(&self) -> Result<Standing, Failure> {
        let contents = self.there()?.contents()?;
        Ok(Standing {
            content: contents.listing.revision.to_string(),
            resources: contents.listing.resources.len(),
            owned: contents.ledger.resources().count() + contents.ledger.entries().count(),
            last: self.history()?.pop(),
            drift: drift::drifted(&contents).into_iter().map(str::to_owned).collect(),
            in_force: self.in_force(),
        })
    }

    /// What counts there.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Everything the target holds.
    pub fn listing(&self) -> Result<Listing, Failure> {
        match &self.store {
            Some(store) => Ok(store.list()?),
            None => Ok(Listing::default()),
        }
    }

    fn contents(&self) -> Result<Contents, Failure> {
        match &self.store {
            Some(store) => Ok(store.contents()?),
            None => {
                let root = format!("{}/", self.name.trim_end_matches('/')).into();
                Ok(Contents { root, listing: assemble([]), ..Contents::default() })
            }
        }
    }

    /// What the target is, from wherever it is named.
    fn identity(&self) -> String {
        let path = fs::canonicalize(&self.name).or_else(|_| std::path::absolute(&self.name));
        path.map_or_else(|_| self.name.clone(), |path| path.display().to_string())
    }

    fn create(&self) -> Result<Arc<dyn Store>, Failure> {
        match fs::create_dir(&self.name) {
            Err(reason) if reason.kind() != io::ErrorKind::AlreadyExists => {
                let path = PathBuf::from(&self.name);
                Err(CommitError::Unwritable { path, reason }.into())
            }
            _ => Ok(store::open(&self.name)?),
        }
    }

    /// Everything that is to be known before a change is made.
    fn prepare(&self, request: &Request) -> Result<(Contents, Prepared), Failure> {
        request.check()?;
        let (contents, desired) = both(|| self.contents(), || Desired::of(&request.change));
        let (desired, contents) = (desired?, contents?);
        if let Some(base) = &request.base
            && *base != *contents.listing.revision.to_string()
        {
            let message = "conflict: the target changed since the plan was made; plan again";
            return Err(Failure::new(FailureKind::Conflict, message));
        }
        let plan = self.planned(&contents, request, desired)?;
        let prepared = Prepared::of(&contents, plan, request, &self.options)?;
        Ok((contents, prepared))
    }

    /// The plan of a change, and what is in its way.
    fn planned(
        &self,
        contents: &Contents,
        request: &Request,
        desired: Desired,
    ) -> Result<(Plan, Remarks), Failure> {
        let mut remarks = Remarks::default();
        let plan = match &request.change {
            ChangeRequest::Intent { .. } => {
                let (repaired, files) = self.repaired(contents, request)?.unzip();
                let actual = repaired.as_ref().unwrap_or(contents);
                let mut plan = desired.plan(actual, request, moment().stamp, &mut remarks.unused);
                remarks.again = add_files(&mut plan, files.unwrap_or_default());
                remarks.conflicts = self.overwritten(contents, request, &plan)?;
                plan
            }
            ChangeRequest::Edit(edit) => {
                let plan = prepared::from_edit(contents, edit, &moment())?;
                remarks.conflicts = self.overwritten(contents, request, &plan)?;
                plan
            }
            ChangeRequest::Plan(saved) => prepared::from_saved(contents, saved, &self.identity())?,
            ChangeRequest::Rollback { to } => {
                let past = unwind(&**self.there()?, contents, *to)?;
                if !request.overwrite {
                    remarks.conflicts = drift::lost(contents, &past.files);
                }
                remarks.edited.clone_from(&past.edited);
                prepared::from_past(contents, past)
            }
        };
        Ok((plan, remarks))
    }

    /// What is there with the files that an edit by hand broke, as penstock
    /// wrote them last, where they may be overwritten.
    fn repaired(
        &self,
        contents: &Contents,
        request: &Request,
    ) -> Result<Option<(Contents, Vec<FileChange>)>, Failure> {
        match &self.store {
            Some(store) if request.overwrite => drift::repaired(&**store, contents),
            _ => Ok(None),
        }
    }

    /// What a plan would overwrite of what was edited by hand, unless it may.
    fn overwritten(
        &self,
        contents: &Contents,
        request: &Request,
        plan: &Plan,
    ) -> Result<Vec<String>, Failure> {
        match &self.store {
            Some(store) if !request.overwrite => drift::overwritten(&**store, contents, plan),
            _ => Ok(Vec::new()),
        }
    }

    fn reload(&self) -> Option<InForce> {
        self.reloader.as_ref()?.reload(false);
        self.in_force()
    }

    fn in_force(&self) -> Option<InForce> {
        let report = self.reloader.as_ref()?.report();
        let errors: Vec<_> = report
            .diagnostics
            .into_iter()
            .filter(|found| found.severity == penstock_manifest::Severity::Error)
            .collect();
        Some(InForce {
            revision: report.revision.to_string(),
            error: report.error,
            notes: lint_output::text(&errors),
        })
    }
}

fn refuse(prepared: &Prepared) -> Result<(), Failure> {
    prepared.failure().map_or(Ok(()), Err)
}

/// Adds the files that a plan does not write anyhow. Returns their paths.
fn add_files(plan: &mut Plan, files: Vec<FileChange>) -> Vec<String> {
    let is_new = |file: &FileChange| plan.files.iter().all(|other| other.path != file.path);
    let added: Vec<FileChange> = files.into_iter().filter(is_new).collect();
    let paths = added.iter().map(|file| file.path.to_string()).collect();
    plan.files.extend(added);
    paths
}

/// What was written last, where it is not there any more.
fn written(store: &dyn Store, contents: &Contents) -> Result<Vec<FileChange>, Failure> {
    let drifted = drift::drifted(contents);
    let texts = drift::last_written(store, drifted)?;
    let changes = texts.into_iter().map(|(path, text)| FileChange {
        path: path.into(),
        base: None,
        text: text.map(Arc::from),
    });
    Ok(changes.collect())
}

fn difference<'p>(
    contents: &Contents,
    before: &Listing,
    after: &Listing,
    paths: impl IntoIterator<Item = &'p str>,
) -> Difference {
    let mut paths: Vec<_> = paths.into_iter().map(|path| contents.path_of(&path.into())).collect();
    paths.sort();
    paths.dedup();
    let mut plan = Plan { changes: plan::compare(before, after, &paths), ..Plan::default() };
    plan.count();
    Difference {
        has_changes: !plan.changes.is_empty(),
        text: plan.to_text(),
        changes: plan.to_json()["changes"].take(),
    }
}

/// What time it is.
fn moment() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // Kubernetes writes whole seconds.
    let seconds = timestamp(UNIX_EPOCH + Duration::from_secs(since.as_secs()));
    let stamp = Stamp {
        creation_timestamp: seconds.replace(".000Z", "Z"),
        resource_version: since.as_millis().to_string(),
    };
    Moment { now_s: since.as_secs(), stamp: Some(stamp) }
}
