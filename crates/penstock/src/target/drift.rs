//! What was edited by hand since penstock wrote it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::ResourceKey;
use penstock_manifest::listing::assemble;
use penstock_manifest::plan::{self, Action, Change, FileChange, Plan, hex};
use penstock_manifest::read::{FileContent, read_file};

use super::Failure;
use crate::store::{Contents, Store};

/// The files that do not hold what penstock wrote, sorted; those that are
/// gone included.
pub(super) fn drifted(contents: &Contents) -> Vec<&str> {
    let there: HashMap<&str, String> =
        contents.files.iter().map(|file| (&*file.path.relative, hex(&file.hash))).collect();
    let is_other = |(path, hash): &(&String, &String)| there.get(path.as_str()) != Some(hash);
    contents.hashes.iter().filter(is_other).map(|(path, _)| path.as_str()).collect()
}

/// The files of a change that were edited by hand. One that was removed by
/// hand is none of them: writing it again loses nothing.
pub(super) fn edited<'f>(contents: &Contents, files: &'f [FileChange]) -> Vec<&'f Arc<str>> {
    let is_edited = |file: &&FileChange| {
        let written = contents.hashes.get(&*file.path);
        file.base.is_some_and(|base| written.is_some_and(|written| *written != hex(&base)))
    };
    files.iter().filter(is_edited).map(|file| &file.path).collect()
}

/// What going back would take away that is not what penstock wrote last, one
/// sentence for each file.
pub(super) fn lost(contents: &Contents, files: &[FileChange]) -> Vec<String> {
    let is_lost = |file: &&FileChange| {
        file.base.is_some_and(|base| contents.hashes.get(&*file.path) != Some(&hex(&base)))
    };
    let sentence = |file: &FileChange| {
        format!("conflict: `{}` was edited by hand and would be overwritten", file.path)
    };
    files.iter().filter(is_lost).map(sentence).collect()
}

/// What penstock wrote last into files, as far as its history goes back:
/// nothing for a file that it removed.
pub(super) fn last_written<'p>(
    store: &dyn Store,
    paths: impl IntoIterator<Item = &'p str>,
) -> Result<HashMap<String, Option<String>>, Failure> {
    let mut wanted: HashSet<&str> = paths.into_iter().collect();
    let mut texts = HashMap::new();
    for record in store.history()?.iter().rev() {
        if wanted.is_empty() {
            break;
        }
        let Some(revised) = store.revision(record.id)? else { continue };
        for file in revised.files {
            if wanted.remove(file.path.as_str()) {
                texts.insert(file.path, file.after);
            }
        }
    }
    Ok(texts)
}

/// What a plan would overwrite of what was edited by hand, one sentence for
/// each place.
pub(super) fn overwritten(
    store: &dyn Store,
    contents: &Contents,
    plan: &Plan,
) -> Result<Vec<String>, Failure> {
    let edited = edited(contents, &plan.files);
    if edited.is_empty() {
        return Ok(Vec::new());
    }
    let written = last_written(store, edited.iter().map(|path| &***path))?;
    let mut planned: HashMap<&str, Vec<&Change>> = HashMap::new();
    for change in &plan.changes {
        if matches!(change.action, Action::Change | Action::Delete) {
            planned.entry(&change.file).or_default().push(change);
        }
    }
    let there: HashMap<&str, &Arc<FileContent>> =
        contents.files.iter().map(|file| (&*file.path.relative, file)).collect();
    let mut sentences = Vec::new();
    for path in edited {
        let Some(now) = there.get(&**path) else { continue };
        let edits = written.get(&**path).map(|text| edits(now, text.as_deref()));
        for change in planned.remove(&**path).unwrap_or_default() {
            let place = match &edits {
                Some(edits) => edits.get(&change.key).and_then(|edit| overlap(edit, change)),
                None => Some(change.key.to_string()),
            };
            if let Some(place) = place {
                sentences.push(format!(
                    "conflict: `{path}` was edited by hand, and {place} would be overwritten"
                ));
            }
        }
    }
    Ok(sentences)
}

/// What was edited in a file, by resource.
fn edits(now: &FileContent, written: Option<&str>) -> HashMap<ResourceKey, Change> {
    let before = written.map(|text| assemble([&read_file(&now.path, text)])).unwrap_or_default();
    let changes = plan::compare(&before, &assemble([now]), std::slice::from_ref(&now.path));
    changes.into_iter().map(|change| (change.key.clone(), change)).collect()
}

/// The place where a plan meets an edit of the same resource.
fn overlap(edit: &Change, change: &Change) -> Option<String> {
    if edit.action != Action::Change || change.action != Action::Change {
        return Some(change.key.to_string());
    }
    let meets = |edited: &str, planned: &str| {
        let is_below = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        is_below(edited, planned) || is_below(planned, edited)
    };
    let field = edit
        .fields
        .iter()
        .find(|edited| change.fields.iter().any(|planned| meets(&edited.path, &planned.path)))?;
    Some(format!("`{}` of {}", field.path, change.key))
}
