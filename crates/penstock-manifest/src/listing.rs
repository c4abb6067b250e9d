//! Files → everything that a store holds, and what stays in force of what it
//! held before.
//!
//! Invariant: the same files give the same [`Listing`] and the same
//! [`Revision`], on every machine and in every order of reading.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::diagnostic::{
    self, Code, DUPLICATE_RESOURCE, Diagnostic, EMPTIED_FILE, LAST_GOOD_IN_FORCE, REPEATED_RESOURCE,
};
use crate::node::Position;
use crate::read::FileContent;
use crate::resource::{BrokenDocument, Listing, Resource, ResourceKey, Revision};

#[cfg(test)]
mod tests;

/// Puts the files of a store together. Of a resource that is there twice with
/// the same content one copy counts; two different documents of one name are
/// both set aside, because nobody can say which one is meant.
pub fn assemble<'a>(files: impl IntoIterator<Item = &'a FileContent>) -> Listing {
    let mut files: Vec<&FileContent> = files.into_iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut listing = Listing { revision: revision(&files), ..Listing::default() };
    let mut resources: Vec<&Arc<Resource>> = Vec::new();
    for file in &files {
        resources.extend(&file.resources);
        listing.broken.extend_from_slice(&file.broken);
        listing.diagnostics.extend_from_slice(&file.diagnostics);
    }
    resources.sort_by(|a, b| order(a, b));
    let mut claims: HashMap<&ResourceKey, Claim<'_>> = HashMap::with_capacity(resources.len());
    for resource in &resources {
        claims
            .entry(&resource.key)
            .and_modify(|claim| claim.add(resource))
            .or_insert(Claim { first: resource, different: None });
    }
    for resource in resources {
        match claims.get(&resource.key) {
            Some(Claim { first, different: Some(different) }) => {
                let other = if resource.root == first.root { different } else { first };
                set_aside(&mut listing, resource, other);
            }
            Some(Claim { first, different: None }) if !Arc::ptr_eq(first, resource) => {
                let message = format!("{} stands in {} already", resource.key, place(first));
                let finding = about(resource, &REPEATED_RESOURCE, message);
                listing.diagnostics.push(finding.with_hint("keep one of the two"));
            }
            _ => listing.resources.push(resource.clone()),
        }
    }
    diagnostic::sort(&mut listing.diagnostics);
    listing
}

/// The documents of one key.
struct Claim<'a> {
    first: &'a Arc<Resource>,
    /// One that has another content than the first.
    different: Option<&'a Arc<Resource>>,
}

impl<'a> Claim<'a> {
    fn add(&mut self, resource: &'a Arc<Resource>) {
        if self.different.is_none() && self.first.root != resource.root {
            self.different = Some(resource);
        }
    }
}

fn set_aside(listing: &mut Listing, resource: &Resource, other: &Resource) {
    let message = format!("{} has a different document in {}", resource.key, place(other));
    let finding = about(resource, &DUPLICATE_RESOURCE, message);
    listing.diagnostics.push(finding.with_hint("merge them into one document"));
    listing.broken.push(BrokenDocument {
        file: resource.source.file.clone(),
        key: Some(resource.key.clone()),
        may_be_wasm_plugin: &*resource.key.kind == "WasmPlugin",
        is_empty: false,
    });
}

fn order(a: &Resource, b: &Resource) -> std::cmp::Ordering {
    let place = |resource: &Resource| (resource.source.document, resource.source.at);
    a.source.file.cmp(&b.source.file).then_with(|| place(a).cmp(&place(b)))
}

fn about(resource: &Resource, code: &'static Code, message: String) -> Diagnostic {
    Diagnostic::at(code, &resource.source, resource.name_at(), message).with_path("metadata.name")
}

fn place(resource: &Resource) -> String {
    format!("{}:{}", resource.source.file, resource.name_at().line)
}

