//! What a change would lead to: the content, what is wrong with it that was
//! not wrong before, and what it means for traffic.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_gateway::compile::{self, Options};
use penstock_gateway::snapshot::Snapshot;
use penstock_gateway::traffic::{self, Traffic};
use penstock_manifest::listing::assemble;
use penstock_manifest::plan::FileChange;
use penstock_manifest::read::{FileContent, FilePath, read_file};
use penstock_manifest::{Diagnostic, Listing, Revision, Severity, diagnostic, lint};

use crate::store::Contents;

impl Contents {
    /// The path of a file below the root.
    pub(super) fn path_of(&self, relative: &Arc<str>) -> FilePath {
        FilePath::new(format!("{}{relative}", self.root), relative.clone())
    }

    /// The listing with some files changed.
    pub(super) fn with(&self, changes: &[FileChange]) -> Listing {
        let mut changed: HashMap<&str, &FileChange> =
            changes.iter().map(|change| (&*change.path, change)).collect();
        let mut files = Vec::with_capacity(self.files.len() + changes.len());
        let mut texts = Vec::with_capacity(changes.len());
        for file in &self.files {
            match changed.remove(&*file.path.relative) {
                None => files.push(file.clone()),
                Some(FileChange { text: Some(text), .. }) => texts.push((file.path.clone(), text)),
                Some(FileChange { text: None, .. }) => {}
            }
        }
        for change in changed.into_values() {
            texts.extend(change.text.as_ref().map(|text| (self.path_of(&change.path), text)));
        }
        files.extend(read_all(&texts));
        assemble(files.iter().map(|file| &**file))
    }
}

/// From how many files on reading them is worth more than one thread.
const PARALLEL_FILES_MIN: usize = 64;

fn read_all(texts: &[(FilePath, &Arc<str>)]) -> Vec<Arc<FileContent>> {
    let read = |texts: &[(FilePath, &Arc<str>)]| -> Vec<Arc<FileContent>> {
        texts.iter().map(|(path, text)| Arc::new(read_file(path, text))).collect()
    };
    if texts.len() < PARALLEL_FILES_MIN {
        return read(texts);
    }
    let (left, right) = texts.split_at(texts.len() / 2);
    let (mut files, others) = both(|| read(left), || read(right));
    files.extend(others);
    files
}

/// The results of two pieces of work that are done at the same time.
pub(super) fn both<A: Send, B>(
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B,
) -> (A, B) {
    std::thread::scope(|scope| {
        let first = scope.spawn(first);
        let second = second();
        match first.join() {
            Ok(first) => (first, second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A configuration that is not in force yet.
pub(super) struct Candidate {
    /// Its content.
    pub(super) revision: Revision,
    /// What it means for traffic.
    pub(super) traffic: Traffic,
    /// The findings that are new in it.
    pub(super) findings: Vec<Diagnostic>,
}

impl Candidate {
    /// Compiles both sides of a change and compares them. The other result is
    /// what requests would meet.
    pub(super) fn of(before: &Listing, after: &Listing, options: &Options) -> (Self, Snapshot) {
        let ((old, known), (new, found)) = both(|| look(before, options), || look(after, options));
        let traffic = traffic::compare(&old, &new);
        let findings = new_ones(&known, found);
        (Self { revision: after.revision.clone(), traffic, findings }, new)
    }

    /// The new findings that are errors.
    pub(super) fn errors(&self) -> usize {
        self.findings.iter().filter(|found| found.severity == Severity::Error).count()
    }
}

/// A listing compiled, with everything that is wrong with it.
fn look(listing: &Listing, options: &Options) -> (Snapshot, Vec<Diagnostic>) {
    let lint = || lint::lint_listing(listing, &lint::Options { console: false });
    let (mut findings, compiled) = both(lint, || compile::compile(listing, &[], options));
    findings.extend(compiled.diagnostics);
    findings.extend_from_slice(&listing.diagnostics);
    (compiled.snapshot, findings)
}

/// What of a finding stays the same when lines above it come or go.
type Gist = (&'static str, Arc<str>, String, String);

fn gist(found: &Diagnostic) -> Gist {
    // Lines and places in lists move when something comes or goes before
    // them; a message may name such a line as well.
    let path = without_numbers(&found.path, '[');
    (found.code.id, found.file.clone(), path, without_numbers(&found.message, ':'))
}

/// A text without the numbers that follow a mark.
fn without_numbers(text: &str, mark: char) -> String {
    let mut is_number = false;
    let kept = text.chars().filter(|c| {
        is_number = *c == mark || (is_number && c.is_ascii_digit());
        !is_number || *c == mark
    });
    kept.collect()
}

/// The findings that were not there before, sorted.
fn new_ones(known: &[Diagnostic], mut found: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut counts: HashMap<Gist, usize> = HashMap::new();
    for one in known {
        *counts.entry(gist(one)).or_default() += 1;
    }
    found.retain(|one| match counts.get_mut(&gist(one)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    });
    diagnostic::sort(&mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_move_are_left_out() {
        let check = |text, mark, expected| assert_eq!(without_numbers(text, mark), expected);
        check("spec.rules[12].paths[3]", '[', "spec.rules[].paths[]");
        check("a1 stands in x.yaml:12:3 already", ':', "a1 stands in x.yaml:: already");
        check("", '[', "");
    }
}
