//! One file per case under `tests/lint/`: manifests, a line `----------`, and
//! the findings about them. A first line `# lint: --console` checks as
//! `penstock lint --console` does.
//!
//! `tests/examples/NAME.txt` has the findings about `examples/NAME`; there is no
//! such file where there are none.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test lint` writes what
//! is found into the files; review it like code.

#![cfg(test)]

use std::path::{Path, PathBuf};

use penstock_manifest::annotation::RouteOptions;
use penstock_manifest::diagnostic::{self, CODES, Diagnostic};
use penstock_manifest::kind::{ingress::Ingress, mcp_bridge::McpBridge, wasm_plugin::WasmPlugin};
use penstock_manifest::lint::{self, Options, RULES};
use penstock_manifest::listing::assemble;
use penstock_manifest::read::{FileContent, FilePath, read_file};

const SEPARATOR: &str = "----------\n";
/// How the credentials and tokens of the cases begin.
const SECRETS: &[&str] = &["Bearer ", "k-mara", "k-ines", "k-otto", "k-lone", "t-orchid", "t-lily"];

/// Everything that this crate says about files: reading, parsing, rules.
fn findings(files: &[FileContent], options: &Options) -> Vec<Diagnostic> {
    let listing = assemble(files);
    let mut found = listing.diagnostics.clone();
    for resource in &listing.resources {
        match &*resource.key.kind {
            "Ingress" => {
                Ingress::parse(resource, &mut found);
                RouteOptions::parse(resource, &mut found);
            }
            "McpBridge" => drop(McpBridge::parse(resource, &mut found)),
            "WasmPlugin" => drop(WasmPlugin::parse(resource, &mut found)),
            _ => {}
        }
    }
    found.extend(lint::lint_listing(&listing, options));
    diagnostic::sort(&mut found);
    found
}

/// `file:line:column severity CODE message`, then the key path and the hint.
fn show(found: &[Diagnostic]) -> String {
    let mut text = String::new();
    for d in found {
        text += &format!(
            "{}:{}:{} {} {} {}\n",
            d.file, d.line, d.column, d.severity, d.code.id, d.message
        );
        if !d.path.is_empty() {
            text += &format!("    at {}\n", d.path);
        }
        if let Some(hint) = &d.hint {
            text += &format!("    hint: {hint}\n");
        }
    }
    text
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn accepts() -> bool {
    std::env::var_os("PENSTOCK_ACCEPT").is_some()
}

/// Compares a text with a file, or writes it there.
fn check_file(path: &Path, before: &str, found: &str, stale: &mut Vec<String>) {
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    let found = format!("{before}{found}");
    if expected != found {
        if accepts() {
            std::fs::write(path, found).unwrap();
        } else {
            stale.push(format!("{}:\n{found}", path.display()));
        }
    }
}

#[test]
fn every_case_has_its_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut stale = Vec::new();
    for path in files_in(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let manifests = text.split(SEPARATOR).next().unwrap();
        let options = Options { console: manifests.starts_with("# lint: --console\n") };
        let file = read_file(&FilePath::standalone("manifests.yaml"), manifests);
        let found = show(&findings(&[file], &options));
        for secret in SECRETS {
            assert!(!found.contains(secret), "{} shows {secret}", path.display());
        }
        check_file(&path, &format!("{manifests}{SEPARATOR}"), &found, &mut stale);
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

#[test]
fn rules_keep_to_their_codes_and_every_code_has_a_case() {
    // The files are being written by the other test.
    if accepts() {
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut seen: Vec<&str> = Vec::new();
    for path in files_in(&folder) {
        let text = std::fs::read_to_string(&path).unwrap();
        let manifests = text.split(SEPARATOR).next().unwrap();
        let file = read_file(&FilePath::standalone("manifests.yaml"), manifests);
        let listing = assemble(&[file]);
        for d in lint::lint_listing(&listing, &Options { console: true }) {
            let is_listed = RULES.iter().any(|rule| rule.codes.contains(&d.code));
            assert!(is_listed, "{} is not in RULES", d.code.id);
            seen.push(d.code.id);
        }
    }
    for code in RULES.iter().flat_map(|rule| rule.codes) {
        assert!(seen.contains(&code.id), "no case shows {} {}", code.id, code.title);
    }
}

#[test]
fn rules_for_the_console_stay_silent_unless_asked() {
    for rule in RULES {
        assert_eq!(rule.console_only, rule.codes.iter().all(|code| code.id.starts_with("PS9")));
    }
}

/// Every `.yaml` below a folder, as a directory store reads it.
fn read_tree(root: &Path, folder: &Path, files: &mut Vec<FileContent>) {
    for path in files_in(folder) {
        if path.is_dir() {
            read_tree(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            files.push(read_file(&FilePath::new(relative.clone(), relative), &text));
        }
    }
}

#[test]
fn every_example_has_the_findings_that_it_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let examples = here.join("../../examples");
    let mut stale = Vec::new();
    // The units of systemd are no manifests.
    let is_example = |path: &PathBuf| path.is_dir() && !path.ends_with("systemd");
    for example in files_in(&examples).into_iter().filter(is_example) {
        let mut files = Vec::new();
        read_tree(&example, &example, &mut files);
        assert!(!files.is_empty(), "{} has no manifests", example.display());
        let found = show(&findings(&files, &Options::default()));
        let name = example.file_name().unwrap().to_str().unwrap();
        let path = here.join("tests/examples").join(format!("{name}.txt"));
        check_file(&path, "", &found, &mut stale);
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}

/// The families of codes, by their hundreds digit.
const FAMILIES: &[(char, &str)] = &[
    ('1', "Files and YAML"),
    ('2', "Resources and fields"),
    ('3', "Routing"),
    ('4', "Services"),
    ('5', "Plugins"),
    ('6', "Authentication"),
    ('7', "LLM providers"),
    ('8', "What the console keeps"),
    ('9', "Hints about the console"),
];

#[test]
fn the_reference_of_codes_is_current() {
    let mut text = String::from(
        "<!-- Written by `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test lint`. -->\n\n\
         # Diagnostics\n\n\
         What `penstock lint`, the log of `penstock serve` and `/status` say about manifests.\n\
         A code never changes its meaning. Those of the last family are shown by\n\
         `penstock lint --console` only.\n",
    );
    for (digit, title) in FAMILIES {
        text += &format!("\n## {title}\n");
        for code in CODES.iter().filter(|code| code.id.chars().nth(2) == Some(*digit)) {
            text += &format!(
                "\n### {}\n\n**{}:** {}.\n{}\n",
                code.id, code.severity, code.title, code.help
            );
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/diagnostics.md");
    let mut stale = Vec::new();
    check_file(&path, "", &text, &mut stale);
    assert!(stale.is_empty(), "docs/diagnostics.md is stale; see the head of this file");
}