/// The hash over the paths and the bytes of all files.
fn revision(files: &[&FileContent]) -> Revision {
    let mut hash = Sha256::new();
    for file in files {
        let path = file.path.relative.as_bytes();
        // The length keeps one path from running into the next hash.
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        hash.update(file.hash);
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Revision(hex.into())
}

/// Keeps the last good version of what is broken in force.
///
/// - A file with broken documents, or one that became empty, keeps those of
///   its former resources that no good document delivers now.
/// - So does a folder that cannot be read, whose path ends with `/`.
/// - A key that a broken document claims, or that two documents contradict
///   each other about, keeps its former resource wherever that stood.
/// - A file that was removed keeps nothing.
///
/// A broken document that is covered this way is no longer in
/// [`Listing::broken`]: nothing of it is lost, so nothing has to be closed
/// because of it. A document is covered if the resource it seems to describe
/// was kept. Documents of a file that do not say what they describe are
/// covered if the file kept at least as many other resources; if it kept
/// fewer, some of them may be new, and all stay in `broken`.
///
/// `last_good` is the listing that was in force, itself overlaid, so that a
/// last good version lives until its file is corrected or removed.
pub fn overlay(mut listing: Listing, last_good: &Listing) -> Listing {
    if listing.broken.is_empty() {
        return listing;
    }
    let kept = find_kept(&listing, last_good);
    if kept.is_empty() {
        return listing;
    }
    let is_covered = find_covered(&listing.broken, &kept);
    report_kept(&listing.broken, &kept, &mut listing.diagnostics);
    let mut is_covered = is_covered.into_iter();
    listing.broken.retain(|_| !is_covered.next().unwrap_or(false));
    listing.resources.extend(kept.into_iter().cloned());
    listing.resources.sort_by(|a, b| order(a, b));
    diagnostic::sort(&mut listing.diagnostics);
    listing
}

/// The resources of `last_good` that what is broken in `listing` keeps.
fn find_kept<'g>(listing: &Listing, last_good: &'g Listing) -> Vec<&'g Arc<Resource>> {
    let delivered: HashSet<&ResourceKey> =
        listing.resources.iter().map(|resource| &resource.key).collect();
    let keys: HashSet<&ResourceKey> =
        listing.broken.iter().filter_map(|broken| broken.key.as_ref()).collect();
    let files: HashSet<&str> = listing.broken.iter().map(|broken| &*broken.file).collect();
    let folders: Vec<&str> = files.iter().copied().filter(|file| file.ends_with('/')).collect();
    let is_of_broken_file =
        |file: &str| files.contains(file) || folders.iter().any(|folder| file.starts_with(folder));
    last_good
        .resources
        .iter()
        .filter(|resource| !delivered.contains(&resource.key))
        .filter(|resource| keys.contains(&resource.key) || is_of_broken_file(&resource.source.file))
        .collect()
}

/// Whether `broken` speaks of the file that a resource came from.
fn is_about(broken: &BrokenDocument, file: &str) -> bool {
    if broken.file.ends_with('/') { file.starts_with(&*broken.file) } else { *broken.file == *file }
}

/// Which of the broken documents have nothing to lose.
fn find_covered(broken: &[BrokenDocument], kept: &[&Arc<Resource>]) -> Vec<bool> {
    let kept_keys: HashSet<&ResourceKey> = kept.iter().map(|resource| &resource.key).collect();
    let claimed: HashSet<&ResourceKey> =
        broken.iter().filter_map(|broken| broken.key.as_ref()).collect();
    let is_matched =
        |broken: &BrokenDocument| broken.key.as_ref().is_some_and(|key| kept_keys.contains(key));
    let mut unmatched: HashMap<&str, usize> = HashMap::new();
    for broken in broken.iter().filter(|broken| !is_matched(broken)) {
        *unmatched.entry(&*broken.file).or_default() += 1;
    }
    let is_file_covered: HashMap<&str, bool> = broken
        .iter()
        .filter(|broken| !is_matched(broken))
        .map(|broken| {
            let spare = kept
                .iter()
                .filter(|resource| !claimed.contains(&resource.key))
                .filter(|resource| is_about(broken, &resource.source.file))
                .count();
            let needed = unmatched.get(&*broken.file).copied().unwrap_or_default();
            (&*broken.file, needed <= spare)
        })
        .collect();
    broken
        .iter()
        .map(|broken| {
            is_matched(broken) || is_file_covered.get(&*broken.file).copied().unwrap_or(false)
        })
        .collect()
}

/// Says what stays in force: per file that became empty, else per resource.
fn report_kept(
    broken: &[BrokenDocument],
    kept: &[&Arc<Resource>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let emptied: HashSet<&str> =
        broken.iter().filter(|broken| broken.is_empty).map(|broken| &*broken.file).collect();
    let mut names: HashMap<&Arc<str>, Vec<String>> = HashMap::new();
    for resource in kept {
        if emptied.contains(&*resource.source.file) {
            names.entry(&resource.source.file).or_default().push(resource.key.to_string());
            continue;
        }
        diagnostics.push(Diagnostic::in_file(
            &LAST_GOOD_IN_FORCE,
            resource.source.file.clone(),
            Position::default(),
            format!("the last good version of {} stays in force", resource.key),
        ));
    }
    for (file, names) in names {
        let more = match names.len() {
            0..=3 => String::new(),
            count => format!(" and {} more", count - 3),
        };
        let shown = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
        diagnostics.push(Diagnostic::in_file(
            &EMPTIED_FILE,
            file.clone(),
            Position::default(),
            format!("the file is empty; {shown}{more} of it stays in force until it is removed"),
        ));
    }
}
