//! `networking.k8s.io/v1` Ingress, with Higress' defaults applied
//! (Higress: pkg/ingress/kube/ingressv1/controller.go).

use std::sync::Arc;

use crate::diagnostic::{
    Diagnostic, INGRESS_EMPTY, INVALID_VALUE, PATH_DROPPED, ROUTE_WITHOUT_PATHS,
};
use crate::node::{Cursor, Position};
use crate::resource::Resource;

/// The parts of an Ingress that routing needs.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// `spec.ingressClassName`, or the older annotation, which wins.
    pub class: Option<Box<str>>,
    /// The rules, in order; those that Higress ignores are left out.
    pub rules: Vec<Rule>,
    /// `spec.defaultBackend`.
    pub default_backend: Option<Backend>,
    /// `spec.tls`.
    pub tls: Vec<TlsEntry>,
}

/// An entry of `spec.tls`: hosts, and the Secret with their certificate.
#[derive(Clone, Debug)]
pub struct TlsEntry {
    /// The hosts in lower case; `*` where none is listed.
    pub hosts: Vec<Box<str>>,
    /// The Secret in the Ingress' namespace; Higress has other sources for
    /// hosts without one.
    pub secret: Option<Box<str>>,
    /// Where the Secret's name, or else the entry, stands.
    pub at: Position,
    /// The key path, for findings.
    pub key_path: String,
}

/// One rule with its host.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The host in lower case; `*` where none is written.
    pub host: Box<str>,
    /// Where the host, or else the rule, stands.
    pub at: Position,
    /// The paths, in order.
    pub paths: Vec<Path>,
}

/// One path of a rule.
#[derive(Clone, Debug)]
pub struct Path {
    /// The path as written, `/` where none is.
    pub path: Box<str>,
    /// The type; `ImplementationSpecific` and absent are `Prefix`.
    pub path_type: PathType,
    /// Whether `pathType` was written.
    pub has_type: bool,
    /// Where requests go.
    pub backend: Backend,
    /// Where the path stands.
    pub at: Position,
    /// The key path, for findings.
    pub key_path: String,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathType {
    /// Byte for byte.
    Exact,
    /// The path itself or anything below it.
    Prefix,
}

/// What a path points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A Kubernetes Service with a numeric or named port.
    Service {
        /// The name in the Ingress' namespace.
        name: Box<str>,
        /// The port as written: a number or a name.
        port: Box<str>,
    },
    /// A resource, expected to be McpBridge `default`: the destination
    /// annotation says where requests go.
    Resource,
}

/// What [`Ingress::parse`] said.
pub(crate) struct Read {
    ingress: Option<Ingress>,
    diagnostics: Box<[Diagnostic]>,
}

impl Ingress {
    /// The same as [`parse`](Self::parse), which is done once for a resource.
    pub fn of<'r>(
        resource: &'r Arc<Resource>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<&'r Self> {
        let read = resource.known.ingress.get_or_init(|| {
            let mut found = Vec::new();
            let ingress = Self::parse(resource, &mut found);
            Box::new(Read { ingress, diagnostics: found.into() })
        });
        diagnostics.extend_from_slice(&read.diagnostics);
        read.ingress.as_ref()
    }

    /// Reads an Ingress; what cannot be used is left out with a finding.
    /// `None` where Higress rejects the whole object.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let Some(spec) = resource.spec() else {
            diagnostics.push(
                resource
                    .cursor()
                    .diagnostic(&INGRESS_EMPTY, format!("{} has no spec", resource.key)),
            );
            return None;
        };
        if spec.node.as_map().is_none() {
            diagnostics.push(spec.wrong_type("a mapping"));
            return None;
        }
        spec.report_unknown_keys(
            &["ingressClassName", "rules", "defaultBackend", "tls"],
            diagnostics,
        );
        let default_backend = spec
            .get("defaultBackend")
            .and_then(|cursor| parse_default_backend(&cursor, diagnostics));
        let rules = match spec.get("rules") {
            Some(rules) if rules.node.as_list().is_none() => {
                diagnostics.push(rules.wrong_type("a list"));
                return None;
            }
            Some(rules) => {
                rules.items().filter_map(|rule| parse_rule(&rule, diagnostics)).collect()
            }
            None => Vec::new(),
        };
        if spec.get("rules").is_none() && default_backend.is_none() {
            diagnostics.push(spec.diagnostic(
                &INGRESS_EMPTY,
                format!("{} has neither rules nor defaultBackend", resource.key),
            ));
            return None;
        }
        let class = resource
            .annotation("kubernetes.io/ingress.class")
            .or_else(|| spec.node.get("ingressClassName").and_then(|class| class.as_str()))
            .map(Into::into);
        let tls = match spec.get("tls") {
            Some(tls) if tls.node.as_list().is_none() => {
                diagnostics.push(tls.wrong_type("a list"));
                Vec::new()
            }
            Some(tls) => tls.items().map(|entry| parse_tls(&entry, diagnostics)).collect(),
            None => Vec::new(),
        };
        Some(Self { class, rules, default_backend, tls })
    }
}

