//! The resources as rules see them: parsed once, with the findings of the
//! parsing thrown away, because reading and compiling report those.
//!
//! Only what Higress reads is here: McpBridge, WasmPlugin and the console's
//! ConfigMaps outside the system namespace are left out. Whatever rules look
//! up by name is indexed, so that linting stays linear in the number of
//! routes.

mod console;
mod names;
mod plugin_index;
mod plugins;
mod routes;
mod services;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(crate) use console::{
    AiRoute, DEFAULT_DOMAIN, Domain, RoutePart, denormalized_domain, normalized_domain,
};
pub(crate) use names::{Candidates, also, closest, listed};
pub(crate) use plugins::{
    Consumer, Plugin, Provider, Request, active_provider, domain_covers, is_switched_off, matches,
    targets,
};
pub(crate) use routes::{Host, Route};
pub(crate) use services::{
    KubernetesService, LookUp, RegistryEntry, Services, cluster_host, split_service,
};

use crate::resource::{BrokenDocument, Resource, SYSTEM_NAMESPACE};

/// Everything that rules look at.
#[derive(Debug)]
pub struct Model<'a> {
    pub(crate) resources: &'a [Arc<Resource>],
    pub(crate) broken: &'a [BrokenDocument],
    pub(crate) services: Services<'a>,
    pub(crate) routes: Vec<Route<'a>>,
    pub(crate) plugins: Vec<Plugin<'a>>,
    pub(crate) providers: Vec<Provider<'a>>,
    pub(crate) domains: Vec<Domain<'a>>,
    pub(crate) ai_routes: Vec<AiRoute<'a>>,
    /// Kind and name of what is in the system namespace.
    names: HashSet<(&'a str, &'a str)>,
    /// WasmPlugins of the system namespace that could not be parsed.
    unread_plugins: Vec<&'a str>,
    /// Kind and name of what could not be read.
    broken_names: HashSet<(&'a str, &'a str)>,
    route_by_name: HashMap<String, usize>,
    ai_route_by_name: HashMap<&'a str, usize>,
    domain_by_name: HashMap<String, usize>,
    provider_by_id: HashMap<String, Vec<usize>>,
    services_by_provider: HashMap<String, Vec<String>>,
}

