//! Changes of resources → new texts of files.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Action, Change, FileChange, Plan, TargetFile};
use crate::diagnostic::{Diagnostic, MERGE_UNREADABLE};
use crate::node::{Node, Position};
use crate::yaml::{self, Document};

/// Adds the files of a plan, and finds out which documents lose comments.
pub(super) fn write(plan: &mut Plan, files: &[TargetFile]) {
    let files: HashMap<&str, &TargetFile> =
        files.iter().map(|file| (&*file.path.relative, file)).collect();
    for (path, indices) in by_file(&plan.changes) {
        match files.get(&*path) {
            Some(file) => {
                if let Some(change) = rewrite(plan, file, &indices) {
                    plan.files.push(change);
                }
            }
            None => create(plan, path, &indices),
        }
    }
}

/// The changes of each file, in the order of writing: where files are written
/// one by one, no route stands there without its authentication.
pub(super) fn by_file(changes: &[Change]) -> Vec<(Arc<str>, Vec<usize>)> {
    let mut order: Vec<(Arc<str>, Vec<usize>)> = Vec::new();
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for (index, change) in changes.iter().enumerate() {
        if change.action == Action::Unchanged {
            continue;
        }
        let place = *places.entry(change.file.clone()).or_insert(order.len());
        match order.get_mut(place) {
            Some((_, indices)) => indices.push(index),
            None => order.push((change.file.clone(), vec![index])),
        }
    }
    order
}

/// A file that is not there. A resource that is said to be there, in a file
/// whose text was not given, cannot be changed.
fn create(plan: &mut Plan, path: Arc<str>, indices: &[usize]) {
    let changes: Vec<&Change> = indices.iter().filter_map(|i| plan.changes.get(*i)).collect();
    if let Some(change) = changes.iter().find(|change| change.action != Action::Create) {
        let found =
            unreadable(&path, format!("{} stands in a file whose text is not known", change.key));
        plan.diagnostics.push(found);
        return;
    }
    let roots = changes.iter().filter_map(|change| change.after.as_ref());
    let text = yaml::render_documents(roots).into();
    plan.files.push(FileChange { path, base: None, text: Some(text) });
}

fn unreadable(path: &Arc<str>, message: String) -> Diagnostic {
    Diagnostic::in_file(&MERGE_UNREADABLE, path.clone(), Position::default(), message)
}

/// A file that is there: documents that do not change keep their bytes.
fn rewrite(plan: &mut Plan, file: &TargetFile, indices: &[usize]) -> Option<FileChange> {
    let documents = yaml::parse(&file.text);
    let mut by_document: HashMap<usize, usize> = HashMap::new();
    let mut added: Vec<Node> = Vec::new();
    for index in indices {
        let change = plan.changes.get(*index)?;
        match &change.before {
            Some(before) => {
                let number = usize::try_from(before.source.document).unwrap_or(usize::MAX);
                if number >= documents.len() {
                    let message = format!("{} is not where it was read", change.key);
                    plan.diagnostics.push(unreadable(&file.path.display, message));
                    return None;
                }
                by_document.insert(number, *index);
            }
            None => added.extend(change.after.clone()),
        }
    }
    // What cannot be read may be an older version of what would be added.
    if !added.is_empty() && documents.iter().any(|document| document.result.is_err()) {
        let message = "the file cannot be read, so nothing can be added to it".to_owned();
        plan.diagnostics.push(unreadable(&file.path.display, message));
        return None;
    }
    let mut text = Text { file, out: String::with_capacity(file.text.len()), at: 0 };
    for (number, document) in documents.iter().enumerate() {
        let Some(index) = by_document.get(&number) else { continue };
        let change = plan.changes.get_mut(*index)?;
        let old = file.text.get(document.text_range.clone()).unwrap_or_default();
        change.loses_comments = change.action == Action::Change && has_comment(old);
        text.replace(document, change.after.as_ref());
    }
    let left = documents.len() + added.len()
        - by_document
            .values()
            .filter(|index| {
                plan.changes.get(**index).is_some_and(|change| change.action == Action::Delete)
            })
            .count();
    let out = text.finish(&added);
    Some(FileChange {
        path: file.path.relative.clone(),
        base: Some(file.hash),
        text: (left > 0).then(|| out.into()),
    })
}

/// A file's text on its way.
struct Text<'a> {
    file: &'a TargetFile,
    out: String,
    /// How much of the old text has been passed.
    at: usize,
}

impl Text<'_> {
    fn is_json(&self) -> bool {
        self.file.path.relative.ends_with(".json")
    }

    fn document(&self, root: &Node) -> String {
        if !self.is_json() {
            return yaml::render(root);
        }
        let mut text = serde_json::to_string_pretty(&root.to_json()).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Writes what stands before a document, then the document anew.
    fn replace(&mut self, document: &Document, root: Option<&Node>) {
        let range = document.text_range.clone();
        let before = self.file.text.get(self.at..range.start).unwrap_or_default();
        self.out.push_str(before);
        self.at = range.end;
        let Some(root) = root else { return };
        let old = self.file.text.get(range).unwrap_or_default();
        if !self.out.trim().is_empty() || old.lines().any(|line| line.starts_with("---")) {
            self.marker();
        }
        let new = self.document(root);
        self.out.push_str(&new);
    }

    /// A document marker on a line of its own.
    fn marker(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.push_str("---\n");
    }

    fn finish(mut self, added: &[Node]) -> String {
        let rest = self.file.text.get(self.at..).unwrap_or_default();
        self.out.push_str(rest);
        for root in added {
            if !self.out.trim().is_empty() {
                self.marker();
            }
            let new = self.document(root);
            self.out.push_str(&new);
        }
        self.out
    }
}

/// Whether a document's text has a comment: a `#` at the beginning of a line
/// or behind a blank, outside quotes. Text in a literal block may look so.
fn has_comment(text: &str) -> bool {
    text.lines().any(|line| {
        let mut quote = None;
        let mut previous = ' ';
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '#') if previous.is_whitespace() => return true,
                (None, '"' | '\'') if !previous.is_alphanumeric() => quote = Some(c),
                _ => {}
            }
            previous = c;
        }
        false
    })
}