fn parse_tls(entry: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> TlsEntry {
    entry.report_unknown_keys(&["hosts", "secretName"], diagnostics);
    let hosts = entry.get("hosts");
    let listed = hosts.iter().flat_map(|hosts| hosts.items());
    let mut hosts: Vec<Box<str>> = listed
        .filter_map(|host| Some(host.text(diagnostics)?.trim().to_ascii_lowercase().into()))
        .collect();
    if hosts.is_empty() {
        hosts.push("*".into());
    }
    let name = entry.get("secretName");
    let at = name.as_ref().map_or(entry.node.at, |name| name.node.at);
    let name = name.and_then(|name| name.text(diagnostics)).filter(|name| !name.is_empty());
    TlsEntry { hosts, secret: name.map(Into::into), at, key_path: entry.path.to_string() }
}

fn parse_rule(rule: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Rule> {
    rule.report_unknown_keys(&["host", "http"], diagnostics);
    let (host, at) = match rule.get("host") {
        Some(host) => {
            let text = host.text(diagnostics)?.trim();
            if !is_host_pattern(text) {
                diagnostics.push(
                    host.diagnostic(&INVALID_VALUE, format!("`{text}` is not a host"))
                        .with_hint("write a domain such as `example.com` or `*.example.com`"),
                );
                return None;
            }
            (text.to_ascii_lowercase().into_boxed_str(), host.node.at)
        }
        None => ("*".into(), rule.node.at),
    };
    let host: Box<str> = if host.is_empty() { "*".into() } else { host };
    let paths = rule.get("http").and_then(|http| http.get("paths"));
    let Some(paths) = paths.filter(|paths| paths.node.as_list().is_some_and(|l| !l.is_empty()))
    else {
        diagnostics.push(
            rule.diagnostic(
                &ROUTE_WITHOUT_PATHS,
                format!("the rule of host `{host}` has no paths"),
            ),
        );
        return None;
    };
    let paths = paths.items().filter_map(|path| parse_path(&path, diagnostics));
    let mut paths: Vec<Path> = paths.collect();
    // They are kept as long as the resource is.
    paths.shrink_to_fit();
    Some(Rule { host, at, paths })
}

/// Whether a text can stand in a Host header or is a leading-wildcard pattern
/// over one.
fn is_host_pattern(host: &str) -> bool {
    let rest = host.strip_prefix("*.").unwrap_or(if host == "*" { "" } else { host });
    host.len() <= 253
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

fn parse_path(path: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Path> {
    path.report_unknown_keys(&["path", "pathType", "backend"], diagnostics);
    let text = match path.get("path") {
        Some(text) => text.text(diagnostics)?,
        None => "/",
    };
    let text = if text.is_empty() { "/" } else { text };
    let (path_type, has_type) = match path.get("pathType") {
        None => (PathType::Prefix, false),
        Some(written) => match written.text(diagnostics)? {
            "Exact" => (PathType::Exact, true),
            "Prefix" | "ImplementationSpecific" => (PathType::Prefix, true),
            other => {
                diagnostics.push(
                    written
                        .diagnostic(&INVALID_VALUE, format!("`{other}` is not a pathType"))
                        .with_hint("use Exact, Prefix or ImplementationSpecific"),
                );
                return None;
            }
        },
    };
    let Some(backend) = path.get("backend").and_then(|b| parse_backend(&b, diagnostics)) else {
        diagnostics
            .push(path.diagnostic(&PATH_DROPPED, format!("path `{text}` has no usable backend")));
        return None;
    };
    Some(Path {
        path: text.into(),
        path_type,
        has_type,
        backend,
        at: path.node.at,
        key_path: path.path.to_string(),
    })
}

/// Unlike with paths, Higress looks at what the resource is
/// (Higress: pkg/ingress/kube/common/tool.go, `ValidateBackendResource`).
fn parse_default_backend(
    backend: &Cursor<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Backend> {
    let parsed = parse_backend(backend, diagnostics);
    let problem = match &parsed {
        None => "the default backend names no Service with a port, and no resource",
        Some(Backend::Resource) if !is_bridge(backend) => {
            "the default backend is a resource other than McpBridge `default`"
        }
        Some(_) => return parsed,
    };
    let hint = "a resource has apiGroup networking.higress.io, kind McpBridge, name default";
    diagnostics.push(backend.diagnostic(&PATH_DROPPED, problem).with_hint(hint));
    None
}

fn is_bridge(backend: &Cursor<'_>) -> bool {
    let Some(resource) = backend.get("resource") else {
        return false;
    };
    [("apiGroup", "networking.higress.io"), ("kind", "McpBridge"), ("name", "default")]
        .iter()
        .all(|(key, value)| resource.node.get(key).and_then(|text| text.as_str()) == Some(*value))
}

fn parse_backend(backend: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Backend> {
    backend.report_unknown_keys(&["service", "resource"], diagnostics);
    if let Some(service) = backend.get("service") {
        let name = service.get("name")?.text(diagnostics)?;
        let port = service.get("port");
        let number = port.as_ref().and_then(|port| port.get("number")).and_then(|number| {
            match number.node.value {
                crate::Value::Int(n) if (1..=65535).contains(&n) => Some(n.to_string()),
                _ => {
                    diagnostics.push(number.wrong_type("a port number"));
                    None
                }
            }
        });
        let named = || port.as_ref()?.get("name")?.node.as_str().map(str::to_owned);
        let port = number.or_else(named)?;
        return Some(Backend::Service { name: name.into(), port: port.into() });
    }
    let resource = backend.get("resource")?;
    let kind = resource.get("kind").and_then(|kind| kind.node.as_str());
    let name = resource.get("name").and_then(|name| name.node.as_str());
    if kind != Some("McpBridge") || name != Some("default") {
        diagnostics.push(
            resource
                .diagnostic(&INVALID_VALUE, "a resource backend other than McpBridge `default`")
                .with_severity(crate::Severity::Warning)
                .with_hint(
                    "Higress expects apiGroup networking.higress.io, kind McpBridge, name default",
                ),
        );
    }
    Some(Backend::Resource)
}
