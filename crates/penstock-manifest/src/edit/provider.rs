//! LLM providers: their tokens, and how they go.

use std::collections::BTreeSet;

use super::draft::{Draft, key};
use super::key_auth::is_plugin;
use super::mention::{self, record};
use super::secret::{self, Vault, checked};
use super::{EditError, ThingKind, rule, texts_in};
use crate::intent::secret::secret_name;
use crate::merge::{ListRow, MATCH_RULES, PROVIDERS, REGISTRIES, switch_off_without_providers};
use crate::node::{Node, Value};
use crate::render::object::texts;
use crate::resource::ResourceKey;

const NAME: &str = "ai-proxy";
/// The registry that all providers of the type `vertex` share.
const VERTEX: &str = "vertex-auth.internal";

/// Gives a provider other tokens.
pub(super) fn set_tokens(
    draft: &mut Draft<'_>,
    name: &str,
    tokens: &[String],
) -> Result<(), EditError> {
    if tokens.is_empty() {
        // Without tokens ai-proxy sends the caller's own key to the provider.
        let why = "needs at least one token".to_owned();
        return Err(EditError::Invalid { what: format!("provider `{name}`"), why });
    }
    let plugin = plugin_of(draft, name)?;
    let path = PROVIDERS.path_text();
    let is_ours = draft.entry_fields(&plugin, &path, name).is_some();
    let secret = secret_name("provider", name);
    let vault = Vault { name: &secret, prefix: "token", is_ours };
    write(draft, &plugin, name, &[]);
    secret::drop_unused(draft, &secret);
    let mut references = Vec::with_capacity(tokens.len());
    for (position, token) in tokens.iter().enumerate() {
        references.push(vault.put(draft, position, checked("a token", "", token)?)?);
    }
    write(draft, &plugin, name, &references);
    if let Some(fields) = draft.entry_fields(&plugin, &path, name) {
        fields.insert("apiTokens".to_owned());
    }
    Ok(())
}

/// Removes a provider that nothing uses.
pub(super) fn delete(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let plugin = plugin_of(draft, name)?;
    let by = users(draft, name)?;
    if !by.is_empty() {
        return Err(used(name, by));
    }
    let is_named = |entry: &Node| id_of(entry) == Some(name);
    let is_vertex = entries(draft, &plugin, &PROVIDERS)
        .iter()
        .any(|entry| is_named(entry) && is_of_vertex(entry));
    draft.remove_entries(&plugin, &PROVIDERS, &is_named);
    remove_rules(draft, &plugin, name)?;
    let registry = format!("llm-{name}.internal");
    let is_host = is_host_of(&registry);
    rule::remove_targets(draft, "service", &|service| {
        is_host(service.split(':').next().unwrap_or(service))
    });
    if let Some(before) = draft.before(&plugin)
        && let Some(mut root) = draft.root(&plugin).cloned()
    {
        switch_off_without_providers(before, &mut root);
        draft.set(&plugin, root);
    }
    remove_registry(draft, &registry);
    let by = mention::of_hosts(draft, &is_host);
    if !by.is_empty() {
        return Err(used(name, by));
    }
    let has_vertex = entries(draft, &plugin, &PROVIDERS).iter().any(is_of_vertex);
    let is_auth = is_host_of(VERTEX);
    if is_vertex && !has_vertex && mention::of_hosts(draft, &is_auth).is_empty() {
        remove_registry(draft, VERTEX);
    }
    let secret = secret_name("provider", name);
    secret::drop_unused(draft, &secret);
    secret::remove_empty(draft, &secret);
    Ok(())
}

fn used(name: &str, mut by: Vec<String>) -> EditError {
    by.sort();
    by.dedup();
    EditError::Used { kind: ThingKind::Provider, name: name.to_owned(), by }
}

fn entries<'d>(draft: &'d Draft<'_>, key: &ResourceKey, row: &ListRow) -> &'d [Node] {
    draft.root(key).map(|root| row.entries(root)).unwrap_or_default()
}

fn id_of(entry: &Node) -> Option<&str> {
    entry.get("id")?.as_str()
}

fn is_of_vertex(entry: &Node) -> bool {
    entry.get("type").and_then(Node::as_str) == Some("vertex")
}

