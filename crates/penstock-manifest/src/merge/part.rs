//! Parts of things that are still desired: a fallback that was switched off,
//! the rule of a service that a provider has left. They would go on working,
//! so they go without being asked for, as in the console.

use std::collections::HashSet;

use crate::kind::config_map::{AI_ROUTE_PREFIX, INTERNAL_SUFFIX};
use crate::node::Node;
use crate::resource::{Resource, ResourceKey};

/// The names of desired AI routes and providers.
pub(super) struct Parts<'a> {
    routes: HashSet<&'a str>,
    providers: HashSet<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(desired: &'a [Resource]) -> Self {
        let mut parts = Self { routes: HashSet::new(), providers: HashSet::new() };
        for resource in desired {
            match &*resource.key.kind {
                "ConfigMap" => parts.routes.extend(resource.key.name.strip_prefix(AI_ROUTE_PREFIX)),
                "WasmPlugin" => {
                    let config = resource.root.get("spec").and_then(|s| s.get("defaultConfig"));
                    let list = config.and_then(|config| config.get("providers")?.as_list());
                    let ids = list.unwrap_or_default().iter().filter_map(|p| p.get("id")?.as_str());
                    parts.providers.extend(ids);
                }
                _ => {}
            }
        }
        parts
    }

    /// Whether a resource that is not desired belongs to a desired route.
    pub(super) fn has_resource(&self, key: &ResourceKey) -> bool {
        matches!(&*key.kind, "Ingress" | "EnvoyFilter") && self.has_ingress(&key.name)
    }

    /// Whether an entry that is not desired belongs to a desired route or
    /// provider.
    pub(super) fn has_entry(&self, entry: &Node) -> bool {
        let ingresses = entry.get("ingress").and_then(Node::as_list).unwrap_or_default();
        let mut ingresses = ingresses.iter().filter_map(Node::as_str).peekable();
        if ingresses.peek().is_some() {
            return ingresses.all(|name| self.has_ingress(name));
        }
        let provider = entry.get("config").and_then(|c| c.get("activeProviderId")?.as_str());
        provider.is_some_and(|provider| self.providers.contains(provider))
    }

    fn has_ingress(&self, name: &str) -> bool {
        let Some(name) = name.strip_prefix(AI_ROUTE_PREFIX) else { return false };
        let Some(name) = name.strip_suffix(INTERNAL_SUFFIX) else { return false };
        self.routes.contains(name)
            || name.strip_suffix(".fallback").is_some_and(|name| self.routes.contains(name))
    }
}