impl<'a> Model<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>], broken: &'a [BrokenDocument]) -> Self {
        let services = Services::new(resources, broken);
        let of_kind = |kind: &'static str| {
            resources.iter().map(|resource| &**resource).filter(move |r| &*r.key.kind == kind)
        };
        let in_system = |resource: &&Resource| &*resource.key.namespace == SYSTEM_NAMESPACE;
        let config_maps = || of_kind("ConfigMap").filter(in_system);
        let wasm_plugins = || of_kind("WasmPlugin").filter(in_system);
        let routes: Vec<Route<'a>> =
            of_kind("Ingress").map(|resource| Route::new(resource, &services)).collect();
        let domains: Vec<Domain<'a>> = config_maps().filter_map(Domain::new).collect();
        let ai_routes: Vec<AiRoute<'a>> = config_maps().filter_map(AiRoute::new).collect();
        let plugins: Vec<Plugin<'a>> = wasm_plugins().filter_map(Plugin::new).collect();
        let providers = Provider::all(wasm_plugins());
        let mut provider_by_id: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, provider) in providers.iter().enumerate() {
            provider_by_id.entry(provider.id.clone()).or_default().push(place);
        }
        let system = resources.iter().filter(|r| &*r.key.namespace == SYSTEM_NAMESPACE);
        Self {
            names: system.map(|r| (&*r.key.kind, &*r.key.name)).collect(),
            broken_names: broken
                .iter()
                .filter_map(|document| document.key.as_ref())
                .map(|key| (&*key.kind, &*key.name))
                .collect(),
            route_by_name: index(routes.iter().map(|route| route.name.clone())),
            ai_route_by_name: index(ai_routes.iter().map(|ai_route| ai_route.name)),
            domain_by_name: index(domains.iter().map(|domain| domain.text.clone())),
            provider_by_id,
            unread_plugins: wasm_plugins()
                .filter(|resource| !plugins.iter().any(|p| std::ptr::eq(p.resource, *resource)))
                .map(|resource| &*resource.key.name)
                .collect(),
            services_by_provider: plugins::services_by_provider(&plugins),
            plugins,
            providers,
            resources,
            broken,
            services,
            routes,
            domains,
            ai_routes,
        }
    }

    /// Whether a resource may exist although it could not be read.
    pub(crate) fn may_exist(&self, kind: &str, name: &str) -> bool {
        self.broken_names.contains(&(kind, name))
    }

    /// Whether a resource of a kind could not be read.
    pub(crate) fn has_broken(&self, kind: &str) -> bool {
        self.broken_names.iter().any(|(broken, _)| *broken == kind)
    }

    /// Whether there is a resource in the system namespace.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.names.contains(&(kind, name))
    }

    /// The plugins of a built-in.
    pub(crate) fn plugins_of(&self, name: &str) -> impl Iterator<Item = &Plugin<'a>> {
        self.plugins.iter().filter(move |plugin| plugin.wasm.plugin == name)
    }

    /// Whether a WasmPlugin that may be of a built-in could not be read, so
    /// that nothing can be said about what it covers.
    pub(crate) fn is_plugin_unclear(&self, name: &str) -> bool {
        let may_be = |resource_name: &str| {
            let rest = resource_name.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        let is_broken = |document: &BrokenDocument| match &document.key {
            Some(key) => &*key.kind == "WasmPlugin" && may_be(&key.name),
            None => document.may_be_wasm_plugin,
        };
        self.unread_plugins.iter().any(|name| may_be(name)) || self.broken.iter().any(is_broken)
    }

    /// The Ingress that match rules call by this name.
    pub(crate) fn route(&self, name: &str) -> Option<&Route<'a>> {
        self.routes.get(*self.route_by_name.get(name)?)
    }

    /// The Ingress of an AI route.
    pub(crate) fn route_of(&self, ai_route: &AiRoute<'_>) -> Option<&Route<'a>> {
        self.route(&ai_route.ingress_name())
    }

    /// The AI route of this name.
    pub(crate) fn ai_route(&self, name: &str) -> Option<&AiRoute<'a>> {
        self.ai_routes.get(*self.ai_route_by_name.get(name)?)
    }

    /// What an Ingress is by its name: an AI route's, or its fallback's. An AI
    /// route whose own name ends in `.fallback` comes first.
    pub(crate) fn part_of<'n>(&self, ingress: &'n str) -> Option<RoutePart<'n>> {
        let name = console::ai_route_of_ingress(ingress)?;
        match name.strip_suffix(".fallback") {
            Some(main) if self.ai_route(name).is_none() => Some(RoutePart::Fallback(main)),
            _ => Some(RoutePart::Main(name)),
        }
    }

    /// Whether a domain has a ConfigMap.
    pub(crate) fn has_domain(&self, domain: &str) -> bool {
        self.domain_by_name.contains_key(domain)
            || self.may_exist("ConfigMap", &format!("domain-{}", normalized_domain(domain)))
    }

    /// The ConfigMap of a domain.
    pub(crate) fn domain(&self, domain: &str) -> Option<&Domain<'a>> {
        self.domains.get(*self.domain_by_name.get(domain)?)
    }

    /// The domains that the console keeps, without the one that stands for
    /// "no host".
    pub(crate) fn real_domains(&self) -> impl Iterator<Item = &Domain<'a>> {
        self.domains.iter().filter(|domain| !domain.is_default())
    }

    /// The hosts of the services for which rules of ai-proxy activate a
    /// provider.
    pub(crate) fn services_of(&self, provider: &str) -> &[String] {
        self.services_by_provider.get(provider).map(Vec::as_slice).unwrap_or_default()
    }

    /// The provider that ai-proxy gives a request to.
    pub(crate) fn provider_for(&self, request: &Request<'_>) -> Option<&Provider<'a>> {
        self.plugins_of("ai-proxy").find_map(|plugin| {
            let global = plugin.wasm.default_config.as_ref()?;
            let config = match plugin.rule_for(request) {
                Some(rule) => rule.config.as_ref()?,
                None => global,
            };
            let (id, _) = active_provider(config)?;
            let places = self.provider_by_id.get(&id)?;
            let mut providers = places.iter().filter_map(|place| self.providers.get(*place));
            providers.find(|provider| std::ptr::eq(provider.resource, plugin.resource))
        })
    }
}

/// Where each name stands; of several the first.
fn index<K: std::hash::Hash + Eq>(names: impl Iterator<Item = K>) -> HashMap<K, usize> {
    let mut index = HashMap::new();
    for (place, name) in names.enumerate() {
        index.entry(name).or_insert(place);
    }
    index
}
