//! One file per case under `tests/intent/`: intent documents, a line
//! `----------`, and what becomes of them: findings, what `lint --console` says of the
//! manifests, then the manifests. A first
//! line `# render: --console-exact` renders as that flag does; lines
//! `# env: NAME=VALUE` set variables, and with one of them the Secrets are
//! shown as well.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test intent` writes
//! what is found into the files; review it like code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;

use penstock_manifest::diagnostic::{self, Diagnostic, Severity};
use penstock_manifest::intent::secret::{self, Lookup};
use penstock_manifest::intent::{self, Intent, IntentFile};
use penstock_manifest::lint;
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FilePath, read_file};
use penstock_manifest::render::{self, Options, file_path, file_text};

const SEPARATOR: &str = "----------\n";

fn show(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n")).collect()
}

fn variables(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .map_while(|line| line.strip_prefix("# "))
        .filter_map(|line| line.strip_prefix("env: ")?.split_once('='))
        .collect()
}

fn parse(text: &str) -> (Intent, Vec<Diagnostic>) {
    let files: Vec<(String, &str)> = text
        .split("=== next file\n")
        .enumerate()
        .map(|(index, text)| (format!("intent-{index}.yaml"), text))
        .collect();
    intent::parse(files.iter().map(|(name, text)| IntentFile { name, text }))
}

fn outcome(text: &str) -> String {
    let options = Options { console_exact: text.starts_with("# render: --console-exact\n") };
    let variables = variables(text);
    let (intent, mut found) = parse(text);
    let has_errors = |found: &[Diagnostic]| found.iter().any(|d| d.severity == Severity::Error);
    if has_errors(&found) {
        return show(&found);
    }
    let mut rendered = render::render(&intent, &options);
    found.append(&mut rendered.diagnostics);
    if !variables.is_empty() {
        let (secrets, mut more) = secret::resolve(&intent, |lookup| match lookup {
            Lookup::Env(name) => {
                variables.get(name).map(|v| v.to_string()).ok_or("is not set".to_owned())
            }
            Lookup::File(_) => Err("does not exist".to_owned()),
        });
        found.append(&mut more);
        rendered.resources.extend(secrets);
        render::sort(&mut rendered.resources);
    }
    diagnostic::sort(&mut found);
    let mut out = show(&found);
    if has_errors(&found) {
        return out;
    }
    let files: Vec<_> = rendered
        .resources
        .iter()
        .map(|resource| {
            let path = file_path(resource);
            read_file(&FilePath::new(path.clone(), path), &file_text(resource))
        })
        .collect();
    let listing = assemble(&files);
    for found in lint::lint_listing(&listing, &lint::Options { console: true }) {
        out += &format!("# lint: {} {}\n", found.code.id, found.message);
    }
    for resource in &rendered.resources {
        out += &format!("# {}\n{}", file_path(resource), file_text(resource));
    }
    out
}

#[test]
fn every_case_has_its_outcome() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/intent");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut stale = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let input = text.split(SEPARATOR).next().unwrap();
        let found = format!("{input}{SEPARATOR}{}", outcome(input));
        if found != text {
            if std::env::var_os("PENSTOCK_ACCEPT").is_some() {
                std::fs::write(&path, found).unwrap();
            } else {
                stale.push(format!("{}:\n{found}", path.display()));
            }
        }
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn line_ends_marks_and_order_of_files_are_no_difference() {
    let plain = "domains:\n- name: a.example.com\n";
    let (expected, found) = parse(plain);
    assert!(found.is_empty());
    for text in [
        plain.replace('\n', "\r\n"),
        format!("\u{feff}{plain}"),
        format!("---\n{plain}...\n"),
        "{\"domains\": [{\"name\": \"a.example.com\"}]}".to_owned(),
        format!("{plain}=== next file\n# nothing\n"),
    ] {
        let (intent, found) = parse(&text);
        assert_eq!((intent, found), (expected.clone(), Vec::new()), "{text:?}");
    }
    let (_, found) = parse("domains:\n\t- name: a.example.com\n");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].line, 2, "{found:?}");
}

#[test]
fn secrets_are_neither_in_debug_nor_in_findings() {
    let text = "providers:\n- {name: p, type: openai, tokens: [sk-secret, [sk-secret]], rawConfigs: {openaiCustomUrl: 'https://u:sk-secret@x', apiKey: sk-secret}}\n- {name: q, type: openai, tokens: [sk-secret], rawConfigs: {otherKey: sk-secret}}\nconsumers:\n- {name: c, credentials: [{type: key-auth, source: BEARER, values: [sk-secret], sk: {a: sk-secret}}]}\n- {name: d, credentials: [{type: key-auth, source: BEARER, values: [sk-secret]}]}\n";
    let (intent, found) = parse(text);
    assert!(found.len() > 2);
    assert!(!intent.providers.is_empty());
    let shown = format!("{intent:?}{found:?}{}", show(&found));
    assert!(!shown.contains("sk-secret"), "{shown}");
}
