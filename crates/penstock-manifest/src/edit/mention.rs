//! What refers to a thing by its name or by its host.

use super::EditError;
use super::draft::Draft;
use crate::kind::config_map::{AI_ROUTE_PREFIX, INTERNAL_SUFFIX, ai_route_json, ai_route_name};
use crate::node::Node;
use crate::resource::{Resource, ResourceKey};

/// A resource as a user of the store calls it: a part of an AI route is that
/// route.
pub(super) fn name_of(key: &ResourceKey) -> String {
    match (&*key.kind, key.name.strip_prefix(AI_ROUTE_PREFIX)) {
        ("Ingress" | "EnvoyFilter", Some(_)) => of_ingress(&key.name),
        ("ConfigMap", Some(route)) => format!("ai-route {route}"),
        _ => key.to_string(),
    }
}

/// The route of an Ingress.
pub(super) fn of_ingress(ingress: &str) -> String {
    let route = ingress.strip_prefix(AI_ROUTE_PREFIX);
    match route.and_then(|route| route.strip_suffix(INTERNAL_SUFFIX)) {
        Some(route) => format!("ai-route {}", route.strip_suffix(".fallback").unwrap_or(route)),
        None => format!("Ingress {ingress}"),
    }
}

/// The console's record of an AI route, if a ConfigMap has one.
pub(super) fn record(resource: &Resource, root: &Node) -> Result<Option<Node>, EditError> {
    let has_data = root.get("data").is_some_and(|data| data.get("data").is_some());
    if ai_route_name(resource).is_none() || !has_data {
        return Ok(None);
    }
    let current = Resource { root: root.clone(), ..resource.clone() };
    match ai_route_json(&current, &mut Vec::new()) {
        Some(record) => Ok(Some(record)),
        None => Err(EditError::unreadable(&resource.key, "its `data.data` is no JSON object")),
    }
}

/// The providers that a record names, those of its fallback included.
pub(super) fn providers_in(record: &Node) -> impl Iterator<Item = &str> {
    [Some(record), record.get("fallbackConfig")].into_iter().flatten().flat_map(|node| {
        let list = node.get("upstreams").and_then(Node::as_list).unwrap_or_default();
        list.iter().filter_map(|upstream| upstream.get("provider")?.as_str())
    })
}

/// Every resource that stays and mentions one of some hosts, outside its own
/// name: a service in an annotation, a plugin or a record.
pub(super) fn of_hosts(draft: &Draft<'_>, is_meant: &dyn Fn(&str) -> bool) -> Vec<String> {
    let kinds = ["ConfigMap", "EnvoyFilter", "Ingress", "WasmPlugin"];
    let resources = kinds.iter().flat_map(|kind| draft.of_kind(kind));
    resources.filter(|(_, root)| has_host(root, is_meant)).map(|(r, _)| name_of(&r.key)).collect()
}

/// Whether a text of a resource has one of some hosts.
pub(super) fn has_host(root: &Node, is_meant: &dyn Fn(&str) -> bool) -> bool {
    root.any(&mut |node| node.as_str().is_some_and(|text| hosts(text).any(is_meant)))
}

/// The words of a text that may be hosts.
fn hosts(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.split(move |c| !is_part(c)).filter(|word| !word.is_empty())
}
