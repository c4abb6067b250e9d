//! `v1` Service: what a backend's name and port lead to
//! (Kubernetes: core/v1; Istio: pkg/kube/kube.go, `ConvertProtocol`).
//!
//! It says where a port is to be looked for, not where the endpoints are:
//! those stand in EndpointSlices or Endpoints.

use std::net::IpAddr;

use super::endpoints::{is_tcp, port_number};
use super::mcp_bridge::Protocol;
use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD, nearest};
use crate::node::{Cursor, Node, Value};
use crate::resource::Resource;

const TYPES: &[&str] = &["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"];

/// The fields of Kubernetes, also those of older versions that a cluster may
/// still print.
const SPEC_FIELDS: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalIPs",
    "externalName",
    "externalTrafficPolicy",
    "healthCheckNodePort",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamily",
    "ipFamilyPolicy",
    "loadBalancerClass",
    "loadBalancerIP",
    "loadBalancerSourceRanges",
    "ports",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    "sessionAffinityConfig",
    "topologyKeys",
    "trafficDistribution",
    "type",
];

const PORT_FIELDS: &[&str] = &["appProtocol", "name", "nodePort", "port", "protocol", "targetPort"];

/// A Service as routing needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The ports that HTTP can be spoken to; others are left out.
    pub ports: Vec<ServicePort>,
    /// The address that the cluster gave it; `None` for headless ones.
    pub cluster_ip: Option<IpAddr>,
    /// Whether its name stands for its endpoints themselves.
    pub is_headless: bool,
    /// The name in lower case, or the address, that stands for it; only of
    /// the type ExternalName.
    pub external_name: Option<Box<str>>,
    /// Whether the first of its address families is IPv6, where it says so.
    pub prefers_ipv6: Option<bool>,
    /// Whether the cluster finds its endpoints by labels of Pods.
    pub has_selector: bool,
}

/// One port of a [`Service`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The name, by which endpoints are found; empty where there is only one.
    pub name: Box<str>,
    /// The number that backends and destinations write.
    pub port: u16,
    /// The port of the Pods.
    pub target: TargetPort,
    /// How the endpoints are spoken to.
    pub protocol: Protocol,
}

/// `targetPort` of a [`ServicePort`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// A number; that of the Service where none is written.
    Number(u16),
    /// A port's name in the Pods. Only their endpoints have its number.
    Name(Box<str>),
}

impl Service {
    /// Reads a Service port by port; a bad one is left out with a finding.
    /// `None` where nothing of it can be read.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let Some(spec) = resource.spec() else {
            let message = format!("{} has no spec", resource.key);
            diagnostics.push(resource.cursor().diagnostic(&MISSING_FIELD, message));
            return None;
        };
        if spec.node.as_map().is_none() {
            diagnostics.push(spec.wrong_type("a mapping"));
            return None;
        }
        spec.report_unknown_keys(SPEC_FIELDS, diagnostics);
        let external_name = external_name(&spec, diagnostics);
        let ports = match spec.get("ports") {
            Some(ports) if ports.node.as_list().is_none() => {
                diagnostics.push(ports.wrong_type("a list"));
                return None;
            }
            Some(ports) => {
                ports.items().filter_map(|port| parse_port(&port, diagnostics)).collect()
            }
            None => {
                let message =
                    format!("{} has no ports, so that nothing can be sent to it", resource.key);
                diagnostics.push(spec.diagnostic(&MISSING_FIELD, message));
                Vec::new()
            }
        };
        let families = spec.get("ipFamilies");
        let family = families.and_then(|families| families.items().next()?.node.as_str());
        Some(Self {
            ports,
            cluster_ip: cluster_ip(&spec, diagnostics),
            is_headless: spec.node.get("clusterIP").and_then(Node::as_str) == Some("None"),
            external_name,
            prefers_ipv6: family.map(|family| family == "IPv6"),
            has_selector: spec.get("selector").is_some_and(|selector| {
                selector.node.as_map().is_some_and(|labels| !labels.entries.is_empty())
            }),
        })
    }

    /// Whether [`Self::parse`] reads anything, found out without reading: a
    /// source may hold thousands that nothing leads to.
    pub fn has_shape(resource: &Resource) -> bool {
        let Some(spec) = resource.root.get("spec").filter(|spec| spec.as_map().is_some()) else {
            return false;
        };
        spec.get("ports").is_none_or(|ports| ports.is_null() || ports.as_list().is_some())
    }
}

