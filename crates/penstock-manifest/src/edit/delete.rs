//! Domains, AI routes and service sources that go. Providers and consumers
//! have files of their own.

use std::collections::BTreeSet;

use super::draft::{Draft, key};
use super::mention::{self, record};
use super::{EditError, ThingKind, consumer, provider, rule, secret, texts_in};
use crate::intent::domain::{DEFAULT_DOMAIN, normalised};
use crate::intent::secret::secret_name;
use crate::kind::config_map::{
    AI_ROUTE_PREFIX, DOMAIN_PREFIX, INTERNAL_SUFFIX, ai_route_name, domain_of,
};
use crate::merge::REGISTRIES;
use crate::node::Node;
use crate::resource::Resource;

/// Removes a thing that nothing uses.
pub(super) fn delete(draft: &mut Draft<'_>, kind: ThingKind, name: &str) -> Result<(), EditError> {
    match kind {
        ThingKind::Domain => domain(draft, name),
        ThingKind::Provider => provider::delete(draft, name),
        ThingKind::Consumer => consumer::delete(draft, name),
        ThingKind::AiRoute => ai_route(draft, name),
        ThingKind::ServiceSource => service_source(draft, name),
    }
}

fn unused(kind: ThingKind, name: &str, by: BTreeSet<String>) -> Result<(), EditError> {
    if by.is_empty() {
        return Ok(());
    }
    Err(EditError::Used { kind, name: name.to_owned(), by: by.into_iter().collect() })
}

/// Rules of plugins that name the domain stay: they may protect what a route
/// without a domain serves under it.
fn domain(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let config_map = key("ConfigMap", &format!("{DOMAIN_PREFIX}{}", normalised(name)));
    if draft.root(&config_map).is_none() {
        let known = draft.of_kind("ConfigMap").filter_map(|(r, _)| domain_of(r)?.node.as_str());
        return Err(EditError::not_found(ThingKind::Domain, name, known));
    }
    let mut by = BTreeSet::new();
    for (resource, root) in draft.of_kind("ConfigMap") {
        let Some(record) = record(resource, root)? else { continue };
        let mut domains = texts_in(&record, "domains").peekable();
        let is_default = domains.peek().is_none() && name == DEFAULT_DOMAIN;
        if is_default || domains.any(|domain| domain == name) {
            by.insert(mention::name_of(&resource.key));
        }
    }
    for (resource, _) in draft.of_kind("Ingress").filter(|(r, root)| serves(r, root, name)) {
        by.insert(mention::name_of(&resource.key));
    }
    unused(ThingKind::Domain, name, by)?;
    draft.remove(&config_map);
    Ok(())
}

/// Whether an Ingress bears a domain, or its label.
fn serves(resource: &Resource, root: &Node, domain: &str) -> bool {
    let rules = root.get("spec").and_then(|spec| spec.get("rules")?.as_list());
    let mut hosts = rules.unwrap_or_default().iter().filter_map(|rule| rule.get("host")?.as_str());
    resource.label(&format!("higress.io/domain_{}", normalised(domain))).is_some()
        || hosts.any(|host| host == domain)
}

fn ai_route(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let config_map = key("ConfigMap", &format!("{AI_ROUTE_PREFIX}{name}"));
    let main = format!("{AI_ROUTE_PREFIX}{name}{INTERNAL_SUFFIX}");
    let mut ingresses = vec![main];
    // The fallback of a route bears the name that another route may have.
    let namesake = key("ConfigMap", &format!("{AI_ROUTE_PREFIX}{name}.fallback"));
    if draft.root(&namesake).is_none() {
        ingresses.push(format!("{AI_ROUTE_PREFIX}{name}.fallback{INTERNAL_SUFFIX}"));
    }
    let mut found = draft.remove(&config_map);
    for ingress in &ingresses {
        found |= draft.remove(&key("Ingress", ingress));
        draft.remove(&key("EnvoyFilter", ingress));
    }
    if !found {
        let known = draft.of_kind("ConfigMap").filter_map(|(r, _)| ai_route_name(r));
        return Err(EditError::not_found(ThingKind::AiRoute, name, known));
    }
    rule::remove_targets(draft, "ingress", &|target| ingresses.iter().any(|i| i == target));
    let secret = secret_name("route", name);
    secret::drop_unused(draft, &secret);
    secret::remove_empty(draft, &secret);
    Ok(())
}

fn service_source(draft: &mut Draft<'_>, name: &str) -> Result<(), EditError> {
    let bridge = key("McpBridge", "default");
    let registries = draft.root(&bridge).map(|root| REGISTRIES.entries(root));
    let sources: Vec<(String, String)> = registries
        .unwrap_or_default()
        .iter()
        .filter_map(|entry| Some((entry.get("name")?.as_str()?, entry.get("type")?.as_str()?)))
        .filter(|(name, _)| !name.ends_with(INTERNAL_SUFFIX))
        .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
        .collect();
    let named = sources.iter().filter(|(source, _)| source == name);
    let hosts: Vec<String> = named.map(|(name, kind)| format!("{name}.{kind}")).collect();
    if hosts.is_empty() {
        let known = sources.iter().map(|(name, _)| name.as_str());
        return Err(EditError::not_found(ThingKind::ServiceSource, name, known));
    }
    let is_host = |host: &str| hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    let by = mention::of_hosts(draft, &is_host).into_iter().collect();
    unused(ThingKind::ServiceSource, name, by)?;
    let is_named = |entry: &Node| entry.get("name").and_then(Node::as_str) == Some(name);
    draft.remove_entries(&bridge, &REGISTRIES, &is_named);
    Ok(())
}
