//! Resources → the intent that they came from, as a document to write.
//!
//! What the console keeps of a thing is taken from where the console reads
//! it: a route from its record, never from its Ingress. An entry that an
//! intent cannot express (a registry of another type, a consumer of a shape
//! that the console skips) is left out with a finding; [`check`] finds
//! everything else that would be lost, by rendering what was exported.
//!
//! Invariant: unless the secrets are asked for, none of them is in what comes
//! out, findings included.

mod difference;
mod text;

use super::consumer::CREDENTIAL;
use super::{OBJECT, ai_route, domain, llm_provider, service_source};
use crate::diagnostic::{Diagnostic, EXPORT_INCOMPLETE};
use crate::kind::config_map::{ai_route_json, ai_route_name, domain_of};
use crate::node::{Cursor, Map, Node, Value};
use crate::redact::is_sensitive;
use crate::render::PLACEHOLDER_TOKEN;
use crate::render::object::{list, map, text};
use crate::resource::{Listing, Resource, SYSTEM_NAMESPACE};
use crate::schema::{Object, Shape, without_positions};

use text::{Owner, Texts};

pub use difference::check;

/// What is written for tokens and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// `${env:NAME}`, with a name made of the owner and the field.
    Ref,
    /// Themselves.
    Inline,
    /// Their hashes.
    Redact,
}

/// What was exported.
pub struct Export {
    /// The intent.
    pub document: Node,
    /// The variables that it refers to, in its order.
    pub variables: Vec<String>,
    /// What was left out.
    pub diagnostics: Vec<Diagnostic>,
}

/// The document may hold keys, so it is not shown.
impl std::fmt::Debug for Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Export")
            .field("variables", &self.variables)
            .field("diagnostics", &self.diagnostics)
            .finish_non_exhaustive()
    }
}

/// The intent that resources came from.
pub fn from_resources(listing: &Listing, secrets: Secrets) -> Export {
    let mut reader =
        Reader { listing, texts: Texts::new(listing, secrets), diagnostics: Vec::new() };
    let mut intent: Vec<(&str, Vec<Node>)> =
        OBJECT.fields.iter().map(|field| (field.name, Vec::new())).collect();
    let ours = listing.resources.iter().filter(|r| &*r.key.namespace == SYSTEM_NAMESPACE);
    for resource in ours {
        let (name, nodes) = match (&*resource.key.kind, &*resource.key.name) {
            ("ConfigMap", _) if domain_of(resource).is_some() => {
                ("domains", vec![read_domain(resource)])
            }
            ("ConfigMap", _) if ai_route_name(resource).is_some() => {
                ("aiRoutes", reader.ai_route(resource).into_iter().collect())
            }
            ("McpBridge", "default") => ("serviceSources", reader.service_sources(resource)),
            ("WasmPlugin", "ai-proxy.internal") => ("providers", reader.providers(resource)),
            ("WasmPlugin", "key-auth.internal") => ("consumers", reader.consumers(resource)),
            _ => continue,
        };
        let section = intent.iter_mut().find(|(section, _)| *section == name);
        section.into_iter().for_each(|(_, section)| section.extend(nodes.iter().cloned()));
    }
    let sections = intent.into_iter().filter(|(_, nodes)| !nodes.is_empty());
    Export {
        document: map(sections.map(|(name, nodes)| (name, list(nodes)))),
        variables: reader.texts.variables,
        diagnostics: reader.diagnostics,
    }
}

struct Reader<'a> {
    listing: &'a Listing,
    texts: Texts<'a>,
    diagnostics: Vec<Diagnostic>,
}

fn read_domain(resource: &Resource) -> Node {
    let data = resource.root.get("data");
    let value = |key: &str| match &data?.get(key)?.value {
        Value::String(value) => Some(text(value)),
        // An unquoted off or on is a boolean in YAML 1.1.
        Value::Bool(flag) => Some(text(if *flag { "on" } else { "off" })),
        _ => None,
    };
    let names = [("domain", "name"), ("enableHttps", "enableHttps"), ("cert", "certIdentifier")];
    debug_assert!(names.iter().all(|(_, name)| domain::OBJECT.field(name).is_some()));
    map(names.into_iter().filter_map(|(key, name)| Some((name, value(key)?))))
}

/// The settings of an entry of ai-proxy that have a field of their own.
const PROVIDER_FIELDS: &[&str] =
    &["id", "type", "protocol", "apiTokens", "failover", "retryOnFailure"];

