//! McpBridge `default` → services.

use std::collections::HashMap;
use std::sync::Arc;

use penstock_manifest::annotation::Destination;
use penstock_manifest::diagnostic::MCP_BRIDGE_NAME;
use penstock_manifest::kind::mcp_bridge::{McpBridge, Registry};
use penstock_manifest::{Diagnostic, Resource};

use crate::balance::Balance;
use crate::snapshot::{Service, ServiceIndex};

/// The services, by the host that destinations name.
#[derive(Default)]
pub(super) struct Services {
    services: Vec<Service>,
    by_host: HashMap<Arc<str>, ServiceIndex>,
    /// Services that a destination asks for with another scheme than the
    /// registry's.
    variants: std::cell::RefCell<Vec<Service>>,
}

pub(super) fn compile(bridges: &[&Arc<Resource>], diagnostics: &mut Vec<Diagnostic>) -> Services {
    let mut services = Services::default();
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

impl Services {
    fn add(&mut self, registry: Registry) {
        let host: Arc<str> = registry.host.into();
        let index = ServiceIndex(u32::try_from(self.services.len()).unwrap_or(u32::MAX));
        self.by_host.insert(host.clone(), index);
        self.services.push(Service {
            host,
            port: registry.port,
            protocol: registry.protocol,
            sni: registry.sni,
            endpoints: registry.endpoints,
            balance: Balance::default(),
        });
    }

    /// The service that a destination means: host and port must be those of a
    /// registry; subsets are not defined by any.
    pub(super) fn of(&self, destination: &Destination) -> Option<(ServiceIndex, &Service)> {
        let index = *self.by_host.get(&*destination.host)?;
        let service = self.services.get(index.0 as usize)?;
        let port_fits = destination.port.is_none_or(|port| port == service.port);
        if !port_fits || destination.subset.is_some() {
            return None;
        }
        match destination.is_tls {
            Some(is_tls) if is_tls != service.protocol.is_tls() => {
                Some((self.variant(service, is_tls), service))
            }
            _ => Some((index, service)),
        }
    }

    /// The same service with the scheme that a destination asks for.
    fn variant(&self, service: &Service, is_tls: bool) -> ServiceIndex {
        let protocol = service.protocol.with_tls(is_tls);
        let wanted = Service { protocol, ..service.clone() };
        let mut variants = self.variants.borrow_mut();
        let place = variants.iter().position(|variant| *variant == wanted).unwrap_or_else(|| {
            variants.push(wanted);
            variants.len() - 1
        });
        ServiceIndex(u32::try_from(self.services.len() + place).unwrap_or(u32::MAX))
    }

    /// All services, in the order of their indices.
    pub(super) fn into_services(self) -> Vec<Service> {
        let mut services = self.services;
        services.extend(self.variants.into_inner());
        services
    }
}
