//! Resources → the intent that they came from, as a document to write.
//!
//! What the console keeps of a thing is taken from where the console reads
//! it: a route from its record, never from its Ingress. What an intent cannot
//! express (registries of other types, consumers of a shape that the console
//! skips) is left out with a finding.

use super::consumer::CREDENTIAL;
use super::{OBJECT, ai_route, domain};
use crate::diagnostic::{Diagnostic, INTENT_CONSOLE_DIFFERS};
use crate::kind::config_map::{ai_route_json, domain_of};
use crate::node::{Cursor, Map, Node, Value};
use crate::render::PLACEHOLDER_TOKEN;
use crate::render::object::{list, map, text, texts};
use crate::resource::{Listing, Resource};
use crate::schema::{Object, without_positions};

/// The intent that resources came from. `secret` says what is written for
/// each token and key: itself, a reference, a hash.
pub fn from_resources(
    listing: &Listing,
    mut secret: impl FnMut(&str) -> String,
) -> (Node, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut export = Export { secret: &mut secret, diagnostics: &mut diagnostics };
    let mut intent: Vec<(&str, Vec<Node>)> =
        OBJECT.fields.iter().map(|field| (field.name, Vec::new())).collect();
    let mut add = |name: &str, nodes: Vec<Node>| {
        let section = intent.iter_mut().find(|(section, _)| *section == name);
        section.into_iter().for_each(|(_, section)| section.extend(nodes.iter().cloned()));
    };
    for resource in &listing.resources {
        match (&*resource.key.kind, &*resource.key.name) {
            ("ConfigMap", _) if domain_of(resource).is_some() => {
                add("domains", vec![read_domain(resource)])
            }
            ("ConfigMap", _) if is_ai_route(resource) => {
                add("aiRoutes", export.ai_route(resource).into_iter().collect());
            }
            ("McpBridge", "default") => add("serviceSources", export.service_sources(resource)),
            ("WasmPlugin", "ai-proxy.internal") => {
                add("providers", export.providers(resource, listing));
            }
            ("WasmPlugin", "key-auth.internal") => add("consumers", export.consumers(resource)),
            _ => {}
        }
    }
    let sections = intent.into_iter().filter(|(_, nodes)| !nodes.is_empty());
    (map(sections.map(|(name, nodes)| (name, list(nodes)))), diagnostics)
}

fn is_ai_route(resource: &Resource) -> bool {
    resource.label("higress.io/config-map-type") == Some("ai-route")
}

struct Export<'a> {
    secret: &'a mut dyn FnMut(&str) -> String,
    diagnostics: &'a mut Vec<Diagnostic>,
}

fn read_domain(resource: &Resource) -> Node {
    let data = resource.root.get("data");
    let value = |key: &str| data.and_then(|data| data.get(key)?.as_str()).map(text);
    let names = [("domain", "name"), ("enableHttps", "enableHttps"), ("cert", "certIdentifier")];
    debug_assert!(names.iter().all(|(_, name)| domain::OBJECT.field(name).is_some()));
    map(names.into_iter().filter_map(|(key, name)| Some((name, value(key)?))))
}

/// Only the fields that an object has in its table.
fn known(node: &Node, object: &Object) -> Node {
    let entries = node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
    let is_known = |key: &str| key != "version" && object.field(key).is_some();
    map(entries
        .iter()
        .filter(|entry| is_known(&entry.key) && !entry.node.is_null())
        .map(|entry| (entry.key.clone(), without_positions(&entry.node))))
}