/// Whether a host is a registry's, whatever its type.
fn is_host_of(registry: &str) -> impl Fn(&str) -> bool + use<> {
    let registry = registry.to_ascii_lowercase();
    move |host| {
        let host = host.to_ascii_lowercase();
        host.strip_prefix(&registry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

/// The ai-proxy that defines a provider.
fn plugin_of(draft: &Draft<'_>, name: &str) -> Result<ResourceKey, EditError> {
    let mut found: Vec<ResourceKey> = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for (resource, root) in draft.of_kind("WasmPlugin").filter(|(r, _)| is_plugin(r, NAME)) {
        let config = root.get("spec").and_then(|spec| spec.get("defaultConfig"));
        let list = config.and_then(|config| config.get("providers"));
        if list.is_some_and(|list| !list.is_null() && list.as_list().is_none()) {
            return Err(EditError::unreadable(&resource.key, "`providers` is no list"));
        }
        for id in PROVIDERS.entries(root).iter().filter_map(id_of) {
            known.push(id);
            if id == name {
                found.push(resource.key.clone());
            }
        }
    }
    match found.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(EditError::not_found(ThingKind::Provider, name, known)),
        several => Err(EditError::several(ThingKind::Provider, name, several.iter())),
    }
}

fn write(draft: &mut Draft<'_>, plugin: &ResourceKey, name: &str, tokens: &[String]) {
    let Some(mut root) = draft.root(plugin).cloned() else { return };
    let providers = PROVIDERS.entries_mut(&mut root);
    for entry in providers.into_iter().flatten().filter(|entry| id_of(entry) == Some(name)) {
        if let Value::Map(entry) = &mut entry.value {
            entry.set("apiTokens", texts(tokens));
        }
    }
    draft.set(plugin, root);
}

/// The routes that name a provider, or lead to a service of it.
fn users(draft: &Draft<'_>, name: &str) -> Result<Vec<String>, EditError> {
    let mut users = BTreeSet::new();
    for (resource, root) in draft.of_kind("ConfigMap") {
        if let Some(record) = record(resource, root)?
            && mention::providers_in(&record).any(|provider| provider == name)
        {
            users.insert(mention::name_of(&resource.key));
        }
    }
    let mut services: BTreeSet<String> = BTreeSet::new();
    for (_, root) in draft.of_kind("WasmPlugin").filter(|(r, _)| is_plugin(r, NAME)) {
        for rule in MATCH_RULES.entries(root).iter().filter(|rule| activates(rule, name)) {
            users.extend(texts_in(rule, "ingress").map(mention::of_ingress));
            let hosts = texts_in(rule, "service");
            services.extend(hosts.map(|host| host.split(':').next().unwrap_or(host).to_owned()));
        }
    }
    let is_registry = is_host_of(&format!("llm-{name}.internal"));
    let is_host = |host: &str| is_registry(host) || services.contains(host);
    for (resource, root) in draft.of_kind("Ingress") {
        if mention::has_host(root, &is_host) {
            users.insert(mention::name_of(&resource.key));
        }
    }
    Ok(users.into_iter().collect())
}

/// Whether a rule is about a provider.
fn activates(rule: &Node, name: &str) -> bool {
    let active = rule.get("config").and_then(|config| config.get("activeProviderId")?.as_str());
    active == Some(name)
}

/// Removes the rules that bind services to a provider. One that binds a
/// domain is somebody's choice.
fn remove_rules(draft: &mut Draft<'_>, plugin: &ResourceKey, name: &str) -> Result<(), EditError> {
    let is_for_services =
        |rule: &Node| activates(rule, name) && texts_in(rule, "domain").next().is_none();
    draft.remove_entries(plugin, &MATCH_RULES, &is_for_services);
    match entries(draft, plugin, &MATCH_RULES).iter().any(|rule| activates(rule, name)) {
        true => Err(used(name, vec![plugin.to_string()])),
        false => Ok(()),
    }
}

fn remove_registry(draft: &mut Draft<'_>, name: &str) {
    let is_named = |entry: &Node| entry.get("name").and_then(Node::as_str) == Some(name);
    draft.remove_entries(&key("McpBridge", "default"), &REGISTRIES, &is_named);
}