fn external_name(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Box<str>> {
    let written = spec.get("type")?;
    let kind = written.text(diagnostics)?;
    if !TYPES.contains(&kind) {
        let diagnostic =
            written.diagnostic(&INVALID_VALUE, format!("`{kind}` is not a type of a Service"));
        diagnostics.push(match nearest(kind, TYPES.iter().copied()) {
            Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
            None => diagnostic.with_hint("use ClusterIP, NodePort, LoadBalancer or ExternalName"),
        });
    }
    if kind != "ExternalName" {
        return None;
    }
    let Some(name) = spec.get("externalName") else {
        diagnostics.push(
            spec.diagnostic(&MISSING_FIELD, "a Service of type ExternalName has no `externalName`"),
        );
        // It is an ExternalName all the same: no address stands in for it.
        return Some("".into());
    };
    let text = name.text(diagnostics).unwrap_or_default();
    let text = text.strip_suffix('.').unwrap_or(text);
    if !text.is_empty() && text.parse::<IpAddr>().is_err() && !is_name(text) {
        diagnostics.push(name.diagnostic(&INVALID_VALUE, "`externalName` is not a name of DNS"));
        return Some("".into());
    }
    Some(text.to_ascii_lowercase().into())
}

/// Whether DNS can be asked for a text.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn cluster_ip(spec: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<IpAddr> {
    let written = spec.get("clusterIP")?;
    let text = written.text(diagnostics)?;
    if text.is_empty() || text == "None" {
        return None;
    }
    let address = text.parse().ok();
    if address.is_none() {
        diagnostics.push(written.diagnostic(&INVALID_VALUE, "`clusterIP` is not an address"));
    }
    address
}

