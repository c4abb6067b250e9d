//! What destinations and match rules may name as a service.

use std::sync::Arc;

use super::names;
use crate::kind::mcp_bridge::{McpBridge, Registry};
use crate::node::{Cursor, Node, Value};
use crate::resource::{BrokenDocument, Resource, SYSTEM_NAMESPACE};

/// The suffix of a Kubernetes Service's host.
const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// The hosts of the registries that discover services, by their suffix.
const DISCOVERING: &[(&str, &[&str])] = &[
    (".nacos", &["nacos", "nacos2", "nacos3"]),
    (".eureka", &["eureka"]),
    (".consul", &["consul"]),
    (".zookeeper", &["zookeeper"]),
];

/// Every service of the source.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    pub(crate) registries: Vec<RegistryEntry<'a>>,
    pub(crate) kubernetes: Vec<KubernetesService<'a>>,
    /// The McpBridge `default`, if it could be read at all.
    pub(crate) bridge: Option<&'a Resource>,
    /// Hosts that are defined, but cannot be used or read.
    unusable: Vec<Box<str>>,
    /// The types of all registries.
    types: Vec<&'a str>,
    is_bridge_unclear: bool,
}

/// A usable registry and its text.
#[derive(Debug)]
pub(crate) struct RegistryEntry<'a> {
    pub(crate) registry: Registry,
    pub(crate) entry: Cursor<'a>,
}

impl RegistryEntry<'_> {
    /// `name` as written.
    pub(crate) fn name(&self) -> &str {
        self.entry.node.get("name").and_then(Node::as_str).unwrap_or_default()
    }
}

/// A Kubernetes Service.
#[derive(Debug)]
pub(crate) struct KubernetesService<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    /// Number and name of each port.
    pub(crate) ports: Vec<(u16, Option<&'a str>)>,
}

impl KubernetesService<'_> {
    /// The host that destinations name.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}{CLUSTER_DOMAIN}", self.name, self.namespace)
    }
}

/// Whether a service exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// It does, with these ports; none where any may do.
    Exists(Vec<u16>),
    /// It does not.
    Missing,
    /// That cannot be said from the resources.
    Unclear,
}

impl<'a> Services<'a> {
    pub(super) fn new(resources: &'a [Arc<Resource>], broken: &'a [BrokenDocument]) -> Self {
        let of_kind =
            |kind: &'static str| resources.iter().filter(move |r| &*r.key.kind == kind);
        let default = of_kind("McpBridge").find(|resource| {
            &*resource.key.name == "default" && &*resource.key.namespace == SYSTEM_NAMESPACE
        });
        let parsed = default.and_then(|resource| McpBridge::parse(resource, &mut Vec::new()));
        let is_broken = broken
            .iter()
            .filter_map(|document| document.key.as_ref())
            .any(|key| &*key.kind == "McpBridge" && &*key.name == "default");
        let entries: Vec<Cursor<'a>> = default
            .and_then(|resource| resource.spec()?.get("registries"))
            .map(|registries| registries.items().collect())
            .unwrap_or_default();
        let types =
            entries.iter().filter_map(|entry| entry.node.get("type")?.as_str()).collect();
        let is_bridge_unclear = is_broken || (default.is_some() && parsed.is_none());
        let parsed = parsed.unwrap_or_default();
        let mut unusable = parsed.unusable;
        unusable.extend(
            broken
                .iter()
                .filter_map(|document| document.key.as_ref())
                .filter(|key| &*key.kind == "Service")
                .map(|key| format!("{}.{}{CLUSTER_DOMAIN}", key.name, key.namespace).into()),
        );
        Self {
            registries: parsed
                .registries
                .into_iter()
                .filter_map(|registry| with_entry(registry, &entries))
                .collect(),
            kubernetes: of_kind("Service").map(|resource| kubernetes_service(resource)).collect(),
            bridge: default.map(|resource| &**resource),
            unusable,
            types,
            is_bridge_unclear,
        }
    }

