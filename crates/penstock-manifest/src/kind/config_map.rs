//! The ConfigMaps in which the console keeps domains and AI routes
//! (Higress console: KubernetesModelConverter). The gateway of Higress reads
//! neither; penstock reads an AI route's `authConfig`, so that a lost key-auth
//! rule does not open the route, and the HTTPS of a domain.

use crate::diagnostic::{AI_ROUTE_JSON, Diagnostic, EMBEDDED_DOCUMENT};
use crate::node::{Cursor, Node, Position, Value};
use crate::resource::Resource;
use crate::yaml;

/// The prefix of a domain's ConfigMap.
pub const DOMAIN_PREFIX: &str = "domain-";
/// The prefix of an AI route's ConfigMap.
pub const AI_ROUTE_PREFIX: &str = "ai-route-";
/// The suffix of what the console manages itself.
pub const INTERNAL_SUFFIX: &str = ".internal";
/// The label that says what a ConfigMap holds.
pub const CONFIG_MAP_TYPE: &str = "higress.io/config-map-type";

/// The domain that a ConfigMap describes, if it is one of those.
pub fn domain_of(resource: &Resource) -> Option<Cursor<'_>> {
    let is_domain = &*resource.key.kind == "ConfigMap"
        && (resource.label(CONFIG_MAP_TYPE) == Some("domain")
            || resource.key.name.starts_with(DOMAIN_PREFIX));
    if !is_domain {
        return None;
    }
    resource.cursor().get("data")?.get("domain")
}

/// The name of the AI route that a ConfigMap describes, if it is one of
/// those.
pub fn ai_route_name(resource: &Resource) -> Option<&str> {
    let is_ai_route = &*resource.key.kind == "ConfigMap"
        && (resource.label(CONFIG_MAP_TYPE) == Some("ai-route")
            || resource.key.name.starts_with(AI_ROUTE_PREFIX));
    if !is_ai_route {
        return None;
    }
    Some(resource.key.name.strip_prefix(AI_ROUTE_PREFIX).unwrap_or(&resource.key.name))
}

/// The JSON of an AI route. Positions inside it are those of the text in the
/// file where it stands on one line or in a literal block, else that of the
/// value. Escapes inside double quotes are not counted.
pub fn ai_route_json(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
    let owner = resource.cursor().get("data");
    let data = owner.as_ref().and_then(|owner| owner.get("data"));
    let Some(data) = data else {
        diagnostics.push(
            resource
                .cursor()
                .diagnostic(&AI_ROUTE_JSON, format!("{} has no data.data", resource.key)),
        );
        return None;
    };
    let text = data.text(diagnostics)?;
    let key_at = owner.and_then(|owner| Some(owner.node.as_map()?.entry("data")?.key_at));
    let origin = origin_of(text, data.node.at, key_at.unwrap_or_default());
    match yaml::parse_value(text, origin.unwrap_or_default()) {
        Ok(mut node) if node.as_map().is_some() => {
            if origin.is_none() {
                put_at(&mut node, data.node.at);
            }
            Some(node)
        }
        Ok(_) => {
            diagnostics.push(data.diagnostic(&AI_ROUTE_JSON, "data.data is not a JSON object"));
            None
        }
        Err(error) => {
            diagnostics
                .push(data.diagnostic(&AI_ROUTE_JSON, format!("data.data is not JSON: {error}")));
            None
        }
    }
}

/// The YAML document under a key of `data`, with positions as those of
/// [`ai_route_json`]; null where there is none. `None` with a finding where
/// it cannot be read.
pub(super) fn embedded(
    resource: &Resource,
    key: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Node> {
    let owner = resource.cursor().get("data");
    let Some(data) = owner.as_ref().and_then(|owner| owner.get(key)) else {
        return Some(Node::default());
    };
    let text = data.text(diagnostics)?;
    let key_at = owner.and_then(|owner| Some(owner.node.as_map()?.entry(key)?.key_at));
    let origin = origin_of(text, data.node.at, key_at.unwrap_or_default());
    match yaml::parse_value(text, origin.unwrap_or_default()) {
        Ok(mut node) => {
            if origin.is_none() {
                put_at(&mut node, data.node.at);
            }
            Some(node)
        }
        Err(error) => {
            let message = format!("`{}` cannot be read: {}", data.path, error.message);
            let mut finding = data.diagnostic(&EMBEDDED_DOCUMENT, message);
            if error.at.line > 0 {
                (finding.line, finding.column) = (error.at.line, error.at.column);
            }
            diagnostics.push(finding);
            None
        }
    }
}

/// Where the text of a value begins: behind the quote if it stands beside its
/// key, else at the value. `None` where its lines are not lines of the file.
fn origin_of(text: &str, at: Position, key_at: Position) -> Option<Position> {
    if at.line != key_at.line {
        return Some(at);
    }
    (!text.trim_end().contains('\n')).then(|| Position::new(at.line, at.column.saturating_add(1)))
}

/// Gives every value and key the same place.
fn put_at(node: &mut Node, at: Position) {
    node.at = at;
    match &mut node.value {
        Value::List(list) => list.iter_mut().for_each(|item| put_at(item, at)),
        Value::Map(map) => map.entries.iter_mut().for_each(|entry| {
            entry.key_at = at;
            put_at(&mut entry.node, at);
        }),
        _ => {}
    }
}

/// Whether an AI route asks for authentication. A record that cannot be read
/// is reported by lint.
pub fn ai_route_is_protected(resource: &Resource) -> bool {
    let text = resource.root.get("data").and_then(|data| data.get("data")?.as_str());
    // What is JSON needs no positions here, and that is all that this is asked
    // of at every reload.
    match text.map(serde_json::from_str::<serde_json::Value>) {
        Some(Ok(json)) => json.pointer("/authConfig/enabled") == Some(&true.into()),
        Some(Err(_)) => {
            let json = ai_route_json(resource, &mut Vec::new());
            let auth = json.as_ref().and_then(|json| json.get("authConfig")?.get("enabled"));
            auth.and_then(Node::as_bool) == Some(true)
        }
        None => false,
    }
}
