//! Services of Kubernetes → services, port by port
//! (Istio: pilot/pkg/serviceregistry/kube/controller).
//!
//! Only what a route or a plugin leads to is read: a source may hold
//! thousands of Services that nothing needs. Endpoints come from the
//! EndpointSlices of a Service; from Endpoints where it has no slice; from
//! its cluster IP where it has neither. An ExternalName that is the name of
//! another Service has that one's endpoints, as DNS and kube-proxy give them.
//!
//! Invariant: slices and Endpoints that are there count, also where they
//! have nothing ready or cannot be read. Nothing else stands in for them then.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use penstock_manifest::diagnostic::{EXTERNAL_NAME_UNKNOWN, SERVICE_WITHOUT_ENDPOINTS};
use penstock_manifest::kind::endpoint_slice::EndpointSlice;
use penstock_manifest::kind::endpoints::{Endpoints as EndpointsResource, Subset};
use penstock_manifest::kind::mcp_bridge::Endpoints;
use penstock_manifest::kind::service::{Service as ServiceResource, ServicePort, TargetPort};
use penstock_manifest::resource::{BrokenDocument, ResourceKey};
use penstock_manifest::{Diagnostic, Resource};

use crate::balance::Balance;
use crate::snapshot::{Service, ServiceIndex};

/// What follows `NAME.NAMESPACE` in the host of a Service.
pub(super) const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// A namespace and a name.
type Key<'a> = (&'a str, &'a str);

/// The Services of a source, and where their endpoints stand.
#[derive(Default)]
pub(super) struct Kubernetes<'a> {
    /// By namespace, then by name.
    services: HashMap<&'a str, HashMap<&'a str, Entry<'a>>>,
    slices: HashMap<Key<'a>, Vec<&'a Resource>>,
    endpoints: HashMap<Key<'a>, &'a Resource>,
    /// What was found while Services were read.
    diagnostics: RefCell<Vec<Diagnostic>>,
}

/// A Service, which is read when something leads to it.
struct Entry<'a> {
    resource: &'a Resource,
    ports: OnceCell<Vec<Port>>,
}

/// A port of a Service that was read.
pub(super) struct Port {
    /// The port's name; empty where it has none.
    pub(super) name: Box<str>,
    pub(super) service: Service,
    index: OnceCell<ServiceIndex>,
    /// The finding that there are no endpoints.
    lack: Option<Diagnostic>,
}

/// What an external name means.
enum Meant<'a> {
    /// An address, or a name for DNS; empty where none is written.
    Outside(Box<str>),
    /// A Service that the source does not have: a name for DNS.
    Missing(Box<str>),
    /// Itself.
    Loop,
    /// A Service that is no ExternalName; `None` where it cannot be read.
    Service(Key<'a>, Option<Box<ServiceResource>>),
}

/// Whether a resource can be read at all, where it is one of those that are
/// only read when something needs them.
pub(super) fn has_shape(resource: &Resource) -> bool {
    match &*resource.key.kind {
        "EndpointSlice" => EndpointSlice::has_shape(resource),
        "Endpoints" => EndpointsResource::has_shape(resource),
        _ => ServiceResource::has_shape(resource),
    }
}

/// Says why a resource has no shape.
pub(super) fn report_shape(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) {
    match &*resource.key.kind {
        "EndpointSlice" => drop(EndpointSlice::parse(resource, diagnostics)),
        "Endpoints" => drop(EndpointsResource::parse(resource, diagnostics)),
        _ => drop(ServiceResource::parse(resource, diagnostics)),
    }
}

/// Splits `NAME.NAMESPACE.svc.cluster.local` into namespace and name.
pub(super) fn split_host(host: &str) -> Option<Key<'_>> {
    // A namespace has no dots.
    let (name, namespace) = host.strip_suffix(CLUSTER_DOMAIN)?.rsplit_once('.')?;
    Some((namespace, name))
}