    /// The registry whose service has this host.
    pub(crate) fn registry(&self, host: &str) -> Option<&RegistryEntry<'a>> {
        self.registries.iter().find(|entry| entry.registry.host.eq_ignore_ascii_case(host))
    }

    /// Whether a host is a service of the source.
    pub(crate) fn look_up(&self, host: &str) -> LookUp {
        if let Some(entry) = self.registry(host) {
            return LookUp::Exists(vec![entry.registry.port]);
        }
        if self.unusable.iter().any(|known| known.eq_ignore_ascii_case(host)) {
            return LookUp::Unclear;
        }
        if host.ends_with(CLUSTER_DOMAIN) {
            return self.look_up_kubernetes(host);
        }
        let discovers = DISCOVERING
            .iter()
            .find(|(suffix, _)| host.ends_with(suffix))
            .is_some_and(|(_, types)| types.iter().any(|kind| self.types.contains(kind)));
        let is_unclear = self.is_bridge_unclear
            || discovers
            || host.split('.').any(|label| label == "svc");
        if is_unclear { LookUp::Unclear } else { LookUp::Missing }
    }

    fn look_up_kubernetes(&self, host: &str) -> LookUp {
        if self.kubernetes.is_empty() {
            return LookUp::Unclear;
        }
        match self.kubernetes.iter().find(|service| service.host() == host) {
            Some(service) => {
                LookUp::Exists(service.ports.iter().map(|(number, _)| *number).collect())
            }
            None => LookUp::Missing,
        }
    }

    /// The host and port that a name which does not exist most likely means.
    pub(crate) fn meant(&self, host: &str) -> Option<(String, Option<u16>)> {
        let known = self.known();
        let hosts: Vec<&str> = known.iter().map(|(host, _)| host.as_str()).collect();
        let host = names::meant(host, &hosts)?.to_owned();
        let port = known.iter().find(|(known, _)| *known == host).and_then(|(_, port)| *port);
        Some((host, port))
    }

    /// The addresses that exist, for a hint.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.known()
            .into_iter()
            .map(|(host, port)| match port {
                Some(port) => format!("{host}:{port}"),
                None => host,
            })
            .collect()
    }

    fn known(&self) -> Vec<(String, Option<u16>)> {
        let registries =
            self.registries.iter().map(|e| (e.registry.host.to_string(), Some(e.registry.port)));
        let kubernetes = self
            .kubernetes
            .iter()
            .map(|service| (service.host(), service.ports.first().map(|(number, _)| *number)));
        registries.chain(kubernetes).collect()
    }
}

/// Splits `HOST:PORT`; without a port that can be one, all of it is the host.
pub(crate) fn split_service(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) if port != 0 => (host, Some(port)),
            _ => (text, None),
        },
        None => (text, None),
    }
}

/// The entry a registry was read from: of several with one name, the last.
fn with_entry<'a>(registry: Registry, entries: &[Cursor<'a>]) -> Option<RegistryEntry<'a>> {
    let text = |entry: &Cursor<'a>, key| entry.node.get(key).and_then(Node::as_str);
    let entry = entries.iter().rev().find(|entry| {
        match (text(entry, "name"), text(entry, "type")) {
            (Some(name), Some(kind)) => {
                registry.host.eq_ignore_ascii_case(&format!("{name}.{kind}"))
            }
            _ => false,
        }
    })?;
    Some(RegistryEntry { registry, entry: entry.clone() })
}

fn kubernetes_service(resource: &Resource) -> KubernetesService<'_> {
    let ports = resource.root.get("spec").and_then(|spec| spec.get("ports"));
    let ports = ports.and_then(Node::as_list).unwrap_or_default();
    KubernetesService {
        name: &resource.key.name,
        namespace: &resource.key.namespace,
        ports: ports
            .iter()
            .filter_map(|port| {
                let number = match port.get("port")?.value {
                    Value::Int(number) => u16::try_from(number).ok()?,
                    _ => return None,
                };
                Some((number, port.get("name").and_then(Node::as_str)))
            })
            .collect(),
    }
}
