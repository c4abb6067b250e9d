//! One file per case under `tests/format/`: a file as somebody wrote it, a
//! line `----------`, and the same file formatted.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test format` writes
//! what is found into the files; review it like code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use penstock_manifest::format::{Formatted, format};

const SEPARATOR: &str = "----------\n";

fn outcome(text: &str) -> String {
    match format("a.yaml", text) {
        Ok(Formatted::Text(text)) => text,
        other => format!("{other:?}\n"),
    }
}

#[test]
fn every_case_has_its_form() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/format");
    let mut stale = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let input = text.split(SEPARATOR).next().unwrap();
        let formatted = outcome(input);
        assert_eq!(outcome(&formatted), formatted, "{}", path.display());
        let found = format!("{input}{SEPARATOR}{formatted}");
        if found == text {
            continue;
        }
        if std::env::var_os("PENSTOCK_ACCEPT").is_some() {
            std::fs::write(&path, found).unwrap();
        } else {
            stale.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}
