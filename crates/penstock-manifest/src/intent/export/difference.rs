//! What of a listing its exported intent does not say.
//!
//! The intent is rendered, and what comes out is compared with what is there.
//! Whatever rendering adds is none of an export's business, nor are the few
//! fields in which the safe form differs from the console's.

use std::collections::{HashMap, HashSet};

use super::{Secrets, from_resources};
use crate::diagnostic::{self, Diagnostic, EXPORT_INCOMPLETE, Severity};
use crate::intent::{self, IntentFile};
use crate::kind;
use crate::merge::same_plugin;
use crate::node::{Cursor, Node, Position, Value};
use crate::plan::{FieldChange, diff};
use crate::render::{self, Options};
use crate::resource::{Listing, Resource, ResourceKey, SYSTEM_NAMESPACE};
use crate::{template, yaml};

/// Everything of a listing that its exported intent does not say, and what
/// keeps that intent from being rendered: `name` stands for its file.
pub fn check(listing: &Listing, secrets: Secrets, name: &str) -> Vec<Diagnostic> {
    let (rendered, mut found) = rendered(listing, Secrets::Inline, name);
    // Hashes are not to be rendered.
    if secrets == Secrets::Ref {
        found = self::rendered(listing, secrets, name).1;
    }
    let there: HashMap<&ResourceKey, &Resource> = rendered
        .iter()
        .map(|resource| {
            let same = same_plugin(resource, listing);
            (same.map_or(&resource.key, |same| &same.key), resource)
        })
        .collect();
    let secrets = template::Secrets::of(&listing.resources);
    let used = references(listing);
    for resource in &listing.resources {
        match there.get(&resource.key) {
            Some(rendered) => compare(resource, rendered, &secrets, &mut found),
            None if is_used(&resource.key, &used) => {}
            None => found.push(left_out(resource)),
        }
    }
    diagnostic::sort(&mut found);
    found
}

/// What an exported intent becomes, and its errors.
fn rendered(listing: &Listing, secrets: Secrets, name: &str) -> (Vec<Resource>, Vec<Diagnostic>) {
    let text = yaml::render(&from_resources(listing, secrets).document);
    let (intent, mut found) = intent::parse([IntentFile { name, text: &text }]);
    let rendered = render::render(&intent, &Options::default());
    found.extend(rendered.diagnostics);
    found.retain(|found| found.severity == Severity::Error);
    (rendered.resources, found)
}

fn left_out(resource: &Resource) -> Diagnostic {
    let message = format!("{} is not part of an intent and is not exported", resource.key);
    let is_acted_on = kind::by_kind(&resource.key.kind).is_some_and(|row| row.is_acted_on);
    let severity = if is_acted_on { Severity::Warning } else { Severity::Info };
    Diagnostic::at(&EXPORT_INCOMPLETE, &resource.source, resource.name_at(), message)
        .with_severity(severity)
        .with_hint("keep its manifest beside the intent")
}

fn compare(
    resource: &Resource,
    rendered: &Resource,
    secrets: &template::Secrets<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let before = comparable(resource, secrets);
    let after = comparable(rendered, secrets);
    for change in diff::diff(&resource.key.kind, &before, &after) {
        let is_order = change.path.ends_with(" (order)");
        if is_expected(&change) || (is_order && !change.path.starts_with("spec.matchRules")) {
            continue;
        }
        let message = match &change.after {
            Some(_) => format!("an intent gives another `{}` of {}", change.path, resource.key),
            None => format!("an intent has no `{}` of {}", change.path, resource.key),
        };
        // Another version of a plugin, or another order, is rarely meant.
        let is_slight = is_order || change.path == "spec.url";
        let severity = if is_slight { Severity::Info } else { Severity::Warning };
        found.push(
            Diagnostic::at(&EXPORT_INCOMPLETE, &resource.source, resource.name_at(), message)
                .with_severity(severity)
                .with_path(change.path),
        );
    }
}

