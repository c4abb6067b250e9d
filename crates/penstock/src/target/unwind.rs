//! From the history to a state that was.

use std::collections::BTreeMap;
use std::sync::Arc;

use penstock_manifest::ledger::Ledger;
use penstock_manifest::plan::FileChange;
use sha2::{Digest, Sha256};

use super::{Failure, FailureKind};
use crate::store::revision::Record;
use crate::store::{Contents, Store};

/// A state that was: the files that differ from now, and what was penstock's.
pub(super) struct Past {
    /// What has to be written to come back to it.
    pub(super) files: Vec<FileChange>,
    /// What was penstock's.
    pub(super) ledger: Ledger,
}

/// The state after a revision; by default, after the one before the last.
///
/// A hand edit that a later revision replaced comes back with it: what counts
/// is what was there before that revision.
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
    let ledger = match store.revision(id)? {
        Some(revised) => revised.ledger,
        None if id == 0 && history.first().is_some_and(|first| first.id == 1) => Ledger::default(),
        None => return Err(not_found(no_longer_kept(id, &history))),
    };
    let mut texts: BTreeMap<String, Option<String>> = BTreeMap::new();
    for number in (id + 1..=last).rev() {
        let Some(revised) = store.revision(number)? else {
            return Err(not_found(no_longer_kept(number, &history)));
        };
        texts.extend(revised.files.into_iter().map(|file| (file.path, file.before)));
    }
    let there: BTreeMap<&str, [u8; 32]> =
        contents.files.iter().map(|file| (&*file.path.relative, file.hash)).collect();
    let files = texts.into_iter().filter_map(|(path, text)| {
        let base = there.get(path.as_str()).copied();
        let is_there = match (&base, &text) {
            (None, None) => true,
            (Some(base), Some(text)) => *base == hash_of(text),
            _ => false,
        };
        let change = FileChange { path: path.into(), base, text: text.map(Arc::from) };
        (!is_there).then_some(change)
    });
    Ok(Past { files: files.collect(), ledger })
}

fn no_longer_kept(id: u64, history: &[Record]) -> String {
    let first = history.first().map_or(0, |record| record.id);
    format!("revision {id} is no longer kept; the oldest one is {first}")
}

fn hash_of(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}
