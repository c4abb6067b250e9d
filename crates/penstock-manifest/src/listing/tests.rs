use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::UNREADABLE_FILE;
use crate::node::Node;
use crate::read::{FilePath, read_file, unreadable_file};

/// The files of a state in `cases.txt`.
fn files(text: &str) -> Vec<FileContent> {
    format!("\n{text}")
        .split("\n--- ")
        .skip(1)
        .map(|file| {
            let (path, text) = file.split_once('\n').unwrap_or((file, ""));
            let path = FilePath::standalone(path);
            if path.relative.ends_with('/') {
                unreadable_file(&path, &UNREADABLE_FILE, "unreadable")
            } else {
                read_file(&path, text)
            }
        })
        .collect()
}

fn outcome(listing: &Listing) -> String {
    let mut out = String::new();
    for resource in &listing.resources {
        let value = resource.root.get("data").and_then(|data| data.get("x"));
        let value = value.and_then(Node::as_str).unwrap_or("-");
        writeln!(out, "{} = {value} {}", resource.key, resource.source.file).unwrap();
    }
    for broken in &listing.broken {
        let key = broken.key.as_ref().map_or("-".to_owned(), ToString::to_string);
        let plugin = if broken.may_be_wasm_plugin { ", may be a WasmPlugin" } else { "" };
        let empty = if broken.is_empty { ", empty" } else { "" };
        writeln!(out, "broken {} {key}{plugin}{empty}", broken.file).unwrap();
    }
    let mut findings: Vec<String> = listing
        .diagnostics
        .iter()
        .map(|d| format!("{} {}:{} {}", d.code.id, d.file, d.line, d.message))
        .collect();
    findings.sort();
    out + &findings.join("\n")
}

#[test]
fn cases() {
    let mut failures = String::new();
    for case in include_str!("cases.txt").split("\n=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let mut last_good = Listing::default();
        // What a state expects ends where the files of the next one begin.
        let mut rest = rest;
        while let Some((state, more)) = rest.split_once("\n---------->\n") {
            let (expected, next) = match more.find("--- ") {
                Some(index) => more.split_at(index),
                None => (more, ""),
            };
            let listing = overlay(assemble(&files(state)), &last_good);
            let actual = outcome(&listing);
            if actual.trim() != expected.trim() {
                writeln!(failures, "=== {name}\nexpected:\n{expected}\nactual:\n{actual}\n")
                    .unwrap();
            }
            last_good = listing;
            rest = next;
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn the_revision_is_that_of_the_content() {
    let revision = |text: &str| assemble(&files(text)).revision;
    let base = revision("--- a.yaml\nx\n--- b.yaml\ny");
    assert_eq!(base, revision("--- b.yaml\ny\n--- a.yaml\nx"));
    assert_ne!(base, revision("--- a.yaml\ny\n--- b.yaml\nx"));
    assert_ne!(base, revision("--- a.yaml\nx"));
    assert_ne!(base, revision("--- a.yaml\nx\n--- b.yaml\ny\n--- c.yaml\n"));
    assert_eq!(base.0.len(), 64);
    let elsewhere = |root: &str| {
        let path = FilePath::new(format!("{root}/a.yaml"), "a.yaml");
        assemble(&[read_file(&path, "x: 1")]).revision
    };
    assert_eq!(elsewhere("/data"), elsewhere("conf"));
}

/// A store of up to four files of up to three documents, of which some are
/// broken, some empty and some of one name.
fn state() -> impl Strategy<Value = String> {
    let document = prop_oneof![
        ("[ab]", "[12]").prop_map(|(name, x)| format!(
            "{{kind: WasmPlugin, apiVersion: extensions.higress.io/v1alpha1, metadata: {{name: {name}}}, data: {{x: '{x}'}}}}"
        )),
        ("[cd]", "[12]").prop_map(|(name, x)| format!(
            "{{kind: ConfigMap, apiVersion: v1, metadata: {{name: {name}}}, data: {{x: '{x}'}}}}"
        )),
        Just("{kind: WasmPlugin".to_owned()),
        Just("kind: WasmPlugin\nmetadata:\n  name: a\nx: [".to_owned()),
        Just("# nothing".to_owned()),
    ];
    let file =
        prop::collection::vec(document, 0..3).prop_map(|documents| documents.join("\n---\n"));
    prop::collection::btree_map("[wxyz]", file, 0..4).prop_map(|files| {
        files
            .into_iter()
            .map(|(name, text)| format!("--- {name}.yaml\n{text}"))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn laws_of_the_overlay(before in state(), after in state()) {
        let last_good = overlay(assemble(&files(&before)), &Listing::default());
        let plain = assemble(&files(&after));
        let listing = overlay(plain.clone(), &last_good);
        // Once more changes nothing.
        prop_assert_eq!(outcome(&overlay(plain.clone(), &listing)), outcome(&listing));
        // What is good is in force as it is, and each key once.
        for resource in &plain.resources {
            prop_assert!(listing.resources.iter().any(|r| Arc::ptr_eq(r, resource)));
        }
        let keys: HashSet<_> = listing.resources.iter().map(|r| &r.key).collect();
        prop_assert_eq!(keys.len(), listing.resources.len());
        // Whatever else is in force was so before, and something is broken.
        for resource in &listing.resources {
            let is_new = plain.resources.iter().any(|r| Arc::ptr_eq(r, resource));
            let is_old = last_good.resources.iter().any(|r| Arc::ptr_eq(r, resource));
            prop_assert!(is_new || (is_old && !plain.broken.is_empty()));
        }
        // A plugin that was in force is in force, or nobody may pass, or
        // nothing of it is left in the files.
        for resource in last_good.resources.iter().filter(|r| &*r.key.kind == "WasmPlugin") {
            let is_in_force = keys.contains(&resource.key);
            let is_closed = listing.broken.iter().any(|broken| broken.may_be_wasm_plugin);
            let is_broken = plain.broken.iter().any(|broken| broken.key.as_ref() == Some(&resource.key) || broken.file == resource.source.file);
            prop_assert!(is_in_force || is_closed || !is_broken);
        }
    }

    #[test]
    fn the_order_of_files_does_not_matter(text in state(), seed in any::<u64>()) {
        let mut files = files(&text);
        let first = assemble(&files);
        let count = files.len().max(1);
        files.rotate_left(usize::try_from(seed % count as u64).unwrap());
        let second = assemble(&files);
        prop_assert_eq!(outcome(&first), outcome(&second));
        prop_assert_eq!(first.revision, second.revision);
    }
}
