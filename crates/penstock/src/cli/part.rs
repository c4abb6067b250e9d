//! Where a thing stands: the resources and entries that it consists of.

use std::sync::Arc;

use penstock_manifest::intent::domain::normalised;
use penstock_manifest::kind::config_map::{ai_route_name, domain_of};
use penstock_manifest::{Cursor, Listing, Node, Resource};

use crate::cli::thing::{ThingRow, field, name_of, registry, texts};

/// One place that belongs to a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Kind and name of the resource.
    pub resource: String,
    /// Its file.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The key path; empty where the resource belongs to it as a whole.
    pub path: String,
}

impl Part {
    fn whole(resource: &Resource) -> Self {
        Self {
            resource: resource.key.to_string(),
            file: resource.source.file.clone(),
            line: resource.source.at.line,
            path: String::new(),
        }
    }

    fn entry(resource: &Resource, entry: &Cursor<'_>) -> Self {
        Self {
            resource: resource.key.to_string(),
            file: resource.source.file.clone(),
            line: entry.node.at.line,
            path: entry.path.to_string(),
        }
    }
}

/// The places of a thing of an intent.
pub fn parts_of(listing: &Listing, row: &ThingRow, name: &str) -> Vec<Part> {
    let mut parts = Parts { listing, found: Vec::new(), references: Vec::new() };
    match row.name {
        "domain" => parts.domain(name),
        "provider" => parts.provider(name),
        "consumer" => parts.consumer(name),
        "ai-route" => parts.ai_route(name),
        _ => parts.service_source(name),
    }
    parts.secrets();
    parts.found
}

/// The place of a resource, and the resources that refer to it if it is a
/// Secret.
pub fn parts_of_resource<'a>(
    listing: &'a Listing,
    resource: &Resource,
) -> (Vec<Part>, Vec<&'a Resource>) {
    let refers = |other: &&Resource| {
        let mut references = Vec::new();
        collect_references(&other.root, &mut references);
        let is_tls = || {
            let tls = other.root.get("spec").and_then(|spec| spec.get("tls")?.as_list());
            let mut tls = tls.unwrap_or_default().iter();
            other.key.namespace == resource.key.namespace
                && tls.any(|tls| field(tls, "secretName") == &*resource.key.name)
        };
        references.iter().any(|reference| is_reference_to(reference, resource)) || is_tls()
    };
    let used_by = match &*resource.key.kind {
        "Secret" => listing.resources.iter().map(|other| &**other).filter(refers).collect(),
        _ => Vec::new(),
    };
    (vec![Part::whole(resource)], used_by)
}

/// The thing of an intent that a resource belongs to as a whole.
pub fn owner_of(resource: &Resource) -> Option<(&'static str, &str)> {
    let name = &*resource.key.name;
    match &*resource.key.kind {
        "ConfigMap" => match domain_of(resource) {
            Some(domain) => Some(("domain", domain.node.as_str()?)),
            None => Some(("ai-route", ai_route_name(resource)?)),
        },
        "Ingress" | "EnvoyFilter" => {
            let name = name.strip_prefix("ai-route-")?.strip_suffix(".internal")?;
            Some(("ai-route", name.strip_suffix(".fallback").unwrap_or(name)))
        }
        _ => None,
    }
}

