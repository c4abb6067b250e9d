//! Where requests can go: registries of McpBridge `default`, and Services of
//! Kubernetes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::annotation::Destination;
use penstock_manifest::diagnostic::MCP_BRIDGE_NAME;
use penstock_manifest::kind::mcp_bridge::{McpBridge, Registry};
use penstock_manifest::{Diagnostic, Resource};

use super::kubernetes::{self, Kubernetes, Port};
use super::policy::ServicePolicy;
use crate::balance::Balance;
use crate::snapshot::{Service, ServiceIndex, WeightedTarget};

/// The services, by the host that destinations name.
#[derive(Default)]
pub(super) struct Services<'a> {
    services: Vec<Service>,
    by_host: HashMap<Arc<str>, ServiceIndex>,
    pub(super) kubernetes: Kubernetes<'a>,
    /// Services that there are because something leads to them: those of
    /// Kubernetes, and those that a destination asks for with another scheme
    /// than theirs. Their indices follow those of `services`.
    later: RefCell<Vec<Service>>,
    /// Those whose destination says whether TLS is spoken, which wins over
    /// `backend-protocol` (Higress: annotations/destination.go).
    schemes: RefCell<HashMap<u32, bool>>,
    /// What the first Ingress with something to say about a service says:
    /// about balancing, and about TLS, with its name.
    decided: RefCell<HashMap<u32, Decided>>,
}

#[derive(Default)]
struct Decided {
    policy: ServicePolicy,
    /// The route of the Ingress that decides about TLS.
    tls_owner: Arc<str>,
}

pub(super) fn compile<'a>(
    bridges: &[&Arc<Resource>],
    kubernetes: Kubernetes<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Services<'a> {
    let mut services = Services { kubernetes, ..Services::default() };
    for resource in bridges {
        if &*resource.key.name != "default" {
            diagnostics.push(Diagnostic::at(
                &MCP_BRIDGE_NAME,
                &resource.source,
                resource.name_at(),
                format!("{} is not read; only `default` is", resource.key),
            ));
            continue;
        }
        let Some(bridge) = McpBridge::parse(resource, diagnostics) else {
            continue;
        };
        for registry in bridge.registries {
            services.add(registry);
        }
    }
    services
}

impl Services<'_> {
    fn add(&mut self, registry: Registry) {
        let host: Arc<str> = registry.host.into();
        let index = ServiceIndex(u32::try_from(self.services.len()).unwrap_or(u32::MAX));
        self.by_host.insert(host.clone(), index);
        self.services.push(Service {
            host,
            port: registry.port,
            protocol: registry.protocol,
            sni: registry.sni,
            identity: None,
            endpoints: registry.endpoints,
            balance: Balance::default(),
        });
    }

    /// The service that a destination means: host and port must be those of a
    /// registry or of a Service; subsets are not defined by any.
    pub(super) fn of(&self, destination: &Destination) -> Option<(ServiceIndex, &Service)> {
        if destination.subset.is_some() {
            return None;
        }
        let (index, service) = self.at(&destination.host, destination.port)?;
        match destination.is_tls {
            Some(is_tls) if is_tls != service.protocol.is_tls() => {
                Some((self.variant(service, is_tls), service))
            }
            _ => Some((index, service)),
        }
    }

    /// The service of a host. Without a port it is the only one that the host
    /// has.
    fn at(&self, host: &str, port: Option<u16>) -> Option<(ServiceIndex, &Service)> {
        if let Some(index) = self.by_host.get(host) {
            let service = self.services.get(index.0 as usize)?;
            let port_fits = port.is_none_or(|port| port == service.port);
            return port_fits.then_some((*index, service));
        }
        let (namespace, name) = kubernetes::split_host(host)?;
        let ports = self.kubernetes.ports(namespace, name)?;
        match (port, ports) {
            (None, [only]) => Some(self.of_port(only)),
            (None, _) => None,
            (Some(number), _) => {
                Some(self.of_port(ports.iter().find(|port| port.service.port == number)?))
            }
        }
    }

    /// A service that something leads to.
    pub(super) fn get(&self, index: ServiceIndex) -> Option<Service> {
        let place = index.0 as usize;
        let later = || self.later.borrow().get(place.checked_sub(self.services.len())?).cloned();
        self.services.get(place).cloned().or_else(later)
    }

    /// A Service of Kubernetes by a port, or by its first.
    pub(super) fn of_kubernetes(
        &self,
        (namespace, name): (&str, &str),
        port: Option<u16>,
    ) -> Option<ServiceIndex> {
        let ports = self.kubernetes.ports(namespace, name)?;
        let is_it = |known: &&Port| port.is_none_or(|port| port == known.service.port);
        ports.iter().find(is_it).map(|port| self.of_port(port).0)
    }

    /// The service of a host and a port.
    pub(super) fn of_host(&self, host: &str, port: u16) -> Option<ServiceIndex> {
        self.at(host, Some(port)).map(|(index, _)| index)
    }

    /// The service that a port of a Service is.
    pub(super) fn of_port<'s>(&self, port: &'s Port) -> (ServiceIndex, &'s Service) {
        let index = self.kubernetes.index(port, |service| {
            let mut later = self.later.borrow_mut();
            later.push(service);
            self.later_index(later.len() - 1)
        });
        (index, &port.service)
    }

    /// The same service with the scheme that a destination asks for.
    fn variant(&self, service: &Service, is_tls: bool) -> ServiceIndex {
        let protocol = service.protocol.with_tls(is_tls);
        let wanted = Service { protocol, ..service.clone() };
        let mut later = self.later.borrow_mut();
        let place = later.iter().position(|known| *known == wanted).unwrap_or_else(|| {
            later.push(wanted);
            later.len() - 1
        });
        let index = self.later_index(place);
        self.schemes.borrow_mut().insert(index.0, is_tls);
        index
    }

    fn later_index(&self, place: usize) -> ServiceIndex {
        ServiceIndex(u32::try_from(self.services.len() + place).unwrap_or(u32::MAX))
    }

    /// Takes what an Ingress says about the services of its targets; the
    /// Ingress that has said otherwise before, where there is one.
    pub(super) fn decide(
        &self,
        targets: &[WeightedTarget],
        policy: &ServicePolicy,
        owner: &Arc<str>,
    ) -> Option<Arc<str>> {
        let mut decided = self.decided.borrow_mut();
        let mut other = None;
        for index in targets.iter().filter_map(|target| target.service) {
            let known = decided.entry(index.0).or_default();
            if known.policy.balance.is_none() {
                known.policy.balance.clone_from(&policy.balance);
            }
            match (&known.policy.tls, &policy.tls) {
                (None, Some(tls)) => {
                    known.policy.tls = Some(tls.clone());
                    known.tls_owner = owner.clone();
                }
                (Some(before), Some(tls)) if before != tls => {
                    other = Some(known.tls_owner.clone());
                }
                _ => {}
            }
        }
        other
    }

    /// All services that something may lead to, in the order of their
    /// indices.
    pub(super) fn into_services(self, diagnostics: &mut Vec<Diagnostic>) -> Vec<Service> {
        diagnostics.append(&mut self.kubernetes.into_diagnostics());
        let mut services = self.services;
        services.extend(self.later.into_inner());
        let schemes = self.schemes.into_inner();
        for (index, decided) in self.decided.into_inner() {
            if let Some(service) = services.get_mut(index as usize) {
                decided.policy.apply(service);
                if let Some(is_tls) = schemes.get(&index) {
                    service.protocol = service.protocol.with_tls(*is_tls);
                }
            }
        }
        services
    }
}
