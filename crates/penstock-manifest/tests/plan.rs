//! One file per case under `tests/plan/`: steps, a line `----------`, and the
//! plans of the steps. A step begins with `=== ` and is one of
//!
//! - `file PATH`: writes a file, as somebody else would; `remove PATH`
//!   removes it;
//! - `apply [--prune] [--adopt] [--adopt=NAME]`: plans an intent, shows the
//!   plan and the files that it changes, and applies it unless refused.
//!
//! After each step that was applied, the same plan must be empty.
//!
//! `PENSTOCK_ACCEPT=1 cargo test -p penstock-manifest --test plan` writes
//! what is found into the files; review it like code.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use penstock_manifest::Resource;
use penstock_manifest::diagnostic::{SECRET_UNRESOLVED, Severity};
use penstock_manifest::intent::{self, IntentFile, export};
use penstock_manifest::ledger::Ledger;
use penstock_manifest::listing::assemble;
use penstock_manifest::merge::{self, Adopt};
use penstock_manifest::plan::{self, Deletion, Inputs, Plan, SavedPlan, Stamp, TargetFile};
use penstock_manifest::read::{FileContent, FilePath, read_file};
use penstock_manifest::render::{self, file_path, file_text};
use penstock_manifest::yaml;
use proptest::prelude::*;

const SEPARATOR: &str = "----------\n";

/// A store in memory.
#[derive(Clone, Default)]
struct Store {
    files: BTreeMap<Arc<str>, Arc<str>>,
    ledger: Ledger,
    revision: u32,
}

impl Store {
    fn contents(&self) -> Vec<FileContent> {
        let read = |(path, text): (&Arc<str>, &Arc<str>)| {
            read_file(&FilePath::new(path.clone(), path.clone()), text)
        };
        self.files.iter().map(read).collect()
    }

    fn plan(&self, desired: &[Resource], options: &plan::Options) -> Plan {
        let contents = self.contents();
        let actual = assemble(&contents);
        let files: Vec<TargetFile> = contents
            .iter()
            .map(|content| TargetFile {
                path: content.path.clone(),
                hash: content.hash,
                text: self.files[&content.path.relative].clone(),
            })
            .collect();
        plan::plan(
            &Inputs { desired, actual: &actual, files: &files, ledger: &self.ledger },
            options,
        )
    }

    fn apply(&mut self, plan: &Plan) {
        plan.apply_to(&mut self.files);
        let json = plan.ledger.to_json();
        self.ledger = Ledger::from_json(&json).unwrap();
        assert_eq!(self.ledger, plan.ledger);
        let saved = SavedPlan::from_json(&plan.to_saved("here", &Ledger::default())).unwrap();
        assert_eq!(
            (&saved.base, &saved.files, &saved.ledger),
            (&plan.base, &plan.files, &plan.ledger)
        );
        assert_eq!((&*saved.target, saved.deletion), ("here", plan.deletion));
        self.revision += 1;
    }

    fn options(&self, flags: &str) -> plan::Options {
        let mut adopt = Adopt::Nothing;
        let mut names = HashSet::new();
        for flag in flags.split("--").map(str::trim) {
            match flag.split_once('=') {
                Some(("adopt", name)) => drop(names.insert(name.to_owned())),
                _ if flag == "adopt" => adopt = Adopt::Everything,
                _ => {}
            }
        }
        if !names.is_empty() {
            adopt = Adopt::Only(names);
        }
        plan::Options {
            merge: merge::Options { adopt, prune: flags.contains("--prune") },
            stamp: Some(Stamp {
                creation_timestamp: format!("2026-01-0{}T00:00:00Z", self.revision % 9 + 1),
                resource_version: (self.revision + 1).to_string(),
            }),
        }
    }
}

fn desired(text: &str) -> Vec<Resource> {
    let (intent, found) = intent::parse([IntentFile { name: "intent.yaml", text }]);
    let is_error = |d: &&penstock_manifest::Diagnostic| d.severity == Severity::Error;
    assert_eq!(found.iter().find(is_error), None, "{text}");
    let rendered = render::render(&intent, &render::Options::default());
    assert_eq!(rendered.diagnostics.iter().find(is_error), None);
    rendered.resources
}

fn step(store: &mut Store, head: &str, body: &str, out: &mut String) {
    let (verb, rest) = head.split_once(' ').unwrap_or((head, ""));
    match verb {
        "file" => drop(store.files.insert(rest.into(), body.into())),
        "remove" => drop(store.files.remove(rest)),
        "apply" => {
            let resources = desired(body);
            let options = store.options(rest);
            let plan = store.plan(&resources, &options);
            *out += &format!("=== {head}\n{}", plan.to_text());
            let shown = format!("{}{}{plan:?}", plan.to_text(), plan.to_json());
            for secret in ["sk-", "us-key", "them-key", "second-key"] {
                assert!(!shown.contains(secret), "{secret} in {shown}");
            }
            for found in &plan.diagnostics {
                *out += &format!("{found}\n");
            }
            for file in plan.files.iter().filter(|file| file.base.is_some()) {
                let text = file.text.as_deref().unwrap_or("(removed)\n");
                *out += &format!("--- {}\n{text}", file.path);
            }
            if !plan.is_refused() {
                store.apply(&plan);
                let again = store.plan(&resources, &options);
                assert!(again.is_empty(), "{}", again.to_text());
                assert!(!again.changes_ledger);
            }
        }
        _ => panic!("unknown step {head}"),
    }
}

