//! What was edited by hand since penstock wrote it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use penstock_manifest::ResourceKey;
use penstock_manifest::listing::assemble;
use penstock_manifest::plan::{self, Action, Change, FileChange, Plan, TargetFile, hex};
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

/// The files of a change that were edited or removed by hand.
fn edited<'f>(contents: &Contents, files: &'f [FileChange]) -> Vec<&'f Arc<str>> {
    let is_edited = |file: &&FileChange| {
        let written = contents.hashes.get(&*file.path);
        written.is_some_and(|written| file.base.map(|base| hex(&base)).as_ref() != Some(written))
    };
    files.iter().filter(is_edited).map(|file| &file.path).collect()
}

/// What going back would take away that is not what penstock wrote last, one
/// sentence for each file.
pub(super) fn lost(contents: &Contents, files: &[FileChange]) -> Vec<String> {
    let is_lost = |file: &&FileChange| {
        let base = file.base.map(|base| hex(&base));
        contents.hashes.get(&*file.path) != base.as_ref()
    };
    let sentence = |file: &FileChange| conflict(&file.path, file.base.is_some(), "it");
    files.iter().filter(is_lost).map(sentence).collect()
}

fn conflict(path: &str, is_there: bool, place: &str) -> String {
    match is_there {
        true => format!(
            "conflict: `{path}` was edited by hand, and {place} would be overwritten \
             (--overwrite allows it)"
        ),
        false => format!(
            "conflict: `{path}` was removed by hand and would be written again \
             (--overwrite allows it)"
        ),
    }
}

/// What a target holds with the files that nobody can read any more, because
/// of an edit by hand, as penstock wrote them last; none where there are none.
pub(super) fn repaired(
    store: &dyn Store,
    contents: &Contents,
) -> Result<Option<(Contents, Vec<FileChange>)>, Failure> {
    let is_broken = |file: &&Arc<FileContent>| {
        let written = contents.hashes.get(&*file.path.relative);
        !file.broken.is_empty() && written.is_some_and(|written| *written != hex(&file.hash))
    };
    let broken: Vec<&Arc<FileContent>> = contents.files.iter().filter(is_broken).collect();
    if broken.is_empty() {
        return Ok(None);
    }
    let texts = last_written(store, broken.iter().map(|file| &*file.path.relative))?;
    let changes = broken.iter().filter_map(|file| {
        let text = texts.get(&*file.path.relative)?.as_deref()?;
        let path = file.path.relative.clone();
        Some(FileChange { path, base: Some(file.hash), text: Some(text.into()) })
    });
    let changes: Vec<FileChange> = changes.collect();
    let mut listing = contents.with(&changes);
    listing.revision = contents.listing.revision.clone();
    let new_text = |path: &Arc<str>| {
        let change = changes.iter().find(|change| change.path == *path)?;
        Some((change.base?, change.text.clone()?))
    };
    let readable = contents.texts.iter().filter(|text| new_text(&text.path.relative).is_none());
    let again = broken.iter().filter_map(|file| {
        let (hash, text) = new_text(&file.path.relative)?;
        Some(TargetFile { path: file.path.clone(), hash, text })
    });
    let texts = readable.cloned().chain(again).collect();
    let (ledger, hashes) = (contents.ledger.clone(), contents.hashes.clone());
    let (root, files) = (contents.root.clone(), contents.files.clone());
    Ok(Some((Contents { root, files, texts, listing, ledger, hashes }, changes)))
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
    for change in plan.changes.iter().filter(|change| change.action != Action::Unchanged) {
        planned.entry(&change.file).or_default().push(change);
    }
    let there: HashMap<&str, &Arc<FileContent>> =
        contents.files.iter().map(|file| (&*file.path.relative, file)).collect();
    let mut sentences = Vec::new();
    for path in edited {
        let Some(now) = there.get(&**path) else {
            sentences.push(conflict(path, false, ""));
            continue;
        };
        let edits = written.get(&**path).map(|text| edits(now, text.as_deref()));
        for change in planned.remove(&**path).unwrap_or_default() {
            let place = match &edits {
                Some(edits) => edits.get(&change.key).and_then(|edit| overlap(edit, change)),
                None => Some(change.key.to_string()),
            };
            sentences.extend(place.map(|place| conflict(path, true, &place)));
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