fn parse_port(port: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<ServicePort> {
    if port.node.as_map().is_none() {
        diagnostics.push(port.wrong_type("a mapping"));
        return None;
    }
    port.report_unknown_keys(PORT_FIELDS, diagnostics);
    let Some(number) = port.get("port") else {
        diagnostics.push(port.diagnostic(&MISSING_FIELD, "the port has no `port`"));
        return None;
    };
    let number = port_number(&number, diagnostics)?;
    if !is_tcp(port, diagnostics) {
        return None;
    }
    let name = port.get("name").and_then(|name| name.text(diagnostics)).unwrap_or_default();
    let app_protocol = port.get("appProtocol").and_then(|protocol| protocol.text(diagnostics));
    let target = match port.get("targetPort") {
        None => TargetPort::Number(number),
        Some(target) => match &target.node.value {
            Value::String(name) => TargetPort::Name(name.clone()),
            // Kubernetes: 0 is the same as nothing.
            Value::Int(0) => TargetPort::Number(number),
            _ => TargetPort::Number(port_number(&target, diagnostics)?),
        },
    };
    let protocol = protocol(app_protocol, name);
    Some(ServicePort { name: name.into(), port: number, target, protocol })
}

/// What a port is spoken to with: `appProtocol`, else the beginning of its
/// name (`grpc-api`). What is neither is HTTP/1.1.
fn protocol(app_protocol: Option<&str>, name: &str) -> Protocol {
    match app_protocol {
        Some("kubernetes.io/h2c") => return Protocol::Http2,
        Some("kubernetes.io/wss") => return Protocol::Https,
        _ => {}
    }
    let text = app_protocol.unwrap_or(name).to_ascii_lowercase();
    // It is spoken over HTTP/1.1, other than what it begins with.
    if text.starts_with("grpc-web") {
        return Protocol::Http;
    }
    match text.split('-').next().unwrap_or_default() {
        "http2" => Protocol::Http2,
        "grpc" => Protocol::Grpc,
        "grpcs" => Protocol::Grpcs,
        "https" | "tls" => Protocol::Https,
        _ => Protocol::Http,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::assemble;
    use crate::read::{FilePath, read_file};

    fn parse(spec: &str) -> (Option<Service>, Vec<String>) {
        let text = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\n{spec}\n");
        let listing = assemble([&read_file(&FilePath::standalone("s.yaml"), &text)]);
        let mut diagnostics = Vec::new();
        let resource = &listing.resources[0];
        let service = Service::parse(resource, &mut diagnostics);
        assert_eq!(service.is_some(), Service::has_shape(resource), "{spec}");
        let found = diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect();
        (service, found)
    }

    #[test]
    fn ports_are_read_one_by_one() {
        let check = |port: &str, expected: &str, findings: &[&str]| {
            let (service, found) = parse(&format!("spec: {{ports: [{port}]}}"));
            let shown: Vec<String> = service
                .unwrap()
                .ports
                .iter()
                .map(|p| format!("{}:{} {:?} {:?}", p.name, p.port, p.target, p.protocol))
                .collect();
            assert_eq!(shown.join(" "), expected, "{port}");
            assert_eq!(found, findings, "{port}");
        };
        check("{port: 80}", ":80 Number(80) Http", &[]);
        check("{port: 80, targetPort: 8080}", ":80 Number(8080) Http", &[]);
        check("{port: 80, targetPort: web, name: a}", "a:80 Name(\"web\") Http", &[]);
        check("{port: 80, targetPort: 0, nodePort: 30080}", ":80 Number(80) Http", &[]);
        check("{port: 80, protocol: TCP, appProtocol: null}", ":80 Number(80) Http", &[]);
        check("{port: 53, protocol: UDP}", "", &[]);
        check("{port: 53, protocol: tcp}", "", &["PS208 spec.ports[0].protocol"]);
        check("{port: 80, targetPort: true}", "", &["PS201 spec.ports[0].targetPort"]);
        check("{port: 0}", "", &["PS208 spec.ports[0].port"]);
        check("{port: '80'}", "", &["PS201 spec.ports[0].port"]);
        check("{prot: 80}", "", &["PS202 spec.ports[0].prot", "PS203 spec.ports[0]"]);
        check("80", "", &["PS201 spec.ports[0]"]);
        check(
            "{port: 1}, {port: x}, {port: 2}",
            ":1 Number(1) Http :2 Number(2) Http",
            &["PS201 spec.ports[1].port"],
        );
    }

    #[test]
    fn a_port_says_what_it_speaks() {
        let check = |app_protocol: Option<&str>, name: &str, expected: Protocol| {
            assert_eq!(protocol(app_protocol, name), expected, "{app_protocol:?} {name}");
        };
        check(None, "", Protocol::Http);
        check(None, "http", Protocol::Http);
        check(None, "web", Protocol::Http);
        check(None, "http2", Protocol::Http2);
        check(None, "HTTP2-api", Protocol::Http2);
        check(None, "grpc-api", Protocol::Grpc);
        check(None, "grpcapi", Protocol::Http);
        check(None, "grpc-web", Protocol::Http);
        check(None, "https-api", Protocol::Https);
        check(Some("kubernetes.io/h2c"), "https", Protocol::Http2);
        check(Some("kubernetes.io/ws"), "https", Protocol::Http);
        check(Some("kubernetes.io/wss"), "http", Protocol::Https);
        check(Some("GRPC"), "http", Protocol::Grpc);
        check(Some("http"), "grpc", Protocol::Http);
        check(Some("example.com/own"), "grpc", Protocol::Http);
    }

    #[test]
    fn a_service_leads_somewhere() {
        let check = |spec: &str, expected: &str, findings: &[&str]| {
            let (service, found) = parse(&format!("spec: {{ports: [], {spec}}}"));
            let service = service.unwrap();
            let shown = format!(
                "{:?} {:?} {:?} {}",
                service.cluster_ip,
                service.external_name,
                service.prefers_ipv6,
                service.has_selector
            );
            assert_eq!(shown, expected, "{spec}");
            assert_eq!(found, findings, "{spec}");
        };
        check("selector: {app: a}", "None None None true", &[]);
        check("clusterIP: None, selector: {}", "None None None false", &[]);
        check("clusterIP: 10.0.0.1", "Some(10.0.0.1) None None false", &[]);
        check("clusterIP: x", "None None None false", &["PS208 spec.clusterIP"]);
        check("ipFamilies: [IPv6, IPv4]", "None None Some(true) false", &[]);
        check("type: NodePort, externalName: a", "None None None false", &[]);
        check(
            "type: ExternalName, externalName: Api.Example.com.",
            "None Some(\"api.example.com\") None false",
            &[],
        );
        check(
            "type: ExternalName, externalName: 10.1.1.1",
            "None Some(\"10.1.1.1\") None false",
            &[],
        );
        check("type: ExternalName", "None Some(\"\") None false", &["PS203 spec"]);
        check(
            "type: ExternalName, externalName: 'a b'",
            "None Some(\"\") None false",
            &["PS208 spec.externalName"],
        );
        check("type: Cluster", "None None None false", &["PS208 spec.type"]);
        check("sesionAffinity: None", "None None None false", &["PS202 spec.sesionAffinity"]);
        check(
            "allocateLoadBalancerNodePorts: true, clusterIPs: [], externalTrafficPolicy: Cluster, internalTrafficPolicy: Cluster, ipFamilyPolicy: SingleStack, sessionAffinity: None, trafficDistribution: PreferClose",
            "None None None false",
            &[],
        );
    }

    #[test]
    fn what_cannot_be_read_at_all_is_none() {
        let check = |rest: &str, findings: &[&str]| {
            assert_eq!(parse(rest), (None, findings.iter().map(ToString::to_string).collect()));
        };
        check("", &["PS203 "]);
        check("spec: oops", &["PS201 spec"]);
        check("spec: {ports: oops}", &["PS201 spec.ports"]);
        assert_eq!(parse("spec: {}").1, ["PS203 spec"]);
    }
}