impl<'a> Kubernetes<'a> {
    pub(super) fn of(resources: &'a [Arc<Resource>], broken: &'a [BrokenDocument]) -> Self {
        let mut kubernetes = Self::default();
        for key in broken.iter().filter_map(|document| document.key.as_ref()) {
            kubernetes.add_broken(key);
        }
        for resource in resources {
            let resource: &Resource = resource;
            let (namespace, name) = (&*resource.key.namespace, &*resource.key.name);
            match &*resource.key.kind {
                "Service" => {
                    let entry = Entry { resource, ports: OnceCell::new() };
                    kubernetes.services.entry(namespace).or_default().insert(name, entry);
                }
                "EndpointSlice" => {
                    if let Some(service) = EndpointSlice::service(resource) {
                        kubernetes.slices.entry((namespace, service)).or_default().push(resource);
                    }
                }
                "Endpoints" => {
                    kubernetes.endpoints.insert((namespace, name), resource);
                }
                _ => {}
            }
        }
        kubernetes
    }

    /// What may be endpoints and has no last good version leaves its Service
    /// without: a slice is called after it, with something behind a hyphen.
    fn add_broken(&mut self, key: &'a ResourceKey) {
        let (namespace, name) = (&*key.namespace, &*key.name);
        let generated = name.rsplit_once('-').map(|(service, _)| service);
        let services = match &*key.kind {
            "EndpointSlice" => [Some(name), generated],
            "Endpoints" => [Some(name), None],
            _ => return,
        };
        for service in services.into_iter().flatten() {
            self.slices.entry((namespace, service)).or_default();
        }
    }

    /// Whether there is no Service at all: they are kept elsewhere then.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The ports of a Service, none where it cannot be read; `None` where
    /// there is no such Service.
    pub(super) fn ports(&self, namespace: &str, name: &str) -> Option<&[Port]> {
        let entry = self.services.get(namespace)?.get(name)?;
        Some(entry.ports.get_or_init(|| self.read(entry.resource)))
    }