#[test]
fn every_case_has_its_plans() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
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

#[test]
fn much_is_not_deleted_without_being_allowed() {
    let check = |count, total, allowed, expected| {
        assert_eq!(Deletion { count, total }.exceeds(allowed), expected, "{count} of {total}");
    };
    check(10, 10, None, false);
    check(11, 54, None, true);
    check(11, 55, None, false);
    check(11, 12, Some(11), false);
    check(12, 12, Some(11), true);
    check(0, 0, None, false);
}

/// An intent from a few choices.
#[derive(Clone, Debug)]
struct Choices {
    providers: Vec<(bool, bool)>,
    consumers: Vec<u8>,
    routes: Vec<(usize, bool, bool, bool)>,
    domains: usize,
}

fn choices() -> impl Strategy<Value = Choices> {
    (
        proptest::collection::vec(any::<(bool, bool)>(), 1..4),
        proptest::collection::vec(any::<u8>(), 0..4),
        proptest::collection::vec((0..3_usize, any::<bool>(), any::<bool>(), any::<bool>()), 0..4),
        0..3_usize,
    )
        .prop_map(|(providers, consumers, routes, domains)| Choices {
            providers,
            consumers,
            routes,
            domains,
        })
}

fn text_of(choices: &Choices) -> String {
    let mut text = String::from("domains:\n");
    for d in 0..choices.domains {
        text += &format!("- {{name: d{d}.example.com, enableHttps: 'off'}}\n");
    }
    text += "providers:\n";
    for (i, (is_static, has_tokens)) in choices.providers.iter().enumerate() {
        let host = if *is_static { format!("10.0.0.{i}") } else { format!("p{i}.example.net") };
        let tokens = if *has_tokens { "[t1, '${env:T}']" } else { "[]" };
        text += &format!(
            "- {{name: p{i}, type: openai, tokens: {tokens}, rawConfigs: {{openaiCustomUrl: 'https://{host}/v1'}}}}\n"
        );
    }
    text += "consumers:\n";
    for (i, key) in choices.consumers.iter().enumerate() {
        text += &format!(
            "- {{name: c{i}, credentials: [{{type: key-auth, source: BEARER, values: [k{i}-{key}]}}]}}\n"
        );
    }
    text += "aiRoutes:\n";
    for (i, (provider, is_protected, has_model, has_fallback)) in choices.routes.iter().enumerate()
    {
        let provider = provider % choices.providers.len();
        text += &format!(
            "- name: r{i}\n  upstreams: [{{provider: p{provider}, modelMapping: {{'*': m{i}}}}}]\n"
        );
        if choices.domains > 0 {
            text += &format!("  domains: [d{}.example.com]\n", i % choices.domains);
        }
        if *is_protected && !choices.consumers.is_empty() {
            text += "  authConfig: {enabled: true, allowedConsumers: [c0]}\n";
        }
        if *has_model {
            text += "  modelPredicates: [{matchType: EQUAL, matchValue: m}]\n";
        }
        if *has_fallback {
            text += "  fallbackConfig: {enabled: true, upstreams: [{provider: p0}], responseCodes: [5xx]}\n";
        }
    }
    text.replace("domains:\nproviders", "domains: []\nproviders")
        .replace("consumers:\naiRoutes", "consumers: []\naiRoutes")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_that_was_applied_is_empty(
        first in choices(),
        second in choices(),
        prune in any::<bool>(),
    ) {
        let mut store = Store::default();
        for choices in [&first, &second] {
            let resources = desired(&text_of(choices));
            let options = store.options(if prune { "--prune" } else { "" });
            let plan = store.plan(&resources, &options);
            prop_assert!(!plan.is_refused(), "{:?}", plan.diagnostics);
            store.apply(&plan);
            let again = store.plan(&resources, &options);
            prop_assert!(again.is_empty(), "{}", again.to_text());
            prop_assert!(!again.changes_ledger);
        }
    }

    #[test]
    fn pruning_to_an_empty_intent_leaves_what_others_wrote(first in choices()) {
        let mut store = Store::default();
        let others: Arc<str> = "apiVersion: networking.higress.io/v1\nkind: McpBridge\nmetadata:\n  name: default\nspec:\n  registries:\n  # kept\n  - {name: x, type: dns, domain: x.example.net, port: 80}\n".into();
        store.files.insert("mcpbridges/default.yaml".into(), others.clone());
        let before = assemble(&store.contents());
        let plan = store.plan(&desired(&text_of(&first)), &store.options(""));
        store.apply(&plan);
        let plan = store.plan(&[], &store.options("--prune"));
        store.apply(&plan);
        prop_assert!(store.ledger.is_empty(), "{:?}", store.ledger);
        let after = assemble(&store.contents());
        prop_assert_eq!(after.resources.len(), 1);
        let spec = |l: &penstock_manifest::Listing| l.resources[0].root.get("spec").cloned();
        prop_assert_eq!(spec(&after), spec(&before));
    }

    #[test]
    fn an_intent_that_was_exported_renders_the_same(first in choices()) {
        let mut store = Store::default();
        let resources = desired(&text_of(&first));
        let plan = store.plan(&resources, &store.options(""));
        store.apply(&plan);
        let listing = assemble(&store.contents());
        let exported = export::from_resources(&listing, export::Secrets::Inline);
        // There are no Secrets in this store.
        let found = exported.diagnostics.iter().filter(|d| *d.code != SECRET_UNRESOLVED);
        prop_assert_eq!(found.count(), 0, "{:?}", exported.diagnostics);
        let lost = export::check(&listing, export::Secrets::Inline, "<export>");
        prop_assert!(lost.is_empty(), "{lost:?}");
        let again = desired(&yaml::render(&exported.document));
        let keys = |list: &[Resource]| list.iter().map(|r| r.key.clone()).collect::<Vec<_>>();
        prop_assert_eq!(keys(&again), keys(&resources));
        for (again, first) in again.iter().zip(&resources) {
            prop_assert_eq!(&again.root, &first.root);
        }
    }

    #[test]
    fn what_is_rendered_reads_as_the_same(first in choices()) {
        for resource in desired(&text_of(&first)) {
            let path = file_path(&resource);
            let read = read_file(&FilePath::new(path.clone(), path), &file_text(&resource));
            let worst = read.diagnostics.iter().map(|d| d.severity).max();
            prop_assert!(worst <= Some(Severity::Info), "{:?}", read.diagnostics);
            prop_assert_eq!(&read.resources[0].root, &resource.root);
            prop_assert_eq!(&read.resources[0].key, &resource.key);
        }
    }
}