impl Export<'_> {
    fn leave_out(&mut self, cursor: &Cursor<'_>, why: &str) {
        self.diagnostics.push(cursor.diagnostic(&INTENT_CONSOLE_DIFFERS, why));
    }

    fn ai_route(&mut self, resource: &Resource) -> Option<Node> {
        let json = ai_route_json(resource, self.diagnostics)?;
        Some(known(&json, &ai_route::OBJECT))
    }

    fn service_sources(&mut self, resource: &Resource) -> Vec<Node> {
        let Some(registries) = resource.spec().and_then(|spec| spec.get("registries")) else {
            return Vec::new();
        };
        let mut sources = Vec::new();
        for registry in registries.items() {
            let field = |key: &str| registry.node.get(key).and_then(Node::as_str);
            let name = field("name").unwrap_or_default();
            if name.ends_with(".internal") {
                continue;
            }
            if !matches!(field("type"), Some("static" | "dns")) {
                self.leave_out(&registry, "an intent has no service sources of this type");
                continue;
            }
            sources.push(known(registry.node, &super::service_source::OBJECT));
        }
        sources
    }

    fn providers(&mut self, resource: &Resource, listing: &Listing) -> Vec<Node> {
        let providers =
            resource.spec().and_then(|spec| spec.get("defaultConfig")?.get("providers"));
        let proxy = |id: &str| proxy_name(listing, &format!("llm-{id}.internal"));
        let entries: Vec<Cursor<'_>> = providers.iter().flat_map(Cursor::items).collect();
        let mut found = Vec::new();
        for entry in entries {
            let field = |key: &str| entry.node.get(key).and_then(Node::as_str);
            let (Some(id), Some(kind)) = (field("id"), field("type")) else {
                self.leave_out(&entry, "a provider without id or type");
                continue;
            };
            let mut fields = vec![("name", text(id)), ("type", text(kind))];
            if field("protocol") == Some("original") {
                fields.push(("protocol", text("original")));
            }
            let tokens = entry.node.get("apiTokens").and_then(Node::as_list).unwrap_or_default();
            let tokens: Vec<String> = tokens
                .iter()
                .filter_map(Node::as_str)
                .filter(|token| *token != PLACEHOLDER_TOKEN)
                .map(|token| (self.secret)(token))
                .collect();
            if !tokens.is_empty() {
                fields.push(("tokens", texts(tokens)));
            }
            let failover = entry.node.get("failover").filter(|node| node.as_map().is_some());
            fields.extend(
                failover.map(|node| {
                    ("tokenFailoverConfig", known(node, &super::llm_provider::FAILOVER))
                }),
            );
            fields.extend(proxy(id).map(|name| ("proxyName", text(name))));
            let raw = self.raw_configs(entry.node);
            if !raw.entries.is_empty() {
                fields.push(("rawConfigs", Node::synthetic(Value::Map(raw))));
            }
            found.push(map(fields));
        }
        found
    }

    /// The settings of a provider, with those that look like keys shown as
    /// `secret` says.
    fn raw_configs(&mut self, entry: &Node) -> Map {
        let own = ["id", "type", "protocol", "apiTokens", "failover", "retryOnFailure"];
        let mut raw = Map::default();
        let entries = entry.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
        for entry in entries.iter().filter(|entry| !own.contains(&&*entry.key)) {
            let is_secret = ["awsSecretKey", "awsAccessKey", "vertexAuthKey", "hunyuanAuthKey"];
            let node = match entry.node.as_str() {
                Some(value) if is_secret.contains(&&*entry.key) => text((self.secret)(value)),
                _ => without_positions(&entry.node),
            };
            raw.set(&entry.key, node);
        }
        raw
    }

    fn consumers(&mut self, resource: &Resource) -> Vec<Node> {
        let consumers =
            resource.spec().and_then(|spec| spec.get("defaultConfig")?.get("consumers"));
        let entries: Vec<Cursor<'_>> = consumers.iter().flat_map(Cursor::items).collect();
        let mut found = Vec::new();
        for entry in entries {
            match self.consumer(entry.node) {
                Some(consumer) => found.push(consumer),
                None => self.leave_out(&entry, "a consumer of a shape that the console skips"),
            }
        }
        found
    }

    /// A consumer as the console reads it: BEARER only where every key begins
    /// so, the last of several `keys`, also the older `credential`.
    fn consumer(&mut self, entry: &Node) -> Option<Node> {
        let name = entry.get("name")?.as_str()?;
        let flag = |key: &str| entry.get(key).and_then(Node::as_bool) == Some(true);
        let keys = entry.get("keys").and_then(Node::as_list).unwrap_or_default();
        let key = keys.iter().filter_map(Node::as_str).rfind(|key| !key.trim().is_empty())?;
        let list = entry.get("credentials").and_then(Node::as_list).unwrap_or_default();
        let single = entry.get("credential").and_then(Node::as_str);
        let values: Vec<&str> = list.iter().filter_map(Node::as_str).chain(single).collect();
        let bearer: Option<Vec<&str>> =
            values.iter().map(|value| value.strip_prefix("Bearer ")).collect();
        let (source, values) = match (flag("in_header"), flag("in_query"), bearer) {
            (true, _, Some(bearer)) if key == "Authorization" => ("BEARER", bearer),
            (true, ..) => ("HEADER", values),
            (false, true, _) => ("QUERY", values),
            (false, false, _) => return None,
        };
        let mut credential = vec![("type", text("key-auth")), ("source", text(source))];
        if source != "BEARER" {
            credential.push(("key", text(key)));
        }
        let values: Vec<String> = values.into_iter().map(|value| (self.secret)(value)).collect();
        credential.push(("values", texts(values)));
        debug_assert!(credential.iter().all(|(name, _)| CREDENTIAL.field(name).is_some()));
        Some(map([("name", text(name)), ("credentials", list_of(map(credential)))]))
    }
}

fn list_of(node: Node) -> Node {
    list([node])
}

/// The proxy of a registry.
fn proxy_name<'a>(listing: &'a Listing, registry: &str) -> Option<&'a str> {
    let bridge = listing
        .resources
        .iter()
        .find(|resource| &*resource.key.kind == "McpBridge" && &*resource.key.name == "default")?;
    let registries = bridge.root.get("spec")?.get("registries")?.as_list()?;
    let entry = registries
        .iter()
        .find(|entry| entry.get("name").and_then(Node::as_str) == Some(registry))?;
    entry.get("proxyName")?.as_str()
}