struct Parts<'a> {
    listing: &'a Listing,
    found: Vec<Part>,
    /// What stands in `${secret.…}` of the places that were found.
    references: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    fn whole(&mut self, is_it: impl Fn(&Resource) -> bool) {
        for resource in self.listing.resources.iter().filter(|resource| is_it(resource)) {
            collect_references(&resource.root, &mut self.references);
            self.found.push(Part::whole(resource));
        }
    }

    /// The entries of a list in the spec of every resource of a kind.
    fn entries(&mut self, kind: &str, path: &[&str], is_it: impl Fn(&Node) -> bool) {
        for resource in self.listing.resources.iter().filter(|r| &*r.key.kind == kind) {
            let list = path.iter().try_fold(resource.cursor(), |cursor, key| cursor.get(key));
            for entry in list.iter().flat_map(Cursor::items).filter(|entry| is_it(entry.node)) {
                collect_references(entry.node, &mut self.references);
                self.found.push(Part::entry(resource, &entry));
            }
        }
    }

    /// The rules of plugins of a name, or of all.
    fn rules(&mut self, is_it: impl Fn(&Node) -> bool) {
        self.entries("WasmPlugin", &["spec", "matchRules"], is_it);
    }

    fn domain(&mut self, name: &str) {
        let is_domain = |resource: &Resource| {
            domain_of(resource).is_some_and(|domain| domain.node.as_str() == Some(name))
        };
        let certificate: Vec<String> = self
            .listing
            .resources
            .iter()
            .filter(|resource| is_domain(resource))
            .filter_map(|resource| {
                Some(resource.root.get("data")?.get("cert")?.as_str()?.to_owned())
            })
            .collect();
        self.whole(is_domain);
        self.whole(|resource| {
            &*resource.key.kind == "Secret" && certificate.iter().any(|c| **c == *resource.key.name)
        });
        let label = format!("higress.io/domain_{}", normalised(name));
        self.whole(|resource| {
            &*resource.key.kind == "Ingress" && resource.label(&label).is_some()
                || hosts(resource).contains(&name)
        });
    }

    fn provider(&mut self, name: &str) {
        self.entries("WasmPlugin", &["spec", "defaultConfig", "providers"], |entry| {
            field(entry, "id") == name
        });
        self.rules(|rule| {
            rule.get("config").is_some_and(|config| field(config, "activeProviderId") == name)
        });
        let registry = format!("llm-{name}.internal");
        self.entries("McpBridge", &["spec", "registries"], |entry| name_of(entry) == registry);
    }

    fn consumer(&mut self, name: &str) {
        self.entries("WasmPlugin", &["spec", "defaultConfig", "consumers"], |entry| {
            name_of(entry) == name
        });
        self.rules(|rule| {
            let allow = rule.get("config").and_then(|config| config.get("allow"));
            texts(allow).contains(&name)
        });
    }

    fn ai_route(&mut self, name: &str) {
        let ingresses =
            [format!("ai-route-{name}.internal"), format!("ai-route-{name}.fallback.internal")];
        let is_named = |name: &str| ingresses.iter().any(|ingress| ingress == name);
        self.whole(|resource| match &*resource.key.kind {
            "ConfigMap" => ai_route_name(resource) == Some(name),
            "Ingress" | "EnvoyFilter" => is_named(&resource.key.name),
            _ => false,
        });
        self.rules(|rule| texts(rule.get("ingress")).into_iter().any(is_named));
    }

    fn service_source(&mut self, name: &str) {
        let kind = registry(self.listing, name).map(|found| field(found, "type"));
        let host = format!("{name}.{}", kind.unwrap_or_default());
        self.entries("McpBridge", &["spec", "registries"], |entry| name_of(entry) == name);
        self.rules(|rule| texts(rule.get("service")).contains(&&*host));
    }

    /// The Secrets that the places refer to.
    fn secrets(&mut self) {
        let references = std::mem::take(&mut self.references);
        self.whole(|resource| {
            &*resource.key.kind == "Secret"
                && references.iter().any(|reference| is_reference_to(reference, resource))
        });
    }
}

fn hosts(resource: &Resource) -> Vec<&str> {
    if &*resource.key.kind != "Ingress" {
        return Vec::new();
    }
    let rules = resource.root.get("spec").and_then(|spec| spec.get("rules")?.as_list());
    rules.unwrap_or_default().iter().map(|rule| field(rule, "host")).collect()
}

/// What stands in every `${secret.…}` below a value.
fn collect_references<'n>(node: &'n Node, found: &mut Vec<&'n str>) {
    if let Some(text) = node.as_str() {
        let rest = text.split("${secret.").skip(1);
        found.extend(rest.filter_map(|rest| Some(rest.split_once('}')?.0)));
    }
    let list = node.as_list().unwrap_or_default().iter();
    let entries = node.as_map().map(|map| map.entries.as_slice()).unwrap_or_default();
    for child in list.chain(entries.iter().map(|entry| &entry.node)) {
        collect_references(child, found);
    }
}

/// Whether `[NAMESPACE/]NAME.KEY` may mean a Secret.
fn is_reference_to(reference: &str, secret: &Resource) -> bool {
    let (namespace, rest) = reference
        .split_once('/')
        .unwrap_or((penstock_manifest::resource::SYSTEM_NAMESPACE, reference));
    namespace == &*secret.key.namespace
        && rest.strip_prefix(&*secret.key.name).is_some_and(|rest| rest.starts_with('.'))
}
