//! Ingresses: one route name each, its hosts, and where its requests go.

use super::plugins::Request;
use super::services::{LookUp, Services, cluster_host};
use crate::annotation::RouteOptions;
use crate::kind::ingress::{Backend, Ingress};
use crate::node::Cursor;
use crate::resource::{Resource, SYSTEM_NAMESPACE};

/// An Ingress.
#[derive(Debug)]
pub(crate) struct Route<'a> {
    pub(crate) resource: &'a Resource,
    /// The name that match rules use: `NAME`, or `NAMESPACE/NAME` outside the
    /// system namespace.
    pub(crate) name: String,
    /// The hosts, also those of rules that Higress ignores.
    pub(crate) hosts: Vec<Host<'a>>,
    /// `None` where Higress rejects the object.
    pub(crate) ingress: Option<Ingress>,
    pub(crate) options: RouteOptions,
    /// Where requests go.
    pub(crate) upstreams: Vec<Upstream>,
}

/// The host of a rule.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    /// In lower case; `*` where none is written.
    pub(crate) text: String,
    /// The host, else the rule.
    pub(crate) cursor: Cursor<'a>,
}

/// A service that a route sends requests to.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// The host; where the written one does not exist, the one that was most
    /// likely meant.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Whether the host is the written one.
    pub(crate) is_certain: bool,
}

impl<'a> Route<'a> {
    pub(super) fn new(resource: &'a Resource, services: &Services<'_>) -> Self {
        let ingress = Ingress::parse(resource, &mut Vec::new());
        let options = RouteOptions::parse(resource, &mut Vec::new());
        let upstreams = upstreams(resource, ingress.as_ref(), &options, services);
        let (namespace, name) = (&*resource.key.namespace, &*resource.key.name);
        Self {
            resource,
            name: match namespace {
                SYSTEM_NAMESPACE => name.to_owned(),
                _ => format!("{namespace}/{name}"),
            },
            hosts: hosts(resource),
            ingress,
            options,
            upstreams,
        }
    }

    pub(crate) fn is_in_system(&self) -> bool {
        &*self.resource.key.namespace == SYSTEM_NAMESPACE
    }

    /// Whether the console keeps it: it says so itself.
    pub(crate) fn is_of_console(&self) -> bool {
        self.is_in_system()
            && (self.resource.label("higress.io/resource-definer") == Some("higress")
                || super::console::ai_route_of_ingress(&self.resource.key.name).is_some())
    }

    /// The hosts that are written, each once.
    pub(crate) fn host_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for host in &self.hosts {
            if host.text != "*" && !names.contains(&host.text.as_str()) {
                names.push(&host.text);
            }
        }
        names
    }

    /// One request for every host and upstream, as match rules see it.
    pub(crate) fn requests(&self) -> Vec<Request<'_>> {
        let hosts = self.hosts.iter().map(|host| host.text.as_str());
        hosts
            .flat_map(|host| {
                self.upstreams.iter().map(move |upstream| Request {
                    route: &self.name,
                    host,
                    service: &upstream.host,
                    port: upstream.port,
                })
            })
            .collect()
    }
}

fn hosts(resource: &Resource) -> Vec<Host<'_>> {
    let Some(rules) = resource.spec().and_then(|spec| spec.get("rules")) else {
        return Vec::new();
    };
    rules
        .items()
        .map(|rule| match rule.get("host") {
            Some(cursor) => {
                let text = cursor.node.as_str().unwrap_or_default().trim().to_ascii_lowercase();
                let text = if text.is_empty() { "*".to_owned() } else { text };
                Host { text, cursor }
            }
            None => Host { text: "*".to_owned(), cursor: rule },
        })
        .collect()
}

fn upstreams(
    resource: &Resource,
    ingress: Option<&Ingress>,
    options: &RouteOptions,
    services: &Services<'_>,
) -> Vec<Upstream> {
    let Some(ingress) = ingress else {
        return Vec::new();
    };
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
    let mut written: Vec<(String, Option<u16>)> = Vec::new();
    for backend in paths.chain(&ingress.default_backend) {
        match backend {
            Backend::Service { name, port } => {
                let host = cluster_host(&resource.key.namespace, name);
                let port = match services.kubernetes_service(&host) {
                    Some(service) => service.port(port),
                    None => port.parse().ok(),
                };
                written.push((host, port));
            }
            Backend::Resource => {
                let destinations = options.destinations.iter().flatten();
                written.extend(destinations.map(|d| (d.host.to_string(), d.port)));
            }
        }
    }
    written.sort();
    written.dedup();
    written.into_iter().map(|(host, port)| resolve(host, port, services)).collect()
}

fn resolve(host: String, port: Option<u16>, services: &Services<'_>) -> Upstream {
    match services.look_up(&host) {
        LookUp::Missing => match services.meant(&host) {
            Some((host, port)) => Upstream { host: host.to_owned(), port, is_certain: false },
            None => Upstream { host, port, is_certain: false },
        },
        LookUp::Exists(ports) => {
            let port = port.or_else(|| ports.first().copied());
            Upstream { host, port, is_certain: true }
        }
        LookUp::Unclear => Upstream { host, port, is_certain: true },
    }
}
