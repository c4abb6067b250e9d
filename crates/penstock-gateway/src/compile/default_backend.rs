//! `spec.defaultBackend` → the last route of a host
//! (Higress: pkg/ingress/kube/ingressv1/controller.go, `ApplyDefaultBackend`).
//!
//! Higress adds these routes after annotations were applied, so that none of
//! them has an effect here besides the destinations of a resource backend.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use penstock_manifest::annotation::Destination;
use penstock_manifest::kind::ingress::{Backend, Ingress};
use penstock_manifest::{Diagnostic, Resource};

use super::backends::{self, Place};
use super::routes::{AUTHENTICATION_MISSING, Inputs, add_to_host};
use crate::route::PathMatch;
use crate::snapshot::{Hosts, Route, RouteIndex, Snapshot};

/// The default backends of all Ingresses.
#[derive(Default)]
pub(super) struct DefaultBackends {
    /// The route of each host, in order; that of `*` may still be replaced.
    routes: Vec<(Box<str>, Route)>,
    hosts: HashSet<Box<str>>,
}

/// The Ingress that a default backend is of.
pub(super) struct Origin<'a> {
    pub(super) resource: &'a Resource,
    /// The name of its routes.
    pub(super) name: &'a str,
    pub(super) destinations: Option<&'a [Destination]>,
    pub(super) inputs: &'a Inputs<'a>,
    /// Whether its routes are closed unless something authenticates.
    pub(super) wants_authentication: bool,
    /// Why the route of `*` is closed, where it is.
    pub(super) closed: Option<&'static str>,
}

impl DefaultBackends {
    /// Takes the default backend of an Ingress, the oldest first: for its
    /// hosts where none has one yet, and for `*`, where the last one counts.
    pub(super) fn add(
        &mut self,
        ingress: &Ingress,
        origin: &Origin<'_>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some(backend) = &ingress.default_backend else {
            return;
        };
        let name: Arc<str> = format!("{}-default", origin.name).into();
        let Some(mut route) = origin.route(&name, "*", backend, diagnostics) else {
            return;
        };
        route.closed = route.closed.or(origin.closed);
        match self.routes.iter_mut().find(|(host, _)| &**host == "*") {
            Some((_, earlier)) => *earlier = route,
            None => self.routes.push(("*".into(), route)),
        }
        for host in ingress.rules.iter().map(|rule| &rule.host).filter(|host| &***host != "*") {
            if !self.hosts.insert(host.clone()) {
                continue;
            }
            // What is wrong with the backend has been said.
            if let Some(route) = origin.route(&name, host, backend, &mut Vec::new()) {
                self.routes.push((host.clone(), route));
            }
        }
    }

    /// Adds the routes to their hosts, and says which of all routes they are.
    /// A host that has a path for everything keeps it.
    pub(super) fn append(self, snapshot: &mut Snapshot) -> Range<usize> {
        let first = snapshot.routes.len();
        for (host, route) in self.routes {
            let list = list(&snapshot.hosts, &host);
            if list.iter().any(|index| takes_all(snapshot, *index)) {
                continue;
            }
            let index = RouteIndex(u32::try_from(snapshot.routes.len()).unwrap_or(u32::MAX));
            snapshot.routes.push(route);
            add_to_host(&mut snapshot.hosts, &host, index);
        }
        first..snapshot.routes.len()
    }
}

fn list<'h>(hosts: &'h Hosts, host: &str) -> &'h [RouteIndex] {
    let list = match host.strip_prefix("*.") {
        Some(parent) => hosts.wildcard.get(parent),
        None if host == "*" => Some(&hosts.any),
        None => hosts.exact.get(host),
    };
    list.map(Vec::as_slice).unwrap_or_default()
}

/// Whether a route is of the path `/` and of type Prefix. Conditions do not
/// matter, as in Higress.
fn takes_all(snapshot: &Snapshot, index: RouteIndex) -> bool {
    let path = snapshot.route(index).map(|route| &route.path);
    matches!(path, Some(PathMatch::Prefix { path, .. }) if path.is_empty())
}

impl Origin<'_> {
    fn route(
        &self,
        name: &Arc<str>,
        host: &str,
        backend: &Backend,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Route> {
        let cursor = self.resource.cursor().descend("spec.defaultBackend");
        let place = Place {
            resource: self.resource,
            destinations: self.destinations,
            route: name,
            host,
            path: None,
            at: cursor.node.at,
            key_path: &cursor.path,
        };
        let mut targets = backends::targets(self.inputs, &place, backend, diagnostics)?;
        let total = backends::total(&targets);
        backends::normalise(&mut targets, total);
        let is_open = self.wants_authentication && backends::is_open(&targets, host);
        Some(Route {
            name: name.clone(),
            path: PathMatch::prefix("/", false),
            conditions: None,
            targets,
            upstream_vhost: None,
            fallback: None,
            policy: None,
            closed: is_open.then_some(AUTHENTICATION_MISSING),
        })
    }
}

#[cfg(test)]
mod tests;
