//! One file per case under `tests/edit/`: steps, a line `----------`, and what
//! comes of the steps. A step begins with `=== ` and is one of
//!
//! - `example NAME`: the files of `examples/NAME`;
//! - `file PATH`: writes a file, as somebody else would;
//! - `apply [--prune]`: plans an intent and applies it;
//! - `edit …`: `delete KIND NAME`, `add NAME SOURCE KEY`, `rotate NAME KEY
//!   [UNTIL]`, `revoke NAME` or `tokens NAME TOKEN…`. It is shown, applied,
//!   and planned again. Now is 2026-06-01T00:00:00Z.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test edit` writes what
//! is found into the files; review it like code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use penstock_manifest::Resource;
use penstock_manifest::diagnostic::Severity;
use penstock_manifest::edit::{self, Edit, EditError, Moment, There, ThingKind};
use penstock_manifest::intent::consumer::KeySource;
use penstock_manifest::intent::{self, IntentFile, secret};
use penstock_manifest::ledger::Ledger;
use penstock_manifest::listing::assemble;
use penstock_manifest::merge;
use penstock_manifest::plan::{self, Inputs, Plan, TargetFile};
use penstock_manifest::read::{FileContent, FilePath, read_file};
use penstock_manifest::render;
use penstock_manifest::time::parse_utc;
use proptest::prelude::*;

const SEPARATOR: &str = "----------\n";
const NOW: &str = "2026-06-01T00:00:00Z";

/// A store in memory.
#[derive(Clone, Default)]
struct Store {
    files: BTreeMap<Arc<str>, Arc<str>>,
    ledger: Ledger,
}

impl Store {
    fn contents(&self) -> Vec<FileContent> {
        let read = |(path, text): (&Arc<str>, &Arc<str>)| {
            read_file(&FilePath::new(path.clone(), path.clone()), text)
        };
        self.files.iter().map(read).collect()
    }

    fn targets(&self, contents: &[FileContent]) -> Vec<TargetFile> {
        let target = |content: &FileContent| TargetFile {
            path: content.path.clone(),
            hash: content.hash,
            text: self.files[&content.path.relative].clone(),
        };
        contents.iter().map(target).collect()
    }

    fn edit(&self, edit: &Edit) -> Result<Plan, EditError> {
        let contents = self.contents();
        let there = There {
            actual: &assemble(&contents),
            files: &self.targets(&contents),
            ledger: &self.ledger,
        };
        let moment = Moment { now_s: parse_utc(NOW).unwrap(), stamp: None };
        edit::edit(&there, edit, &moment)
    }

    fn plan(&self, text: &str, prune: bool) -> Plan {
        let contents = self.contents();
        let actual = assemble(&contents);
        let inputs = Inputs {
            desired: &desired(text),
            actual: &actual,
            files: &self.targets(&contents),
            ledger: &self.ledger,
        };
        let merge = merge::Options { prune, ..merge::Options::default() };
        plan::plan(&inputs, &plan::Options { merge, stamp: None })
    }

    fn apply(&mut self, plan: &Plan) {
        assert!(!plan.is_refused(), "{:?}", plan.diagnostics);
        let broken = assemble(&self.contents()).broken.len();
        plan.apply_to(&mut self.files);
        assert_eq!(assemble(&self.contents()).broken.len(), broken);
        self.ledger = Ledger::from_json(&plan.ledger.to_json()).unwrap();
    }
}

fn desired(text: &str) -> Vec<Resource> {
    let (intent, found) = intent::parse([IntentFile { name: "intent.yaml", text }]);
    let is_error = |d: &&penstock_manifest::Diagnostic| d.severity == Severity::Error;
    assert_eq!(found.iter().find(is_error), None, "{text}");
    let mut resources = render::render(&intent, &render::Options::default()).resources;
    let (secrets, found) = secret::resolve(&intent, |lookup| match lookup {
        secret::Lookup::Env(name) => Ok(format!("s3cret-{name}")),
        secret::Lookup::File(_) => Err("is not there".into()),
    });
    assert!(found.is_empty());
    resources.extend(secrets);
    resources
}

fn edit_of(words: &[&str]) -> Edit {
    let text = |word: &str| word.to_owned();
    match words {
        ["delete", kind, name] => {
            let kinds = [
                ThingKind::Domain,
                ThingKind::Provider,
                ThingKind::Consumer,
                ThingKind::AiRoute,
                ThingKind::ServiceSource,
            ];
            let kind = kinds.into_iter().find(|known| known.as_str() == *kind).unwrap();
            Edit::Delete { kind, name: text(name) }
        }
        ["add", name, source, value] => {
            let source = match source.split_once(':') {
                None => KeySource::Bearer,
                Some(("HEADER", key)) => KeySource::Header(key.into()),
                Some((_, key)) => KeySource::Query(key.into()),
            };
            Edit::AddConsumer { name: text(name), source, value: text(value) }
        }
        ["rotate", name, value, until @ ..] => Edit::RotateConsumer {
            name: text(name),
            value: text(value),
            until: until.first().map(|until| text(until)),
        },
        ["revoke", name] => Edit::RevokeConsumer { name: text(name) },
        ["tokens", name, tokens @ ..] => Edit::SetProviderTokens {
            name: text(name),
            tokens: tokens.iter().map(|token| text(token)).collect(),
        },
        _ => panic!("unknown edit {words:?}"),
    }
}

