//! The resources as rules see them: parsed once, with the findings of the
//! parsing thrown away, because reading and compiling report those.
//!
//! Only what Higress reads is here: McpBridge, WasmPlugin and the console's
//! ConfigMaps outside the system namespace are left out.

mod console;
mod names;
mod plugins;
mod routes;
mod services;

use std::sync::Arc;

pub(crate) use console::{AiRoute, Domain, RoutePart, normalized_domain};
pub(crate) use names::{also, closest, did_you_mean, listed, meant};
pub(crate) use plugins::{
    Consumer, Plugin, Provider, Request, active_provider, domain_covers, matches, service_covers,
    targets,
};
pub(crate) use routes::{Host, Route};
pub(crate) use services::{KubernetesService, LookUp, RegistryEntry, Services, split_service};

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
}

impl<'a> Model<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>], broken: &'a [BrokenDocument]) -> Self {
        let services = Services::new(resources, broken);
        let of_kind = |kind: &'static str| {
            resources.iter().map(|resource| &**resource).filter(move |r| &*r.key.kind == kind)
        };
        let in_system =
            |resource: &&Resource| &*resource.key.namespace == SYSTEM_NAMESPACE;
        let routes = of_kind("Ingress").map(|resource| Route::new(resource, &services)).collect();
        let plugins: Vec<_> =
            of_kind("WasmPlugin").filter(in_system).filter_map(Plugin::new).collect();
        Self {
            resources,
            broken,
            providers: Provider::all(of_kind("WasmPlugin").filter(in_system)),
            domains: of_kind("ConfigMap").filter(in_system).filter_map(Domain::new).collect(),
            ai_routes: of_kind("ConfigMap").filter(in_system).filter_map(AiRoute::new).collect(),
            services,
            routes,
            plugins,
        }
    }

    /// Whether a resource may exist although it could not be read.
    pub(crate) fn may_exist(&self, kind: &str, name: &str) -> bool {
        self.broken
            .iter()
            .filter_map(|document| document.key.as_ref())
            .any(|key| &*key.kind == kind && &*key.name == name)
    }

    /// Whether there is a resource in the system namespace.
    pub(crate) fn has(&self, kind: &str, name: &str) -> bool {
        self.resources.iter().any(|resource| {
            let key = &resource.key;
            &*key.kind == kind && &*key.name == name && &*key.namespace == SYSTEM_NAMESPACE
        })
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
        let is_broken = self.broken.iter().any(|document| match &document.key {
            Some(key) => &*key.kind == "WasmPlugin" && may_be(&key.name),
            None => document.may_be_wasm_plugin,
        });
        let is_rejected = |resource: &Resource| {
            &*resource.key.kind == "WasmPlugin"
                && &*resource.key.namespace == SYSTEM_NAMESPACE
                && may_be(&resource.key.name)
                && !self.plugins.iter().any(|plugin| plugin.resource.key == resource.key)
        };
        is_broken || self.resources.iter().any(|resource| is_rejected(resource))
    }

    /// The Ingress in the system namespace of this name.
    pub(crate) fn route(&self, name: &str) -> Option<&Route<'a>> {
        self.routes.iter().find(|route| route.is_in_system() && &*route.resource.key.name == name)
    }

    /// The Ingress of an AI route.
    pub(crate) fn route_of(&self, ai_route: &AiRoute<'_>) -> Option<&Route<'a>> {
        self.route(&ai_route.ingress_name())
    }

    /// The AI route of this name.
    pub(crate) fn ai_route(&self, name: &str) -> Option<&AiRoute<'a>> {
        self.ai_routes.iter().find(|ai_route| ai_route.name == name)
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
        self.domains.iter().any(|known| known.text == domain)
            || self.may_exist("ConfigMap", &format!("domain-{}", normalized_domain(domain)))
    }

    /// The domains that the console keeps, without the one that stands for
    /// "no host".
    pub(crate) fn real_domains(&self) -> impl Iterator<Item = &Domain<'a>> {
        self.domains.iter().filter(|domain| !domain.is_default())
    }

    /// The provider that ai-proxy gives a request to.
    pub(crate) fn provider_for(&self, request: &Request<'_>) -> Option<&Provider<'a>> {
        self.plugins_of("ai-proxy").find_map(|plugin| {
            let rule = plugin.wasm.rules.iter().find(|rule| matches(rule, request, true));
            let global = plugin.wasm.default_config.as_ref()?;
            let config = match rule {
                Some(rule) => rule.config.as_ref()?,
                None => global,
            };
            let (id, _) = active_provider(config)?;
            self.providers
                .iter()
                .find(|provider| provider.id == id && provider.resource.key == plugin.resource.key)
        })
    }
}
