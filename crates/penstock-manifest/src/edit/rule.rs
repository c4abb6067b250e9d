//! Rules of plugins whose targets go.

use super::draft::Draft;
use super::texts_in;
use crate::merge::MATCH_RULES;
use crate::node::{Map, Node, Value};
use crate::render::object::{flag, texts};
use crate::resource::ResourceKey;

/// Takes targets out of the rules of every plugin. A rule that has none left
/// goes: whatever else it names only narrows it down.
pub(super) fn remove_targets(draft: &mut Draft<'_>, field: &str, goes: &dyn Fn(&str) -> bool) {
    let plugins: Vec<ResourceKey> =
        draft.of_kind("WasmPlugin").map(|(resource, _)| resource.key.clone()).collect();
    for key in plugins {
        let loses_all = |rule: &Node| {
            if !is_meant(rule, field) {
                return false;
            }
            let mut targets = texts_in(rule, field).peekable();
            targets.peek().is_some() && targets.all(goes)
        };
        if draft.remove_entries(&key, &MATCH_RULES, &loses_all) > 0 {
            keep_off(draft, &key);
        }
        narrow(draft, &key, field, goes);
    }
}

/// Whether a field decides what a rule applies to. Beside a domain, a service
/// does so in one SDK and not in the other.
fn is_meant(rule: &Node, field: &str) -> bool {
    let has = |field: &str| texts_in(rule, field).next().is_some();
    field == "ingress" || has("ingress") || !has("domain")
}

/// Without rules and without a configuration a plugin would run everywhere on
/// its own defaults (Higress: wasm-go pkg/matcher/rule_matcher.go).
fn keep_off(draft: &mut Draft<'_>, key: &ResourceKey) {
    let Some(mut root) = draft.root(key).cloned() else { return };
    let is_on = |rule: &Node| rule.get("configDisable").and_then(Node::as_bool) != Some(true);
    let has_rule = MATCH_RULES.entries(&root).iter().any(is_on);
    let Some(Value::Map(spec)) = root.get_mut("spec").map(|spec| &mut spec.value) else { return };
    let is_empty = |config: &Node| {
        config.is_null() || config.as_map().is_some_and(|map: &Map| map.entries.is_empty())
    };
    let has_config = spec.get("pluginConfig").is_some_and(|config| !config.is_null())
        || spec.get("defaultConfig").is_some_and(|config| !is_empty(config));
    let is_off = spec.get("defaultConfigDisable").and_then(Node::as_bool) == Some(true);
    if !has_rule && !has_config && !is_off {
        spec.set("defaultConfigDisable", flag(true));
        draft.set(key, root);
    }
}

/// Takes targets out of rules that keep others.
fn narrow(draft: &mut Draft<'_>, key: &ResourceKey, field: &str, goes: &dyn Fn(&str) -> bool) {
    let row = MATCH_RULES;
    let Some(mut root) = draft.root(key).cloned() else { return };
    let Some(rules) = row.entries_mut(&mut root) else { return };
    let mut renamed = Vec::new();
    for rule in rules {
        if !is_meant(rule, field) || !texts_in(rule, field).any(goes) {
            continue;
        }
        let before = row.identity(rule);
        let left: Vec<String> =
            texts_in(rule, field).filter(|target| !goes(target)).map(str::to_owned).collect();
        if let Some(targets) = rule.get_mut(field) {
            *targets = texts(left);
        }
        renamed.push((before, row.identity(rule)));
    }
    if renamed.is_empty() {
        return;
    }
    draft.set(key, root);
    for (before, after) in renamed {
        if let (Some(before), Some(after)) = (before, after) {
            draft.rename_entry(key, &row.path_text(), (&before, &after));
        }
    }
}