/// Prints how long a large intent takes; `--nocapture` shows it.
#[test]
fn a_large_intent_is_planned() {
    let (providers, consumers, routes) =
        if cfg!(debug_assertions) { (100, 1000, 500) } else { (1000, 10_000, 5000) };
    let mut text = String::from("providers:\n");
    for i in 0..providers {
        text += &format!(
            "- {{name: p{i}, type: openai, tokens: [t{i}], rawConfigs: {{openaiCustomUrl: 'https://p{i}.example.net/v1'}}}}\n"
        );
    }
    text += "consumers:\n";
    for i in 0..consumers {
        text += &format!(
            "- {{name: c{i}, credentials: [{{type: key-auth, source: BEARER, values: [k{i}]}}]}}\n"
        );
    }
    text += "aiRoutes:\n";
    for i in 0..routes {
        text += &format!(
            "- {{name: r{i}, domains: [d{i}.example.com], upstreams: [{{provider: p{}, modelMapping: {{a: b}}}}], authConfig: {{enabled: true, allowedConsumers: [c{i}, c{}]}}}}\n",
            i % providers,
            i + routes
        );
    }
    let start = Instant::now();
    let (intent, found) = intent::parse([IntentFile { name: "i.yaml", text: &text }]);
    assert!(found.is_empty(), "{found:?}");
    println!("parse {:?}", start.elapsed());
    let start = Instant::now();
    let resources = render::render(&intent, &render::Options::default()).resources;
    println!("render {} resources {:?}", resources.len(), start.elapsed());
    let mut store = Store::default();
    for round in ["create", "unchanged", "change"] {
        let contents = store.contents();
        let actual = assemble(&contents);
        let files: Vec<TargetFile> = contents
            .iter()
            .map(|content| TargetFile {
                path: content.path.clone(),
                hash: content.hash,
                text: store.files[&content.path.relative].clone(),
            })
            .collect();
        let resources = match round {
            "change" => desired(&text.replace("https://p", "https://q").replace("a: b", "a: c")),
            _ => resources.clone(),
        };
        let options = store.options("");
        let start = Instant::now();
        let inputs =
            Inputs { desired: &resources, actual: &actual, files: &files, ledger: &store.ledger };
        let plan = plan::plan(&inputs, &options);
        println!("plan {round} {:?} {}", start.elapsed(), plan.summary());
        assert!(!plan.is_refused());
        assert_eq!(plan.is_empty(), round == "unchanged");
        store.apply(&plan);
        let start = Instant::now();
        println!("ledger {} bytes {:?}", store.ledger.to_json().to_string().len(), start.elapsed());
    }
}
