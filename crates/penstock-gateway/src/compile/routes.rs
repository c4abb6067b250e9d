//! Ingresses → routes, in Higress' order
//! (Higress: pkg/ingress/config/ingress_config.go, `convertVirtualService`).

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use http::Method;
use penstock_manifest::annotation::{Condition, RouteOptions};
use penstock_manifest::diagnostic::{DUPLICATE_ROUTE, INGRESS_CLASS, INVALID_ANNOTATION};
use penstock_manifest::kind::config_map::{self, AI_ROUTE_PREFIX, INTERNAL_SUFFIX};
use penstock_manifest::kind::ingress::{Ingress, Path, PathType, Rule};
use penstock_manifest::resource::SYSTEM_NAMESPACE;
use penstock_manifest::{Diagnostic, Resource};

use super::backends::{self, Place};
use super::default_backend::{DefaultBackends, Origin};
use super::plugins::Plugins;
use super::services::Services;
use super::{Options, certificates};
use crate::route::{CompiledCondition, PathMatch, Precedence, RouteConditions};
use crate::snapshot::{Hosts, Route, RouteIndex, Snapshot, WeightedTarget};

/// What routes are built from besides Ingresses.
pub(super) struct Inputs<'a> {
    pub(super) services: &'a Services<'a>,
    pub(super) plugins: &'a Plugins,
    pub(super) options: &'a Options,
}

/// Why a route is closed: its AI route asks for authentication, and no
/// enabled rule gives it.
pub(super) const AUTHENTICATION_MISSING: &str =
    "its AI route asks for authentication that no plugin gives";

/// What makes two paths the same route.
type RouteKey = (Box<str>, PathType, Box<str>, Vec<Box<str>>, Vec<Condition>);

pub(super) fn compile(
    resources: &[Arc<Resource>],
    inputs: &Inputs<'_>,
    snapshot: &mut Snapshot,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut ingresses: Vec<&Arc<Resource>> =
        resources.iter().filter(|resource| &*resource.key.kind == "Ingress").collect();
    // Documents without a creation time come before all that have one.
    ingresses.sort_by(|a, b| {
        (&a.metadata.creation_timestamp, &a.key.namespace, &a.key.name).cmp(&(
            &b.metadata.creation_timestamp,
            &b.key.namespace,
            &b.key.name,
        ))
    });
    let protected = protected_ingresses(resources);
    let mut claimed: HashMap<RouteKey, Arc<str>> = HashMap::new();
    let mut certificates = certificates::Builder::new(resources);
    let mut default_backends = DefaultBackends::default();
    for resource in ingresses {
        let Some(ingress) = Ingress::parse(resource, diagnostics) else {
            continue;
        };
        if !is_of_class(&ingress, resource, inputs.options, diagnostics) {
            continue;
        }
        let options = RouteOptions::parse(resource, diagnostics);
        certificates.add(&ingress, resource, diagnostics);
        if options.is_canary {
            continue;
        }
        let mut builder = Builder {
            resource,
            name: route_name(resource),
            options,
            inputs,
            wants_authentication: protected.contains(&*resource.key.name)
                && &*resource.key.namespace == SYSTEM_NAMESPACE,
        };
        builder.add_routes(&ingress, &mut claimed, snapshot, diagnostics);
        let origin = Origin {
            resource,
            name: &builder.name,
            destinations: builder.options.destinations.as_deref(),
            inputs,
            wants_authentication: builder.wants_authentication,
        };
        default_backends.add(&ingress, &origin, diagnostics);
    }
    snapshot.certificates = certificates.finish();
    let defaults = default_backends.append(snapshot);
    sort_hosts(snapshot, &defaults);
}

/// The names of the Ingresses whose AI route asks for authentication.
fn protected_ingresses(resources: &[Arc<Resource>]) -> HashSet<String> {
    let mut protected = HashSet::new();
    for resource in resources {
        let Some(name) = config_map::ai_route_name(resource) else {
            continue;
        };
        if config_map::ai_route_is_protected(resource) {
            protected.insert(format!("{AI_ROUTE_PREFIX}{name}{INTERNAL_SUFFIX}"));
            protected.insert(format!("{AI_ROUTE_PREFIX}{name}.fallback{INTERNAL_SUFFIX}"));
        }
    }
    protected
}

fn is_of_class(
    ingress: &Ingress,
    resource: &Resource,
    options: &Options,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let Some(wanted) = &options.ingress_class else {
        return true;
    };
    let class = ingress.class.as_deref().unwrap_or_default();
    // Higress: for the class nginx, Ingresses without a class count too.
    let fits = class == wanted || (wanted == "nginx" && class.is_empty());
    if !fits {
        diagnostics.push(Diagnostic::at(
            &INGRESS_CLASS,
            &resource.source,
            resource.name_at(),
            format!("{} is of class `{class}`, not `{wanted}`", resource.key),
        ));
    }
    fits
}

/// Higress: pkg/ingress/kube/common/tool.go, `GenerateUniqueRouteName`.
fn route_name(resource: &Resource) -> Arc<str> {
    match &*resource.key.namespace {
        SYSTEM_NAMESPACE => resource.key.name.clone(),
        namespace => format!("{namespace}/{}", resource.key.name).into(),
    }
}

/// Builds the routes of one Ingress.
struct Builder<'a> {
    resource: &'a Resource,
    name: Arc<str>,
    options: RouteOptions,
    inputs: &'a Inputs<'a>,
    wants_authentication: bool,
}

