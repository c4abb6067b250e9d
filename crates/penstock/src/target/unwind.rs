//! From the history to a state that was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Failure, FailureKind};
use crate::store::revision::{Hashes, Record};
use crate::store::{Contents, Store};
use penstock_manifest::ledger::Ledger;
use penstock_manifest::plan::{FileChange, hex};
use penstock_manifest::redact::sha256_hex;

/// A state that was: the files that differ from now, and what was penstock's.
pub(super) struct Past {
    /// What has to be written to come back to it.
    pub(super) files: Vec<FileChange>,
    /// What was penstock's.
    pub(super) ledger: Ledger,
    /// The files that were edited by hand after it and before the next
    /// revision that wrote them. They come back without the edit.
    pub(super) edited: Vec<String>,
}

/// The state after a revision, as penstock left it; by default, after the one
/// before the last. What penstock did not write then comes back as it was
/// before penstock wrote it.
pub(super) fn unwind(
    store: &dyn Store,
    contents: &Contents,
    to: Option<u64>,
) -> Result<Past, Failure> {
    let not_found = |message: String| Failure::new(FailureKind::NotFound, message);
    let history = store.history()?;
    let Some(last) = history.last().map(|record| record.id) else {
        return Err(not_found("there is no revision to go back from".to_owned()));
    };
    let id = to.unwrap_or(last - 1);
    if id > last {
        return Err(not_found(format!("there is no revision {id}; the last one is {last}")));
    }
    let (ledger, hashes) = match store.revision(id)? {
        Some(revised) => (revised.ledger, revised.hashes),
        None if id == 0 && history.first().is_some_and(|first| first.id == 1) => Default::default(),
        None => return Err(not_found(no_longer_kept(id, &history))),
    };
    let mut texts: BTreeMap<String, Option<String>> = BTreeMap::new();
    for number in (id + 1..=last).rev() {
        let Some(revised) = store.revision(number)? else {
            return Err(not_found(no_longer_kept(number, &history)));
        };
        texts.extend(revised.files.into_iter().map(|file| (file.path, file.before)));
    }
    let edited = undo_edits(store, (id, &hashes), &mut texts)?;
    let there: BTreeMap<&str, [u8; 32]> =
        contents.files.iter().map(|file| (&*file.path.relative, file.hash)).collect();
    let files = texts.into_iter().filter_map(|(path, text)| {
        let base = there.get(path.as_str()).copied();
        let is_there = base.map(|base| hex(&base)) == text.as_deref().map(sha256_hex);
        let change = FileChange { path: path.into(), base, text: text.map(Arc::from) };
        (!is_there).then_some(change)
    });
    Ok(Past { files: files.collect(), ledger, edited })
}

/// Replaces texts that are not what penstock had written by then with those
/// that are. Returns their paths.
fn undo_edits(
    store: &dyn Store,
    (id, hashes): (u64, &Hashes),
    texts: &mut BTreeMap<String, Option<String>>,
) -> Result<Vec<String>, Failure> {
    let is_edited = |(path, text): &(&String, &Option<String>)| {
        hashes.get(*path).is_some_and(|hash| text.as_deref().map(sha256_hex).as_ref() != Some(hash))
    };
    let edited: Vec<String> =
        texts.iter().filter(is_edited).map(|(path, _)| path.clone()).collect();
    let mut missing: BTreeSet<&str> = edited.iter().map(String::as_str).collect();
    for record in store.history()?.iter().rev().filter(|record| record.id <= id) {
        if missing.is_empty() {
            break;
        }
        let Some(revised) = store.revision(record.id)? else { continue };
        for file in revised.files {
            if file.hash.as_ref() == hashes.get(&file.path) && missing.remove(&*file.path) {
                texts.insert(file.path, file.after);
            }
        }
    }
    match missing.first() {
        None => Ok(edited),
        Some(path) => {
            let message = format!("what `{path}` held after revision {id} is no longer kept");
            Err(Failure::new(FailureKind::NotFound, message))
        }
    }
}

fn no_longer_kept(id: u64, history: &[Record]) -> String {
    let first = history.first().map_or(0, |record| record.id);
    format!("revision {id} is no longer kept; the oldest one is {first}")
}
