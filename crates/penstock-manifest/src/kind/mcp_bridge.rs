//! `networking.higress.io/v1` McpBridge: where services come from
//! (Higress: api/networking/v1/mcp_bridge.proto, registry/direct/watcher.go).

use std::net::SocketAddr;

use crate::diagnostic::{
    Diagnostic, INVALID_VALUE, MISSING_FIELD, REGISTRY_DUPLICATE, REGISTRY_INVALID,
    REGISTRY_NO_SNI, REGISTRY_TYPE_NOT_SUPPORTED, nearest,
};
use crate::node::{Cursor, Position, Value};
use crate::resource::Resource;

/// The registry types of Higress.
pub const TYPES: &[&str] =
    &["static", "dns", "nacos", "nacos2", "nacos3", "zookeeper", "consul", "eureka"];

const FIELDS: &[&str] = &[
    "type",
    "name",
    "domain",
    "port",
    "protocol",
    "sni",
    "proxyName",
    "vport",
    "authSecretName",
    "nacosAddressServer",
    "nacosAccessKey",
    "nacosSecretKey",
    "nacosNamespaceId",
    "nacosNamespace",
    "nacosGroups",
    "nacosRefreshInterval",
    "nacosTimeout",
    "zkServicesPath",
    "consulDatacenter",
    "consulServiceTag",
    "consulRefreshInterval",
    "consulNamespace",
    "enableMCPServer",
    "mcpServerExportDomains",
    "mcpServerBaseUrl",
    "enableScopeMcpServers",
    "allowMcpServers",
    "metadata",
];

/// A `static` or `dns` registry that can be used.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The host that destinations name: `NAME.static` or `NAME.dns`.
    pub host: Box<str>,
    /// The port that destinations name.
    pub port: u16,
    /// How the endpoints are spoken to.
    pub protocol: Protocol,
    /// The server name for TLS; `None` takes it from the request's Host.
    pub sni: Option<Box<str>>,
    /// Where the endpoints are.
    pub endpoints: Endpoints,
    /// Where the entry stands.
    pub at: Position,
}

/// The endpoints of a [`Registry`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoints {
    /// Fixed addresses.
    Static(Vec<SocketAddr>),
    /// Names to resolve; all use the registry's port.
    Dns(Vec<Box<str>>),
}

/// The protocols of Higress (Higress: pkg/common/protocol.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.1 in the clear; also what `tcp` and `dubbo` are taken for.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// HTTP/2 in the clear.
    Http2,
    /// gRPC in the clear.
    Grpc,
    /// gRPC over TLS.
    Grpcs,
}

impl Protocol {
    /// Reads a protocol in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "https" => Self::Https,
            "http2" => Self::Http2,
            "grpc" | "triple" | "tri" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            _ => return None,
        })
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }

    /// Whether it is HTTP/2.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::Grpcs)
    }

    /// The same version of HTTP, encrypted or in the clear.
    pub fn with_tls(self, is_tls: bool) -> Self {
        match (self.is_http2(), is_tls) {
            (_, _) if self.is_tls() == is_tls => self,
            (true, true) => Self::Grpcs,
            (true, false) => Self::Http2,
            (false, true) => Self::Https,
            (false, false) => Self::Http,
        }
    }
}

/// The services of an McpBridge.
#[derive(Clone, Debug, Default)]
pub struct McpBridge {
    /// The usable registries; where two share a host, the last one.
    pub registries: Vec<Registry>,
    /// The hosts of entries that cannot be used, so that their destinations
    /// are not reported a second time as unknown.
    pub unusable: Vec<Box<str>>,
}

