use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::diagnostic::{self, UNREADABLE_FILE};
use crate::listing::assemble;
use crate::node::Node;

/// What came of a file, in the form of `cases.txt`. The parts that the
/// expectation asks for are shown as they are.
fn outcome(content: &FileContent, expected: &str) -> String {
    let mut out = String::new();
    for (index, resource) in content.resources.iter().enumerate() {
        let at = resource.source.at;
        write!(out, "resource {} {}:{}", resource.key, at.line, at.column).unwrap();
        let metadata = &resource.metadata;
        if !metadata.creation_timestamp.is_empty() {
            write!(out, " created {}", metadata.creation_timestamp).unwrap();
        }
        if !metadata.resource_version.is_empty() {
            write!(out, " version {}", metadata.resource_version).unwrap();
        }
        out.push('\n');
        let own = expected.split("resource ").nth(index + 1).unwrap_or_default();
        for line in own.lines().filter(|line| line.starts_with('+')) {
            match line.splitn(3, ' ').collect::<Vec<_>>().as_slice() {
                [_, "at", place] => {
                    let path = place.split(' ').next().unwrap();
                    let at = at_path(&resource.root, path).unwrap().at;
                    writeln!(out, "+ at {path} {}:{}", at.line, at.column).unwrap();
                }
                [_, path, json] => {
                    let found = at_path(&resource.root, path).map(Node::to_json);
                    let found = found.unwrap_or_default();
                    // The order of keys is no difference.
                    let is_equal = serde_json::from_str(json)
                        .is_ok_and(|json: serde_json::Value| json == found);
                    let shown = if is_equal { (*json).to_owned() } else { found.to_string() };
                    writeln!(out, "+ {path} {shown}").unwrap();
                }
                _ => {}
            }
        }
    }
    for broken in &content.broken {
        let key = broken.key.as_ref().map_or("-".to_owned(), ToString::to_string);
        let plugin = if broken.may_be_wasm_plugin { ", may be a WasmPlugin" } else { "" };
        let empty = if broken.is_empty { ", empty" } else { "" };
        writeln!(out, "broken {key}{plugin}{empty}").unwrap();
    }
    let mut diagnostics = content.diagnostics.clone();
    diagnostic::sort(&mut diagnostics);
    for diagnostic in diagnostics {
        let id = diagnostic.code.id;
        let (line, column) = (diagnostic.line, diagnostic.column);
        write!(out, "{id} {} {line}:{column} {}", diagnostic.severity, diagnostic.message).unwrap();
        if !diagnostic.path.is_empty() {
            write!(out, " ({})", diagnostic.path).unwrap();
        }
        if let Some(hint) = diagnostic.hint {
            write!(out, "\n  {hint}").unwrap();
        }
        out.push('\n');
    }
    out
}

fn at_path<'a>(root: &'a Node, path: &str) -> Option<&'a Node> {
    path.split('.').try_fold(root, |node, key| node.get(key))
}

#[test]
fn cases() {
    let mut failures = String::new();
    for case in include_str!("cases.txt").split("\n=== ").skip(1) {
        let (name, rest) = case.split_once('\n').unwrap();
        let (path, rest) = rest.split_once('\n').unwrap();
        let (text, expected) = rest.split_once("---------->\n").unwrap();
        let actual = outcome(&read_file(&FilePath::standalone(path), text), expected);
        if actual.trim() != expected.trim() {
            writeln!(failures, "=== {name}\nexpected:\n{expected}\nactual:\n{actual}").unwrap();
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[track_caller]
fn check_bytes(path: &str, bytes: &[u8], expected: &str) {
    let content = read_bytes(&FilePath::standalone(path), bytes);
    assert_eq!(outcome(&content, ""), expected);
}

#[test]
fn bytes_that_are_not_text() {
    check_bytes("a.yaml", b"a: 1\nb: \xff", "broken -\nPS102 error 2:4 not UTF-8 text\n");
    check_bytes(
        "a.yaml",
        b"kind: WasmPlugin\n\xff",
        "broken -, may be a WasmPlugin\nPS102 error 2:1 not UTF-8 text\n",
    );
}

#[test]
fn what_cannot_be_read_may_be_anything() {
    let check = |path: &str, expected: &str| {
        let content = unreadable_file(&FilePath::standalone(path), &UNREADABLE_FILE, "no");
        assert_eq!(outcome(&content, ""), expected);
    };
    check("a.yaml", "broken -, may be a WasmPlugin\nPS101 error 0:0 no\n");
    check("secrets/a.yaml", "broken Secret a, may be a WasmPlugin\nPS101 error 0:0 no\n");
    check("conf/secrets/", "broken -, may be a WasmPlugin\nPS101 error 0:0 no\n");
}

#[test]
fn paths() {
    let check = |path: &str, base_name: &str, folder_kind: Option<&str>| {
        let path = FilePath::standalone(path);
        assert_eq!(path.base_name(), base_name);
        assert_eq!(path.folder_kind().map(|row| row.kind), folder_kind);
    };
    check("a.yaml", "a", None);
    check("ingresses/a.b.yml", "a.b", Some("Ingress"));
    check("x/ingresses/y/a.json", "a", Some("Ingress"));
    check("ingresses.yaml", "ingresses", None);
    check("secrets/ingresses/.yaml", "", Some("Ingress"));
}

/// Lines that manifests are made of, in any order.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("---"),
        Just("kind: WasmPlugin"),
        Just("kind: List"),
        Just("items:"),
        Just("- kind: Secret"),
        Just("apiVersion: v1"),
        Just("apiVersion: extensions.higress.io/v1alpha1"),
        Just("metadata:"),
        Just("  name: a"),
        Just("  labels: {a: 1}"),
        Just("  annotations: [x]"),
        Just("data: {a: on}"),
        Just("rules: []"),
        Just("# c"),
        Just("x: ["),
        Just("<<: {kind: Ingress}"),
        Just(""),
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_may_be_a_plugin_is_lost(
        text in lines(),
        path in prop_oneof![Just("a.yaml"), Just("wasmplugins/a.yaml"), Just("ingresses/a.json")],
    ) {
        let path = FilePath::standalone(path);
        let content = read_file(&path, &text);
        let listing = assemble([&content]);
        // Every document is a resource, or broken, or told of.
        let documents = crate::yaml::parse(&text).len();
        let told = listing.resources.len() + listing.broken.len() + listing.diagnostics.len();
        prop_assert!(told >= documents.min(1));
        let is_plugin = |document: &crate::yaml::Document| match &document.result {
            Ok(node) => node.get("kind").and_then(Node::as_str) == Some("WasmPlugin"),
            Err(_) => path.is_for_wasm_plugins(),
        };
        if crate::yaml::parse(&text).iter().any(is_plugin) {
            let is_known = listing.resources.iter().any(|r| &*r.key.kind == "WasmPlugin");
            let is_suspected = listing.broken.iter().any(|broken| broken.may_be_wasm_plugin);
            prop_assert!(is_known || is_suspected, "{text}");
        }
    }
}
