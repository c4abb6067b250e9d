//! Ingresses → routes, in Higress' order
//! (Higress: pkg/ingress/config/ingress_config.go, `convertVirtualService`).

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use http::Method;
use penstock_manifest::annotation::{Condition, PathRegex, RouteOptions};
use penstock_manifest::diagnostic::{
    DUPLICATE_ROUTE, INGRESS_CLASS, INVALID_ANNOTATION, ROUTE_CLOSED, TLS_SETTING_UNUSED,
};
use penstock_manifest::kind::config_map::{self, AI_ROUTE_PREFIX, INTERNAL_SUFFIX};
use penstock_manifest::kind::ingress::{Backend, Ingress, Path, PathType, Rule};
use penstock_manifest::resource::SYSTEM_NAMESPACE;
use penstock_manifest::{Diagnostic, Resource};

use super::backends::{self, Place};
use super::default_backend::{DefaultBackends, Origin};
use super::domains::Domains;
use super::downstream_tls::{OTHER_AUTHORITY, Wishes};
use super::plugins::Plugins;
use super::policy::{self, ServicePolicy};
use super::services::Services;
use super::sources::DomainSources;
use super::tls_secrets::TlsSecrets;
use super::{Options, certificates, downstream_tls, upstream_tls};
use crate::FastMap;
use crate::policy::{RateLimit, RoutePolicy};
use crate::route::{self, CompiledCondition, PathMatch, Role, RouteConditions};
use crate::snapshot::{
    Hosts, LimitIndex, LimitedRoute, Route, RouteIndex, Snapshot, WeightedTarget,
};

mod canaries;

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

/// What makes two paths the same route: the host, how the path is compared,
/// the path, the methods and the other conditions.
type RouteKey<'i> = (&'i str, PathKind, &'i str, Vec<Box<str>>, Vec<Condition>);

/// How a path is compared, whatever its `pathType` says.
#[derive(PartialEq, Eq, Hash)]
enum PathKind {
    Written(PathType),
    Regex(PathRegex),
}

/// The routes that there are, by what makes them the same.
type Claimed<'i> = FastMap<RouteKey<'i>, Claim>;

/// Whose a path on a host is.
struct Claim {
    owner: Arc<str>,
    /// `None` where the path was dropped and nobody else gets it.
    index: Option<RouteIndex>,
    /// What the weights of its route are shares of: what its destination
    /// annotation or else its first canary says.
    total: Option<u64>,
}

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
    // Many routes are costly to move whenever there is no more room.
    let read = ingresses.iter().filter_map(|resource| Ingress::of(resource, &mut Vec::new()));
    let paths = read.flat_map(|ingress| &ingress.rules).map(|rule| rule.paths.len()).sum();
    snapshot.routes.reserve(paths);
    let mut claimed = Claimed::with_capacity_and_hasher(paths, Default::default());
    let mut canaries = Vec::new();
    let mut app_roots = BTreeMap::new();
    let secrets = TlsSecrets::new(resources);
    let domains = Domains::new(resources, &secrets, diagnostics);
    let mut certificates = certificates::Builder::new(resources, &secrets, &domains, diagnostics);
    let mut wishes = Wishes::default();
    let mut default_backends = DefaultBackends::default();
    let mut domain_sources = DomainSources::default();
    for resource in ingresses {
        let Some(ingress) = Ingress::of(resource, diagnostics) else {
            continue;
        };
        if !is_of_class(ingress, resource, inputs.options, diagnostics) {
            continue;
        }
        let mut options = RouteOptions::parse(resource, diagnostics);
        options.ssl_redirect |= domains.force(ingress);
        certificates.add(ingress, resource, diagnostics);
        policy::report_missing(&options, resource, diagnostics);
        domain_sources.add(ingress, &options.domain_sources);
        let closed_hosts = match options.is_canary {
            true => HashSet::new(),
            false => wishes.add(ingress, resource, &options, diagnostics),
        };
        let (identity, is_usable) =
            upstream_tls::identity(&options, resource, &secrets, diagnostics);
        let mut builder = Builder {
            resource,
            name: route_name(resource),
            of_service: ServicePolicy::of(&options, identity),
            closed: (!is_usable).then_some(upstream_tls::NO_IDENTITY),
            closed_hosts,
            options,
            inputs,
            wants_authentication: protected.contains(&*resource.key.name)
                && &*resource.key.namespace == SYSTEM_NAMESPACE,
        };
        if builder.options.is_canary {
            canaries.push((builder, ingress));
            continue;
        }
        builder.add_routes(ingress, &mut claimed, snapshot, diagnostics);
        for rule in ingress.rules.iter().filter(|_| builder.options.app_root.is_some()) {
            app_roots.insert(rule.host.clone(), builder.options.app_root.clone());
        }
        let origin = Origin {
            resource,
            name: &builder.name,
            destinations: builder.options.destinations.as_deref(),
            inputs,
            wants_authentication: builder.wants_authentication,
            closed: downstream_tls::unprotected(ingress, resource, &builder.options, diagnostics)
                .or(builder.options.closed),
        };
        default_backends.add(ingress, &origin, diagnostics);
    }
    for (builder, ingress) in &canaries {
        if builder.asks_in_vain(ingress, &wishes, diagnostics) {
            continue;
        }
        builder.add_canary(ingress, &mut claimed, snapshot, diagnostics);
    }
    normalise_weights(&claimed, snapshot);
    let first_app_root = snapshot.routes.len();
    for (host, path) in app_roots {
        let path = path.as_deref().unwrap_or("/");
        if let Some(index) = snapshot.add_route(&host, policy::app_root(&host, path)) {
            snapshot.move_to_front(&host, index);
        }
    }
    let app_roots = first_app_root..snapshot.routes.len();
    let defaults = default_backends.append(snapshot);
    domain_sources.apply(snapshot);
    let mut gathered = certificates.finish(diagnostics);
    wishes.apply(&secrets, &mut gathered, snapshot, diagnostics);
    snapshot.certificates = gathered.certificates;
    sort_hosts(snapshot, &app_roots, &defaults);
}

