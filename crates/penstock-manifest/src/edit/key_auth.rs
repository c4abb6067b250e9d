//! The configurations of every key-auth plugin: global ones, and those of
//! rules.

use super::draft::Draft;
use super::{EditError, ThingKind, texts_in};
use crate::kind::wasm_plugin::plugin_of_url;
use crate::merge::MATCH_RULES;
use crate::node::{Cursor, Map, Node, Value};
use crate::resource::{Resource, ResourceKey};
use crate::template::Secrets;

/// The name of the plugin.
pub(super) const NAME: &str = "key-auth";

const GLOBAL: [&str; 2] = ["pluginConfig", "defaultConfig"];
/// What a rule inside a configuration stands in (Higress: wasm-cpp
/// common/route_rule_matcher.h).
const RULES: &str = "_rules_";

/// Whether a resource is a build of a built-in plugin.
pub(super) fn is_plugin(resource: &Resource, name: &str) -> bool {
    let url = resource.root.get("spec").and_then(|spec| spec.get("url")?.as_str());
    resource.label("higress.io/wasm-plugin-name") == Some(name)
        || url.is_some_and(|url| plugin_of_url(url).0 == name)
        || resource.key.name.strip_suffix(".internal") == Some(name)
}

/// Whether a plugin is the Go build.
pub(super) fn is_go(root: &Node) -> bool {
    let url = root.get("spec").and_then(|spec| spec.get("url")?.as_str());
    url.is_some_and(|url| plugin_of_url(url).1)
}

/// What a configuration is for.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Everything: `defaultConfig`.
    Default,
    /// Everything, or a rule in it, in another form.
    Other,
    /// What this rule of `matchRules` applies to.
    Rule(&'a Node),
}

/// A consumer where it is defined.
pub(super) struct Definition<'a> {
    /// The plugin.
    pub(super) plugin: ResourceKey,
    /// The configuration around it.
    pub(super) config: &'a Node,
    /// What the configuration is for.
    pub(super) scope: Scope<'a>,
    /// Whether the plugin is the Go build.
    pub(super) is_go: bool,
    /// Its entry.
    pub(super) entry: &'a Node,
    resource: &'a Resource,
}

impl<'a> Definition<'a> {
    /// Its name.
    pub(super) fn name(&self) -> &'a str {
        self.entry.get("name").and_then(Node::as_str).unwrap_or_default()
    }

    /// Its credentials as they are written.
    pub(super) fn credentials(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let single = self.entry.get("credential").and_then(Node::as_str);
        texts_in(self.entry, "credentials").chain(single)
    }

    /// The text that a request presents, as far as there are Secrets for it.
    pub(super) fn resolved(&self, secrets: &Secrets<'_>, text: &str) -> Option<String> {
        secrets.text(text, &Cursor::root(self.entry, &self.resource.source)).ok()
    }
}

/// Every consumer of every key-auth.
pub(super) fn definitions<'d>(draft: &'d Draft<'_>) -> Result<Vec<Definition<'d>>, EditError> {
    let mut found = Vec::new();
    for (resource, root) in draft.of_kind("WasmPlugin").filter(|(r, _)| is_plugin(r, NAME)) {
        for (config, scope) in configs(root) {
            check(resource, config)?;
            let entries = config.get("consumers").and_then(Node::as_list).unwrap_or_default();
            found.extend(entries.iter().map(|entry| Definition {
                plugin: resource.key.clone(),
                config,
                scope,
                is_go: is_go(root),
                entry,
                resource,
            }));
        }
    }
    Ok(found)
}

/// The only definition of a consumer.
pub(super) fn only<'l, 'd>(
    all: &'l [Definition<'d>],
    name: &str,
) -> Result<&'l Definition<'d>, EditError> {
    let kind = ThingKind::Consumer;
    let named: Vec<&Definition<'d>> = all.iter().filter(|d| d.name() == name).collect();
    match named.as_slice() {
        [only] => Ok(only),
        [] => Err(EditError::not_found(kind, name, all.iter().map(Definition::name))),
        several => Err(EditError::several(kind, name, several.iter().map(|d| &d.plugin))),
    }
}

/// Every configuration of a plugin.
pub(super) fn configs(root: &Node) -> Vec<(&Node, Scope<'_>)> {
    let Some(spec) = root.get("spec") else { return Vec::new() };
    let mut found = Vec::new();
    for key in GLOBAL {
        let Some(config) = spec.get(key) else { continue };
        found.push((config, if key == "defaultConfig" { Scope::Default } else { Scope::Other }));
        let rules = config.get(RULES).and_then(Node::as_list).unwrap_or_default();
        found.extend(rules.iter().map(|rule| (rule, Scope::Other)));
    }
    let rules = MATCH_RULES.entries(root).iter();
    found.extend(rules.filter_map(|rule| Some((rule.get("config")?, Scope::Rule(rule)))));
    found
}

/// Changes every configuration of a plugin.
pub(super) fn change_configs(root: &mut Node, change: &mut dyn FnMut(&mut Map)) {
    let Some(spec) = root.get_mut("spec") else { return };
    let mut change = |node: &mut Node| {
        if let Value::Map(config) = &mut node.value {
            change(config);
        }
    };
    for key in GLOBAL {
        let Some(config) = spec.get_mut(key) else { continue };
        change(config);
        if let Some(Value::List(rules)) = config.get_mut(RULES).map(|rules| &mut rules.value) {
            rules.iter_mut().for_each(&mut change);
        }
    }
    let rules = MATCH_RULES.entries_mut(root).into_iter().flatten();
    rules.filter_map(|rule| rule.get_mut("config")).for_each(&mut change);
}

/// A list of another type may hold what an edit is about.
fn check(resource: &Resource, config: &Node) -> Result<(), EditError> {
    let lists = ["consumers", "allow", RULES];
    let is_list =
        |key: &&str| config.get(key).is_none_or(|node| node.is_null() || node.as_list().is_some());
    match lists.iter().find(|key| !is_list(key)) {
        Some(key) => Err(EditError::unreadable(&resource.key, format!("`{key}` is no list"))),
        None if config.as_map().is_none() && !config.is_null() => {
            Err(EditError::unreadable(&resource.key, "a configuration is no mapping"))
        }
        None => Ok(()),
    }
}