impl Reader<'_> {
    fn leave_out(&mut self, cursor: &Cursor<'_>, why: &str) {
        self.diagnostics.push(cursor.diagnostic(&EXPORT_INCOMPLETE, why));
    }

    fn ai_route(&mut self, resource: &Resource) -> Option<Node> {
        let json = ai_route_json(resource, &mut self.diagnostics)?;
        let name = ai_route_name(resource)?;
        let path = std::borrow::Cow::Borrowed("data.data");
        let cursor = Cursor { node: &json, source: &resource.source, path };
        Some(self.known(&Owner::AiRoute(name), &cursor, &ai_route::OBJECT))
    }

    /// The fields that an object has in its table, and in them the same.
    fn known(&mut self, owner: &Owner<'_>, cursor: &Cursor<'_>, object: &Object) -> Node {
        let mut found = Vec::new();
        for (entry, value) in cursor.entries() {
            let field = object.field(&entry.key).filter(|field| field.name != "version");
            let Some(field) = field.filter(|_| !value.node.is_null()) else { continue };
            let secret_name = match field.name {
                "value" | "matchValue" => cursor.node.get("key").and_then(Node::as_str),
                _ => None,
            };
            let node = match (secret_name, value.node.as_str()) {
                (Some(name), Some(_)) => self.keyed(owner, &value, name),
                _ => self.shaped(owner, &value, field.shape),
            };
            found.push((entry.key.clone(), node));
        }
        map(found)
    }

    fn shaped(&mut self, owner: &Owner<'_>, cursor: &Cursor<'_>, shape: Shape) -> Node {
        match (shape, &cursor.node.value) {
            (Shape::Object(object), Value::Map(_)) => self.known(owner, cursor, object),
            (Shape::List(item), Value::List(_)) => {
                list(cursor.items().map(|value| self.shaped(owner, &value, *item)))
            }
            _ => without_positions(cursor.node),
        }
    }

    /// The value of a header or parameter: what is sent may be looked up, a
    /// condition may not.
    fn keyed(&mut self, owner: &Owner<'_>, cursor: &Cursor<'_>, name: &str) -> Node {
        let value = cursor.node.as_str().unwrap_or_default();
        let is_condition = cursor.path.ends_with("matchValue");
        let is_secret = text::is_secret_header(name) || text::has_reference(value);
        match self.texts.mode {
            Secrets::Redact if is_secret || !is_condition => self.texts.redacted(cursor),
            Secrets::Ref if is_secret && is_condition => {
                let why = "a condition that may hold a secret is written as it is";
                self.leave_out(cursor, why);
                text(value)
            }
            _ if is_secret && !is_condition => {
                self.texts.secret(owner, name, cursor, &mut self.diagnostics)
            }
            _ => text(value),
        }
    }

    fn service_sources(&mut self, resource: &Resource) -> Vec<Node> {
        let registries = resource.spec().and_then(|spec| spec.get("registries"));
        let mut sources = Vec::new();
        for registry in registries.iter().flat_map(Cursor::items).collect::<Vec<_>>() {
            let field = |key: &str| registry.node.get(key).and_then(Node::as_str);
            let name = field("name").unwrap_or_default();
            if name.ends_with(".internal") {
                continue;
            }
            if !matches!(field("type"), Some("static" | "dns")) {
                self.leave_out(&registry, "an intent has no service sources of this type");
                continue;
            }
            sources.push(self.known(
                &Owner::ServiceSource(name),
                &registry,
                &service_source::OBJECT,
            ));
        }
        sources
    }

    fn providers(&mut self, resource: &Resource) -> Vec<Node> {
        let providers =
            resource.spec().and_then(|spec| spec.get("defaultConfig")?.get("providers"));
        let entries: Vec<Cursor<'_>> = providers.iter().flat_map(Cursor::items).collect();
        entries.iter().filter_map(|entry| self.provider(entry)).collect()
    }

    fn provider(&mut self, entry: &Cursor<'_>) -> Option<Node> {
        let field = |key: &str| entry.node.get(key).and_then(Node::as_str);
        let (Some(id), Some(kind)) = (field("id"), field("type")) else {
            self.leave_out(entry, "a provider without id or type is none of an intent");
            return None;
        };
        let owner = Owner::Provider(id);
        let mut fields = vec![("name", text(id)), ("type", text(kind))];
        if field("protocol") == Some("original") {
            fields.push(("protocol", text("original")));
        }
        let tokens: Vec<Node> = entry
            .get("apiTokens")
            .iter()
            .flat_map(Cursor::items)
            .filter(|token| token.node.as_str().is_some_and(|token| token != PLACEHOLDER_TOKEN))
            .map(|token| self.texts.secret(&owner, "token", &token, &mut self.diagnostics))
            .collect();
        if !tokens.is_empty() {
            fields.push(("tokens", list(tokens)));
        }
        if let Some(failover) = entry.get("failover").filter(|f| f.node.as_map().is_some()) {
            let failover = self.known(&owner, &failover, &llm_provider::FAILOVER);
            fields.push(("tokenFailoverConfig", failover));
        }
        let proxy = proxy_name(self.listing, &format!("llm-{id}.internal"));
        fields.extend(proxy.map(|name| ("proxyName", text(name))));
        let mut raw = Map::default();
        for (own, value) in entry.entries() {
            if !PROVIDER_FIELDS.contains(&&*own.key) {
                let is_secret = is_sensitive(&own.key.to_ascii_lowercase());
                raw.set(&own.key, self.raw(&owner, &own.key, &value, is_secret));
            }
        }
        if !raw.entries.is_empty() {
            fields.push(("rawConfigs", Node::synthetic(Value::Map(raw))));
        }
        Some(map(fields))
    }

    /// A setting of a provider, with what looks like a key as a secret.
    fn raw(&mut self, owner: &Owner<'_>, key: &str, cursor: &Cursor<'_>, is_secret: bool) -> Node {
        match &cursor.node.value {
            Value::List(_) => {
                list(cursor.items().map(|item| self.raw(owner, key, &item, is_secret)))
            }
            Value::Map(_) => map(cursor
                .entries()
                .map(|(entry, value)| {
                    // The keys of a model mapping are models.
                    let is_key = key != "modelMapping" && is_sensitive(&entry.key.to_lowercase());
                    let node = self.raw(owner, &entry.key, &value, is_secret || is_key);
                    (entry.key.clone(), node)
                })
                .collect::<Vec<_>>()),
            Value::String(value) if is_secret || text::is_reference(value) => {
                self.texts.secret(owner, key, cursor, &mut self.diagnostics)
            }
            Value::String(_) => self.texts.plain(cursor, &mut self.diagnostics),
            // Counts of tokens are no tokens.
            Value::Int(_) | Value::Float(_)
                if is_secret && !key.to_ascii_lowercase().contains("token") =>
            {
                self.texts.secret_number(owner, key, cursor, &mut self.diagnostics)
            }
            _ => without_positions(cursor.node),
        }
    }

    fn consumers(&mut self, resource: &Resource) -> Vec<Node> {
        let consumers =
            resource.spec().and_then(|spec| spec.get("defaultConfig")?.get("consumers"));
        let entries: Vec<Cursor<'_>> = consumers.iter().flat_map(Cursor::items).collect();
        let mut found = Vec::new();
        for entry in entries {
            match self.consumer(&entry) {
                Some(consumer) => found.push(consumer),
                None => self.leave_out(&entry, "a consumer of a shape that the console skips"),
            }
        }
        found
    }

    /// A consumer as the console reads it: BEARER only where every key begins
    /// so, the last of several `keys`, also the older `credential`.
    fn consumer(&mut self, entry: &Cursor<'_>) -> Option<Node> {
        let name = entry.node.get("name")?.as_str()?;
        let flag = |key: &str| entry.node.get(key).and_then(Node::as_bool) == Some(true);
        let keys = entry.node.get("keys").and_then(Node::as_list).unwrap_or_default();
        let key = keys.iter().filter_map(Node::as_str).rfind(|key| !key.trim().is_empty())?;
        let several = entry.get("credentials");
        let cursors: Vec<Cursor<'_>> = several
            .iter()
            .flat_map(Cursor::items)
            .chain(entry.get("credential"))
            .filter(|value| value.node.as_str().is_some())
            .collect();
        if cursors.is_empty() {
            return None;
        }
        let is_bearer = cursors.iter().all(|value| self.texts.is_bearer(value));
        let (source, prefix) = match (flag("in_header"), flag("in_query")) {
            (true, _) if is_bearer && key == "Authorization" => ("BEARER", text::BEARER),
            (true, _) => ("HEADER", ""),
            (false, true) => ("QUERY", ""),
            (false, false) => return None,
        };
        let mut credential = vec![("type", text("key-auth")), ("source", text(source))];
        if source != "BEARER" {
            credential.push(("key", text(key)));
        }
        let owner = Owner::Consumer(name, prefix);
        let values: Vec<Node> = cursors
            .iter()
            .map(|value| self.texts.secret(&owner, "key", value, &mut self.diagnostics))
            .collect();
        credential.push(("values", list(values)));
        debug_assert!(credential.iter().all(|(name, _)| CREDENTIAL.field(name).is_some()));
        Some(map([("name", text(name)), ("credentials", list([map(credential)]))]))
    }
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