    /// The index of a port; the first time it is asked for, `add` gives one,
    /// and what the port lacks is reported.
    pub(super) fn index(
        &self,
        port: &Port,
        add: impl FnOnce(Service) -> ServiceIndex,
    ) -> ServiceIndex {
        *port.index.get_or_init(|| {
            self.diagnostics.borrow_mut().extend(port.lack.clone());
            add(port.service.clone())
        })
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    fn read(&self, resource: &Resource) -> Vec<Port> {
        let mut diagnostics = Vec::new();
        let ports = self.read_with(resource, &mut diagnostics);
        self.diagnostics.borrow_mut().append(&mut diagnostics);
        ports
    }

    fn read_with(&self, resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Vec<Port> {
        let Some(service) = ServiceResource::parse(resource, diagnostics) else {
            return Vec::new();
        };
        let key = (&*resource.key.namespace, &*resource.key.name);
        if let Some(name) = &service.external_name {
            let meant = self.follow(key, name);
            if let Meant::Missing(name) = &meant {
                let message = format!("{} stands for `{name}`, which is not there", resource.key);
                let at = resource.name_at();
                diagnostics.push(Diagnostic::at(
                    &EXTERNAL_NAME_UNKNOWN,
                    &resource.source,
                    at,
                    message,
                ));
            }
            return self.external_ports(resource, &service, &meant);
        }
        let subsets = self.subsets(key, diagnostics);
        let host: Arc<str> = format!("{}.{}{CLUSTER_DOMAIN}", key.1, key.0).into();
        let ports = service.ports.iter().map(|port| {
            let endpoints = endpoints(&service, port, subsets.as_deref());
            let is_empty = match &endpoints {
                Endpoints::Static(addresses) => addresses.is_empty(),
                Endpoints::Dns(names) => names.is_empty(),
            };
            Port {
                name: port.name.clone(),
                lack: is_empty.then(|| lack(resource, &service, port, subsets.as_deref())),
                index: OnceCell::new(),
                service: Service {
                    host: host.clone(),
                    port: port.port,
                    protocol: port.protocol,
                    sni: match &endpoints {
                        Endpoints::Dns(names) if names.len() == 1 => names.first().cloned(),
                        _ => None,
                    },
                    identity: None,
                    endpoints,
                    balance: Balance::default(),
                },
            }
        });
        ports.collect()
    }

    /// What an external name means, through as many more of them as there
    /// are: DNS follows them, too.
    fn follow(&self, from: Key<'a>, name: &str) -> Meant<'a> {
        let mut seen = vec![from];
        let mut name: Box<str> = name.into();
        loop {
            let Some((namespace, service)) = split_host(&name) else {
                return Meant::Outside(name);
            };
            let found = self.services.get(namespace).and_then(|named| named.get(service));
            let Some(entry) = found else { return Meant::Missing(name) };
            let key = (&*entry.resource.key.namespace, &*entry.resource.key.name);
            if seen.contains(&key) {
                return Meant::Loop;
            }
            seen.push(key);
            // What is wrong with it is told where it is read as itself.
            let Some(parsed) = ServiceResource::parse(entry.resource, &mut Vec::new()) else {
                return Meant::Service(key, None);
            };
            match parsed.external_name {
                Some(next) => name = next,
                None => return Meant::Service(key, Some(Box::new(parsed))),
            }
        }
    }

    /// The ports of an ExternalName: they are its own, where they lead is what
    /// the name means.
    fn external_ports(
        &self,
        resource: &Resource,
        service: &ServiceResource,
        meant: &Meant<'a>,
    ) -> Vec<Port> {
        let key = &resource.key;
        let host: Arc<str> = format!("{}.{}{CLUSTER_DOMAIN}", key.name, key.namespace).into();
        let name = service.external_name.clone().unwrap_or_default();
        let is_name = !name.is_empty() && name.parse::<IpAddr>().is_err();
        let ports = service.ports.iter().map(|port| {
            let (endpoints, hint) = self.endpoints_of(meant, port.port);
            Port {
                name: port.name.clone(),
                lack: hint.map(|hint| no_endpoint(resource, port).with_hint(hint)),
                index: OnceCell::new(),
                service: Service {
                    host: host.clone(),
                    port: port.port,
                    protocol: port.protocol,
                    sni: is_name.then(|| name.clone()),
                    endpoints,
                    balance: Balance::default(),
                    identity: None,
                },
            }
        });
        ports.collect()
    }

    /// The endpoints of what an external name means, at a port; what to do
    /// where there are none.
    fn endpoints_of(&self, meant: &Meant<'a>, port: u16) -> (Endpoints, Option<String>) {
        let nothing = |hint: &str| (Endpoints::Static(Vec::new()), Some(hint.to_owned()));
        let (key, service) = match meant {
            Meant::Outside(name) | Meant::Missing(name) => {
                return match name.parse::<IpAddr>() {
                    Ok(ip) => (Endpoints::Static(vec![SocketAddr::new(ip, port)]), None),
                    Err(_) if name.is_empty() => {
                        nothing("write the name that stands for it into `externalName`")
                    }
                    Err(_) => (Endpoints::Dns(vec![name.clone()]), None),
                };
            }
            Meant::Loop => return nothing("its `externalName` leads back to itself"),
            Meant::Service(key, service) => (*key, service),
        };
        let shown = format!("Service {}/{}", key.0, key.1);
        // It is no ExternalName, so that this leads no further; and what is
        // wrong with it is told.
        let ports = self.ports(key.0, key.1).unwrap_or_default();
        let Some(service) = service else {
            return nothing(&format!("{shown} cannot be read"));
        };
        if service.is_headless {
            return match self.addresses(key, service, port) {
                addresses if addresses.is_empty() => {
                    nothing(&format!("{shown}, which it stands for, has no endpoint"))
                }
                addresses => (Endpoints::Static(addresses), None),
            };
        }
        match ports.iter().find(|known| known.service.port == port) {
            None => nothing(&format!("{shown}, which it stands for, has no such port")),
            Some(known) => {
                let hint = known.lack.as_ref().map(|lack| lack.hint.clone().unwrap_or_default());
                let hint = hint.map(|hint| format!("{shown}, which it stands for: {hint}"));
                (known.service.endpoints.clone(), hint)
            }
        }
    }

    /// The endpoints of a headless Service, at any port: its name stands for
    /// their addresses, and nobody translates the port.
    fn addresses(&self, key: Key<'a>, service: &ServiceResource, port: u16) -> Vec<SocketAddr> {
        let subsets = self.subsets(key, &mut Vec::new()).unwrap_or_default();
        let ips = subsets.iter().flat_map(|subset| &subset.addresses);
        let mut addresses: Vec<_> = ips.map(|ip| SocketAddr::new(*ip, port)).collect();
        keep_family(&mut addresses, service);
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// The endpoints of a Service; `None` where nothing in the source says
    /// anything about them.
    fn subsets(&self, key: Key<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<Subset>> {
        if let Some(slices) = self.slices.get(&key) {
            let slices = slices.iter().filter_map(|slice| EndpointSlice::parse(slice, diagnostics));
            return Some(slices.map(|slice| slice.subset).collect());
        }
        let resource = self.endpoints.get(&key)?;
        let parsed = EndpointsResource::parse(resource, diagnostics);
        Some(parsed.unwrap_or_default().subsets)
    }
}

fn endpoints(
    service: &ServiceResource,
    port: &ServicePort,
    subsets: Option<&[Subset]>,
) -> Endpoints {
    let Some(subsets) = subsets else {
        let address = service.cluster_ip.map(|address| SocketAddr::new(address, port.port));
        return Endpoints::Static(address.into_iter().collect());
    };
    let mut addresses = Vec::new();
    let mut names: Vec<Box<str>> = Vec::new();
    for (subset, number) in with_port(subsets, port) {
        addresses.extend(subset.addresses.iter().map(|ip| SocketAddr::new(*ip, number)));
        // What a name resolves to is asked for at the service's own port.
        names.extend(subset.names.iter().filter(|_| number == port.port).cloned());
    }
    if addresses.is_empty() && !names.is_empty() {
        names.sort_unstable();
        names.dedup();
        return Endpoints::Dns(names);
    }
    keep_family(&mut addresses, service);
    // In order, so that the same endpoints in another order are no change.
    addresses.sort_unstable();
    addresses.dedup();
    Endpoints::Static(addresses)
}

/// The subsets that have a port of this name, with its number.
fn with_port<'s>(
    subsets: &'s [Subset],
    port: &'s ServicePort,
) -> impl Iterator<Item = (&'s Subset, u16)> {
    let any = match port.target {
        TargetPort::Number(number) => number,
        TargetPort::Name(_) => port.port,
    };
    subsets.iter().flat_map(move |subset| {
        let ports = subset.ports.iter().filter(|own| own.name == port.name);
        ports.map(move |own| (subset, own.port.unwrap_or(any)))
    })
}

/// With two families of addresses, every Pod is there twice: those of the
/// Service's own family stay.
fn keep_family(addresses: &mut Vec<SocketAddr>, service: &ServiceResource) {
    let of_cluster_ip = service.cluster_ip.map(|address| address.is_ipv6());
    if let Some(is_ipv6) = service.prefers_ipv6.or(of_cluster_ip)
        && addresses.iter().any(|address| address.is_ipv6() == is_ipv6)
    {
        addresses.retain(|address| address.is_ipv6() == is_ipv6);
    }
}

fn no_endpoint(resource: &Resource, port: &ServicePort) -> Diagnostic {
    let message = format!("{} has no endpoint for port {}", resource.key, port.port);
    Diagnostic::at(
        &SERVICE_WITHOUT_ENDPOINTS,
        &resource.source,
        resource.name_at(),
        format!("{message}: its routes answer 503"),
    )
}

/// The finding that a port has no endpoints, and why.
fn lack(
    resource: &Resource,
    service: &ServiceResource,
    port: &ServicePort,
    subsets: Option<&[Subset]>,
) -> Diagnostic {
    let diagnostic = no_endpoint(resource, port);
    let Some(subsets) = subsets else {
        let hint = match service.has_selector {
            true => "add its EndpointSlices to the source: penstock does not look at Pods",
            false => {
                "add an EndpointSlice with the label kubernetes.io/service-name, or Endpoints of its name"
            }
        };
        return diagnostic.with_hint(hint);
    };
    let has_ready = subsets.iter().any(|s| !s.addresses.is_empty() || !s.names.is_empty());
    if !has_ready {
        return diagnostic.with_hint("none of its endpoints is ready");
    }
    if with_port(subsets, port).next().is_some() {
        return diagnostic.with_hint("endpoints of type FQDN need the same port as the Service");
    }
    let mut names: Vec<&str> = subsets.iter().flat_map(|s| &s.ports).map(|p| &*p.name).collect();
    names.sort_unstable();
    names.dedup();
    diagnostic.with_hint(format!(
        "its endpoints have the ports `{}`, the Service calls this one `{}`",
        names.join("`, `"),
        port.name
    ))
}

#[cfg(test)]
mod tests;
