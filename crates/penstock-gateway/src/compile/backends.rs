//! Where the requests of a backend go: a Service of Kubernetes, or what the
//! destination annotation says
//! (Higress: pkg/ingress/kube/ingressv1/controller.go,
//! `backendToRouteDestination`).

use penstock_manifest::annotation::Destination;
use penstock_manifest::diagnostic::{PATH_DROPPED, SERVICE_UNKNOWN};
use penstock_manifest::kind::ingress::Backend;
use penstock_manifest::{Diagnostic, Position, Resource};

use super::kubernetes::{CLUSTER_DOMAIN, Port};
use super::routes::Inputs;
use crate::attempt::normalise_weights;
use crate::snapshot::{Service, ServiceIndex, WeightedTarget};

const DESTINATION: &str = "higress.io/destination";

/// Where a backend stands.
pub(super) struct Place<'a> {
    pub(super) resource: &'a Resource,
    /// The destination annotation; empty where it cannot be read.
    pub(super) destinations: Option<&'a [Destination]>,
    /// The route's name, which plugins match.
    pub(super) route: &'a str,
    /// The host of the rule.
    pub(super) host: &'a str,
    /// The path; `None` for the default backend.
    pub(super) path: Option<&'a str>,
    /// The place for findings.
    pub(super) at: Position,
    pub(super) key_path: &'a str,
}

/// A service that exists; the gateway answers 503 where there is none.
type Found<'s> = Option<(ServiceIndex, &'s Service)>;

/// The targets of a backend with the weights that it declares; `None` where
/// the path is dropped, with a finding.
pub(super) fn targets(
    inputs: &Inputs<'_>,
    place: &Place<'_>,
    backend: &Backend,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<WeightedTarget>> {
    let shares = match backend {
        Backend::Service { name, port } => {
            vec![(100, service(inputs, place, (name, port), diagnostics)?)]
        }
        Backend::Resource => destinations(inputs, place, diagnostics)?,
    };
    let target = |(weight, service): (u32, Found<'_>)| WeightedTarget {
        weight,
        service: service.map(|(index, _)| index),
        headers: None,
        fallback: None,
        chain: inputs
            .plugins
            .chain(Some((place.route, service.map(|(_, service)| service))), place.host),
    };
    Some(shares.into_iter().map(target).collect())
}

/// What the declared weights are shares of, together.
pub(super) fn total(targets: &[WeightedTarget]) -> u64 {
    targets.iter().map(|target| u64::from(target.weight)).sum()
}

/// Turns declared weights into shares of 100.
pub(super) fn normalise(targets: &mut [WeightedTarget], total: u64) {
    if let [only] = targets {
        // Nearly all routes have one, which gets everything.
        only.weight = 100;
        return;
    }
    let weights: Vec<u32> = targets.iter().map(|target| target.weight).collect();
    for (target, share) in targets.iter_mut().zip(normalise_weights(&weights, total)) {
        target.weight = share;
    }
}

/// Whether nothing authenticates the requests of a host on one of the targets.
pub(super) fn is_open(targets: &[WeightedTarget], host: &str) -> bool {
    targets.iter().any(|target| {
        let mut instances = target.chain.steps.iter().filter_map(|step| step.select(host));
        !instances.any(|instance| instance.is_authentication)
    })
}

fn service<'s>(
    inputs: &Inputs<'s>,
    place: &Place<'_>,
    (name, port): (&str, &str),
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Found<'s>> {
    let services = inputs.services;
    let namespace = &*place.resource.key.namespace;
    let ports = services.kubernetes.ports(namespace, name);
    let is_wanted = |known: &&Port| match port.parse::<u16>() {
        Ok(number) => known.service.port == number,
        Err(_) => &*known.name == port,
    };
    if let Some(found) = ports.unwrap_or_default().iter().find(is_wanted) {
        return Some(Some(services.of_port(found)));
    }
    let is_named = port.parse::<u16>().is_err();
    // A Service that cannot be read may have the port: then the path stays,
    // so that its requests do not take another route.
    if is_named && ports.is_none_or(|ports| !ports.is_empty()) {
        let problem = match ports {
            None => format!("there is no Service `{name}` in namespace `{namespace}`"),
            Some(_) => format!("Service `{name}` has no port named `{port}`"),
        };
        let message = format!("{} is dropped: {problem}", place.what());
        diagnostics.push(place.diagnostic(&PATH_DROPPED, message));
        return None;
    }
    // Where the source has Services, linting reports the one that is missing.
    if ports.is_none() && services.kubernetes.is_empty() {
        let message = format!(
            "there is no Service `{name}` in namespace `{namespace}`: {} answers 503",
            place.what()
        );
        diagnostics.push(place.diagnostic(&SERVICE_UNKNOWN, message));
    }
    Some(None)
}

fn destinations<'s>(
    inputs: &Inputs<'s>,
    place: &Place<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<(u32, Found<'s>)>> {
    let Some(destinations) = place.destinations else {
        let message = format!("{} has no destination", place.what());
        diagnostics.push(
            place
                .diagnostic(&PATH_DROPPED, message)
                .with_hint("add the annotation higress.io/destination: NAME.TYPE:PORT"),
        );
        return None;
    };
    // An annotation that cannot be read has been reported.
    if destinations.is_empty() {
        return None;
    }
    let services = inputs.services;
    let mut found = |destination: &Destination| {
        if destination.host.ends_with(CLUSTER_DOMAIN) && services.kubernetes.is_empty() {
            diagnostics.extend(unknown(place.resource, &destination.host));
        }
        services.of(destination)
    };
    Some(destinations.iter().map(|to| (to.weight, found(to))).collect())
}

/// The finding about a destination that is a Service, where the source has
/// none at all. Paths that share the annotation say the same.
fn unknown(resource: &Resource, host: &str) -> Option<Diagnostic> {
    let annotation = resource.annotation_cursor(DESTINATION)?;
    let message = format!("`{host}` names no service: there is no such Service");
    Some(annotation.diagnostic(&SERVICE_UNKNOWN, message))
}

impl Place<'_> {
    fn what(&self) -> String {
        match self.path {
            Some(path) => format!("path `{path}`"),
            None => "the default backend".to_owned(),
        }
    }

    fn diagnostic(
        &self,
        code: &'static penstock_manifest::diagnostic::Code,
        message: String,
    ) -> Diagnostic {
        Diagnostic::at(code, &self.resource.source, self.at, message)
            .with_path(self.key_path.to_owned())
    }
}