impl McpBridge {
    /// Reads an McpBridge entry by entry; a bad one is left out with a
    /// finding. `None` where nothing of it can be read.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let Some(spec) = resource.spec() else {
            diagnostics.push(
                resource
                    .cursor()
                    .diagnostic(&MISSING_FIELD, format!("{} has no spec", resource.key)),
            );
            return None;
        };
        if spec.node.as_map().is_none() {
            diagnostics.push(spec.wrong_type("a mapping"));
            return None;
        }
        spec.report_unknown_keys(&["registries", "proxies"], diagnostics);
        let mut bridge = Self::default();
        let Some(registries) = spec.get("registries") else {
            return Some(bridge);
        };
        if registries.node.as_list().is_none() {
            diagnostics.push(registries.wrong_type("a list"));
            return None;
        }
        for entry in registries.items() {
            match parse_registry(&entry, diagnostics) {
                Ok(Some(registry)) => bridge.add(registry, &entry, diagnostics),
                Ok(None) => {}
                Err(host) => bridge.unusable.extend(host),
            }
        }
        Some(bridge)
    }

    fn add(&mut self, registry: Registry, entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) {
        if let Some(earlier) = self.registries.iter_mut().find(|r| r.host == registry.host) {
            diagnostics.push(entry.diagnostic(
                &REGISTRY_DUPLICATE,
                format!(
                    "registry `{}` is also defined at line {}; this one counts",
                    registry.host, earlier.at.line
                ),
            ));
            *earlier = registry;
        } else {
            self.registries.push(registry);
        }
    }
}

/// `Ok(None)` is a type that is known but not supported; `Err` carries the
/// host of an entry that cannot be used, where it is known.
fn parse_registry(
    entry: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Option<Registry>, Option<Box<str>>> {
    if entry.node.as_map().is_none() {
        diagnostics.push(entry.wrong_type("a mapping"));
        return Err(None);
    }
    entry.report_unknown_keys(FIELDS, diagnostics);
    let kind = required_text(entry, "type", diagnostics).ok_or(None)?;
    let name = required_text(entry, "name", diagnostics).ok_or(None)?;
    if !TYPES.contains(&kind) {
        let mut diagnostic =
            entry.diagnostic(&REGISTRY_INVALID, format!("`{kind}` is not a registry type"));
        if let Some(nearest) = nearest(kind, TYPES.iter().copied()) {
            diagnostic = diagnostic.with_hint(format!("did you mean `{nearest}`?"));
        }
        diagnostics.push(diagnostic);
        return Err(None);
    }
    if kind != "static" && kind != "dns" {
        diagnostics.push(entry.diagnostic(
            &REGISTRY_TYPE_NOT_SUPPORTED,
            format!("registries of type `{kind}` are not supported yet"),
        ));
        return Ok(None);
    }
    let host: Box<str> = format!("{name}.{kind}").to_ascii_lowercase().into();
    let unusable = || Some(host.clone());
    let port = parse_port(entry, diagnostics).ok_or_else(unusable)?;
    let protocol = parse_protocol(entry, diagnostics).ok_or_else(unusable)?;
    let domain = required_text(entry, "domain", diagnostics).ok_or_else(unusable)?;
    let endpoints = if kind == "static" {
        parse_static(entry, domain, diagnostics)
    } else {
        parse_dns(entry, domain, diagnostics)
    }
    .ok_or_else(unusable)?;
    if entry.get("proxyName").is_some_and(|p| p.node.as_str().is_some_and(|p| !p.is_empty())) {
        diagnostics.push(entry.diagnostic(
            &REGISTRY_INVALID,
            format!("registry `{host}` asks for a proxy, which is not supported yet"),
        ));
        return Err(unusable());
    }
    let sni = sni(entry, protocol, &endpoints, diagnostics);
    Ok(Some(Registry { host, port, protocol, sni, endpoints, at: entry.node.at }))
}

fn required_text<'a>(
    entry: &Cursor<'a>,
    key: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'a str> {
    match entry.get(key) {
        Some(value) => value.text(diagnostics).filter(|text| !text.is_empty()),
        None => {
            diagnostics
                .push(entry.diagnostic(&MISSING_FIELD, format!("the registry has no `{key}`")));
            None
        }
    }
}

