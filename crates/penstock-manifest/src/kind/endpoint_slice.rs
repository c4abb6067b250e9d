//! `discovery.k8s.io/v1` EndpointSlice: some of the addresses of a Service,
//! which a label names (Kubernetes: discovery/v1).

use super::endpoints::{Subset, is_list, list, parse_address, parse_ports};
use super::service::is_name;
use crate::diagnostic::{Diagnostic, INVALID_VALUE, MISSING_FIELD};
use crate::node::Cursor;
use crate::resource::Resource;

/// The label with the name of the Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

const FIELDS: &[&str] = &["addressType", "apiVersion", "endpoints", "kind", "metadata", "ports"];
const ENDPOINT_FIELDS: &[&str] = &[
    "addresses",
    "conditions",
    "deprecatedTopology",
    "hints",
    "hostname",
    "nodeName",
    "targetRef",
    "zone",
];
const CONDITIONS: &[&str] = &["ready", "serving", "terminating"];

/// A part of the endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The endpoints that are ready.
    pub subset: Subset,
}

impl EndpointSlice {
    /// The Service, in the same namespace, that a slice is of.
    pub fn service(resource: &Resource) -> Option<&str> {
        resource.label(SERVICE_LABEL)
    }

    /// Reads a slice endpoint by endpoint; a bad one is left out with a
    /// finding. `None` where nothing of it can be read.
    pub fn parse(resource: &Resource, diagnostics: &mut Vec<Diagnostic>) -> Option<Self> {
        let root = resource.cursor();
        root.report_unknown_keys(FIELDS, diagnostics);
        let is_fqdn = match root.get("addressType") {
            None => {
                let message = format!("{} has no `addressType`", resource.key);
                diagnostics.push(
                    root.diagnostic(&MISSING_FIELD, message)
                        .with_hint("write `addressType: IPv4`, IPv6 or FQDN"),
                );
                false
            }
            Some(written) => match written.text(diagnostics) {
                Some("FQDN") => true,
                Some("IPv4" | "IPv6") | None => false,
                Some(other) => {
                    diagnostics.push(
                        written
                            .diagnostic(&INVALID_VALUE, format!("`{other}` is not an addressType"))
                            .with_hint("use IPv4, IPv6 or FQDN"),
                    );
                    false
                }
            },
        };
        if !Self::has_shape(resource) {
            let fields = ["endpoints", "ports"].into_iter().filter_map(|field| root.get(field));
            let wrong = fields.filter(|field| field.node.as_list().is_none());
            diagnostics.extend(wrong.map(|field| field.wrong_type("a list")));
            return None;
        }
        let mut subset = Subset { ports: parse_ports(&root, diagnostics), ..Subset::default() };
        for endpoint in list(&root, "endpoints", diagnostics) {
            if !is_ready(&endpoint, diagnostics) {
                continue;
            }
            for address in list(&endpoint, "addresses", diagnostics) {
                match is_fqdn {
                    true => subset.names.extend(parse_name(&address, diagnostics)),
                    false => subset.addresses.extend(parse_address(&address, diagnostics)),
                }
            }
        }
        Some(Self { subset })
    }

    /// Whether [`Self::parse`] reads anything, found out without reading.
    pub fn has_shape(resource: &Resource) -> bool {
        is_list(resource, "endpoints") && is_list(resource, "ports")
    }
}

fn is_ready(endpoint: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    if endpoint.node.as_map().is_none() {
        diagnostics.push(endpoint.wrong_type("a mapping"));
        return false;
    }
    endpoint.report_unknown_keys(ENDPOINT_FIELDS, diagnostics);
    let Some(conditions) = endpoint.get("conditions") else {
        return true;
    };
    conditions.report_unknown_keys(CONDITIONS, diagnostics);
    match conditions.get("ready") {
        Some(ready) => ready.bool(diagnostics) == Some(true),
        // Kubernetes: what is not known counts as ready.
        None => true,
    }
}

fn parse_name(address: &Cursor<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Box<str>> {
    let text = address.text(diagnostics)?;
    let name = text.strip_suffix('.').unwrap_or(text);
    if !is_name(name) {
        diagnostics
            .push(address.diagnostic(&INVALID_VALUE, format!("`{text}` is not a name of DNS")));
        return None;
    }
    Some(name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::assemble;
    use crate::read::{FilePath, read_file};

    fn check(rest: &str, expected: Option<&str>, findings: &[&str]) {
        let text = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s-1, labels: {{{SERVICE_LABEL}: s}}}}\n{rest}\n"
        );
        let listing = assemble([&read_file(&FilePath::standalone("s.yaml"), &text)]);
        let mut diagnostics = Vec::new();
        let resource = &listing.resources[0];
        assert_eq!(EndpointSlice::service(resource), Some("s"));
        let slice = EndpointSlice::parse(resource, &mut diagnostics);
        assert_eq!(slice.is_some(), EndpointSlice::has_shape(resource), "{rest}");
        let shown = slice.map(|EndpointSlice { subset }| {
            let ports: Vec<String> =
                subset.ports.iter().map(|p| format!("{}:{:?}", p.name, p.port)).collect();
            format!("{:?} {:?} {}", subset.addresses, subset.names, ports.join(" "))
        });
        assert_eq!(shown.as_deref(), expected, "{rest}");
        let found: Vec<String> =
            diagnostics.iter().map(|d| format!("{} {}", d.code.id, d.path)).collect();
        assert_eq!(found, findings, "{rest}");
    }

    #[test]
    fn endpoints_that_are_ready_count() {
        check("addressType: IPv4\nendpoints: null\nports: null", Some("[] [] "), &[]);
        check(
            "addressType: IPv4
endpoints:
- {addresses: [10.0.0.1]}
- {addresses: [10.0.0.2], conditions: {ready: true, serving: true, terminating: false}}
- {addresses: [10.0.0.3], conditions: {ready: false}}
- {addresses: [10.0.0.4], conditions: {ready: null}, nodeName: n, zone: z, hints: {forZones: []}}
ports: [{name: http, port: 8080, protocol: TCP, appProtocol: http}, {name: any, port: null}]",
            Some("[10.0.0.1, 10.0.0.2, 10.0.0.4] [] http:Some(8080) any:None"),
            &[],
        );
        check(
            "addressType: FQDN\nendpoints: [{addresses: [Api.Example.com., 'a b']}]",
            Some("[] [\"api.example.com\"] "),
            &["PS208 endpoints[0].addresses[1]"],
        );
        check(
            "addressType: IPv5\nendpoints: [{addresses: [x]}, {adresses: []}, oops, {addresses: ['fd00::1'], conditions: {ready: 1}}]",
            Some("[] [] "),
            &[
                "PS208 addressType",
                "PS208 endpoints[0].addresses[0]",
                "PS202 endpoints[1].adresses",
                "PS201 endpoints[2]",
                "PS201 endpoints[3].conditions.ready",
            ],
        );
        check("endpoints: []", Some("[] [] "), &["PS203 "]);
        check("addressType: IPv4\nendpoints: oops", None, &["PS201 endpoints"]);
        check("addressType: IPv4\nports: oops", None, &["PS201 ports"]);
    }
}
