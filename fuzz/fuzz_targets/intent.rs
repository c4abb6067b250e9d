//! Any text → an intent, and the same text formatted: never a panic, what is
//! formatted says the same, and is its own form.

#![no_main]

use libfuzzer_sys::fuzz_target;
use penstock_manifest::Node;
use penstock_manifest::format::{Formatted, format};
use penstock_manifest::intent::{self, IntentFile};
use penstock_manifest::yaml::{self, YamlError};

/// The name decides what a file is formatted as.
const NAMES: &[&str] = &["intent.yaml", "intent.json"];

fuzz_target!(|text: &str| {
    let (meant, diagnostics) = intent::parse([IntentFile { name: NAMES[0], text }]);
    let values = values(text);
    for name in NAMES {
        let Ok(Formatted::Text(formatted)) = format(name, text) else { continue };
        assert_eq!(format(name, &formatted), Ok(Formatted::Text(formatted.clone())));
        let (meant_then, diagnostics_then) =
            intent::parse([IntentFile { name: NAMES[0], text: &formatted }]);
        assert_eq!(diagnostics_then.len(), diagnostics.len());
        // `.nan` differs from itself.
        if values == values {
            assert_eq!(self::values(&formatted), values);
        }
        if meant == meant {
            assert_eq!(meant_then, meant);
        }
    }
});

fn values(text: &str) -> Vec<Result<Node, YamlError>> {
    yaml::parse(text).into_iter().map(|document| document.result).collect()
}