/// Whether a difference loses nothing, or has a finding of its own.
fn is_expected(change: &FieldChange) -> bool {
    const SAFE: &[&str] = &["spec.failStrategy", "spec.imagePullPolicy", "data.data.version"];
    const STAMPS: &[&str] = &[
        "metadata.annotations[\"higress.io/comment",
        "metadata.annotations[\"higress.io/wasm-plugin-",
        "metadata.annotations[\"kubectl.kubernetes.io/last-applied-configuration",
        "metadata.labels[\"higress.io/wasm-plugin-",
    ];
    const LISTS: &[&str] =
        &["spec.registries[", "spec.defaultConfig.providers[", "spec.defaultConfig.consumers["];
    let path = change.path.as_str();
    let is_empty = |value: &serde_json::Value| match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(list) => list.is_empty(),
        serde_json::Value::Object(map) => map.is_empty(),
        _ => false,
    };
    // Registries that belong to providers are not looked at one by one.
    let is_entry = path.ends_with(']')
        && !path.ends_with(".internal]")
        && LISTS.iter().any(|list| {
            path.strip_prefix(list).is_some_and(|rest| rest.matches(['[', ']']).count() == 1)
        });
    change.before.as_ref().is_none_or(is_empty)
        || SAFE.contains(&path)
        || STAMPS.iter().any(|stamp| path.starts_with(stamp))
        || (is_entry && change.after.is_none())
}

/// A document in one of several forms that mean the same: the record of a
/// route as a mapping, references replaced, `credential` among the
/// `credentials`.
fn comparable(resource: &Resource, secrets: &template::Secrets<'_>) -> Node {
    let mut root = resource.root.clone();
    if &*resource.key.kind == "ConfigMap"
        && let Some(record) = root.get_mut("data").and_then(|data| data.get_mut("data"))
        && let Some(Ok(node)) = record.as_str().map(|t| yaml::parse_value(t, Position::default()))
        && node.as_map().is_some()
    {
        *record = node;
    }
    let original = root.clone();
    fill(&mut root, &Cursor::root(&original, &resource.source), secrets);
    let consumers = root
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("defaultConfig")?.get_mut("consumers"))
        .map(|consumers| &mut consumers.value);
    if let Some(Value::List(consumers)) = consumers {
        consumers.iter_mut().for_each(join_credentials);
    }
    root
}

fn fill(node: &mut Node, cursor: &Cursor<'_>, secrets: &template::Secrets<'_>) {
    match &mut node.value {
        Value::String(text) if super::text::has_reference(text) => {
            if let Ok(filled) = secrets.text(text, cursor) {
                node.value = Value::String(filled.into());
            }
        }
        Value::List(list) => list.iter_mut().for_each(|node| fill(node, cursor, secrets)),
        Value::Map(map) => {
            map.entries.iter_mut().for_each(|entry| fill(&mut entry.node, cursor, secrets));
        }
        _ => {}
    }
}

fn join_credentials(consumer: &mut Node) {
    let Value::Map(map) = &mut consumer.value else { return };
    let Some(single) = map.remove("credential").filter(|single| !single.is_null()) else { return };
    let mut all = map.remove("credentials").unwrap_or_default();
    match &mut all.value {
        Value::List(list) => list.push(single),
        _ => all.value = Value::List(vec![single]),
    }
    map.set("credentials", all);
}

/// The Secrets that every `${secret.…}` of a listing may mean: names and keys
/// may hold dots, so each split counts.
fn references(listing: &Listing) -> HashSet<String> {
    let mut found = HashSet::new();
    for resource in &listing.resources {
        resource.root.any(&mut |node| {
            let text = node.as_str().unwrap_or_default();
            for rest in text.split("${secret.").skip(1) {
                let reference = rest.split_once('}').map_or(rest, |(reference, _)| reference);
                let names = reference.match_indices('.').map(|(at, _)| &reference[..at]);
                found.extend(names.map(|name| match name.contains('/') {
                    true => name.to_owned(),
                    false => format!("{SYSTEM_NAMESPACE}/{name}"),
                }));
            }
            false
        });
    }
    found
}

/// Whether a Secret's values are in the intent.
fn is_used(key: &ResourceKey, references: &HashSet<String>) -> bool {
    &*key.kind == "Secret" && references.contains(&format!("{}/{}", key.namespace, key.name))
}