fn parse_port(entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<u16> {
    let Some(port) = entry.get("port") else {
        diagnostics.push(entry.diagnostic(&MISSING_FIELD, "the registry has no `port`"));
        return None;
    };
    let number = match &port.node.value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => {
            diagnostics.push(port.wrong_type("a port number"));
            return None;
        }
    };
    let number = number.filter(|number| *number != 0);
    if number.is_none() {
        diagnostics.push(port.diagnostic(&INVALID_VALUE, "a port is a number from 1 to 65535"));
    }
    number
}

fn parse_protocol(entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Protocol> {
    let Some(cursor) = entry.get("protocol") else {
        return Some(Protocol::Http);
    };
    let text = cursor.text(diagnostics)?;
    if text.is_empty() {
        return Some(Protocol::Http);
    }
    let protocol = Protocol::parse(text);
    if protocol.is_none() {
        let known = ["http", "https", "http2", "grpc", "grpcs"];
        let mut diagnostic =
            cursor.diagnostic(&REGISTRY_INVALID, format!("protocol `{text}` cannot be served"));
        diagnostic = match nearest(&text.to_ascii_lowercase(), known.into_iter()) {
            Some(nearest) => diagnostic.with_hint(format!("did you mean `{nearest}`?")),
            None => diagnostic.with_hint("use http, https, http2, grpc or grpcs"),
        };
        diagnostics.push(diagnostic);
    }
    protocol
}

fn parse_static(
    entry: &Cursor<'_>,
    domain: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Endpoints> {
    let mut addresses = Vec::new();
    for element in domain.split(',') {
        match element.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => addresses.push(address),
            _ => {
                diagnostics.push(bad_element(entry, element, "an address such as `10.0.0.7:8000`"));
                return None;
            }
        }
    }
    Some(Endpoints::Static(addresses))
}

fn parse_dns(
    entry: &Cursor<'_>,
    domain: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Endpoints> {
    let mut names = Vec::new();
    for element in domain.split(',') {
        if !is_domain_name(element) {
            diagnostics.push(bad_element(entry, element, "a domain such as `api.example.com`"));
            return None;
        }
        names.push(element.to_ascii_lowercase().into());
    }
    Some(Endpoints::Dns(names))
}

fn bad_element(entry: &Cursor<'_>, element: &str, expected: &str) -> Diagnostic {
    let at = entry.get("domain");
    let at = at.as_ref().unwrap_or(entry);
    let diagnostic =
        at.diagnostic(&REGISTRY_INVALID, format!("`{element}` in `domain` is not {expected}"));
    if element.trim() != element {
        diagnostic.with_hint("the list is split at commas only: remove the blanks")
    } else {
        diagnostic
    }
}

/// Higress: registry/direct/watcher.go — a fully qualified name whose last
/// label is two to 63 letters; `localhost`, addresses, underscores and a
/// trailing dot are refused.
pub fn is_domain_name(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    let Some((last, rest)) = labels.split_last() else {
        return false;
    };
    let is_label = |label: &&str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253
        && !rest.is_empty()
        && rest.iter().all(is_label)
        && (2..=63).contains(&last.len())
        && last.bytes().all(|b| b.is_ascii_alphabetic())
}

fn sni(
    entry: &Cursor<'_>,
    protocol: Protocol,
    endpoints: &Endpoints,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Box<str>> {
    if let Some(sni) = entry.get("sni").and_then(|sni| sni.text(diagnostics))
        && !sni.is_empty()
    {
        return Some(sni.into());
    }
    match endpoints {
        Endpoints::Dns(names) if names.len() == 1 => names.first().cloned(),
        Endpoints::Dns(_) if protocol.is_tls() => {
            diagnostics.push(entry.diagnostic(
                &REGISTRY_NO_SNI,
                "several domains and TLS, but no `sni`: the server name is taken from each request",
            ));
            None
        }
        _ => None,
    }
}