fn shown(result: &Result<Plan, EditError>) -> String {
    match result {
        Ok(plan) if plan.is_empty() => "nothing changes\n".to_owned(),
        Ok(plan) => {
            let found = plan.diagnostics.iter().map(|found| format!("{found}\n"));
            format!("{}{}", plan.to_text(), found.collect::<String>())
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}\n"));
            format!("error: {error}\n{}", hint.unwrap_or_default())
        }
    }
}

fn step(store: &mut Store, head: &str, body: &str, out: &mut String) {
    let words: Vec<&str> = head.split_whitespace().collect();
    match words.as_slice() {
        ["example", name] => read_example(store, name),
        ["file", path] => drop(store.files.insert((*path).into(), body.into())),
        ["apply", flags @ ..] => {
            let plan = store.plan(body, flags.contains(&"--prune"));
            *out += &format!("=== {head}\n{}", plan.to_text());
            store.apply(&plan);
        }
        ["edit", words @ ..] => {
            let edit = edit_of(words);
            let result = store.edit(&edit);
            *out += &format!("=== {head}\n{}", shown(&result));
            let json = result.as_ref().ok().map(|plan| plan.to_json().to_string());
            let told = format!("{}{json:?}{result:?}{edit:?}", shown(&result));
            assert!(!told.contains("s3cret"), "{told}");
            let Ok(plan) = result else { return };
            for file in &plan.files {
                let text = file.text.as_deref().unwrap_or("(removed)\n");
                *out += &format!("--- {}\n{text}", file.path);
            }
            if !plan.is_refused() {
                store.apply(&plan);
                *out += &format!("--- again\n{}", shown(&store.edit(&edit)));
            }
        }
        _ => panic!("unknown step {head}"),
    }
}

fn read_example(store: &mut Store, name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    for folder in std::fs::read_dir(&root).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let relative = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            store.files.insert(relative.into(), std::fs::read_to_string(&path).unwrap().into());
        }
    }
}

#[test]
fn every_case_has_its_results() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/edit");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut stale = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let input = text.split(SEPARATOR).next().unwrap();
        let mut store = Store::default();
        let mut out = String::new();
        for part in format!("\n{input}").split("\n=== ").skip(1) {
            let (head, body) = part.split_once('\n').unwrap_or((part, ""));
            step(&mut store, head, &format!("{}\n", body.trim_end()), &mut out);
        }
        let found = format!("{input}{SEPARATOR}{out}");
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

/// What an intent has, in numbers.
fn store_of((providers, consumers, routes): (usize, usize, usize)) -> Store {
    let mut text = String::from("providers:\n");
    for i in 0..providers {
        text += &format!(
            "- {{name: p{i}, type: openai, tokens: ['${{env:T{i}}}'], rawConfigs: {{openaiCustomUrl: 'https://p{i}.example.net/v1'}}}}\n"
        );
    }
    text += "consumers:\n";
    for i in 0..consumers {
        text += &format!(
            "- {{name: c{i}, credentials: [{{type: key-auth, source: BEARER, values: [k{i}, '${{env:K{i}}}']}}]}}\n"
        );
    }
    text += if routes == 0 { "aiRoutes: []\n" } else { "aiRoutes:\n" };
    for i in 0..routes {
        text += &format!(
            "- {{name: r{i}, upstreams: [{{provider: p{}}}], authConfig: {{enabled: true, allowedConsumers: [c{}]}}}}\n",
            i % providers,
            i % consumers
        );
    }
    let mut store = Store::default();
    let plan = store.plan(&text, false);
    store.apply(&plan);
    store
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_added_and_goes_leaves_nothing(
        numbers in (1..3_usize, 1..4_usize, 0..4_usize),
        is_ours in any::<bool>(),
        is_rotated in any::<bool>(),
        is_revoked in any::<bool>(),
    ) {
        let mut store = store_of(numbers);
        if !is_ours {
            store.ledger = Ledger::default();
        }
        let before = store.clone();
        let mut edits = vec![edit_of(&["add", "new", "BEARER", "s3cret-new"])];
        if is_rotated {
            edits.push(edit_of(&["rotate", "new", "s3cret-newer", "2027-01-01T00:00:00Z"]));
        }
        edits.push(match is_revoked {
            true => edit_of(&["revoke", "new"]),
            false => edit_of(&["delete", "consumer", "new"]),
        });
        for edit in &edits {
            let plan = store.edit(edit).unwrap();
            prop_assert!(!plan.is_empty());
            store.apply(&plan);
        }
        prop_assert_eq!(&store.files, &before.files);
        prop_assert_eq!(&store.ledger, &before.ledger);
    }

    #[test]
    fn everything_can_be_deleted_in_order(numbers in (1..3_usize, 1..4_usize, 0..4_usize)) {
        let mut store = store_of(numbers);
        let (providers, consumers, routes) = numbers;
        let names = |kind, letter, count| (0..count).map(move |i| (kind, format!("{letter}{i}")));
        let things = names("ai-route", 'r', routes)
            .chain(names("consumer", 'c', consumers))
            .chain(names("provider", 'p', providers));
        for (kind, name) in things {
            let plan = store.edit(&edit_of(&["delete", kind, &name])).unwrap();
            store.apply(&plan);
        }
        let entries: Vec<_> = store.ledger.entries().collect();
        prop_assert!(entries.is_empty(), "{entries:?}");
        let text: String = store.files.values().map(|text| text.as_ref()).collect();
        prop_assert!(!text.contains("s3cret") && !text.contains("secret."), "{text}");
    }
}
