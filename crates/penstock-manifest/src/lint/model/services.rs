//! What destinations and match rules may name as a service.

use std::collections::{HashMap, HashSet};
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
    unusable: HashSet<String>,
    registry_by_host: HashMap<String, usize>,
    kubernetes_by_host: HashMap<String, usize>,
    /// Every host with its port, as hints name them.
    known: Vec<(String, Option<u16>)>,
    budget: names::Budget,
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
        cluster_host(self.namespace, self.name)
    }

    /// The number of a port that a backend writes as a number or a name.
    pub(crate) fn port(&self, written: &str) -> Option<u16> {
        let named =
            |(number, name): &(u16, Option<&str>)| (*name == Some(written)).then_some(*number);
        written.parse().ok().or_else(|| self.ports.iter().find_map(named))
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
        let of_kind = |kind: &'static str| resources.iter().filter(move |r| &*r.key.kind == kind);
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
        let types = entries.iter().filter_map(|entry| entry.node.get("type")?.as_str()).collect();
        let is_bridge_unclear = is_broken || (default.is_some() && parsed.is_none());
        let parsed = parsed.unwrap_or_default();
        let entry_by_host = entries_by_host(&entries);
        let registries: Vec<RegistryEntry<'a>> = parsed
            .registries
            .into_iter()
            .filter_map(|registry| {
                let entry = entry_by_host.get(&registry.host.to_ascii_lowercase())?.clone();
                Some(RegistryEntry { registry, entry })
            })
            .collect();
        let kubernetes: Vec<KubernetesService<'a>> =
            of_kind("Service").map(|resource| kubernetes_service(resource)).collect();
        let broken_services = broken
            .iter()
            .filter_map(|document| document.key.as_ref())
            .filter(|key| &*key.kind == "Service")
            .map(|key| cluster_host(&key.namespace, &key.name));
        Self {
            unusable: parsed
                .unusable
                .iter()
                .map(|host| host.to_ascii_lowercase())
                .chain(broken_services)
                .collect(),
            registry_by_host: super::index(
                registries.iter().map(|entry| entry.registry.host.to_ascii_lowercase()),
            ),
            kubernetes_by_host: super::index(kubernetes.iter().map(KubernetesService::host)),
            known: known(&registries, &kubernetes),
            budget: names::Budget::default(),
            bridge: default.map(|resource| &**resource),
            registries,
            kubernetes,
            types,
            is_bridge_unclear,
        }
    }

    /// The registry whose service has this host.
    pub(crate) fn registry(&self, host: &str) -> Option<&RegistryEntry<'a>> {
        self.registries.get(*self.registry_by_host.get(&host.to_ascii_lowercase())?)
    }

    /// Whether a host is a service of the source.
    pub(crate) fn look_up(&self, host: &str) -> LookUp {
        if let Some(entry) = self.registry(host) {
            return LookUp::Exists(vec![entry.registry.port]);
        }
        if self.unusable.contains(&host.to_ascii_lowercase()) {
            return LookUp::Unclear;
        }
        if host.ends_with(CLUSTER_DOMAIN) {
            return self.look_up_kubernetes(host);
        }
        let discovers = DISCOVERING
            .iter()
            .find(|(suffix, _)| host.ends_with(suffix))
            .is_some_and(|(_, types)| types.iter().any(|kind| self.types.contains(kind)));
        let is_unclear =
            self.is_bridge_unclear || discovers || host.split('.').any(|label| label == "svc");
        if is_unclear { LookUp::Unclear } else { LookUp::Missing }
    }

    fn look_up_kubernetes(&self, host: &str) -> LookUp {
        if self.kubernetes.is_empty() {
            return LookUp::Unclear;
        }
        match self.kubernetes_service(host) {
            Some(service) => {
                LookUp::Exists(service.ports.iter().map(|(number, _)| *number).collect())
            }
            None => LookUp::Missing,
        }
    }

    /// The Kubernetes Service of a host.
    pub(crate) fn kubernetes_service(&self, host: &str) -> Option<&KubernetesService<'a>> {
        self.kubernetes.get(*self.kubernetes_by_host.get(host)?)
    }

    /// The host and port that a name which does not exist most likely means.
    pub(crate) fn meant(&self, host: &str) -> Option<(&str, Option<u16>)> {
        let found = match self.known.as_slice() {
            [only] => Some(only),
            known if self.budget.allows(known.len()) => {
                let hosts: Vec<&str> = known.iter().map(|(host, _)| host.as_str()).collect();
                let meant = names::closest(host, &hosts)?;
                known.iter().find(|(known, _)| known == meant)
            }
            _ => None,
        };
        found.map(|(host, port)| (host.as_str(), *port))
    }

    /// The one that is most like a name, however little that is.
    pub(crate) fn nearest(&self, host: &str) -> Option<(&str, Option<u16>)> {
        if !self.budget.allows(self.known.len()) {
            return None;
        }
        self.known
            .iter()
            .map(|(known, port)| (strsim::jaro_winkler(host, known), known.as_str(), *port))
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, host, port)| (host, port))
    }
}

fn known(
    registries: &[RegistryEntry<'_>],
    kubernetes: &[KubernetesService<'_>],
) -> Vec<(String, Option<u16>)> {
    let registries =
        registries.iter().map(|e| (e.registry.host.to_string(), Some(e.registry.port)));
    let kubernetes = kubernetes
        .iter()
        .map(|service| (service.host(), service.ports.first().map(|(number, _)| *number)));
    registries.chain(kubernetes).collect()
}

/// The host that destinations call a Kubernetes Service.
pub(crate) fn cluster_host(namespace: &str, name: &str) -> String {
    format!("{name}.{namespace}{CLUSTER_DOMAIN}")
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

/// The entries by the host of their service: of several with one, the last.
fn entries_by_host<'a>(entries: &[Cursor<'a>]) -> HashMap<String, Cursor<'a>> {
    let text = |entry: &Cursor<'a>, key| entry.node.get(key).and_then(Node::as_str);
    entries
        .iter()
        .filter_map(|entry| {
            let host = format!("{}.{}", text(entry, "name")?, text(entry, "type")?);
            Some((host.to_ascii_lowercase(), entry.clone()))
        })
        .collect()
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
                // Nothing can be sent to a port of UDP or SCTP.
                if port.get("protocol").and_then(Node::as_str).is_some_and(|name| name != "TCP") {
                    return None;
                }
                let number = match port.get("port")?.value {
                    Value::Int(number) => u16::try_from(number).ok()?,
                    _ => return None,
                };
                Some((number, port.get("name").and_then(Node::as_str)))
            })
            .collect(),
    }
}