/// Turns the weights of all routes into shares, once no canary follows.
fn normalise_weights(claimed: &Claimed<'_>, snapshot: &mut Snapshot) {
    for claim in claimed.values() {
        let route = claim.index.and_then(|index| snapshot.routes.get_mut(index.0 as usize));
        if let Some(route) = route {
            backends::normalise(&mut route.targets, claim.total.unwrap_or_default());
        }
    }
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
    /// What it says about its services.
    of_service: Option<ServicePolicy>,
    /// Why its routes are closed, besides what its options say.
    closed: Option<&'static str>,
    /// The hosts on which they are, because another Ingress decides.
    closed_hosts: HashSet<Box<str>>,
    inputs: &'a Inputs<'a>,
    wants_authentication: bool,
}

impl Builder<'_> {
    fn add_routes<'i>(
        &mut self,
        ingress: &'i Ingress,
        claimed: &mut Claimed<'i>,
        snapshot: &mut Snapshot,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let conditions = self.conditions(diagnostics);
        let mut common = policy::of_ingress(&self.options);
        if let Some(common) = &mut common {
            let of = (self.resource, &*self.name);
            policy::add_services(common, &self.options, of, self.inputs.services, diagnostics);
        }
        for rule in &ingress.rules {
            for path in &rule.paths {
                let entry = match claimed.entry(self.key(rule, path)) {
                    Entry::Vacant(vacant) => vacant,
                    Entry::Occupied(occupied) => {
                        diagnostics.push(self.duplicate(rule, path, &occupied.get().owner));
                        continue;
                    }
                };
                let claim = |total| Claim { owner: self.name.clone(), index: None, total };
                let Some(targets) = self.targets(rule, path, diagnostics) else {
                    // Nobody else gets a path that is to be protected.
                    if self.is_guarded(&rule.host) {
                        entry.insert(claim(None));
                    }
                    continue;
                };
                let has_total = path.backend == Backend::Resource;
                let claim = entry.insert(claim(has_total.then(|| backends::total(&targets))));
                let other = self.decide(&targets, diagnostics);
                let Some(mut route) = self.route(rule, path, targets, diagnostics) else {
                    continue;
                };
                route.closed = route.closed.or(other);
                route.conditions.clone_from(&conditions);
                self.add_policy(&mut route, &rule.host, common.as_ref(), snapshot);
                claim.index = snapshot.add_route(&rule.host, Some(route));
            }
        }
    }

    /// Takes what it says about the services of targets. Why a route must not
    /// use them, where another Ingress has said otherwise.
    fn decide(
        &self,
        targets: &[WeightedTarget],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<&'static str> {
        let policy = self.of_service.as_ref()?;
        let owner = self.inputs.services.decide(targets, policy, &self.name)?;
        let (code, closed) = match policy.has_identity() {
            true => (&ROUTE_CLOSED, Some(upstream_tls::OTHER_IDENTITY)),
            false => (&TLS_SETTING_UNUSED, None),
        };
        let what = if closed.is_some() { "the routes answer 503" } else { "without effect" };
        let message = format!("{what}: `{owner}` decides how the service is spoken to");
        let finding = policy::at_annotation(self.resource, "backend-protocol", |cursor| {
            cursor.diagnostic(code, message)
        });
        diagnostics.extend(finding.filter(|finding| !diagnostics.contains(finding)));
        closed
    }

    /// Whether a canary asks its clients for a certificate, and its base does
    /// not ask for the same: it must not be reached without.
    fn asks_in_vain(
        &self,
        ingress: &Ingress,
        wishes: &Wishes<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> bool {
        let secret = self.options.downstream_tls.as_ref().and_then(|tls| tls.ca_secret.as_ref());
        let Some(secret) = secret else { return false };
        if ingress.rules.iter().all(|rule| wishes.asks(&rule.host, secret)) {
            return false;
        }
        let message =
            "the canary gets no requests: the Ingress that it is one of does not ask for the same";
        diagnostics.extend(policy::at_annotation(self.resource, "auth-tls-secret", |cursor| {
            cursor.diagnostic(&ROUTE_CLOSED, message)
        }));
        true
    }

    /// Gives a route what all of its Ingress have, and what depends on its
    /// path.
    fn add_policy(
        &self,
        route: &mut Route,
        host: &str,
        common: Option<&RoutePolicy>,
        snapshot: &mut Snapshot,
    ) {
        let Some(common) = common else { return };
        let mut policy = common.clone();
        policy.rewrite = policy::rewrite(&self.options, &route.path);
        policy.rate_limit = policy::rate_limit(&self.options)
            .map(|limit| self.add_limit(limit, host, &route.path, snapshot));
        route.policy = Some(Arc::new(policy));
    }

    fn add_limit(
        &self,
        limit: RateLimit,
        host: &str,
        path: &PathMatch,
        snapshot: &mut Snapshot,
    ) -> LimitIndex {
        let index = LimitIndex(u32::try_from(snapshot.rate_limits.len()).unwrap_or(u32::MAX));
        let place = format!("{} {host} {path:?}", self.name).into();
        snapshot.rate_limits.push(LimitedRoute { place, limit });
        index
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

    /// Higress: controller.go, `createRuleKey`.
    fn key<'i>(&self, rule: &'i Rule, path: &'i Path) -> RouteKey<'i> {
        let text = path_text(path, self.options.has_rewrite);
        let regex = self.options.path_regex(text);
        let kind = regex.map_or(PathKind::Written(path.path_type), PathKind::Regex);
        let text = match kind {
            PathKind::Written(PathType::Prefix) => text.strip_suffix('/').unwrap_or(text),
            PathKind::Written(PathType::Exact) | PathKind::Regex(_) => text,
        };
        let (methods, others) = (&self.options.methods, &self.options.conditions);
        (&*rule.host, kind, text, methods.clone(), others.clone())
    }

    /// The finding about a path that another one takes.
    fn duplicate(&self, rule: &Rule, path: &Path, owner: &str) -> Diagnostic {
        let message = format!(
            "path `{}` on host `{}` belongs to `{owner}` already",
            path_text(path, self.options.has_rewrite),
            rule.host,
        );
        Diagnostic::at(&DUPLICATE_ROUTE, &self.resource.source, path.at, message)
            .with_path(path.key_path.clone())
    }

    /// Whether its routes on a host may only be reached under conditions that
    /// it alone knows, or not at all.
    fn is_guarded(&self, host: &str) -> bool {
        self.wants_authentication
            || self.options.closed.or(self.closed).is_some()
            || self.closed_hosts.contains(host)
    }

    /// The targets; `None` where the path is dropped.
    fn targets(
        &self,
        rule: &Rule,
        path: &Path,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Vec<WeightedTarget>> {
        self.targets_as(&self.name, rule, path, diagnostics)
    }

    /// The same on a route that plugins know by another name.
    fn targets_as(
        &self,
        name: &str,
        rule: &Rule,
        path: &Path,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Vec<WeightedTarget>> {
        let place = Place {
            resource: self.resource,
            destinations: self.options.destinations.as_deref(),
            route: name,
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
        targets: Vec<WeightedTarget>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Route> {
        let closed = match self.wants_authentication && backends::is_open(&targets, &rule.host) {
            true => Some(AUTHENTICATION_MISSING),
            false if self.closed_hosts.contains(&rule.host) => Some(OTHER_AUTHORITY),
            false => self.options.closed.or(self.closed),
        };
        let text = path_text(path, self.options.has_rewrite);
        let path_match = match policy::path_match(&self.options, path.path_type, text) {
            Ok(path_match) => path_match,
            Err(reason) => {
                diagnostics.push(
                    policy::invalid_path(self.resource, text, &reason)
                        .with_path(path.key_path.clone()),
                );
                return None;
            }
        };
        Some(Route {
            name: self.name.clone(),
            path: path_match,
            conditions: None,
            targets,
            upstream_vhost: self.options.upstream_vhost.clone(),
            fallback: None,
            policy: None,
            closed,
        })
    }
}

impl Snapshot {
    /// Adds a route, if there is one, to those of a host.
    fn add_route(&mut self, host: &str, route: Option<Route>) -> Option<RouteIndex> {
        let index = RouteIndex(u32::try_from(self.routes.len()).unwrap_or(u32::MAX));
        self.routes.push(route?);
        add_to_host(&mut self.hosts, host, index);
        Some(index)
    }

    /// Puts a route of a host in front of another one: of two that rank alike,
    /// the first is tried.
    fn move_before(&mut self, host: &str, other: RouteIndex, index: RouteIndex) {
        let Some(list) = list_of(&mut self.hosts, host) else { return };
        list.retain(|known| *known != index);
        let place = list.iter().position(|known| *known == other).unwrap_or(list.len());
        list.insert(place, index);
    }

    /// Puts a route of a host in front of all others.
    fn move_to_front(&mut self, host: &str, index: RouteIndex) {
        let Some(list) = list_of(&mut self.hosts, host) else { return };
        list.retain(|known| *known != index);
        list.insert(0, index);
    }
}

fn list_of<'h>(hosts: &'h mut Hosts, host: &str) -> Option<&'h mut Vec<RouteIndex>> {
    match host.strip_prefix("*.") {
        Some(parent) => hosts.wildcard.get_mut(parent),
        None if host == "*" => Some(&mut hosts.any),
        None => hosts.exact.get_mut(host),
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
        Some(parent) => add_to_list(&mut hosts.wildcard, parent, index),
        None if host == "*" => hosts.any.push(index),
        None => add_to_list(&mut hosts.exact, host, index),
    }
}

fn add_to_list(lists: &mut FastMap<Box<str>, Vec<RouteIndex>>, host: &str, index: RouteIndex) {
    match lists.get_mut(host) {
        Some(list) => list.push(index),
        None => {
            lists.insert(host.into(), vec![index]);
        }
    }
}

/// Sorts the routes of every host; which of all routes lead from `/` to another
/// path, and which are of default backends.
fn sort_hosts(snapshot: &mut Snapshot, app_roots: &Range<usize>, defaults: &Range<usize>) {
    let role = |index: RouteIndex| match index.0 as usize {
        place if app_roots.contains(&place) => Role::AppRoot,
        place if defaults.contains(&place) => Role::DefaultBackend,
        _ => Role::Path,
    };
    let hosts = &mut snapshot.hosts;
    let lists = hosts.exact.values_mut().chain(hosts.wildcard.values_mut());
    for list in lists.chain(std::iter::once(&mut hosts.any)) {
        route::sort(list, &snapshot.routes, role);
    }
}

#[cfg(test)]
mod tests;