impl Builder<'_> {
    fn add_routes(
        &mut self,
        ingress: &Ingress,
        claimed: &mut HashMap<RouteKey, Arc<str>>,
        snapshot: &mut Snapshot,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let conditions = self.conditions(diagnostics);
        for rule in &ingress.rules {
            for path in &rule.paths {
                if !self.claim(rule, path, claimed, diagnostics) {
                    continue;
                }
                let Some(targets) = self.targets(rule, path, diagnostics) else {
                    continue;
                };
                let route = self.route(rule, path, &conditions, targets);
                let index = RouteIndex(u32::try_from(snapshot.routes.len()).unwrap_or(u32::MAX));
                snapshot.routes.push(route);
                add_to_host(&mut snapshot.hosts, &rule.host, index);
            }
        }
    }

    /// The compiled conditions. A regular expression that cannot be compiled
    /// closes the routes: without it they would match too much.
    fn conditions(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Box<RouteConditions>> {
        let methods: Vec<Method> = self
            .options
            .methods
            .iter()
            .filter_map(|method| Method::from_bytes(method.as_bytes()).ok())
            .collect();
        let mut others = Vec::new();
        for condition in &self.options.conditions {
            match CompiledCondition::compile(condition) {
                Ok(compiled) => others.push(compiled),
                Err(error) => {
                    let reason = error.lines().last().unwrap_or_default().trim().to_owned();
                    diagnostics.push(Diagnostic::at(
                        &INVALID_ANNOTATION,
                        &self.resource.source,
                        self.resource.name_at(),
                        format!(
                            "a match annotation of {} is no regular expression: {reason}",
                            self.resource.key
                        ),
                    ));
                    self.options.closed = Some("a match condition cannot be compiled");
                }
            }
        }
        let is_empty = methods.is_empty() && others.is_empty();
        (!is_empty).then(|| Box::new(RouteConditions { methods, others }))
    }

    /// Whether this path is the first with its key.
    fn claim(
        &self,
        rule: &Rule,
        path: &Path,
        claimed: &mut HashMap<RouteKey, Arc<str>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> bool {
        let text = path_text(path, self.options.has_rewrite);
        let key = (
            rule.host.clone(),
            path.path_type,
            text.into(),
            self.options.methods.clone(),
            self.options.conditions.clone(),
        );
        match claimed.get(&key) {
            None => {
                claimed.insert(key, self.name.clone());
                true
            }
            Some(owner) => {
                diagnostics.push(
                    Diagnostic::at(
                        &DUPLICATE_ROUTE,
                        &self.resource.source,
                        path.at,
                        format!(
                            "path `{text}` on host `{}` belongs to `{owner}` already",
                            rule.host
                        ),
                    )
                    .with_path(path.key_path.clone()),
                );
                false
            }
        }
    }

    /// The targets; `None` where the path is dropped.
    fn targets(
        &self,
        rule: &Rule,
        path: &Path,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Vec<WeightedTarget>> {
        let place = Place {
            resource: self.resource,
            destinations: self.options.destinations.as_deref(),
            route: &self.name,
            host: &rule.host,
            path: Some(&path.path),
            at: path.at,
            key_path: &path.key_path,
        };
        backends::targets(self.inputs, &place, &path.backend, diagnostics)
    }

    fn route(
        &self,
        rule: &Rule,
        path: &Path,
        conditions: &Option<Box<RouteConditions>>,
        targets: Vec<WeightedTarget>,
    ) -> Route {
        let ignore_case = self.options.ignore_path_case;
        let closed = match self.wants_authentication && backends::is_open(&targets, &rule.host) {
            true => Some(AUTHENTICATION_MISSING),
            false => self.options.closed,
        };
        let text = path_text(path, self.options.has_rewrite);
        Route {
            name: self.name.clone(),
            path: match path.path_type {
                PathType::Exact => PathMatch::Exact { path: text.into(), ignore_case },
                PathType::Prefix => PathMatch::prefix(text, ignore_case),
            },
            conditions: conditions.clone(),
            targets,
            upstream_vhost: self.options.upstream_vhost.clone(),
            closed,
        }
    }
}

/// Higress: setDefaultMSEIngressOptionalField — without a pathType, a trailing
/// `.*` and then a trailing `/*` is cut, unless rewriting is asked for.
fn path_text(path: &Path, has_rewrite: bool) -> &str {
    if path.has_type || has_rewrite {
        return &path.path;
    }
    let text = path.path.strip_suffix(".*").unwrap_or(&path.path);
    let text = text.strip_suffix("/*").unwrap_or(text);
    if text.is_empty() { "/" } else { text }
}

pub(super) fn add_to_host(hosts: &mut Hosts, host: &str, index: RouteIndex) {
    match host.strip_prefix("*.") {
        Some(parent) => hosts.wildcard.entry(parent.into()).or_default().push(index),
        None if host == "*" => hosts.any.push(index),
        None => hosts.exact.entry(host.into()).or_default().push(index),
    }
}

/// Sorts the routes of every host; `defaults` are those of default backends.
fn sort_hosts(snapshot: &mut Snapshot, defaults: &Range<usize>) {
    let routes = &snapshot.routes;
    let rank = |index: &RouteIndex| {
        let place = index.0 as usize;
        routes.get(place).map(|route| Precedence::of(route, defaults.contains(&place)))
    };
    let hosts = &mut snapshot.hosts;
    let lists = hosts.exact.values_mut().chain(hosts.wildcard.values_mut());
    for list in lists.chain(std::iter::once(&mut hosts.any)) {
        list.sort_by_cached_key(rank);
    }
}
